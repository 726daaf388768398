//! `linux.memoryPolicy` — from which NUMA nodes the container's processes get memory.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#memory-policy>

use oci_spec::runtime::{LinuxMemoryPolicy, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode};

use crate::config::number_list::{self, Mask, Wrong};
use crate::error::{At, Error, Problems};
use crate::sys;

const FIELD: &str = "linux.memoryPolicy";

/// The modes of the spec, and their numbers in `linux/mempolicy.h`.
pub const MODES: [(Mode, u32); 7] = [
    (Mode::MpolDefault, 0),
    (Mode::MpolPreferred, 1),
    (Mode::MpolBind, 2),
    (Mode::MpolInterleave, 3),
    (Mode::MpolLocal, 4),
    (Mode::MpolPreferredMany, 5),
    (Mode::MpolWeightedInterleave, 6),
];

/// The flags of the spec, and their bits.
pub const FLAGS: [(Flag, u32); 3] = [
    (Flag::MpolFNumaBalancing, 1 << 13),
    (Flag::MpolFRelativeNodes, 1 << 14),
    (Flag::MpolFStaticNodes, 1 << 15),
];

/// The kernel is built for no more nodes than this.
const MOST_NODES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    /// The mode and its flags.
    mode: u32,
    nodes: Mask,
}

/// The arguments of `set_mempolicy(2)`; `None` leaves the caller's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy(Option<Policy>);

impl MemoryPolicy {
    /// Refuses the combinations that `set_mempolicy(2)` has no meaning for. Which nodes there are, the kernel knows.
    pub fn parse(policy: Option<&LinuxMemoryPolicy>) -> Result<Self, Problems> {
        let Some(given) = policy else { return Ok(Self(None)) };
        let mut problems = Problems::default();
        let mode = given.mode();
        let flags = given.flags().as_deref().unwrap_or_default();
        let has = |flag| flags.contains(&flag);
        let nodes = problems.keep(nodes(given.nodes().as_deref().unwrap_or_default())).unwrap_or_default();
        let count = number_list::count(&nodes);
        match mode {
            Mode::MpolDefault | Mode::MpolLocal if count > 0 => {
                let rule = format!("{mode} mode requires 0 nodes but got {count}");
                problems.add(format!("{FIELD}.nodes"), rule);
            }
            Mode::MpolDefault | Mode::MpolLocal => {}
            // Without nodes it is the local one that is preferred.
            Mode::MpolPreferred
                if count == 0 && !has(Flag::MpolFStaticNodes) && !has(Flag::MpolFRelativeNodes) => {}
            _ if count == 0 && problems.is_empty() => {
                problems.add(format!("{FIELD}.nodes"), format!("{mode} mode requires at least one node"));
            }
            _ => {}
        }
        if has(Flag::MpolFStaticNodes) && has(Flag::MpolFRelativeNodes) {
            let rule = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
            problems.add(format!("{FIELD}.flags"), rule);
        }
        if mode == Mode::MpolLocal && (has(Flag::MpolFStaticNodes) || has(Flag::MpolFRelativeNodes)) {
            problems.add(format!("{FIELD}.flags"), "have no meaning for MPOL_LOCAL, which has no nodes");
        }
        if has(Flag::MpolFNumaBalancing) && !matches!(mode, Mode::MpolBind | Mode::MpolPreferredMany) {
            let rule =
                format!("MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not for {mode}");
            problems.add(format!("{FIELD}.flags"), rule);
        }
        let bits = FLAGS.iter().filter(|(flag, _)| has(*flag)).fold(0, |bits, (_, bit)| bits | bit);
        let number = MODES.iter().find(|(known, _)| *known == mode).map_or(0, |(_, number)| *number);
        problems.or(Self(Some(Policy { mode: number | bits, nodes })))
    }

    /// For the caller, and whatever it executes.
    pub fn apply(&self) -> Result<(), Error> {
        match &self.0 {
            Some(Policy { mode, nodes }) => sys::numa::set_memory_policy(*mode, nodes).at(FIELD),
            None => Ok(()),
        }
    }
}

fn nodes(list: &str) -> Result<Mask, Problems> {
    number_list::parse(list, MOST_NODES).map_err(|wrong| {
        let rule = match wrong {
            Wrong::Form => "is not a list of nodes like 0-3,7",
            Wrong::Order => "has a range that ends before it begins",
            Wrong::TooLarge => "has a node that no machine has: Linux knows nodes from 0 to 1023",
        };
        Problems::one(format!("{FIELD}.nodes"), format!("invalid memory policy node: {list:?} {rule}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: serde_json::Value) -> Result<Option<(u32, Mask)>, String> {
        let policy: LinuxMemoryPolicy = serde_json::from_value(json).unwrap();
        let parsed = MemoryPolicy::parse(Some(&policy)).map_err(|problems| problems.to_string())?;
        Ok(parsed.0.map(|policy| (policy.mode, policy.nodes)))
    }

    #[test]
    fn modes_and_flags_are_one_number() {
        assert_eq!(parse(json!({"mode": "MPOL_DEFAULT"})), Ok(Some((0, vec![]))));
        assert_eq!(parse(json!({"mode": "MPOL_PREFERRED"})), Ok(Some((1, vec![]))));
        let bind = json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]});
        assert_eq!(parse(bind), Ok(Some((0xa002, vec![3]))));
        let relative = json!({"mode": "MPOL_INTERLEAVE", "nodes": "64", "flags": ["MPOL_F_RELATIVE_NODES"]});
        assert_eq!(parse(relative), Ok(Some((0x4003, vec![0, 1]))));
        assert_eq!(MemoryPolicy::parse(None), Ok(MemoryPolicy(None)));
    }

    #[test]
    fn every_word_of_the_spec_is_in_the_tables() {
        for (words, known) in [
            (MODES.map(|(mode, _)| mode.to_string()).to_vec(), 7),
            (FLAGS.map(|(flag, _)| flag.to_string()).to_vec(), 3),
        ] {
            assert_eq!(words.len(), known);
            assert!(words.iter().all(|word| word.starts_with("MPOL_")), "{words:?}");
        }
    }

    #[test]
    fn combinations_without_a_meaning() {
        for (json, field) in [
            (
                json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}),
                "nodes: MPOL_DEFAULT mode requires 0 nodes but got 8",
            ),
            (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "nodes: "),
            (json!({"mode": "MPOL_BIND"}), "nodes: MPOL_BIND mode requires at least one node"),
            (json!({"mode": "MPOL_INTERLEAVE", "nodes": ""}), "nodes: "),
            (json!({"mode": "MPOL_WEIGHTED_INTERLEAVE"}), "nodes: "),
            (json!({"mode": "MPOL_PREFERRED_MANY"}), "nodes: "),
            (json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}), "nodes: "),
            (json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}), "nodes: invalid memory policy node"),
            (json!({"mode": "MPOL_BIND", "nodes": "0,a"}), "nodes: invalid memory policy node"),
            (json!({"mode": "MPOL_BIND", "nodes": "3-1"}), "nodes: invalid memory policy node"),
            (
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
                "flags: ",
            ),
            (json!({"mode": "MPOL_LOCAL", "flags": ["MPOL_F_STATIC_NODES"]}), "flags: "),
            (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}), "flags: "),
        ] {
            let text = parse(json.clone()).unwrap_err();
            assert!(text.starts_with(&format!("linux.memoryPolicy.{field}")), "{json}: {text}");
            assert!(!text.contains("; "), "{json}: {text}");
        }
    }
}
