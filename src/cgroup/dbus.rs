//! Just enough D-Bus to ask systemd: calls and their answers on a stream, each within a time.
//!
//! <https://dbus.freedesktop.org/doc/dbus-specification.html>. On systemd's private socket there is no bus: no `Hello`,
//! no match rules, and every signal comes by itself. A call is one message there and one back.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::linux::resources::property::{Property, Value};
use crate::sys::{Errno, Error, Result, file, process, socket};

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

/// What comes in.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The answer to the call with this number, and its first text if it has one (the path of a job).
    Answer(u32, String),
    /// The same for an error: its name and its text.
    Error(u32, String, String),
    /// A job is over: the job, and its result.
    JobRemoved(String, String),
    /// Anything else.
    Other,
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

/// Values in D-Bus's binary form, each aligned to its size.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    signature: String,
}

impl Body {
    /// A text.
    pub fn text(mut self, text: &str) -> Self {
        self.signature += "s";
        self.put_text(text);
        self
    }

    /// A truth value.
    pub fn bool(mut self, value: bool) -> Self {
        self.signature += "b";
        self.put_u32(u32::from(value));
        self
    }

    /// Properties of a unit: `a(sv)`.
    pub fn properties(mut self, properties: &[Property]) -> Self {
        self.signature += "a(sv)";
        self.put_array(8, |body| {
            for property in properties {
                body.align(8);
                body.put_text(&property.name);
                body.put_variant(&property.value);
            }
        });
        self
    }

    /// No further units: an empty `a(sa(sv))`.
    pub fn no_units(mut self) -> Self {
        self.signature += "a(sa(sv))";
        self.put_array(8, |_| {});
        self
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put_u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    fn put_text(&mut self, text: &str) {
        self.put_u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn put_signature(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// The length is that of the elements, without the padding before the first.
    fn put_array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.put_u32(0);
        let at = self.bytes.len() - 4;
        self.align(alignment);
        let begin = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - begin) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn put_variant(&mut self, value: &Value) {
        self.put_signature(match value {
            Value::Bool(_) => "b",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::U64(_) => "t",
            Value::Text(_) => "s",
            Value::Texts(_) => "as",
            Value::Bytes(_) => "ay",
            Value::Numbers(_) => "au",
            Value::Pairs(_) => "a(ss)",
            Value::Amounts(_) => "a(st)",
        });
        match value {
            Value::Bool(value) => self.put_u32(u32::from(*value)),
            Value::I32(value) => self.put_u32(value.cast_unsigned()),
            Value::U32(value) => self.put_u32(*value),
            Value::U64(value) => self.put_u64(*value),
            Value::Text(text) => self.put_text(text),
            Value::Texts(texts) => {
                self.put_array(4, |body| texts.iter().for_each(|text| body.put_text(text)))
            }
            Value::Bytes(bytes) => self.put_array(1, |body| body.bytes.extend(bytes)),
            Value::Numbers(numbers) => {
                self.put_array(4, |body| numbers.iter().for_each(|number| body.put_u32(*number)));
            }
            Value::Pairs(pairs) => self.put_array(8, |body| {
                for (first, second) in pairs {
                    body.align(8);
                    body.put_text(first);
                    body.put_text(second);
                }
            }),
            Value::Amounts(amounts) => self.put_array(8, |body| {
                for (path, amount) in amounts {
                    body.align(8);
                    body.put_text(path);
                    body.put_u64(*amount);
                }
            }),
        }
    }
}

// The codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION_FIELD: u8 = 6;
const SIGNATURE: u8 = 8;

fn call(object: Object, member: &str, body: &Body, serial: u32) -> Vec<u8> {
    let mut header = Body::default();
    header.bytes.extend([b'l', 1, 0, 1]);
    header.put_u32(body.bytes.len() as u32);
    header.put_u32(serial);
    let texts = [
        (PATH, "o", object.path),
        (INTERFACE, "s", object.interface),
        (MEMBER, "s", member),
        (DESTINATION_FIELD, "s", object.destination),
    ];
    header.put_array(8, |header| {
        for (code, signature, text) in texts {
            header.align(8);
            header.bytes.push(code);
            header.put_signature(signature);
            header.put_text(text);
        }
        if !body.signature.is_empty() {
            header.align(8);
            header.bytes.push(SIGNATURE);
            header.put_signature("g");
            header.put_signature(&body.signature);
        }
    });
    header.align(8);
    header.bytes.extend(&body.bytes);
    header.bytes
}

/// How long the message is that begins here, once enough of it is there to tell.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..16)?;
    let mut reader = Reader { bytes: header, at: 4, big: header[0] == b'B' };
    let body = reader.u32()? as usize;
    let _serial = reader.u32()?;
    let fields = reader.u32()? as usize;
    Some((16_usize.saturating_add(fields)).next_multiple_of(8).saturating_add(body))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(*self.take(1)?.first()?);
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader { bytes, at: 12, big: *bytes.first()? == b'B' };
    let end = 16 + reader.u32()? as usize;
    let (mut member, mut error, mut signature, mut answers) = Default::default();
    while reader.at < end {
        reader.align(8);
        let code = *reader.take(1)?.first()?;
        match (code, reader.signature()?.as_str()) {
            (MEMBER, "s") => member = reader.text()?,
            (ERROR_NAME, "s") => error = reader.text()?,
            (REPLY_SERIAL, "u") => answers = reader.u32()?,
            (SIGNATURE, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.u32()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
    }
    reader.at = end;
    reader.align(8);
    let has_text = str::starts_with(&signature, ['s', 'o']);
    Some(match bytes[1] {
        2 => Message::Answer(answers, if has_text { reader.text()? } else { String::new() }),
        3 => Message::Error(answers, error, if has_text { reader.text()? } else { String::new() }),
        4 if member == "JobRemoved" && signature == "uoss" => {
            let _number = reader.u32()?;
            let (job, _unit, result) = (reader.text()?, reader.text()?, reader.text()?);
            Message::JobRemoved(job, result)
        }
        _ => Message::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_bytes() {
        let bytes = call(BUS, "Hello", &Body::default(), 1);
        assert_eq!(&bytes[..12], [b'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(message_length(&bytes), Some(bytes.len()));
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(message_length(&bytes[..15]), None);
    }

    #[test]
    fn properties_are_aligned() {
        let property = Property::number("A", 5);
        let body = Body::default().bool(true).properties(&[property]);
        assert_eq!(body.signature, "ba(sv)");
        let expected: &[u8] = &[
            1, 0, 0, 0, // true
            24, 0, 0, 0, // length of the array
            1, 0, 0, 0, b'A', 0, // name
            1, b't', 0, // signature of the variant
            0, 0, 0, 0, 0, 0, 0, // padding
            5, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(body.bytes, expected);
    }

    #[test]
    fn answers_are_understood() {
        // An answer is a call with another type and other fields.
        let mut header = Body::default();
        header.bytes.extend([b'l', 2, 0, 1]);
        header.put_u32(9);
        header.put_u32(77);
        header.put_array(8, |header| {
            header.bytes.push(REPLY_SERIAL);
            header.put_signature("u");
            header.put_u32(3);
            header.align(8);
            header.bytes.push(SIGNATURE);
            header.put_signature("g");
            header.put_signature("o");
        });
        header.align(8);
        header.put_text("/job");
        assert_eq!(message_length(&header.bytes), Some(header.bytes.len()));
        assert_eq!(parse(&header.bytes), Some(Message::Answer(3, "/job".into())));
        for length in 0..header.bytes.len() {
            let _no_panic = parse(&header.bytes[..length]);
        }
    }
}
