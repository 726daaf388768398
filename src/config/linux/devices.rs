//! `linux.devices` and the default devices — nodes in the container's `/dev`.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#devices>

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use crate::error::{Field, Problems};
use crate::sys::file::SFlag;

/// A node to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where the config asks for it.
    pub field: Field,
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Character device, block device or FIFO.
    pub kind: SFlag,
    /// As `makedev(3)` makes it; 0 for a FIFO.
    pub number: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner, in the container's user namespace.
    pub uid: u32,
    /// Group, in the container's user namespace.
    pub gid: u32,
}

/// The nodes that the config lists, and those that every container has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(Vec<Device>);

/// The default devices of the spec: name, major, minor. They are for everybody to read and write.
const DEFAULT: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

impl Devices {
    /// A path may be listed once; a default device that is listed takes its mode and owner from the list.
    pub fn parse(list: &[LinuxDevice]) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut devices: Vec<Device> = Vec::with_capacity(list.len() + DEFAULT.len());
        for (i, entry) in list.iter().enumerate() {
            let field = Field::new("linux.devices").index(i);
            if let Some(device) = problems.keep(device(&field, entry)) {
                match devices.iter().find(|other| other.path == device.path) {
                    Some(other) if (other.kind, other.number) == (device.kind, device.number) => {}
                    Some(_) => problems.add(
                        field.key("path"),
                        format!("{:?} is listed twice, as different devices", device.path),
                    ),
                    None => devices.push(device),
                }
            }
        }
        for (name, major, minor) in DEFAULT {
            let path = Path::new("/dev").join(name);
            if !devices.iter().any(|device| device.path == path) {
                devices.push(Device {
                    field: Field::new("linux.devices (default)"),
                    path,
                    kind: SFlag::S_IFCHR,
                    number: nix::sys::stat::makedev(major, minor),
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                });
            }
        }
        problems.or(Self(devices))
    }

    /// In the config's order, the default ones last.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.0.iter()
    }
}

fn device(field: &Field, entry: &LinuxDevice) -> Result<Device, Problems> {
    let mut problems = Problems::default();
    let path = entry.path();
    if !path.is_absolute() {
        problems.add(field.key("path"), format!("{path:?} is not absolute"));
    }
    if let Some(rule) = super::super::path::too_long(path) {
        problems.add(field.key("path"), rule);
    }
    let kind = match entry.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        LinuxDeviceType::B => SFlag::S_IFBLK,
        LinuxDeviceType::P => SFlag::S_IFIFO,
        LinuxDeviceType::A => {
            problems.add(field.key("type"), "\"a\" is not a type of a node: it is c, b, u or p");
            SFlag::S_IFCHR
        }
    };
    let mut part = |key: &str, number: i64, bits: u32| match u64::try_from(number) {
        Ok(number) if number < 1 << bits => number,
        _ => {
            problems.add(field.key(key), format!("{number} is not between 0 and {}", (1_u64 << bits) - 1));
            0
        }
    };
    // The kernel's dev_t: 12 bits of major, 20 bits of minor.
    let number = match kind {
        SFlag::S_IFIFO => 0,
        _ => nix::sys::stat::makedev(part("major", entry.major(), 12), part("minor", entry.minor(), 20)),
    };
    for (key, id) in [("uid", entry.uid()), ("gid", entry.gid())] {
        if id == Some(u32::MAX) {
            problems.add(field.key(key), "4294967295 is not an id");
        }
    }
    // A mode with the bits of the file's type is what stat(2) gives, and what some callers send.
    let mode = entry.file_mode().unwrap_or(0o666);
    if mode & !(SFlag::S_IFMT.bits() | 0o7777) != 0 {
        problems.add(field.key("fileMode"), format!("{mode:#o} is not a mode"));
    }
    problems.or(Device {
        field: field.clone(),
        path: super::super::path::clean(path),
        kind,
        number,
        mode: mode & 0o7777,
        uid: entry.uid().unwrap_or(0),
        gid: entry.gid().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Devices, Problems> {
        Devices::parse(&serde_json::from_str::<Vec<LinuxDevice>>(json).unwrap())
    }

    #[test]
    fn defaults_are_added_once() {
        let devices =
            parse(r#"[{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":420}]"#).unwrap();
        assert_eq!(devices.0.len(), 6);
        assert_eq!(devices.0[0].mode, 0o644);
    }

    #[test]
    fn bad_entries() {
        for bad in [
            r#"[{"path":"dev/x","type":"c","major":1,"minor":3}]"#,
            r#"[{"path":"/dev/x","type":"a"}]"#,
            r#"[{"path":"/dev/x","type":"c","major":-7,"minor":3}]"#,
            r#"[{"path":"/dev/x","type":"c","major":1,"minor":1048576}]"#,
            r#"[{"path":"/dev/x","type":"c","major":1,"minor":3},{"path":"/dev//x","type":"c","major":1,"minor":5}]"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fifo_has_no_number() {
        assert_eq!(parse(r#"[{"path":"/dev/f","type":"p"}]"#).unwrap().0[0].kind, SFlag::S_IFIFO);
    }
}
