//! `linux.netDevices` — interfaces of the runtime's network namespace that are moved into the container's.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#network-devices>

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use oci_spec::runtime::LinuxNetDevice;

use crate::config::linux::namespaces::{JoinedNamespaces, Kind, Namespaces};
use crate::error::{At, Error, Field, Problems};
use crate::host::Host;
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::netlink::{Address, Link, Netlink};
use crate::sys::{self, Errno};

const FIELD: &str = "linux.netDevices";

/// `IFNAMSIZ`, with the NUL byte.
const LONGEST_NAME: usize = 16;

/// An interface, and what it is called in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NetDevice {
    field: Field,
    name: String,
    /// May have one `%d`.
    new_name: String,
}

/// The interfaces to be moved, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetDevices(Vec<NetDevice>);

impl NetDevices {
    /// Refuses names that the kernel does not take, a name for two, and a container that has the runtime's network.
    pub fn parse(
        devices: Option<&HashMap<String, LinuxNetDevice>>,
        namespaces: &Namespaces,
        host: &Host,
    ) -> Result<Self, Problems> {
        let Some(given) = devices.filter(|devices| !devices.is_empty()) else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        if !namespaces.is_own(Kind::Network) {
            problems.add(FIELD, "needs a network namespace in linux.namespaces");
        }
        if host.euid != 0 {
            problems.add(FIELD, "cannot be moved by an ordinary user: they are the host's");
        }
        let mut devices: Vec<NetDevice> = Vec::new();
        for (name, device) in given {
            let field = Field::new(FIELD).key(name);
            if let Some(rule) = refuse(name, false) {
                problems.add(field.clone(), format!("{name:?} {rule}"));
            }
            let new_name = device.name().as_deref().filter(|new_name| !new_name.is_empty());
            if let Some(new_name) = new_name
                && let Some(rule) = refuse(new_name, true)
            {
                problems.add(field.key("name"), format!("{new_name:?} {rule}"));
            }
            let new_name = new_name.unwrap_or(name).to_owned();
            devices.push(NetDevice { field, name: name.clone(), new_name });
        }
        // What has a name gets it; templates take what is left.
        devices.sort_by(|a, b| (a.is_template(), &a.name).cmp(&(b.is_template(), &b.name)));
        for (i, device) in devices.iter().enumerate() {
            let same = |other: &&NetDevice| other.new_name == device.new_name && !device.is_template();
            if let Some(first) = devices[..i].iter().find(same) {
                let rule = format!("{:?} is the name of {} already", device.new_name, first.field);
                problems.add(device.field.key("name"), rule);
            }
        }
        problems.or(Self(devices))
    }

    /// Whether there is nothing to move.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the network namespace that is joined is not simply the runtime's. Changes nothing.
    pub fn check(&self, joined: &JoinedNamespaces, procfs: impl AsFd) -> Result<(), Error> {
        let Some(namespace) = joined.get(Kind::Network).filter(|_| !self.is_empty()) else { return Ok(()) };
        let own = file::stat_at(procfs, "self/ns/net").at(FIELD)?;
        let theirs = file::stat(namespace).at(FIELD)?;
        if (own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino) {
            let rule = "needs a network namespace that is not the runtime's own";
            return Err(Problems::one(FIELD, rule).into());
        }
        Ok(())
    }

    /// Move them into the network namespace of the process `pid`: all, or none. Every name is looked at before the first
    /// is moved.
    pub fn move_to(&self, pid: i32, procfs: impl AsFd) -> Result<MovedDevices, Error> {
        let open = |path: &str| file::open(&procfs, path, OFlag::O_RDONLY, Mode::empty()).at(FIELD);
        let path = format!("{pid}/ns/net");
        let (own, theirs) = (open("self/ns/net")?, open(&path)?);
        let name = PathBuf::from("/proc").join(path);
        let mut moved = MovedDevices {
            runtime: Netlink::open().at(FIELD)?,
            container: Netlink::open_in(theirs.as_fd(), &name).at(FIELD)?,
            namespace: own,
            links: Vec::new(),
        };
        let links = self.0.iter().map(|device| moved.find(device)).collect::<Result<Vec<_>, _>>()?;
        for (device, link) in self.0.iter().zip(links) {
            moved.take(device, link, &theirs)?;
        }
        Ok(moved)
    }
}

