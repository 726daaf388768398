//! Network interfaces: `rtnetlink(7)`, on a socket that belongs to one network namespace.
//!
//! The messages are netlink-packet-route's; here they are sent, and their answers told apart.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use nix::sys::socket::{self, MsgFlags, SockFlag, SockProtocol, SockType};

use super::file::{self, retry};
use super::namespace::{self, CloneFlags};
use super::{Errno, Error, Result, named};

/// A socket to the kernel. It keeps its network namespace alive.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// What has to be known of an interface to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its network namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// `IFF_UP`
    pub up: bool,
    /// The index of the bridge, or its like, that it belongs to.
    pub controller: Option<u32>,
}

/// An address of an interface, with everything that the kernel told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(AddressMessage);

impl Netlink {
    /// A socket in the caller's network namespace.
    pub fn open() -> Result<Self> {
        let made = socket::socket(
            socket::AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        );
        let socket = named(made, || "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)".into())?;
        Ok(Self { socket, sequence: 0 })
    }

    /// A socket in another network namespace, which was opened by the path `name`. A thread enters it and ends there, so
    /// that nothing can keep the caller from being where it was.
    pub fn open_in(namespace: BorrowedFd, name: &std::path::Path) -> Result<Self> {
        std::thread::scope(|scope| {
            let entering = std::thread::Builder::new().spawn_scoped(scope, || {
                namespace::join(namespace, CloneFlags::CLONE_NEWNET, name)?;
                Self::open()
            });
            // The C library makes no thread where an outer filter refuses clone3(2).
            let entering =
                entering.map_err(|error| Error::new("clone3(2), for a thread", file::errno_of(&error)))?;
            entering.join().unwrap_or_else(|_| Err(Error::new("a thread for setns(2)", Errno::ECANCELED)))
        })
    }

    /// `RTM_GETLINK` by name: `None` if there is no interface of this name.
    pub fn link_named(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        match self.get_link(message, || format!("RTM_GETLINK({name:?})")) {
            Err(Error { errno: Errno::ENODEV, .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// `RTM_GETLINK` by index.
    pub fn link(&mut self, index: u32) -> Result<Link> {
        self.get_link(link_message(index), || format!("RTM_GETLINK({index})"))
    }

    fn get_link(&mut self, message: LinkMessage, call: impl Fn() -> String) -> Result<Link> {
        let answers = self.request(Message::GetLink(message), NLM_F_REQUEST, &call)?;
        let mut links = answers.into_iter().filter_map(|answer| match answer {
            Message::NewLink(link) => Some(link),
            _ => None,
        });
        links.next_back().map(|link| Link::of(&link)).ok_or_else(|| Error::new(call(), Errno::ENODATA))
    }

    /// `RTM_GETADDR`: the addresses of an interface, of any family, in their order.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        let call = || format!("RTM_GETADDR({index})");
        let request = Message::GetAddress(AddressMessage::default());
        let answers = self.request(request, NLM_F_REQUEST | NLM_F_DUMP, call)?;
        let addresses = answers.into_iter().filter_map(|answer| match answer {
            Message::NewAddress(address) if address.header.index == index => Some(Address(address)),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// `RTM_NEWADDR`: give an interface an address that one has had.
    pub fn add_address(&mut self, index: u32, address: &Address) -> Result<()> {
        let mut message = address.0.clone();
        message.header.index = index;
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(Message::NewAddress(message), flags, || format!("RTM_NEWADDR({index}, {address})"))
            .map(drop)
    }

    /// Move an interface into another network namespace, where it has a new name. The kernel takes it down first.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd, name: &str) -> Result<()> {
        let attributes =
            vec![LinkAttribute::NetNsFd(namespace.as_raw_fd()), LinkAttribute::IfName(name.into())];
        self.set_link(index, attributes, || {
            format!("RTM_SETLINK({index}, IFLA_NET_NS_FD, IFLA_IFNAME {name:?})")
        })
    }

    /// Rename an interface. A name with `%d` has the first number that is free.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        let attributes = vec![LinkAttribute::IfName(name.into())];
        self.set_link(index, attributes, || format!("RTM_SETLINK({index}, IFLA_IFNAME {name:?})"))
    }

    /// Make an interface a port of a bridge, or its like.
    pub fn set_controller(&mut self, index: u32, controller: u32) -> Result<()> {
        let attributes = vec![LinkAttribute::Controller(controller)];
        self.set_link(index, attributes, || format!("RTM_SETLINK({index}, IFLA_MASTER {controller})"))
    }

    /// Set `IFF_UP`.
    pub fn set_up(&mut self, index: u32) -> Result<()> {
        let mut message = link_message(index);
        (message.header.flags, message.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
        let call = || format!("RTM_SETLINK({index}, IFF_UP)");
        self.request(Message::SetLink(message), NLM_F_REQUEST | NLM_F_ACK, call).map(drop)
    }

    fn set_link(
        &mut self,
        index: u32,
        attributes: Vec<LinkAttribute>,
        call: impl Fn() -> String,
    ) -> Result<()> {
        let mut message = link_message(index);
        message.attributes = attributes;
        self.request(Message::SetLink(message), NLM_F_REQUEST | NLM_F_ACK, call).map(drop)
    }

    /// Ask, and collect the answers.
    fn request(&mut self, message: Message, flags: u16, call: impl Fn() -> String) -> Result<Vec<Message>> {
        let result = self.send(message, flags).and_then(|()| self.receive(flags));
        named(result, call)
    }

    fn send(&mut self, message: Message, flags: u16) -> nix::Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (flags, self.sequence);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        retry(|| socket::send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())).map(drop)
    }

    /// What was asked for once is answered by one message; a dump by many and a last one; what is done, by an error
    /// that may be none.
    fn receive(&mut self, flags: u16) -> nix::Result<Vec<Message>> {
        let number = self.socket.as_fd().as_raw_fd();
        let mut answers = Vec::new();
        loop {
            let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
            let mut bytes = vec![0; retry(|| socket::recv(number, &mut [], peek))?];
            let length = retry(|| socket::recv(number, &mut bytes, MsgFlags::empty()))?;
            let mut rest = &bytes[..length];
            while !rest.is_empty() {
                let message = NetlinkMessage::<Message>::deserialize(rest).map_err(|_| Errno::EBADMSG)?;
                let (header, payload) = message.into_parts();
                // Each message begins at a multiple of four bytes.
                rest = rest.get((header.length as usize).next_multiple_of(4)..).unwrap_or_default();
                if header.sequence_number != self.sequence {
                    continue;
                }
                match payload {
                    NetlinkPayload::Error(error) => match error.raw_code() {
                        0 => return Ok(answers),
                        code => return Err(Errno::from_raw(-code)),
                    },
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    _ => {}
                }
            }
            if flags & (NLM_F_DUMP | NLM_F_ACK) == 0 && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }
}

fn link_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            controller: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                _ => {}
            }
        }
        link
    }
}

