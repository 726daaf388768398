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
        let stream = socket::connect_within(path, PATIENCE).map_err(late)?;
        socket::send(&stream, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", &[])?;
        let mut connection = Self { stream, received: Vec::new(), serial: 0 };
        let deadline = deadline();
        let greeting = loop {
            match greeting(&connection.received) {
                Some(Ok(length)) => break length,
                Some(Err(())) => {
                    return Err(Error::new(format!("AUTH EXTERNAL on {path:?}: rejected"), Errno::EACCES));
                }
                None => connection.fill(deadline)?,
            }
        };
        connection.received.drain(..greeting);
        Ok(connection)
    }

    /// Send a call; its number, which the answer has.
    pub fn send(&mut self, object: Object, member: &str, body: &Body) -> Result<u32> {
        self.serial += 1;
        socket::send(&self.stream, &call(object, member, body, self.serial), &[]).map_err(late)?;
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
            return Err(no_answer());
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

/// Nobody took the connection, or what was sent on it, in time.
fn late(error: Error) -> Error {
    if error.errno == Errno::EAGAIN { no_answer() } else { error }
}

fn no_answer() -> Error {
    Error::new("D-Bus: systemd does not answer", Errno::ETIMEDOUT)
}

/// How long the answer to who we are is, once it is there: `DATA`, and `OK` with the server's identity. What follows is
/// messages: systemd may have told of its units by the time we read.
fn greeting(received: &[u8]) -> Option<std::result::Result<usize, ()>> {
    let mut length = 0;
    for _ in 0..2 {
        let line = received[length..].split_inclusive(|&byte| byte == b'\n').next()?;
        if line.starts_with(b"REJECTED") {
            return Some(Err(()));
        }
        if !line.ends_with(b"\n") {
            return None;
        }
        length += line.len();
    }
    Some(Ok(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_ends_with_its_second_line() {
        let whole = b"DATA\r\nOK 0123\r\n";
        assert_eq!(greeting(whole), Some(Ok(whole.len())));
        for length in 0..whole.len() {
            assert_eq!(greeting(&whole[..length]), None);
        }
        assert_eq!(greeting(b"REJECTED EXTERNAL\r\n"), Some(Err(())));
        assert_eq!(greeting(b"DATA\r\nREJECTED EXTERNAL\r\n"), Some(Err(())));
    }

    #[test]
    fn a_signal_may_come_with_the_greeting() {
        for signal in [&b"l\x04\x01\x01\x05\n\r\n\0"[..], b"l\x04REJECTED\r\n"] {
            assert_eq!(greeting(&[b"DATA\r\nOK 0123\r\n", signal].concat()), Some(Ok(15)));
        }
    }
}
