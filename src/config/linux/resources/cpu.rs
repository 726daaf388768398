//! `linux.resources.cpu` — shares, bandwidth in microseconds, and sets of CPUs and memory nodes.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#cpu>

use oci_spec::runtime::LinuxCpu;

use super::property::{INFINITY, Property, Value, mask};
use super::{Limit, Write};
use crate::cgroup::hierarchy::Version;
use crate::error::Problems;
use crate::host::Host;

const FIELD: &str = "linux.resources.cpu";
const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const BURST: &str = "linux.resources.cpu.burst";
const IDLE: &str = "linux.resources.cpu.idle";
const REALTIME_RUNTIME: &str = "linux.resources.cpu.realtimeRuntime";
const REALTIME_PERIOD: &str = "linux.resources.cpu.realtimePeriod";
const CPUS: &str = "linux.resources.cpu.cpus";
const MEMS: &str = "linux.resources.cpu.mems";

/// The least and the most that the kernel takes (`MIN_SHARES`, `MAX_SHARES` in `kernel/sched`).
const SHARES_RANGE: (u64, u64) = (2, 262_144);

/// The shortest and the longest period of the CFS, in microseconds; no quota is shorter than the former either.
const PERIOD_RANGE: (u64, u64) = (1_000, 1_000_000);

/// `CGROUP_WEIGHT_IDLE` of systemd 252.
pub(super) const IDLE_WEIGHT: u64 = 0;

/// The kernel's, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// Limits of the controllers cpu and cpuset. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Relative to the siblings, 2 to 262144.
    pub shares: Option<u64>,
    /// Microseconds in a period.
    pub quota: Option<Limit>,
    /// Microseconds.
    pub period: Option<u64>,
    /// Microseconds that may be saved up.
    pub burst: Option<u64>,
    /// Whether it only runs when nothing else does.
    pub idle: Option<Idle>,
    /// Microseconds; -1 lifts the limit.
    pub realtime_runtime: Option<i64>,
    /// Microseconds.
    pub realtime_period: Option<u64>,
    /// A list as `0-3,7`.
    pub cpus: Option<String>,
    /// A list as `0-3,7`.
    pub mems: Option<String>,
}

/// `idle`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// 0: shares count.
    No,
    /// 1: `SCHED_IDLE`, the least weight there is; the kernel refuses to set shares then.
    Yes,
}

