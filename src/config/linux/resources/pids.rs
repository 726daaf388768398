//! `linux.resources.pids` — the number of tasks.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#pids>

use std::num::NonZeroU64;

use oci_spec::runtime::LinuxPids;

use super::Write;
use super::property::{INFINITY, Property};
use crate::error::Problems;
use crate::host::Host;

const FIELD: &str = "linux.resources.pids";
const LIMIT: &str = "linux.resources.pids.limit";

/// `pids.limit`, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pids(pub Option<PidsLimit>);

/// The most tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidsLimit {
    /// Any number.
    Unlimited,
    /// This many.
    At(NonZeroU64),
}

impl Pids {
    /// Negative is unlimited. Zero becomes one: the container process itself is a task, and with zero it could not be
    /// forked into the cgroup; systemd takes no zero either.
    pub fn parse(spec: Option<&LinuxPids>, host: &Host) -> Result<Self, Problems> {
        let Some(spec) = spec else { return Ok(Self(None)) };
        host.hierarchy.require("pids", FIELD)?;
        Ok(Self(Some(match u64::try_from(spec.limit()) {
            Err(_) => PidsLimit::Unlimited,
            Ok(limit) => PidsLimit::At(NonZeroU64::new(limit).unwrap_or(NonZeroU64::MIN)),
        })))
    }

    /// The same file in both versions.
    pub fn v1(&self) -> Vec<Write> {
        let value = match self.0 {
            None => return vec![],
            Some(PidsLimit::Unlimited) => "max".into(),
            Some(PidsLimit::At(limit)) => limit.to_string(),
        };
        vec![Write::new(LIMIT, "pids", "pids.max", value)]
    }

    /// The same in both versions.
    pub fn systemd(&self) -> Vec<Property> {
        let limit = self.0.map(|limit| match limit {
            PidsLimit::Unlimited => INFINITY,
            PidsLimit::At(limit) => limit.get(),
        });
        limit.map(|limit| Property::number("TasksMax", limit)).into_iter().collect()
    }

    /// The same file in both versions.
    pub fn v2(&self) -> Vec<Write> {
        self.v1()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    #[test]
    fn values() {
        for (limit, expected) in [(2048, "2048"), (-1, "max"), (i64::MIN, "max"), (0, "1")] {
            let mut spec = LinuxPids::default();
            spec.set_limit(limit);
            let pids = Pids::parse(Some(&spec), &examples::v2()).unwrap();
            assert_eq!(pids.v2(), [Write::new(LIMIT, "pids", "pids.max", expected)]);
            assert_eq!(pids.v1(), pids.v2());
        }
        assert_eq!(Pids::parse(None, &examples::v2()).unwrap().v1(), []);
    }
}
