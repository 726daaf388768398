//! JSON as serde's types read it, with one difference: an object is never written as a list.
//!
//! What serde derives for a structure also takes a list, whose elements are the members in their order. A `process` that is
//! a list would be read, with whatever the crate's order makes of it, and other runtimes would refuse it.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// A value to be read.
#[derive(Clone, Copy, Debug)]
pub struct Strict<'a>(pub &'a Value);

impl<'de> IntoDeserializer<'de, Error> for Strict<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Strict<'_> {
    fn unexpected(&self) -> Unexpected<'_> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Unexpected::Unsigned(number),
                (None, Some(number)) => Unexpected::Signed(number),
                (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(list) => {
                let mut elements = SeqDeserializer::new(list.iter().map(Strict));
                let value = visitor.visit_seq(&mut elements)?;
                elements.end().map(|()| value)
            }
            Value::Object(map) => {
                let members = map.iter().map(|(key, value)| (key.as_str(), Strict(value)));
                let mut members = MapDeserializer::new(members);
                let value = visitor.visit_map(&mut members)?;
                members.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.0.is_array() {
            return Err(Error::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            _ => Err(Error::invalid_type(self.unexpected(), &"a string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// The keys of config.json whose values are lists.
const LISTS: &[&[u8]] = &[
    b"additionalGids",
    b"ambient",
    b"architectures",
    b"args",
    b"bounding",
    b"createContainer",
    b"createRuntime",
    b"devices",
    b"effective",
    b"env",
    b"flags",
    b"gidMappings",
    b"hugepageLimits",
    b"inheritable",
    b"maskedPaths",
    b"mounts",
    b"names",
    b"namespaces",
    b"options",
    b"permitted",
    b"poststart",
    b"poststop",
    b"prestart",
    b"priorities",
    b"readonlyPaths",
    b"rlimits",
    b"schemata",
    b"startContainer",
    b"syscalls",
    b"throttleReadBpsDevice",
    b"throttleReadIOPSDevice",
    b"throttleWriteBpsDevice",
    b"throttleWriteIOPSDevice",
    b"uidMappings",
    b"weightDevice",
];

/// Whether a list may stand where config.json has an object: behind a key that is not of a list, or in another list. One
/// pass over the bytes; where it says yes too often, reading only takes longer.
pub fn may_have_list_for_object(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().rposition(|c| *c == b'[') {
        rest = rest[..at].trim_ascii_end();
        let suspicious = match rest.last() {
            Some(b':') => !LISTS.contains(&key(rest[..rest.len() - 1].trim_ascii_end())),
            Some(b'[' | b',') => true,
            _ => false,
        };
        if suspicious {
            return true;
        }
    }
    false
}

/// The last string, as it stands.
fn key(bytes: &[u8]) -> &[u8] {
    let Some((b'"', text)) = bytes.split_last() else { return b"" };
    text.rsplit(|c| *c == b'"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;

    #[test]
    fn lists_in_their_places_are_quick() {
        let config =
            r#"{"mounts" : [ {"options": ["a"]} ],"process":{"args":["["],"user":{"additionalGids":[]}}}"#;
        assert!(!may_have_list_for_object(config.as_bytes()));
        for bad in [
            r#"{"process":[]}"#,
            r#"{"mounts":[[1]]}"#,
            r#"{"mounts":[{},[1]]}"#,
            "{\"process\" :\n[]}",
            r#"{"\u0061rgs":[]}"#,
        ] {
            assert!(may_have_list_for_object(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn it_reads_what_serde_reads() {
        let config = serde_json::json!({
            "ociVersion": "1.3.0", "root": { "path": "r", "readonly": null }, "hostname": "h",
            "mounts": [{ "destination": "/a", "options": ["ro"], "uidMappings": [
                { "containerID": 0, "hostID": 1, "size": 1 },
            ] }],
            "process": { "cwd": "/", "args": ["a"], "user": { "uid": 1, "gid": 2, "additionalGids": [3] },
                "capabilities": { "bounding": ["CAP_KILL"] }, "oomScoreAdj": -7,
                "rlimits": [{ "type": "RLIMIT_CORE", "soft": 1, "hard": 18_446_744_073_709_551_615_u64 }] },
            "hooks": { "poststop": [{ "path": "/h", "timeout": 5 }] },
            "annotations": { "a": "b" },
            "linux": {
                "namespaces": [{ "type": "pid" }], "sysctl": { "kernel.x": "1" }, "maskedPaths": ["/p"],
                "resources": { "memory": { "limit": -1 }, "devices": [{ "allow": false, "access": "rwm" }],
                    "pids": { "limit": 5 }, "unified": { "a": "b" } },
                "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [
                    { "names": ["a"], "action": "SCMP_ACT_LOG", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] },
                ] },
                "netDevices": { "a": {} }, "timeOffsets": { "monotonic": { "secs": -5 } },
            },
        });
        assert!(!may_have_list_for_object(config.to_string().as_bytes()));
        let spec: Spec = serde_path_to_error::deserialize(Strict(&config)).unwrap();
        assert_eq!(serde_json::from_value::<Spec>(config).unwrap(), spec);
    }

    #[test]
    fn a_list_is_no_object() {
        for (config, path) in [
            (r#"{"ociVersion":"1.0.0","process":[]}"#, "process"),
            (r#"{"ociVersion":"1.0.0","mounts":[["/a"]]}"#, "mounts[0]"),
            (r#"{"ociVersion":"1.0.0","linux":{"netDevices":{"a":["b"]}}}"#, "linux.netDevices.a"),
        ] {
            let config: Value = serde_json::from_str(config).unwrap();
            let error = serde_path_to_error::deserialize::<_, Spec>(Strict(&config)).unwrap_err();
            assert_eq!(error.path().to_string(), path);
            assert!(
                error.inner().to_string().starts_with("invalid type: sequence, expected struct"),
                "{error}"
            );
        }
    }
}