impl Cpu {
    /// Zeros leave as it is; shares beyond the kernel's range become its ends, as the kernel would do itself.
    pub fn parse(spec: Option<&LinuxCpu>, host: &Host) -> Result<Self, Problems> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        let cpu = Self {
            shares: spec.shares().filter(|&n| n != 0).map(|n| n.clamp(SHARES_RANGE.0, SHARES_RANGE.1)),
            quota: spec.quota().filter(|&n| n != 0).map(quota),
            period: spec.period().filter(|&n| n != 0),
            burst: spec.burst(),
            idle: problems.keep(idle(spec.idle())).flatten(),
            realtime_runtime: spec.realtime_runtime().filter(|&n| n != 0),
            realtime_period: spec.realtime_period().filter(|&n| n != 0),
            cpus: problems.keep(list(CPUS, spec.cpus().as_deref())).flatten(),
            mems: problems.keep(list(MEMS, spec.mems().as_deref())).flatten(),
        };
        if let Some(period) = cpu.period.filter(|n| !(PERIOD_RANGE.0..=PERIOD_RANGE.1).contains(n)) {
            problems.add(PERIOD, format!("{period} is not between 1000 and 1000000 microseconds"));
        }
        if let Some(Limit::At(quota)) = cpu.quota {
            if quota < PERIOD_RANGE.0 {
                problems.add(QUOTA, format!("{quota} is less than 1000 microseconds"));
            } else if let Some(burst) = cpu.burst.filter(|&burst| burst > quota) {
                problems.add(BURST, format!("{burst} is more than cpu.quota {quota}"));
            }
        }
        let writes = cpu.v1();
        for controller in ["cpu", "cpuset"] {
            if writes.iter().any(|write| write.controller == controller) {
                problems.keep(host.hierarchy.require(controller, FIELD));
            }
        }
        problems.or(cpu)
    }

    /// The period before the quota, as their ratio must fit the parent's; the other order is tried where that fails.
    pub fn v1(&self) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut add = |field, file: &'static str, value: Option<String>| {
            let value = value.map(|value| Write::new(field, controller(file), file, value));
            writes.extend(value);
        };
        add(REALTIME_PERIOD, "cpu.rt_period_us", self.realtime_period.map(|n| n.to_string()));
        add(REALTIME_RUNTIME, "cpu.rt_runtime_us", self.realtime_runtime.map(|n| n.to_string()));
        add(IDLE, "cpu.idle", self.idle.map(Idle::value));
        add(SHARES, "cpu.shares", self.shares_in_force().map(|n| n.to_string()));
        add(PERIOD, "cpu.cfs_period_us", self.period.map(|n| n.to_string()));
        add(QUOTA, "cpu.cfs_quota_us", self.quota.map(Limit::or_minus_one));
        add(BURST, "cpu.cfs_burst_us", self.burst.map(|n| n.to_string()));
        add(CPUS, "cpuset.cpus", self.cpus.clone());
        add(MEMS, "cpuset.mems", self.mems.clone());
        writes
    }

    /// The realtime scheduler has no files on v2; runc ignores these fields there, and so does this.
    pub fn v2(&self) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut add = |field, file: &'static str, value: Option<String>| {
            let value = value.map(|value| Write::new(field, controller(file), file, value));
            writes.extend(value);
        };
        add(IDLE, "cpu.idle", self.idle.map(Idle::value));
        add(SHARES, "cpu.weight", self.shares_in_force().map(|shares| weight(shares).to_string()));
        let field = if self.quota.is_some() { QUOTA } else { PERIOD };
        add(field, "cpu.max", self.cpu_max());
        add(BURST, "cpu.max.burst", self.burst.map(|n| n.to_string()));
        add(CPUS, "cpuset.cpus", self.cpus.clone());
        add(MEMS, "cpuset.mems", self.mems.clone());
        writes
    }

    /// systemd counts the quota in whole percents of a CPU, and is given the next one above; the files then get the exact
    /// value.
    pub fn systemd(&self, version: Version) -> Vec<Property> {
        let mut properties = Vec::new();
        properties.extend(match (version, self.idle, self.shares_in_force()) {
            (Version::V1, _, shares) => shares.map(|shares| Property::number("CPUShares", shares)),
            (Version::V2, Some(Idle::Yes), _) => Some(weight_property(IDLE_WEIGHT)),
            (Version::V2, Some(Idle::No), None) => Some(Property::number("CPUWeight", INFINITY)),
            (Version::V2, _, shares) => shares.map(|shares| Property::number("CPUWeight", weight(shares))),
        });
        if let Some(quota) = self.quota {
            let per_second = per_second(quota, self.period.unwrap_or(DEFAULT_PERIOD));
            properties.push(Property::number("CPUQuotaPerSecUSec", per_second));
        }
        if let Some(period) = self.period {
            properties.push(Property::since(242, "CPUQuotaPeriodUSec", Value::U64(period)));
        }
        if version == Version::V2 {
            let set = [("AllowedCPUs", &self.cpus), ("AllowedMemoryNodes", &self.mems)];
            properties.extend(
                set.into_iter()
                    .filter_map(|(name, list)| Some(Property::since(244, name, mask(list.as_deref()?)))),
            );
        }
        properties
    }

    fn shares_in_force(&self) -> Option<u64> {
        self.shares.filter(|_| self.idle != Some(Idle::Yes))
    }

    /// The kernel keeps the period when only a quota is written. There is no way to write only a period, which alone
    /// limits nothing.
    fn cpu_max(&self) -> Option<String> {
        match (self.quota, self.period) {
            (None, None) => None,
            (Some(quota), None) => Some(quota.or_max()),
            (None, Some(period)) => Some(format!("max {period}")),
            (Some(quota), Some(period)) => Some(format!("{} {period}", quota.or_max())),
        }
    }
}

impl Idle {
    fn value(self) -> String {
        match self {
            Self::No => "0".into(),
            Self::Yes => "1".into(),
        }
    }
}

/// `CPUWeight`, where zero stands for idle.
pub(super) fn weight_property(weight: u64) -> Property {
    let since = if weight == IDLE_WEIGHT { 252 } else { 0 };
    Property::since(since, "CPUWeight", Value::U64(weight))
}

/// `CPUQuotaPerSecUSec`: microseconds in a second, in steps of a percent.
pub(super) fn per_second(quota: Limit, period: u64) -> u64 {
    match quota {
        Limit::Unlimited => INFINITY,
        Limit::At(quota) => quota.saturating_mul(1_000_000).div_ceil(period.max(1)).next_multiple_of(10_000),
    }
}

fn controller(file: &'static str) -> &'static str {
    file.split_once('.').map_or(file, |(controller, _)| controller)
}

/// Any negative quota is unlimited, as the kernel has it on v1.
fn quota(value: i64) -> Limit {
    u64::try_from(value).map_or(Limit::Unlimited, Limit::At)
}

fn idle(value: Option<i64>) -> Result<Option<Idle>, Problems> {
    match value {
        None => Ok(None),
        Some(0) => Ok(Some(Idle::No)),
        Some(1) => Ok(Some(Idle::Yes)),
        Some(value) => Err(Problems::one(IDLE, format!("{value} is neither 0 nor 1"))),
    }
}

/// A list of numbers and ranges: `0-3,7`. Which of them exist, the kernel knows.
fn list(field: &'static str, text: Option<&str>) -> Result<Option<String>, Problems> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let fits = |item: &str| match item.split_once('-') {
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
        }
        None => number(item).is_some(),
    };
    if text.split(',').all(fits) {
        return Ok(Some(text.into()));
    }
    Err(Problems::one(field, format!("{text:?} is not a list of numbers and ranges as \"0-3,7\"")))
}