impl NetDevice {
    fn is_template(&self) -> bool {
        self.new_name.contains('%')
    }
}

/// The kernel's rules for a name.
fn refuse(name: &str, may_be_template: bool) -> Option<&'static str> {
    let numbers = name.matches('%').count();
    match () {
        () if name.is_empty() => Some("is empty"),
        () if name.len() >= LONGEST_NAME => Some("has more than 15 bytes (IFNAMSIZ)"),
        () if [".", ".."].contains(&name) => Some("is not the name of a network interface"),
        () if name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c.is_control()) => {
            Some("has a character that no network interface has")
        }
        () if numbers > 0 && !may_be_template => Some("has a \"%\": only the new name may be a template"),
        () if numbers > 1 || (numbers == 1 && !name.contains("%d")) => {
            Some("has a \"%\" that is not the one \"%d\" of a template")
        }
        () => None,
    }
}

/// Interfaces that are in the container. Unless they are kept, they go back to where they were, as they were.
#[derive(Debug)]
pub struct MovedDevices {
    runtime: Netlink,
    /// Keeps the container's network namespace alive, even without a process.
    container: Netlink,
    /// The runtime's.
    namespace: OwnedFd,
    links: Vec<Moved>,
}

#[derive(Debug)]
struct Moved {
    before: Link,
    /// The permanent ones.
    addresses: Vec<Address>,
    /// In the container.
    index: u32,
}

impl MovedDevices {
    /// They stay, and the end of their namespace is the kernel's affair.
    pub fn keep(mut self) {
        self.links.clear();
    }

    fn find(&mut self, device: &NetDevice) -> Result<Link, Error> {
        let NetDevice { field, name, new_name } = device;
        let absent = || sys::Error::new(format!("RTM_GETLINK({name:?})"), Errno::ENODEV);
        let link = self.runtime.link_named(name).at(field.clone())?.ok_or_else(absent).at(field.clone())?;
        if !device.is_template() && self.container.link_named(new_name).at(field.clone())?.is_some() {
            let call = format!("{new_name:?} is in the container's network namespace already");
            return Err(sys::Error::new(call, Errno::EEXIST)).at(field.key("name"));
        }
        Ok(link)
    }

    /// By way of a name that nobody else has: the interface is found again by it, whatever the kernel makes of a
    /// template, and the name that it has here may be another's there.
    fn take(&mut self, device: &NetDevice, before: Link, namespace: &OwnedFd) -> Result<(), Error> {
        let NetDevice { field, name, new_name } = device;
        let mut addresses = self.runtime.addresses(before.index).at(field.clone())?;
        addresses.retain(Address::is_permanent);
        let passing = format!("crust{}", before.index);
        let moving = self.runtime.move_link(before.index, namespace.as_fd(), &passing);
        moving.map_err(|error| explain(error, &before)).at(field.clone())?;
        let absent = || sys::Error::new(format!("RTM_GETLINK({passing:?})"), Errno::ENODEV);
        let link =
            self.container.link_named(&passing).at(field.clone())?.ok_or_else(absent).at(field.clone())?;
        let index = link.index;
        self.links.push(Moved { before, addresses: addresses.clone(), index });
        self.container.rename(index, new_name).at(field.key("name"))?;
        let new_name = self.container.link(index).at(field.clone())?.name;
        for address in addresses.iter().filter(|address| address.is_global()) {
            self.container.add_address(index, &address.as_asked_for(name, &new_name)).at(field.clone())?;
        }
        self.container.set_up(index).at(field.clone())
    }

