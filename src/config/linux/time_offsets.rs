//! `linux.timeOffsets` — the clocks of a new time namespace.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#offset-for-time-namespaces>

use std::collections::HashMap;
use std::os::fd::AsFd;

use oci_spec::runtime::LinuxTimeOffset;

use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::error::{At, Error, Field, Problems};
use crate::sys::file;

/// The lines of `/proc/PID/timens_offsets`, `time_namespaces(7)`: clock, seconds, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeOffsets(Vec<(&'static str, i64, u32)>);

impl TimeOffsets {
    /// Offsets need a new time namespace: those of an existing one cannot be changed any more.
    pub fn parse(
        offsets: &HashMap<String, LinuxTimeOffset>,
        namespaces: &Namespaces,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut lines = Vec::new();
        if !offsets.is_empty() && !namespaces.creates(Kind::Time) {
            problems.add("linux.timeOffsets", "need a new time namespace in linux.namespaces");
        }
        for (clock, offset) in offsets {
            let field = Field::new("linux.timeOffsets").key(clock);
            let nanoseconds = offset.nanosecs().unwrap_or(0);
            if nanoseconds > 999_999_999 {
                problems.add(field.key("nanosecs"), format!("{nanoseconds} is more than 999999999"));
            }
            match ["monotonic", "boottime"].iter().find(|known| *known == clock) {
                Some(known) => lines.push((*known, offset.secs().unwrap_or(0), nanoseconds)),
                None => problems.add(field, "is not a clock: it is monotonic or boottime"),
            }
        }
        problems.or(Self(lines))
    }

    /// Write the offsets of the time namespace that this process has made for its children, before anybody is in it.
    pub fn apply(&self, procfs: impl AsFd) -> Result<(), Error> {
        self.write("self", procfs)
    }

    /// The same for another process: the files of one that is not dumpable are root's, and in a user namespace it is not
    /// this root.
    pub fn write_for(&self, pid: i32, procfs: impl AsFd) -> Result<(), Error> {
        self.write(&pid.to_string(), procfs)
    }

    /// Whether the clocks stay as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn write(&self, process: &str, procfs: impl AsFd) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lines: String =
            self.0.iter().map(|(clock, secs, nanos)| format!("{clock} {secs} {nanos}\n")).collect();
        file::write_value(procfs, format!("{process}/timens_offsets"), &lines).at("linux.timeOffsets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<TimeOffsets, Problems> {
        TimeOffsets::parse(&serde_json::from_str(json).unwrap(), &Namespaces::created(&[Kind::Time]))
    }

    #[test]
    fn clocks_and_ranges() {
        assert_eq!(parse(r#"{"boottime":{"secs":-5}}"#).unwrap().0, [("boottime", -5, 0)]);
        assert!(parse(r#"{"realtime":{"secs":5}}"#).is_err());
        assert!(parse(r#"{"monotonic":{"nanosecs":1000000000}}"#).is_err());
    }

    #[test]
    fn a_namespace_is_needed() {
        let offsets = serde_json::from_str(r#"{"boottime":{"secs":5}}"#).unwrap();
        assert!(TimeOffsets::parse(&offsets, &Namespaces::default()).is_err());
    }
}
