//! `linux.resources.unified` — files of cgroup v2, as they are.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#unified>

use std::collections::HashMap;

use super::property::{Disks, INFINITY, Property, Value, mask};
use super::{Limit, Write, block_io, cpu};
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
                "invalid configuration: this host has no unified (v2) cgroup hierarchy",
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
    pub fn systemd(&self, disks: &Disks) -> Vec<Property> {
        self.0.iter().flat_map(|(key, value)| properties(&key.0, value.trim(), disks)).collect()
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

/// What systemd calls the value of a file; nothing, if it leaves the file alone or takes no such value.
fn properties(file: &str, value: &str, disks: &Disks) -> Vec<Property> {
    let amount = number(value);
    let limit = |since, name| amount.map(|amount| Property::since(since, name, Value::U64(amount)));
    let one = match file {
        "memory.max" => limit(0, "MemoryMax"),
        "memory.high" => limit(0, "MemoryHigh"),
        "memory.low" => limit(0, "MemoryLow"),
        "memory.min" => limit(0, "MemoryMin"),
        "memory.swap.max" => limit(0, "MemorySwapMax"),
        "memory.zswap.max" => limit(253, "MemoryZSwapMax"),
        "memory.zswap.writeback" => {
            Some(Property::since(256, "MemoryZSwapWriteback", Value::Bool(value == "1")))
        }
        "memory.oom.group" => {
            let policy = if value == "1" { "kill" } else { "continue" };
            Some(Property::since(253, "OOMPolicy", Value::Text(policy.into())))
        }
        "pids.max" => limit(0, "TasksMax"),
        "cpu.weight" => limit(0, "CPUWeight"),
        "cpu.idle" => (value == "1").then(|| cpu::weight_property(cpu::IDLE_WEIGHT)),
        "cpuset.cpus" => Some(Property::since(244, "AllowedCPUs", mask(value))),
        "cpuset.mems" => Some(Property::since(244, "AllowedMemoryNodes", mask(value))),
        "cpu.max" => return bandwidth(value).unwrap_or_default(),
        "io.max" => return value.lines().flat_map(|line| block_io::rates_of_line(line, disks)).collect(),
        "io.weight" => return value.lines().filter_map(|line| weight(line, disks)).collect(),
        "io.latency" => return value.lines().filter_map(|line| latency(line, disks)).collect(),
        _ => None,
    };
    one.into_iter().collect()
}

fn number(text: &str) -> Option<u64> {
    if text == "max" { Some(INFINITY) } else { text.parse().ok() }
}

/// `50000 100000`
fn bandwidth(value: &str) -> Option<Vec<Property>> {
    let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
    let (quota, period) = (number(quota)?, period.trim().parse().ok()?);
    let quota = if quota == INFINITY { Limit::Unlimited } else { Limit::At(quota) };
    let per_second = Property::number("CPUQuotaPerSecUSec", cpu::per_second(quota, period));
    Some(vec![per_second, Property::since(242, "CPUQuotaPeriodUSec", Value::U64(period))])
}

/// `100`, `default 100`, `8:0 100`
fn weight(line: &str, disks: &Disks) -> Option<Property> {
    let (device, weight) = line.trim().split_once(' ').unwrap_or(("default", line.trim()));
    let weight = weight.trim().parse().ok()?;
    match device {
        "default" => Some(Property::number("IOWeight", weight)),
        device => disks(device).then(|| Property::amount("IODeviceWeight", device, weight)),
    }
}

/// `8:0 target=75000`, in microseconds.
fn latency(line: &str, disks: &Disks) -> Option<Property> {
    let (device, target) = line.trim().split_once(" target=")?;
    let property = Property::amount("IODeviceLatencyTargetUSec", device, target.trim().parse().ok()?);
    disks(device).then_some(Property { since: 240, ..property })
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
    fn what_systemd_would_write_over() {
        let amount = Property::amount;
        let number = |name: &str, value| Property::number(name, value);
        let since = |version, name: &str, value| Property::since(version, name, value);
        for (file, value, expected) in [
            ("memory.max", "max", vec![number("MemoryMax", INFINITY)]),
            ("memory.high", "4096\n", vec![number("MemoryHigh", 4096)]),
            ("memory.zswap.max", "0", vec![since(253, "MemoryZSwapMax", Value::U64(0))]),
            ("memory.oom.group", "1", vec![since(253, "OOMPolicy", Value::Text("kill".into()))]),
            ("cpu.idle", "1", vec![since(252, "CPUWeight", Value::U64(0))]),
            ("cpu.idle", "0", vec![]),
            (
                "cpu.max",
                "50000 200000",
                vec![
                    number("CPUQuotaPerSecUSec", 250_000),
                    since(242, "CPUQuotaPeriodUSec", Value::U64(200_000)),
                ],
            ),
            ("cpuset.cpus", "0-1", vec![since(244, "AllowedCPUs", Value::Bytes(vec![3]))]),
            (
                "io.max",
                "8:0 rbps=7 wiops=max\n8:1 rbps=9",
                vec![amount("IOReadBandwidthMax", "8:0", 7), amount("IOWriteIOPSMax", "8:0", INFINITY)],
            ),
            (
                "io.weight",
                "default 50\n8:0 60",
                vec![number("IOWeight", 50), amount("IODeviceWeight", "8:0", 60)],
            ),
            ("io.weight", "8:1 60", vec![]),
            ("memory.max", "nonsense", vec![]),
            ("hugetlb.2MB.max", "1", vec![]),
            ("cpu.max.burst", "1", vec![]),
        ] {
            assert_eq!(properties(file, value.trim(), &|device| device == "8:0"), expected, "{file} {value}");
        }
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