    fn give_back(&mut self, moved: &Moved) -> sys::Result<()> {
        let Moved { before, addresses, index } = moved;
        self.container.move_link(*index, self.namespace.as_fd(), &before.name)?;
        let absent = || sys::Error::new(format!("RTM_GETLINK({:?})", before.name), Errno::ENODEV);
        let index = self.runtime.link_named(&before.name)?.ok_or_else(absent)?.index;
        if let Some(controller) = before.controller {
            self.runtime.set_controller(index, controller)?;
        }
        for address in addresses {
            // The kernel may have made one by itself.
            let added = self.runtime.add_address(index, &address.as_asked_for(&before.name, &before.name));
            if let Err(error) = added {
                crate::log::debug(&error.to_string());
            }
        }
        if before.up { self.runtime.set_up(index) } else { Ok(()) }
    }
}

impl Drop for MovedDevices {
    fn drop(&mut self) {
        for moved in std::mem::take(&mut self.links).iter().rev() {
            if let Err(error) = self.give_back(moved) {
                crate::log::warn(&format!("{FIELD}.{}: was not moved back: {error}", moved.before.name));
            }
        }
    }
}

fn explain(error: sys::Error, link: &Link) -> sys::Error {
    if error.errno != Errno::EINVAL {
        return error;
    }
    sys::Error::new(
        format!("{} ({:?} may be of a kind that stays in its network namespace)", error.call, link.name),
        error.errno,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::process::plain_host;
    use serde_json::json;

    fn parse(json: serde_json::Value) -> Result<NetDevices, String> {
        let devices: HashMap<String, LinuxNetDevice> = serde_json::from_value(json).unwrap();
        let namespaces = Namespaces::created(&[Kind::Network]);
        NetDevices::parse(Some(&devices), &namespaces, &plain_host()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_device_keeps_its_name_unless_it_gets_another() {
        let devices = parse(json!({"eth1": {"name": "net%d"}, "eth0": {}, "eth2": {"name": ""}})).unwrap();
        let names: Vec<_> = devices.0.iter().map(|d| (d.name.as_str(), d.new_name.as_str())).collect();
        assert_eq!(names, [("eth0", "eth0"), ("eth2", "eth2"), ("eth1", "net%d")]);
        assert_eq!(NetDevices::parse(None, &Namespaces::default(), &plain_host()), Ok(NetDevices::default()));
    }

    #[test]
    fn names_that_no_interface_has() {
        for bad in ["0123456789abcdef", "a/b", "a b", "..", "a:b", "a%s", "%d%d", "a%", "ä23456789abcdef"] {
            let text = parse(json!({"eth0": {"name": bad}})).unwrap_err();
            assert!(text.starts_with("linux.netDevices.eth0.name: "), "{bad}: {text}");
        }
        for bad in ["", "0123456789abcdef", "a/b", "eth%d"] {
            assert!(parse(json!({ bad: {} })).is_err(), "{bad}");
        }
        assert!(parse(json!({"0123456789abcde": {"name": "0123456789ab%d"}})).is_ok());
    }

    #[test]
    fn two_do_not_get_one_name() {
        let text = parse(json!({"a": {"name": "c"}, "b": {"name": "c"}})).unwrap_err();
        assert_eq!(text, "linux.netDevices.b.name: \"c\" is the name of linux.netDevices.a already");
        assert!(parse(json!({"a": {"name": "c%d"}, "b": {"name": "c%d"}})).is_ok());
        // Each goes before the other comes.
        assert!(parse(json!({"a": {"name": "b"}, "b": {"name": "a"}})).is_ok());
    }

    #[test]
    fn a_network_of_its_own_is_needed() {
        let devices = HashMap::from([("eth0".to_owned(), LinuxNetDevice::default())]);
        let host = plain_host();
        let text = NetDevices::parse(Some(&devices), &Namespaces::default(), &host).unwrap_err().to_string();
        assert_eq!(text, "linux.netDevices: needs a network namespace in linux.namespaces");
        let nobody = Host { euid: 1000, ..host };
        let own = Namespaces::created(&[Kind::Network]);
        assert!(NetDevices::parse(Some(&devices), &own, &nobody).is_err());
        assert!(
            NetDevices::parse(Some(&HashMap::new()), &Namespaces::default(), &nobody).unwrap().is_empty()
        );
    }
}