impl Address {
    /// `IFA_F_PERMANENT`: it was set, and not learnt from the network.
    pub fn is_permanent(&self) -> bool {
        self.0.header.flags.contains(AddressHeaderFlags::Permanent)
    }

    /// `RT_SCOPE_UNIVERSE`: of use beyond the link.
    pub fn is_global(&self) -> bool {
        self.0.header.scope == AddressScope::Universe
    }

    /// The same address as it is asked for: with the flags that are a choice, not those that are the kernel's finding,
    /// and for an interface that has another name.
    pub fn as_asked_for(&self, old_name: &str, name: &str) -> Self {
        let mut address = self.0.clone();
        let chosen = AddressFlags::Nodad
            | AddressFlags::Homeaddress
            | AddressFlags::Managetempaddr
            | AddressFlags::Noprefixroute
            | AddressFlags::Mcautojoin;
        // The eight bits of the header are the lower ones of the attribute, which counts.
        address.header.flags &= AddressHeaderFlags::from_bits_retain(chosen.bits() as u8);
        address.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::CacheInfo(_)));
        for attribute in &mut address.attributes {
            match attribute {
                AddressAttribute::Flags(flags) => *flags &= chosen,
                // IPv4 calls an address by the interface's name, or by that, a colon, and a word.
                AddressAttribute::Label(label) => {
                    if let Some(rest) = label.strip_prefix(old_name)
                        && (rest.is_empty() || rest.starts_with(':'))
                    {
                        *label = format!("{name}{rest}");
                    }
                }
                _ => {}
            }
        }
        Self(address)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ip = self.0.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let ip = ip.or_else(|| {
            self.0.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            })
        });
        match ip {
            Some(ip) => write!(f, "{ip}/{}", self.0.header.prefix_len),
            None => write!(
                f,
                "an address of the family {:?}",
                AddressFamily::from(u8::from(self.0.header.family))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there() {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link_named("lo").unwrap().unwrap();
        assert_eq!((link.index, link.name.as_str()), (1, "lo"));
        assert_eq!(netlink.link(1).unwrap(), link);
        assert_eq!(netlink.link_named("no-such-link").unwrap(), None);
        let error = netlink.link(1_000_000).unwrap_err();
        assert_eq!((error.errno, error.call.as_str()), (Errno::ENODEV, "RTM_GETLINK(1000000)"));
        for address in netlink.addresses(1).unwrap() {
            assert!(address.is_permanent() && !address.is_global(), "{address}");
        }
    }

    #[test]
    fn labels_follow_the_name() {
        let mut message = AddressMessage::default();
        message.header.prefix_len = 8;
        message.header.flags = AddressHeaderFlags::Permanent;
        message.attributes = vec![
            AddressAttribute::Local([10, 0, 0, 1].into()),
            AddressAttribute::Label("eth0:a".into()),
            AddressAttribute::Flags(AddressFlags::Permanent | AddressFlags::Noprefixroute),
        ];
        let address = Address(message).as_asked_for("eth0", "net1");
        assert_eq!(address.to_string(), "10.0.0.1/8");
        assert_eq!(address.0.header.flags, AddressHeaderFlags::empty());
        assert_eq!(
            address.0.attributes[1..],
            [AddressAttribute::Label("net1:a".into()), AddressAttribute::Flags(AddressFlags::Noprefixroute)]
        );
    }
}