/// `cpu.weight` (1 to 10000, 100 is the default) for `cpu.shares` (2 to 262144, 1024 is the default).
///
/// A parabola in the logarithms through both ends and the default, which runc and crun use since 2025; a straight line
/// would give the default of v1 a weight of 39.
fn weight(shares: u64) -> u64 {
    if shares <= SHARES_RANGE.0 {
        return 1;
    }
    if shares >= SHARES_RANGE.1 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 262144")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str) -> Result<Cpu, String> {
        let spec: LinuxCpu = serde_json::from_str(json).unwrap();
        Cpu::parse(Some(&spec), &examples::v1()).map_err(|p| p.to_string())
    }

    fn files(writes: &[Write]) -> Vec<(&str, &str)> {
        writes.iter().map(|w| (&*w.file, &*w.value)).collect()
    }

    #[test]
    fn shares_become_weights() {
        for (shares, expected) in [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert!((2..262_144).zip(3..).all(|(less, more)| weight(less) <= weight(more)));
    }

    #[test]
    fn shares_are_clamped_and_zero_is_nothing() {
        let shares = |json| files(&parse(json).unwrap().v1()).first().map(|&(_, value)| value.to_owned());
        assert_eq!(shares(r#"{"shares":18446744073709551615}"#).as_deref(), Some("262144"));
        assert_eq!(shares(r#"{"shares":1}"#).as_deref(), Some("2"));
        assert_eq!(shares(r#"{"shares":0}"#), None);
    }

    #[test]
    fn bandwidth() {
        let v2 = |json| files(&parse(json).unwrap().v2()).first().map(|&(_, value)| value.to_owned());
        assert_eq!(v2(r#"{"quota":50000,"period":100000}"#).as_deref(), Some("50000 100000"));
        assert_eq!(v2(r#"{"quota":50000}"#).as_deref(), Some("50000"));
        assert_eq!(v2(r#"{"quota":-1,"period":100000}"#).as_deref(), Some("max 100000"));
        assert_eq!(v2(r#"{"quota":0,"period":0}"#), None);
        let cpu = parse(r#"{"quota":-1,"period":5000,"burst":0}"#).unwrap();
        assert_eq!(
            files(&cpu.v1()),
            [("cpu.cfs_period_us", "5000"), ("cpu.cfs_quota_us", "-1"), ("cpu.cfs_burst_us", "0")]
        );
    }

    #[test]
    fn an_idle_cgroup_takes_no_shares() {
        let cpu = parse(r#"{"idle":1,"shares":512}"#).unwrap();
        assert_eq!(files(&cpu.v2()), [("cpu.idle", "1")]);
        let cpu = parse(r#"{"idle":0,"shares":1024}"#).unwrap();
        assert_eq!(files(&cpu.v2()), [("cpu.idle", "0"), ("cpu.weight", "100")]);
    }

    #[test]
    fn idle_is_a_weight_of_systemds() {
        for (json, expected) in [
            (r#"{"idle":1,"shares":512}"#, vec![Property::since(252, "CPUWeight", Value::U64(0))]),
            (r#"{"idle":0,"shares":1024}"#, vec![Property::number("CPUWeight", 100)]),
            (r#"{"idle":0}"#, vec![Property::number("CPUWeight", INFINITY)]),
            (r#"{"shares":1024}"#, vec![Property::number("CPUWeight", 100)]),
            ("{}", vec![]),
        ] {
            assert_eq!(parse(json).unwrap().systemd(Version::V2), expected, "{json}");
        }
        assert_eq!(parse(r#"{"idle":1}"#).unwrap().systemd(Version::V1), []);
    }

    #[test]
    fn realtime_is_for_v1() {
        let cpu = parse(r#"{"realtimeRuntime":950000,"realtimePeriod":1000000,"cpus":"0-3,7","mems":"0"}"#);
        let cpu = cpu.unwrap();
        assert_eq!(
            files(&cpu.v1()),
            [
                ("cpu.rt_period_us", "1000000"),
                ("cpu.rt_runtime_us", "950000"),
                ("cpuset.cpus", "0-3,7"),
                ("cpuset.mems", "0")
            ]
        );
        assert_eq!(cpu.v1()[2].controller, "cpuset");
        assert_eq!(files(&cpu.v2()), [("cpuset.cpus", "0-3,7"), ("cpuset.mems", "0")]);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_before() {
        for (json, field) in [
            (r#"{"idle":2}"#, "idle"),
            (r#"{"period":10}"#, "period"),
            (r#"{"quota":10}"#, "quota"),
            (r#"{"quota":5000,"burst":6000}"#, "burst"),
            (r#"{"cpus":"a"}"#, "cpus"),
            (r#"{"cpus":"3-1"}"#, "cpus"),
            (r#"{"mems":"0,,1"}"#, "mems"),
        ] {
            let text = parse(json).unwrap_err();
            assert!(text.starts_with(&format!("linux.resources.cpu.{field}: ")), "{text}");
        }
    }
}
