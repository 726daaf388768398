//! `process.ioPriority` — how soon the container process's input and output is done.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use oci_spec::runtime::{IOPriorityClass, LinuxIOPriority};

use crate::error::{At, Error, Problems};
use crate::sys::process::Pid;
use crate::sys::scheduling;

const FIELD: &str = "process.ioPriority";

/// Class and level for `ioprio_set(2)`; `None` leaves the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority(Option<(u16, u16)>);

impl IoPriority {
    /// Refuses a level that the classes do not have. The class without levels, idle, takes every one of them.
    pub fn parse(priority: Option<&LinuxIOPriority>) -> Result<Self, Problems> {
        let Some(given) = priority else { return Ok(Self(None)) };
        let class = match given.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        match u16::try_from(given.priority()) {
            Ok(level @ 0..=7) => Ok(Self(Some((class, level)))),
            _ => Err(Problems::one(
                format!("{FIELD}.priority"),
                format!("{} is not between 0 and 7", given.priority()),
            )),
        }
    }

    /// Set the priority of another process. By the parent: the real-time class takes a right of the initial user
    /// namespace.
    pub fn write_for(self, pid: Pid) -> Result<(), Error> {
        self.0.map_or(Ok(()), |(class, level)| scheduling::set_io_priority(pid, class, level).at(FIELD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: serde_json::Value) -> Result<IoPriority, String> {
        let priority: LinuxIOPriority = serde_json::from_value(json).unwrap();
        IoPriority::parse(Some(&priority)).map_err(|problems| problems.to_string())
    }

    #[test]
    fn levels_have_ends() {
        assert_eq!(parse(json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4})), Ok(IoPriority(Some((3, 4)))));
        assert_eq!(parse(json!({"class": "IOPRIO_CLASS_RT", "priority": 0})), Ok(IoPriority(Some((1, 0)))));
        for level in [-1, 8] {
            let text = parse(json!({"class": "IOPRIO_CLASS_BE", "priority": level})).unwrap_err();
            assert_eq!(text, format!("process.ioPriority.priority: {level} is not between 0 and 7"));
        }
        assert_eq!(IoPriority::parse(None), Ok(IoPriority(None)));
    }
}
