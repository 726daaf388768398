//! `linux.resources.unified` — files of cgroup v2, as they are.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#unified>

use std::collections::HashMap;

use super::property::{INFINITY, Property, Value, mask};
use super::{Limit, Write, cpu};
use crate::cgroup::hierarchy::Hierarchy;
use crate::error::{Field, Problems};
use crate::host::Host;

const FIELD: &str = "linux.resources.unified";

/// Files of the core that are no limits: they move, kill or stop processes, or give controllers away.
const NOT_RESOURCES: [&str; 5] =
    ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control"];

/// Files and values, sorted by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unified(Vec<(Key, String)>);

/// `CONTROLLER.PARAMETER`, a file name and no path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl Unified {
    /// Any file of any controller that the host has, known to us or not; never on v1.
    pub fn parse(spec: Option<&HashMap<String, String>>, host: &Host) -> Result<Self, Problems> {
        let Some(spec) = spec.filter(|spec| !spec.is_empty()) else { return Ok(Self::default()) };
        if !matches!(host.hierarchy, Hierarchy::V2(_)) {
            return Err(Problems::one(
                FIELD,
                "cannot be used: this host has no unified (v2) cgroup hierarchy",
            ));
        }
        let mut problems = Problems::default();
        let mut files = Vec::new();
        for (key, value) in spec {
            let Some(key) = problems.keep(Key::parse(key)) else { continue };
            if key.controller() != "cgroup" {
                let as_v1 = if key.controller() == "io" { "blkio" } else { key.controller() };
                problems.keep(host.hierarchy.require(as_v1, key.field()));
            }
            if value.contains('\0') {
                problems.add(key.field(), "the value has a NUL byte in it");
            }
            files.push((key, value.clone()));
        }
        files.sort();
        problems.or(Self(files))
    }

    /// What systemd writes itself, and would write over.
    pub fn systemd(&self) -> Vec<Property> {
        let number = |text: &str| if text == "max" { Some(INFINITY) } else { text.parse().ok() };
        let property = |(key, value): &(Key, String)| {
            let value = value.trim();
            let limit = |name| number(value).map(|value| vec![Property::number(name, value)]);
            match key.0.as_str() {
                "memory.max" => limit("MemoryMax"),
                "memory.high" => limit("MemoryHigh"),
                "memory.low" => limit("MemoryLow"),
                "memory.min" => limit("MemoryMin"),
                "memory.swap.max" => limit("MemorySwapMax"),
                "memory.oom.group" => {
                    let policy = if value == "1" { "kill" } else { "continue" };
                    Some(vec![Property::young("OOMPolicy", Value::Text(policy.into()))])
                }
                "pids.max" => limit("TasksMax"),
                "cpu.weight" => limit("CPUWeight"),
                "io.weight" => {
                    let weight = value.strip_prefix("default ").unwrap_or(value);
                    weight.parse().ok().map(|weight| vec![Property::number("IOWeight", weight)])
                }
                "cpu.max" => {
                    let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
                    let (quota, period) = (number(quota)?, period.trim().parse().ok()?);
                    let quota = if quota == INFINITY { Limit::Unlimited } else { Limit::At(quota) };
                    let per_second = cpu::per_second(quota, period);
                    let period = Property::young("CPUQuotaPeriodUSec", Value::U64(period));
                    Some(vec![Property::number("CPUQuotaPerSecUSec", per_second), period])
                }
                "cpuset.cpus" => Some(vec![Property::young("AllowedCPUs", mask(value))]),
                "cpuset.mems" => Some(vec![Property::young("AllowedMemoryNodes", mask(value))]),
                _ => None,
            }
        };
        self.0.iter().filter_map(property).flatten().collect()
    }

    /// The kernel takes a line per write.
    pub fn v2(&self) -> Vec<Write> {
        let writes = self.0.iter().flat_map(|(key, value)| {
            let lines: Vec<&str> = if value.is_empty() { vec![""] } else { value.lines().collect() };
            let write = |line| Write::new(key.field(), key.controller().to_owned(), key.0.clone(), line);
            lines.into_iter().map(write)
        });
        writes.collect()
    }
}

impl Key {
    fn parse(key: &str) -> Result<Self, Problems> {
        let field = Field::new(FIELD).key(key);
        let is_name = |part: &str| !part.is_empty() && part != "." && part != "..";
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        let parts = key.split_once('.').filter(|(controller, parameter)| {
            is_name(controller) && is_name(parameter) && !parameter.starts_with('.')
        });
        if parts.is_none() || key.len() > 255 || !key.bytes().all(fits) {
            return Err(Problems::one(field, "is not a file name of the form CONTROLLER.PARAMETER"));
        }
        if NOT_RESOURCES.contains(&key) {
            return Err(Problems::one(field, "is not a resource"));
        }
        Ok(Self(key.into()))
    }

    fn controller(&self) -> &str {
        self.0.split_once('.').map_or("", |(controller, _)| controller)
    }

    fn field(&self) -> Field {
        Field::new(FIELD).key(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str, host: &Host) -> Result<Unified, String> {
        let spec: HashMap<String, String> = serde_json::from_str(json).unwrap();
        Unified::parse(Some(&spec), host).map_err(|p| p.to_string())
    }

    #[test]
    fn lines_are_written_one_by_one_and_unknown_files_too() {
        let json = r#"{"io.max":"259:0 rbps=1\n253:0 wiops=2","hugetlb.1GB.max":"5","misc.new-thing":"x",
            "cgroup.max.depth":"3"}"#;
        let writes = parse(json, &examples::v2()).unwrap().v2();
        let files: Vec<_> = writes.iter().map(|w| (&*w.controller, &*w.file, &*w.value)).collect();
        assert_eq!(
            files,
            [
                ("cgroup", "cgroup.max.depth", "3"),
                ("hugetlb", "hugetlb.1GB.max", "5"),
                ("io", "io.max", "259:0 rbps=1"),
                ("io", "io.max", "253:0 wiops=2"),
                ("misc", "misc.new-thing", "x")
            ]
        );
    }

    #[test]
    fn keys_stay_in_the_cgroup() {
        for key in [
            "../../cgroup.procs",
            "a/../b",
            "..",
            "memory",
            "memory.",
            ".max",
            "memory..",
            "memory.a b",
            "cgroup.procs",
            "cgroup.freeze",
        ] {
            let json = serde_json::to_string(&HashMap::from([(key, "1")])).unwrap();
            assert!(parse(&json, &examples::v2()).is_err(), "{key}");
        }
    }

    #[test]
    fn v1_and_missing_controllers_are_refused() {
        let json = r#"{"nosuch.max":"1"}"#;
        assert!(parse(json, &examples::v1()).unwrap_err().contains("no unified (v2)"));
        assert_eq!(
            parse(json, &examples::v2()).unwrap_err(),
            "linux.resources.unified.nosuch.max: this host has no cgroup controller \"nosuch\""
        );
    }
}
