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
        if list.verdict == Verdict::Deny {
            list.join_reading_and_writing();
        }
        problems.or(list)
    }

    /// To open a device for both, the kernel (and systemd's filter) wants one exception that has both, where one rule
    /// may allow reading and another writing.
    fn join_reading_and_writing(&mut self) {
        let lacks = |access: Access, other: Access| access.without(other) == access;
        let readers: Vec<Pattern> =
            self.with(|bits| lacks(Access::WRITE, bits) && !lacks(Access::READ, bits));
        let writers: Vec<Pattern> =
            self.with(|bits| lacks(Access::READ, bits) && !lacks(Access::WRITE, bits));
        for reader in &readers {
            for both in writers.iter().filter_map(|writer| reader.common(*writer)) {
                self.add(both, Access::READ.and(Access::WRITE));
            }
        }
    }

    fn with(&self, fits: impl Fn(Access) -> bool) -> Vec<Pattern> {
        self.exceptions.iter().filter(|(_, bits)| fits(*bits)).map(|(pattern, _)| *pattern).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::linux::resources::devices::Kind;

    const KINDS: [Kind; 2] = [Kind::Char, Kind::Block];

    /// What the spec says: for each access the last rule that has it decides.
    fn decide(rules: &[Rule], device: Pattern, access: u8) -> bool {
        [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let matches = |rule: &&Rule| rule.access.bits() & bit != 0 && device.is_within(rule.pattern);
            rules.iter().rfind(matches).is_some_and(|rule| rule.verdict == Verdict::Allow)
        })
    }

    /// `devcgroup_legacy_check_permission` of the kernel.
    fn run(list: &DeviceList, device: Pattern, access: u8) -> bool {
        let mut matching = list.exceptions.iter().filter(|(pattern, _)| device.is_within(*pattern));
        match list.verdict {
            Verdict::Allow => !matching.any(|(_, bits)| bits.bits() & access != 0),
            Verdict::Deny => matching.any(|(_, bits)| access & !bits.bits() == 0),
        }
    }

    /// Lists of a few rules about a few devices, always the same.
    fn lists() -> impl Iterator<Item = Vec<Rule>> {
        let mut state = 7_u64;
        let mut pick = move |from: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % from
        };
        let accesses =
            [Access::READ, Access::WRITE, Access::MKNOD, Access::READ.and(Access::WRITE), Access::ALL];
        (0..20_000).map(move |_| {
            let rule = |_| Rule {
                verdict: if pick(2) == 0 { Verdict::Allow } else { Verdict::Deny },
                pattern: Pattern {
                    kind: [None, Some(Kind::Char), Some(Kind::Block)][pick(3) as usize],
                    major: [None, Some(1), Some(10)][pick(3) as usize],
                    minor: [None, Some(3), Some(229)][pick(3) as usize],
                },
                access: accesses[pick(5) as usize],
            };
            (0..5).map(rule).collect()
        })
    }

    #[test]
    fn the_list_decides_as_the_rules_do() {
        let (mut held, mut refused) = (0, 0);
        for rules in lists() {
            let Ok(list) = DeviceList::of(&rules) else {
                refused += 1;
                continue;
            };
            held += 1;
            for kind in KINDS {
                for (major, minor) in [(1, 3), (1, 229), (10, 3), (10, 229), (5, 3), (10, 5), (5, 5)] {
                    let device = Pattern { kind: Some(kind), major: Some(major), minor: Some(minor) };
                    // A node is made, or opened: the kernel asks for one or the other.
                    for access in [1, 2, 4, 6] {
                        let expected = decide(&rules, device, access);
                        assert_eq!(run(&list, device, access), expected, "{device} {access} {rules:?}");
                    }
                }
            }
        }
        assert!(held > 5000 && refused > 1000, "{held} {refused}");
    }

    #[test]
    fn reading_and_writing_may_come_from_two_rules() {
        let rule = |major, minor, access| Rule {
            verdict: Verdict::Allow,
            pattern: Pattern { kind: Some(Kind::Char), major, minor },
            access,
        };
        let rules = [rule(Some(10), None, Access::READ), rule(None, Some(229), Access::WRITE)];
        let list = DeviceList::of(&rules).ok().unwrap();
        let texts: Vec<_> =
            list.exceptions.iter().map(|(pattern, bits)| format!("{pattern} {bits}")).collect();
        assert_eq!(texts, ["c 10:* r", "c *:229 w", "c 10:229 rw"]);
    }
}
