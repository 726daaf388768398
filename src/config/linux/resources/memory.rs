//! `linux.resources.memory` — limits in bytes.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#memory>

use oci_spec::runtime::LinuxMemory;

use super::property::Property;
use super::{Limit, Write};
use crate::cgroup::hierarchy::Version;
use crate::error::Problems;
use crate::host::Host;

const FIELD: &str = "linux.resources.memory";
const LIMIT: &str = "linux.resources.memory.limit";
const RESERVATION: &str = "linux.resources.memory.reservation";
const SWAP: &str = "linux.resources.memory.swap";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const DISABLE_OOM_KILLER: &str = "linux.resources.memory.disableOOMKiller";

/// Limits of the memory controller.
///
/// `kernel` and `kernelTCP` are ignored on both versions (the kernel has dropped them), as are `swappiness`,
/// `disableOOMKiller` and `useHierarchy` on v2, which knows no such thing: runc does so, and clients rely on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Most memory, in bytes.
    pub limit: Option<Limit>,
    /// What reclaim leaves alone, in bytes.
    pub reservation: Option<Limit>,
    /// Most memory **and** swap together, in bytes; never less than `limit`.
    pub memory_and_swap: Option<Swap>,
    /// 0 to 100.
    pub swappiness: Option<u64>,
    /// Whether processes wait instead of being killed when there is no memory left.
    pub out_of_memory: OutOfMemory,
    /// Whether a limit must be above what is in use.
    pub update: Update,
}

/// `swap`, and why it has that value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// As the config says.
    At(Limit),
    /// Unlimited because `limit` became so, where swap is accounted for at all.
    FollowsLimit,
}

/// `disableOOMKiller`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutOfMemory {
    /// The kernel's default.
    #[default]
    Kill,
    /// v1 only.
    Wait,
}

/// `checkBeforeUpdate`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// v2 reclaims and kills until the new limit is kept; v1 refuses in the kernel.
    #[default]
    Unchecked,
    /// Refuse a limit below what is in use.
    Checked,
}

impl Memory {
    /// -1 lifts a limit, 0 leaves it as it is, anything else below zero is refused.
    pub fn parse(spec: Option<&LinuxMemory>, host: &Host) -> Result<Self, Problems> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        let limit = problems.keep(bytes(LIMIT, spec.limit())).flatten();
        let reservation = problems.keep(bytes(RESERVATION, spec.reservation())).flatten();
        let swap = problems.keep(bytes(SWAP, spec.swap())).flatten();
        let memory_and_swap = match (limit, swap) {
            (Some(Limit::Unlimited), None) => Some(Swap::FollowsLimit),
            (None | Some(Limit::Unlimited), Some(Limit::At(_))) if problems.is_empty() => {
                problems.add(SWAP, "needs a limit of memory: it counts memory and swap together");
                None
            }
            (Some(Limit::At(limit)), Some(Limit::At(swap))) if swap < limit => {
                let rule =
                    format!("{swap} is less than memory.limit {limit}: it counts memory and swap together");
                problems.add(SWAP, rule);
                None
            }
            (_, swap) => swap.map(Swap::At),
        };
        // Old clients send -1, as an unsigned number.
        let swappiness = spec.swappiness().filter(|&value| value != u64::MAX);
        if let Some(value) = swappiness.filter(|&value| value > 100) {
            problems.add(SWAPPINESS, format!("{value} is not between 0 and 100"));
        }
        let out_of_memory =
            if spec.disable_oom_killer() == Some(true) { OutOfMemory::Wait } else { OutOfMemory::Kill };
        let update =
            if spec.check_before_update() == Some(true) { Update::Checked } else { Update::Unchecked };
        let memory = Self { limit, reservation, memory_and_swap, swappiness, out_of_memory, update };
        if !memory.v1().is_empty() {
            problems.keep(host.hierarchy.require("memory", FIELD));
        }
        problems.or(memory)
    }

    /// Limit before memory and swap together, which the kernel never lets be less; where the old values stand in the
    /// way of that order, the first write fails with `EINVAL` and is tried again after the second.
    pub fn v1(&self) -> Vec<Write> {
        let write = |field, file: &'static str, value: String| Write::new(field, "memory", file, value);
        let mut writes = Vec::new();
        if let Some(limit) = self.limit {
            writes.push(write(LIMIT, "memory.limit_in_bytes", limit.or_minus_one()));
        }
        match self.memory_and_swap {
            Some(Swap::At(swap)) => {
                writes.push(write(SWAP, "memory.memsw.limit_in_bytes", swap.or_minus_one()));
            }
            Some(Swap::FollowsLimit) => {
                writes.push(write(SWAP, "memory.memsw.limit_in_bytes", "-1".into()).or_skip());
            }
            None => {}
        }
        if let Some(reservation) = self.reservation {
            writes.push(write(RESERVATION, "memory.soft_limit_in_bytes", reservation.or_minus_one()));
        }
        if self.out_of_memory == OutOfMemory::Wait {
            writes.push(write(DISABLE_OOM_KILLER, "memory.oom_control", "1".into()));
        }
        if let Some(swappiness) = self.swappiness {
            writes.push(write(SWAPPINESS, "memory.swappiness", swappiness.to_string()));
        }
        writes
    }

    /// v2 counts swap alone.
    pub fn v2(&self) -> Vec<Write> {
        let write = |field, file: &'static str, value: String| Write::new(field, "memory", file, value);
        let mut writes = Vec::new();
        if let Some(swap) = self.swap_alone() {
            let swap_max = write(SWAP, "memory.swap.max", swap.or_max());
            // Without the file swap is not accounted for: no limit is then true, and none at all was promised.
            let skip = matches!(swap, Limit::Unlimited | Limit::At(0));
            writes.push(if skip { swap_max.or_skip() } else { swap_max });
        }
        if let Some(limit) = self.limit {
            let only_above =
                (self.update == Update::Checked && limit != Limit::Unlimited).then_some("memory.current");
            writes.push(Write { only_above, ..write(LIMIT, "memory.max", limit.or_max()) });
        }
        if let Some(reservation) = self.reservation {
            writes.push(write(RESERVATION, "memory.low", reservation.or_max()));
        }
        writes
    }

    /// v1 has no property for swap, nor one for the reservation.
    pub fn systemd(&self, version: Version) -> Vec<Property> {
        let mut properties = Vec::new();
        let mut add = |name: &str, limit: Option<Limit>| {
            properties.extend(limit.map(|limit| Property::number(name, limit.or_infinity())));
        };
        match version {
            Version::V1 => add("MemoryLimit", self.limit),
            Version::V2 => {
                add("MemoryMax", self.limit);
                add("MemoryLow", self.reservation);
                add("MemorySwapMax", self.swap_alone());
            }
        }
        properties
    }

    fn swap_alone(&self) -> Option<Limit> {
        match (self.memory_and_swap?, self.limit) {
            (Swap::At(Limit::At(both)), Some(Limit::At(memory))) => {
                Some(Limit::At(both.saturating_sub(memory)))
            }
            (Swap::At(limit), _) => Some(limit),
            (Swap::FollowsLimit, _) => Some(Limit::Unlimited),
        }
    }
}

