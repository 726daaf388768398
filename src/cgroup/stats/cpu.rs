//! Time of CPUs, and which of them there are.

use serde::Serialize;

use super::{Files, Pressure, keyed, number};

/// Nanoseconds in a tick of `cpuacct.stat`, whose `USER_HZ` is 100 on every architecture that is left.
const TICK: u64 = 10_000_000;

/// Nanoseconds in a microsecond, which v2 counts in.
const MICROSECOND: u64 = 1000;

#[derive(Debug, Default, Serialize)]
pub struct Cpu {
    usage: Usage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// In nanoseconds; per CPU on v1 only.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Usage {
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

/// How often, and for how many nanoseconds, the quota was used up.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

impl Cpu {
    pub fn v1(files: &Files) -> Self {
        let (stat, times) =
            (files("cpu.stat").unwrap_or_default(), files("cpuacct.stat").unwrap_or_default());
        let all = files("cpuacct.usage_all").unwrap_or_default();
        let column = |index: usize| -> Vec<u64> {
            let lines = all.lines().skip(1);
            lines.filter_map(|line| line.split_whitespace().nth(index)?.parse().ok()).collect()
        };
        let percpu = files("cpuacct.usage_percpu").unwrap_or_default();
        Self {
            usage: Usage {
                total: number(files, "cpuacct.usage"),
                percpu: percpu.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
                percpu_kernel: column(2),
                percpu_user: column(1),
                kernel: keyed(&times, "system") * TICK,
                user: keyed(&times, "user") * TICK,
            },
            throttling: Throttling {
                periods: keyed(&stat, "nr_periods"),
                throttled_periods: keyed(&stat, "nr_throttled"),
                throttled_time: keyed(&stat, "throttled_time"),
            },
            psi: None,
        }
    }

    pub fn v2(files: &Files) -> Self {
        let stat = files("cpu.stat").unwrap_or_default();
        let time = |key| keyed(&stat, key) * MICROSECOND;
        Self {
            usage: Usage {
                total: time("usage_usec"),
                kernel: time("system_usec"),
                user: time("user_usec"),
                ..Usage::default()
            },
            throttling: Throttling {
                periods: keyed(&stat, "nr_periods"),
                throttled_periods: keyed(&stat, "nr_throttled"),
                throttled_time: time("throttled_usec"),
            },
            psi: files("cpu.pressure").and_then(|text| Pressure::parse(&text)),
        }
    }
}

/// The flags are v1's.
#[derive(Debug, Default, Serialize)]
pub struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<u16>,
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mems: Vec<u16>,
    /// Spelt as runc spells it.
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

impl CpuSet {
    pub fn v1(files: &Files) -> Self {
        let flag = |name: &str| number(files, &format!("cpuset.{name}"));
        let level = files("cpuset.sched_relax_domain_level");
        Self {
            cpus: list(&files("cpuset.cpus").unwrap_or_default()),
            cpu_exclusive: flag("cpu_exclusive"),
            mems: list(&files("cpuset.mems").unwrap_or_default()),
            mem_hardwall: flag("mem_hardwall"),
            mem_exclusive: flag("mem_exclusive"),
            memory_migrate: flag("memory_migrate"),
            memory_spread_page: flag("memory_spread_page"),
            memory_spread_slab: flag("memory_spread_slab"),
            memory_pressure: flag("memory_pressure"),
            sched_load_balance: flag("sched_load_balance"),
            sched_relax_domain_level: level.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        }
    }

    pub fn v2(files: &Files) -> Self {
        let effective = |name| list(&files(&format!("cpuset.{name}.effective")).unwrap_or_default());
        Self { cpus: effective("cpus"), mems: effective("mems"), ..Self::default() }
    }
}

/// `0-2,7` as 0, 1, 2, 7.
fn list(text: &str) -> Vec<u16> {
    let numbers = text.trim().split(',').flat_map(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).collect(),
            _ => Vec::new(),
        }
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_count_in_nanoseconds() {
        let v1 = Cpu::v1(&|name| {
            Some(match name {
                "cpuacct.usage" => "4000000000\n".into(),
                "cpuacct.usage_percpu" => "3000000000 1000000000 \n".into(),
                "cpuacct.usage_all" => "cpu user system\n0 2 1\n1 1 0\n".into(),
                "cpuacct.stat" => "user 300\nsystem 100\n".into(),
                "cpu.stat" => "nr_periods 10\nnr_throttled 2\nthrottled_time 5000\n".into(),
                _ => return None,
            })
        });
        let usage = Usage {
            total: 4_000_000_000,
            percpu: vec![3_000_000_000, 1_000_000_000],
            percpu_kernel: vec![1, 0],
            percpu_user: vec![2, 1],
            kernel: 1_000_000_000,
            user: 3_000_000_000,
        };
        let throttling = Throttling { periods: 10, throttled_periods: 2, throttled_time: 5000 };
        assert_eq!((&v1.usage, &v1.throttling), (&usage, &throttling));

        let v2 = Cpu::v2(&|name| {
            (name == "cpu.stat").then(|| {
                "usage_usec 4000000\nuser_usec 3000000\nsystem_usec 1000000\nnr_periods 10\nnr_throttled 2\nthrottled_usec 5\n"
                    .into()
            })
        });
        assert_eq!((v2.usage.total, v2.usage.kernel, v2.usage.user), (usage.total, usage.kernel, usage.user));
        assert_eq!(v2.throttling, throttling);
    }

    #[test]
    fn lists() {
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert!(list("\n").is_empty());
    }
}
