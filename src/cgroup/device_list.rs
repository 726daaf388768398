//! Device rules as the `devices` controller of v1 can hold them.
//!
//! `Documentation/admin-guide/cgroup-v1/devices.rst`.

use crate::config::linux::resources::devices::{Access, Pattern, Rule, Verdict};
use crate::error::Problems;

/// What the `devices` controller of v1 can hold: a verdict for all, and exceptions from it.
pub struct DeviceList {
    /// For every access that is no exception.
    pub verdict: Verdict,
    /// In the order in which they were made.
    pub exceptions: Vec<(Pattern, Access)>,
}

impl DeviceList {
    /// The list that the rules leave behind. A problem, if a rule takes a part away from a wider exception: v1 cannot
    /// hold that, and doing less than asked for would let the container use what it must not.
    pub fn of(rules: &[Rule]) -> Result<Self, Problems> {
        let mut list = Self { verdict: Verdict::Deny, exceptions: Vec::new() };
        let mut problems = Problems::default();
        for rule in rules {
            if rule.pattern == Pattern::ALL && rule.access == Access::ALL {
                list = Self { verdict: rule.verdict, exceptions: Vec::new() };
            } else if rule.verdict == list.verdict {
                for pattern in rule.pattern.by_kind() {
                    if let Err(wider) = list.remove(pattern, rule.access) {
                        let rule = format!("cgroup v1 cannot except \"{pattern}\" from \"{wider}\"");
                        problems.add("linux.resources.devices", rule);
                    }
                }
            } else {
                rule.pattern.by_kind().for_each(|pattern| list.add(pattern, rule.access));
            }
        }
        problems.or(list)
    }

    fn add(&mut self, pattern: Pattern, access: Access) {
        match self.exceptions.iter_mut().find(|(p, _)| *p == pattern) {
            Some((_, bits)) => *bits = bits.and(access),
            None => self.exceptions.push((pattern, access)),
        }
    }

    fn remove(&mut self, pattern: Pattern, access: Access) -> Result<(), Pattern> {
        for (exception, bits) in &mut self.exceptions {
            if access.without(*bits) == access || !exception.overlaps(pattern) {
                continue;
            }
            if !exception.is_within(pattern) {
                return Err(*exception);
            }
            *bits = bits.without(access);
        }
        self.exceptions.retain(|(_, bits)| bits.bits() != 0);
        Ok(())
    }
}
