//! What goes out: a call and its arguments, in D-Bus's binary form.

use super::Object;
use super::message::{DESTINATION_FIELD, INTERFACE, MEMBER, PATH, SIGNATURE};
use crate::config::linux::resources::property::{Property, Value};

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

/// The bytes of a call.
pub fn call(object: Object, member: &str, body: &Body, serial: u32) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::super::BUS;
    use super::super::message::{Message, REPLY_SERIAL, message_length, parse};
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
