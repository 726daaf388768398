//! The driver that has systemd make the cgroup, as a transient scope: systemd knows of it then, and writes nothing over it.
//!
//! A scope is made around a process that exists, and init does not yet. So a process that does nothing is born for it
//! ([`Holder`]), and the rest is as with the other driver: init is born straight into a cgroup that has all its limits,
//! and the holder ends. That costs a fork and one call: `StartTransientUnit` with all properties, the end of its job
//! comes as a signal. On systemd's private socket this is two round trips, one for the authentication.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dbus::{BUS, Body, Connection, MANAGER, Message, deadline};
use crate::config::linux::cgroups_path::FIELD;
use crate::config::linux::resources::property::{INFINITY, Property, Value};
use crate::config::linux::scope::Scope;
use crate::error::{At, Error};
use crate::sys::clone::{self, Birth, Fork};
use crate::sys::process::{self, Pid};
use crate::sys::{credentials, file, prctl};

/// A scope, and which systemd has it: what is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `crust-web.scope`
    pub name: String,
    session: Session,
    socket: PathBuf,
    peer: Peer,
}

/// Who answers on the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Peer {
    /// systemd itself.
    #[default]
    Systemd,
    /// A message bus.
    Bus,
}

/// Whose systemd it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Session {
    /// The machine's.
    #[default]
    System,
    /// The calling user's.
    User,
}

/// An answer that is an error: its name and its text.
struct Refusal(String, String);

impl Unit {
    /// A unit that is still to be looked for.
    pub fn new(name: String, session: Session) -> Self {
        Self { name, session, ..Self::default() }
    }

    /// Look for the systemd that listens.
    pub fn find(&mut self) -> Result<(), Error> {
        let sockets = sockets(self.session, |name| std::env::var(name).ok());
        let found = sockets.iter().find(|(path, _)| file::lstat(file::here(), path).is_ok());
        let Some((socket, peer)) = found else {
            let tried: Vec<_> = sockets.iter().map(|(path, _)| path.display().to_string()).collect();
            return Err(Error::message(format!(
                "--systemd-cgroup: systemd not running on this host, cannot use systemd cgroups manager: no {}",
                tried.join(", no ")
            )));
        };
        (self.socket, self.peer) = (socket.clone(), *peer);
        Ok(())
    }

    /// Start the scope around a process.
    pub fn start(&self, scope: &Scope, holder: &Holder, resources: Vec<Property>) -> Result<(), Error> {
        let text = |name: &str, value: &str| Property::new(name, Value::Text(value.into()));
        let flag = |name: &str, value| Property::new(name, Value::Bool(value));
        let mut properties = vec![
            text("Description", &format!("crust container {}", self.name)),
            text("Slice", scope.slice()),
            text("CollectMode", "inactive-or-failed"), // or its name would stay taken
            Property::new("PIDs", Value::Numbers(vec![holder.pid.cast_unsigned()])),
            flag("Delegate", true), // systemd keeps out of what is below
            flag("DefaultDependencies", false),
            flag("CPUAccounting", true),
            flag("MemoryAccounting", true),
            flag("TasksAccounting", true),
            flag("IOAccounting", true),
        ];
        properties.extend(resources);
        for property in &scope.properties {
            properties.retain(|other| other.name != property.name);
            properties.push(property.clone());
        }
        let mut connection = self.connect()?;
        let body = |properties: &[Property]| {
            Body::default().text(&self.name).text("fail").properties(properties).no_units()
        };
        let mut started = job(&mut connection, "StartTransientUnit", &body(&properties))?;
        while started.as_ref().is_err_and(Refusal::is_of_a_property) && leave_out_youngest(&mut properties) {
            started = job(&mut connection, "StartTransientUnit", &body(&properties))?;
        }
        started.map_err(|refusal| self.refused("StartTransientUnit", &refusal))
    }

