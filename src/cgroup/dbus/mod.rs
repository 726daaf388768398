//! Just enough D-Bus to ask systemd: calls and their answers on a stream, each within a time.
//!
//! <https://dbus.freedesktop.org/doc/dbus-specification.html>. On systemd's private socket there is no bus: no `Hello`,
//! no match rules, and every signal comes by itself. A call is one message there and one back.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use body::call;
use message::{message_length, parse};

use crate::sys::{Errno, Error, Result, file, process, socket};

mod body;
mod message;

pub use body::Body;
pub use message::Message;

/// How long systemd may take for an answer. A busy one may take some seconds.
const PATIENCE: Duration = Duration::from_secs(25);

/// No answer that is read here is longer, in bytes.
const LONGEST: usize = 1 << 20;

const DESTINATION: &str = "org.freedesktop.systemd1";

/// An object and its interface.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    path: &'static str,
    interface: &'static str,
    destination: &'static str,
}

/// systemd's manager.
pub const MANAGER: Object = Object {
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    destination: DESTINATION,
};

/// The bus itself.
pub const BUS: Object = Object {
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    destination: "org.freedesktop.DBus",
};

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: OwnedFd,
    received: Vec<u8>,
    serial: u32,
}

impl Connection {
    /// Connect, and say who we are: the kernel tells the other side, also across user namespaces.
    pub fn open(path: &Path) -> Result<Self> {
        let stream = socket::connect(path)?;
        socket::send(&stream, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", &[])?;
        let mut connection = Self { stream, received: Vec::new(), serial: 0 };
        let deadline = Instant::now() + PATIENCE;
        // "DATA", and "OK" with the server's identity.
        while !connection.received.ends_with(b"\r\n") || lines(&connection.received) < 2 {
            connection.fill(deadline)?;
            if connection.received.starts_with(b"REJECTED")
                || connection.received.windows(8).any(|w| w == b"REJECTED")
            {
                return Err(Error::new(format!("AUTH EXTERNAL on {path:?}: rejected"), Errno::EACCES));
            }
        }
        connection.received.clear();
        Ok(connection)
    }

    /// Send a call; its number, which the answer has.
    pub fn send(&mut self, object: Object, member: &str, body: &Body) -> Result<u32> {
        self.serial += 1;
        socket::send(&self.stream, &call(object, member, body, self.serial), &[])?;
        Ok(self.serial)
    }

    /// The next message.
    pub fn receive(&mut self, deadline: Instant) -> Result<Message> {
        let length = loop {
            match message_length(&self.received) {
                Some(length) if length > LONGEST => {
                    return Err(Error::new(format!("D-Bus: a message of {length} bytes"), Errno::EMSGSIZE));
                }
                Some(length) if self.received.len() >= length => break length,
                _ => self.fill(deadline)?,
            }
        };
        let message = parse(&self.received[..length]).unwrap_or(Message::Other);
        self.received.drain(..length);
        Ok(message)
    }

    fn fill(&mut self, deadline: Instant) -> Result<()> {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() || !process::wait_readable(&self.stream, Some(rest))? {
            return Err(Error::new("D-Bus: systemd does not answer", Errno::ETIMEDOUT));
        }
        let mut buffer = [0; 4096];
        match file::read(&self.stream, &mut buffer, "D-Bus")? {
            0 => Err(Error::new("D-Bus: systemd has hung up", Errno::ECONNRESET)),
            length => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }
}

/// When an answer is too late.
pub fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&c| c == b'\n').count()
}