fn bytes(field: &'static str, value: Option<i64>) -> Result<Option<Limit>, Problems> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Limit::Unlimited)),
        Some(value) => match u64::try_from(value) {
            Ok(bytes) => Ok(Some(Limit::At(bytes))),
            Err(_) => {
                Err(Problems::one(field, format!("{value} is not a size in bytes; -1 means unlimited")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str) -> Result<Memory, String> {
        let spec: LinuxMemory = serde_json::from_str(json).unwrap();
        Memory::parse(Some(&spec), &examples::v1()).map_err(|p| p.to_string())
    }

    fn files(writes: &[Write]) -> Vec<(&str, &str)> {
        writes.iter().map(|w| (&*w.file, &*w.value)).collect()
    }

    #[test]
    fn swap_includes_memory() {
        let memory = parse(r#"{"limit":100,"swap":250,"reservation":50,"swappiness":10}"#).unwrap();
        assert_eq!(
            files(&memory.v1()),
            [
                ("memory.limit_in_bytes", "100"),
                ("memory.memsw.limit_in_bytes", "250"),
                ("memory.soft_limit_in_bytes", "50"),
                ("memory.swappiness", "10")
            ]
        );
        assert_eq!(
            files(&memory.v2()),
            [("memory.swap.max", "150"), ("memory.max", "100"), ("memory.low", "50")]
        );
    }

    #[test]
    fn no_swap_at_all_needs_no_swap_file() {
        let memory = parse(r#"{"limit":100,"swap":100}"#).unwrap();
        assert_eq!(memory.v2()[0], Write::new(SWAP, "memory", "memory.swap.max", "0").or_skip());
    }

    #[test]
    fn minus_one_is_unlimited_and_takes_swap_along() {
        let memory = parse(r#"{"limit":-1}"#).unwrap();
        assert_eq!(
            files(&memory.v1()),
            [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")]
        );
        assert_eq!(files(&memory.v2()), [("memory.swap.max", "max"), ("memory.max", "max")]);
        assert_eq!(files(&parse(r#"{"limit":5,"swap":-1}"#).unwrap().v2())[0], ("memory.swap.max", "max"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (json, field) in [
            (r#"{"limit":-5}"#, "limit"),
            (r#"{"limit":100,"swap":99}"#, "swap"),
            (r#"{"swap":99}"#, "swap"),
            (r#"{"reservation":-9223372036854775808}"#, "reservation"),
            (r#"{"swappiness":101}"#, "swappiness"),
        ] {
            let text = parse(json).unwrap_err();
            assert!(text.starts_with(&format!("linux.resources.memory.{field}: ")), "{text}");
        }
    }

    #[test]
    fn what_v2_does_not_know_is_left_out() {
        let memory =
            parse(r#"{"kernel":5,"kernelTCP":5,"disableOOMKiller":true,"swappiness":18446744073709551615}"#);
        let memory = memory.unwrap();
        assert_eq!(files(&memory.v1()), [("memory.oom_control", "1")]);
        assert_eq!(memory.v2(), []);
    }

    #[test]
    fn a_checked_update_looks_at_the_usage() {
        let memory = parse(r#"{"limit":100,"checkBeforeUpdate":true}"#).unwrap();
        assert_eq!(memory.v2()[0].only_above, Some("memory.current"));
    }
}