    /// Change properties, until the scope ends. One that has ended needs none.
    pub fn set(&self, properties: &[Property]) -> Result<(), Error> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut connection = self.connect()?;
        let mut properties = properties.to_vec();
        let body =
            |properties: &[Property]| Body::default().text(&self.name).bool(true).properties(properties);
        let mut set = answer(&mut connection, "SetUnitProperties", &body(&properties))?;
        while set.as_ref().is_err_and(Refusal::is_of_a_property) && leave_out_youngest(&mut properties) {
            set = answer(&mut connection, "SetUnitProperties", &body(&properties))?;
        }
        match set {
            Err(refusal) if !refusal.is_of_no_unit() => Err(self.refused("SetUnitProperties", &refusal)),
            _ => Ok(()),
        }
    }

    /// Stop it. What is gone already is well.
    pub fn stop(&self) -> Result<(), Error> {
        let body = Body::default().text(&self.name).text("replace");
        match job(&mut self.connect()?, "StopUnit", &body)? {
            Err(refusal) if !refusal.is_of_no_unit() => Err(self.refused("StopUnit", &refusal)),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> Result<Connection, Error> {
        let mut connection = Connection::open(&self.socket).at_file(&self.socket)?;
        if self.peer == Peer::Bus {
            let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
            for (object, member, body) in [
                (BUS, "Hello", Body::default()),
                (BUS, "AddMatch", Body::default().text(rule)),
                (MANAGER, "Subscribe", Body::default()),
            ] {
                connection.send(object, member, &body).at_file(&self.socket)?;
            }
        }
        Ok(connection)
    }

    fn refused(&self, call: &str, Refusal(name, text): &Refusal) -> Error {
        Error::message(format!("{FIELD}: systemd: {call}({:?}): {name}: {text}", self.name))
    }
}

impl Refusal {
    fn is_of_no_unit(&self) -> bool {
        self.0.ends_with(".NoSuchUnit")
    }

    /// An old systemd does not know all properties, and not all values of some.
    fn is_of_a_property(&self) -> bool {
        [".PropertyReadOnly", ".InvalidArgs"].iter().any(|name| self.0.ends_with(name))
            || self.1.contains("unknown property")
    }
}

/// Leave out what the fewest versions of systemd know; the cgroup's files have it. `false` if all know the rest.
fn leave_out_youngest(properties: &mut Vec<Property>) -> bool {
    let youngest = properties.iter().map(|property| property.since).max().unwrap_or(0);
    properties.retain(|property| property.since < youngest);
    youngest != 0
}

/// Where systemd may listen, the best first.
fn sockets(session: Session, variable: impl Fn(&str) -> Option<String>) -> Vec<(PathBuf, Peer)> {
    if session == Session::System {
        return vec![
            ("/run/systemd/private".into(), Peer::Systemd),
            ("/run/dbus/system_bus_socket".into(), Peer::Bus),
        ];
    }
    let runtime = variable("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let private = runtime.as_ref().map(|dir| (dir.join("systemd/private"), Peer::Systemd));
    let address = variable("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    let path = address.split(';').find_map(|address| {
        let keys = address.strip_prefix("unix:")?;
        keys.split(',').find_map(|key| key.strip_prefix("path=")).map(PathBuf::from)
    });
    let bus = path.or_else(|| runtime.map(|dir| dir.join("bus"))).map(|path| (path, Peer::Bus));
    private.into_iter().chain(bus).collect()
}

/// Call, and wait for the end of the job that the call has begun.
fn job(connection: &mut Connection, member: &str, body: &Body) -> Result<Result<(), Refusal>, Error> {
    let (call, deadline) = (connection.send(MANAGER, member, body).at(FIELD)?, deadline());
    let (mut job, mut over) = (None, Vec::new());
    loop {
        match connection.receive(deadline).at(FIELD)? {
            Message::Answer(to, path) if to == call => job = Some(path),
            Message::Error(to, name, text) if to == call => return Ok(Err(Refusal(name, text))),
            Message::JobRemoved(path, result) => over.push((path, result)),
            _ => {}
        }
        let result = over.iter().find(|(path, _)| Some(path) == job.as_ref());
        match result.map(|(_, result)| result.as_str()) {
            None => {}
            Some("done") => return Ok(Ok(())),
            Some(result) => return Ok(Err(Refusal("job".into(), result.into()))),
        }
    }
}

fn answer(connection: &mut Connection, member: &str, body: &Body) -> Result<Result<(), Refusal>, Error> {
    let (call, deadline) = (connection.send(MANAGER, member, body).at(FIELD)?, deadline());
    loop {
        match connection.receive(deadline).at(FIELD)? {
            Message::Answer(to, _) if to == call => return Ok(Ok(())),
            Message::Error(to, name, text) if to == call => return Ok(Err(Refusal(name, text))),
            _ => {}
        }
    }
}

/// What undoes a property that was not set before. Of a list this empties all of it.
pub fn unset(property: &Property) -> Option<Property> {
    let nothing = match (&property.value, property.name.as_str()) {
        (Value::Amounts(_), _) => Value::Amounts(vec![]),
        (Value::U64(_), "MemoryLow" | "MemoryMin") => Value::U64(0),
        (Value::U64(_), _) => Value::U64(INFINITY), // no limit, and for a weight: not set
        (Value::Bytes(_), _) => Value::Bytes(vec![]),
        _ => return None,
    };
    Some(Property { value: nothing, ..property.clone() })
}

/// A process that does nothing, in the place of one that is still to come. It ends with its owner.
#[derive(Debug)]
pub struct Holder {
    /// In the runtime's pid namespace.
    pub pid: i32,
}

impl Holder {
    /// Let it be born.
    pub fn new() -> Result<Self, Error> {
        let owner = Pid::from_raw(credentials::own_pid());
        match clone::clone(&Birth { flags: 0, cgroup: None }).at(FIELD)? {
            Fork::Child => hold(owner),
            Fork::Parent(pid, _) => Ok(Self { pid }),
        }
    }

    /// Whether somebody has killed it. systemd starts a scope around a process that is dead as well.
    pub fn has_ended(&self) -> Result<bool, Error> {
        process::has_ended(Pid::from_raw(self.pid)).at(FIELD)
    }

    /// The cgroup that it is in, as systemd's own tree has it: v2, or v1's `name=systemd`.
    pub fn cgroup(&self) -> Result<PathBuf, Error> {
        let name = format!("/proc/{}/cgroup", self.pid);
        let text = file::read_text(file::here(), &name).at_file(&name)?;
        let path = |kind: &str| text.lines().find_map(|line| line.split_once(kind).map(|(_, path)| path));
        let path = path(":name=systemd:").or_else(|| path("0::")).unwrap_or_default();
        Ok(Path::new(path).strip_prefix("/").unwrap_or(Path::new("")).to_owned())
    }
}

/// Be there as long as the owner is, which may have ended before this process could ask for the signal.
fn hold(owner: Pid) -> ! {
    let ends_with_it = prctl::set_parent_death_signal(Some(process::Signal::SIGKILL));
    if ends_with_it.is_err() || process::parent() != owner {
        process::exit(1)
    }
    process::wait_for_signals()
}

impl Drop for Holder {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid);
        let _may_be_dead = process::kill(pid, libc::SIGKILL);
        let _may_be_reaped = process::wait(pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_a_user() {
        let variables = |name: &str| match name {
            "XDG_RUNTIME_DIR" => Some("/run/user/7".to_owned()),
            "DBUS_SESSION_BUS_ADDRESS" => Some("unix:path=/x/bus,guid=1".to_owned()),
            _ => None,
        };
        let expected = [("/run/user/7/systemd/private".into(), Peer::Systemd), ("/x/bus".into(), Peer::Bus)];
        assert_eq!(sockets(Session::User, variables), expected);
        assert!(sockets(Session::User, |_| None).is_empty());
        let no_address = |name: &str| variables(name).filter(|_| name == "XDG_RUNTIME_DIR");
        assert_eq!(sockets(Session::User, no_address)[1], ("/run/user/7/bus".into(), Peer::Bus));
    }

    #[test]
    fn the_youngest_properties_go_first() {
        let since = |version| Property::since(version, format!("A{version}"), Value::U64(1));
        let mut properties = vec![since(252), since(0), since(244), since(252)];
        let mut left = vec![];
        while leave_out_youngest(&mut properties) {
            left.push(properties.clone());
        }
        assert_eq!(left, [vec![since(0), since(244)], vec![since(0)]]);
    }

    #[test]
    fn a_holder_ends_with_its_owner() {
        let pid = Holder::new().unwrap().pid;
        assert!(process::kill(Pid::from_raw(pid), 0).is_err());
    }

    #[test]
    fn the_end_of_a_holder_is_seen() {
        let holder = Holder::new().unwrap();
        assert!(!holder.has_ended().unwrap());
        process::kill(Pid::from_raw(holder.pid), libc::SIGKILL).unwrap();
        while !holder.has_ended().unwrap() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_holder_whose_owner_has_ended_before_it_ends_too() {
        let pid = process::in_child(|| hold(Pid::from_raw(1)));
        assert_eq!(process::wait(pid).unwrap().code(), 1);
    }
}
