//! Properties of systemd's units: what the third column of each controller is made of.
//!
//! `systemd.resource-control(5)`, `org.freedesktop.systemd1(5)`.

/// A property of a unit, as `StartTransientUnit` and `SetUnitProperties` take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name on D-Bus.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// The version of systemd that knows it, or this value of it. 0 is all that crust works with.
    pub since: u16,
}

/// A value, of one of the types of D-Bus that are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `au`
    Numbers(Vec<u32>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
    /// `a(st)`
    Amounts(Vec<(String, u64)>),
}

/// Whether a device, as `8:0`, is a disk of its own, and no part of another.
pub type Disks<'a> = dyn Fn(&str) -> bool + 'a;

/// systemd's `infinity`.
pub const INFINITY: u64 = u64::MAX;

impl Property {
    /// A property.
    pub fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value, since: 0 }
    }

    /// The same, which an older systemd has to go without.
    pub fn since(version: u16, name: impl Into<String>, value: Value) -> Self {
        Self { since: version, ..Self::new(name, value) }
    }

    /// An amount for a block device, added to those of other devices.
    pub fn amount(name: impl Into<String>, device: &str, amount: u64) -> Self {
        Self::new(name, Value::Amounts(vec![(format!("/dev/block/{device}"), amount)]))
    }

    /// A number of bytes, tasks, microseconds.
    pub fn number(name: impl Into<String>, value: u64) -> Self {
        Self::new(name, Value::U64(value))
    }
}

/// A list as `0-2,7` as systemd's bit mask, the lowest number first.
pub fn mask(list: &str) -> Value {
    let mut bytes = Vec::new();
    for item in list.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else {
            continue;
        };
        // More CPUs than any kernel takes are no longer list.
        for number in first..=last.min(1 << 16) {
            let byte = number / 8;
            if bytes.len() <= byte {
                bytes.resize(byte + 1, 0);
            }
            bytes[byte] |= 1 << (number % 8);
        }
    }
    Value::Bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(mask("0-2,7"), Value::Bytes(vec![0b1000_0111]));
        assert_eq!(mask("9"), Value::Bytes(vec![0, 2]));
        assert_eq!(mask(""), Value::Bytes(vec![]));
    }
}
