//! `process.rlimits` — resource limits of the container process.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#posix-process>

use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

use crate::error::{At, Error, Field, Problems};
use crate::sys;
use crate::sys::rlimit::{Pid, Resource};

/// One limit, and where the config has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rlimit {
    field: Field,
    resource: Resource,
    soft: u64,
    hard: u64,
}

/// The limits, in the order of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rlimits(Vec<Rlimit>);

impl Rlimits {
    /// Refuses a resource that is given twice and a soft limit above the hard one. A hard limit above the present one is
    /// the kernel's to refuse: it depends on the capabilities at the time of the call.
    pub fn parse(rlimits: Option<&[PosixRlimit]>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut limits: Vec<Rlimit> = Vec::new();
        for (index, rlimit) in rlimits.unwrap_or_default().iter().enumerate() {
            let field = Field::new("process.rlimits").index(index);
            let (soft, hard) = (rlimit.soft(), rlimit.hard());
            let resource = resource(rlimit.typ());
            if soft > hard {
                problems.add(field.key("soft"), format!("{soft} is more than the hard limit {hard}"));
            }
            if let Some(first) = limits.iter().find(|limit| limit.resource == resource) {
                let rule = format!("{} is already given by {}", rlimit.typ(), first.field);
                problems.add(field.key("type"), rule);
            }
            limits.push(Rlimit { field, resource, soft, hard });
        }
        problems.or(Self(limits))
    }

    /// Limit the caller.
    pub fn apply(&self) -> Result<(), Error> {
        self.apply_to(Pid::from_raw(0))
    }

    /// Limit another process. Raising a hard limit needs `CAP_SYS_RESOURCE` in the initial user namespace, which the
    /// caller may have and a container with a user namespace has not.
    pub fn write_for(&self, pid: Pid) -> Result<(), Error> {
        self.apply_to(pid)
    }

    fn apply_to(&self, pid: Pid) -> Result<(), Error> {
        for Rlimit { field, resource, soft, hard } in &self.0 {
            sys::rlimit::set(pid, *resource, *soft, *hard).at(field.clone())?;
        }
        Ok(())
    }
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: serde_json::Value) -> Result<Rlimits, String> {
        let rlimits: Vec<PosixRlimit> = serde_json::from_value(json).unwrap();
        Rlimits::parse(Some(&rlimits)).map_err(|problems| problems.to_string())
    }

    #[test]
    fn limits_beyond_the_present_ones_are_left_to_the_kernel() {
        let limits = parse(json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": u64::MAX}])).unwrap();
        let nofile = Rlimit {
            field: "process.rlimits[0]".into(),
            resource: Resource::RLIMIT_NOFILE,
            soft: 1024,
            hard: u64::MAX,
        };
        assert_eq!(limits, Rlimits(vec![nofile]));
        assert_eq!(Rlimits::parse(None), Ok(Rlimits(vec![])));
    }

    #[test]
    fn duplicates_and_soft_above_hard_are_refused() {
        let text = parse(json!([
            {"type": "RLIMIT_CORE", "soft": 2, "hard": 1},
            {"type": "RLIMIT_NPROC", "soft": 1, "hard": 1},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]))
        .unwrap_err();
        assert_eq!(
            text,
            "process.rlimits[0].soft: 2 is more than the hard limit 1; \
             process.rlimits[2].type: RLIMIT_CORE is already given by process.rlimits[0]"
        );
    }

    #[test]
    fn every_type_of_the_spec_is_its_namesake() {
        for name in [
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        ] {
            let name = format!("RLIMIT_{name}");
            let kind: PosixRlimitType = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(format!("{:?}", resource(kind)), name);
        }
    }
}
