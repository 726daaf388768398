//! `linux.resources.devices` — which device nodes may be used and made.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#allowed-device-list>

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::Write;
use super::property::{Property, Value as PropertyValue};
use crate::cgroup::device_list::DeviceList;
use crate::error::{Field, Problems};
use crate::host::Host;

const FIELD: &str = "linux.resources.devices";

/// More rules than any machine has devices; bounds the size of the filter.
const RULES_MAX: usize = 2000;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The access is granted.
    Allow,
    /// The access fails with `EPERM`.
    Deny,
}

/// The two kinds of device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `b`
    Block,
    /// `c`
    Char,
}

/// A set of accesses, as bits of `BPF_DEVCG_ACC_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Make a device node.
    pub const MKNOD: Self = Self(1);
    /// Open it for reading.
    pub const READ: Self = Self(2);
    /// Open it for writing.
    pub const WRITE: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);

    /// The bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of these accesses are in the other set.
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The accesses of both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The accesses of this that are not in the other.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn parse(text: &str) -> Option<Self> {
        let bits = text.bytes().try_fold(0, |bits, c| match c {
            b'm' => Some(bits | Self::MKNOD.0),
            b'r' => Some(bits | Self::READ.0),
            b'w' => Some(bits | Self::WRITE.0),
            _ => None,
        })?;
        (bits != 0).then_some(Self(bits))
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")];
        letters.iter().filter(|(bit, _)| bit.is_within(*self)).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// Device nodes: `None` is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Both kinds, or one.
    pub kind: Option<Kind>,
    /// The major number.
    pub major: Option<u32>,
    /// The minor number.
    pub minor: Option<u32>,
}

impl Pattern {
    /// Every device.
    pub const ALL: Self = Self { kind: None, major: None, minor: None };

    /// Whether every device of this pattern is one of the other.
    pub fn is_within(self, other: Self) -> bool {
        fn within<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            b.is_none() || a == b
        }
        within(self.kind, other.kind) && within(self.major, other.major) && within(self.minor, other.minor)
    }

    /// Whether there can be a device of both patterns.
    pub fn overlaps(self, other: Self) -> bool {
        fn meet<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        meet(self.kind, other.kind) && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    /// The devices of both patterns.
    pub fn common(self, other: Self) -> Option<Self> {
        self.overlaps(other).then(|| Self {
            kind: self.kind.or(other.kind),
            major: self.major.or(other.major),
            minor: self.minor.or(other.minor),
        })
    }

    /// As in `DeviceAllow`: `/dev/char/1:3`, `char-pts`, `block-*`. A path need not exist for systemd to understand it.
    fn systemd(self, groups: &str) -> Option<String> {
        let kind = match self.kind? {
            Kind::Char => "char",
            Kind::Block => "block",
        };
        match (self.major, self.minor) {
            (None, None) => Some(format!("{kind}-*")),
            (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
            (Some(major), None) => group(groups, kind, major).map(|name| format!("{kind}-{name}")),
            (None, Some(_)) => None,
        }
    }

    /// A pattern for both kinds is two patterns in the files of v1.
    pub fn by_kind(self) -> impl Iterator<Item = Self> {
        let kinds = [Kind::Char, Kind::Block];
        kinds
            .into_iter()
            .filter(move |&kind| self.kind.is_none_or(|k| k == kind))
            .map(move |kind| Self { kind: Some(kind), ..self })
    }
}

impl std::fmt::Display for Pattern {
    /// As in `devices.allow`: `c 1:3`, `b *:*`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            None => "a",
            Some(Kind::Block) => "b",
            Some(Kind::Char) => "c",
        };
        let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// The driver of a major number in `/proc/devices`, if its name is not that of others as well.
fn group<'a>(groups: &'a str, kind: &str, major: u32) -> Option<&'a str> {
    let title = if kind == "char" { "Character devices:" } else { "Block devices:" };
    let section = groups.split("\n\n").find(|section| section.trim_start().starts_with(title))?;
    let entries: Vec<(&str, &str)> = section
        .lines()
        .skip_while(|line| !line.starts_with(title))
        .filter_map(|line| line.trim().split_once(' '))
        .collect();
    let (_, name) = entries.iter().find(|(number, _)| number.parse() == Ok(major))?;
    let alone = entries.iter().filter(|(_, other)| other == name).count() == 1;
    alone.then_some(*name)
}

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is done.
    pub verdict: Verdict,
    /// To which devices.
    pub pattern: Pattern,
    /// For which accesses.
    pub access: Access,
}

/// The rules that every container has behind its own, as with runc: nodes may be made of any device, and those below
/// `/dev` that the spec promises (and pseudo-terminals, and tun) may be used.
const DEFAULTS: [(Kind, Option<u32>, Option<u32>, Access); 11] = [
    (Kind::Char, None, None, Access::MKNOD),
    (Kind::Block, None, None, Access::MKNOD),
    (Kind::Char, Some(1), Some(3), Access::ALL),    // null
    (Kind::Char, Some(1), Some(8), Access::ALL),    // random
    (Kind::Char, Some(1), Some(7), Access::ALL),    // full
    (Kind::Char, Some(5), Some(0), Access::ALL),    // tty
    (Kind::Char, Some(1), Some(5), Access::ALL),    // zero
    (Kind::Char, Some(1), Some(9), Access::ALL),    // urandom
    (Kind::Char, Some(136), None, Access::ALL),     // pts/*
    (Kind::Char, Some(5), Some(2), Access::ALL),    // ptmx
    (Kind::Char, Some(10), Some(200), Access::ALL), // net/tun
];

/// The rules in order; the last one that matches an access decides. An access that no rule matches is denied, also
/// where the config has no list at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRules {
    /// These are in force before the container's first process is.
    Enforced(Vec<Rule>),
    /// Nothing is done: in a user namespace and for another user than root the kernel lets nobody make or limit
    /// devices, and device nodes are bind mounts of those that the caller may use anyway.
    NotPossible,
}

impl DeviceRules {
    /// The list of the config, and the default rules.
    pub fn parse(spec: &[LinuxDeviceCgroup], host: &Host) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if spec.len() > RULES_MAX {
            return Err(Problems::one(FIELD, format!("{} rules are more than {RULES_MAX}", spec.len())));
        }
        let mut rules = Vec::with_capacity(spec.len() + DEFAULTS.len());
        for (i, entry) in spec.iter().enumerate() {
            rules.extend(problems.keep(Rule::parse(&Field::new(FIELD).index(i), entry)));
        }
        rules.extend(DEFAULTS.map(|(kind, major, minor, access)| Rule {
            verdict: Verdict::Allow,
            pattern: Pattern { kind: Some(kind), major, minor },
            access,
        }));
        if host.euid != 0 || host.in_user_namespace {
            return problems.or(Self::NotPossible);
        }
        // v2 has a filter instead of a controller.
        let v1 = host.hierarchy.require("devices", FIELD);
        if v1.is_ok() {
            problems.keep(DeviceList::of(&rules));
        } else if host.hierarchy.v2().is_none() {
            if !spec.is_empty() {
                problems.keep(v1);
            }
            return problems.or(Self::NotPossible);
        }
        problems.or(Self::Enforced(rules))
    }

    /// Whether there is something to do.
    pub fn are_enforced(&self) -> bool {
        matches!(self, Self::Enforced(_))
    }

    /// The rules, for the filter of v2.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::Enforced(rules) => rules,
            Self::NotPossible => &[],
        }
    }

    /// For a scope: what is not listed is denied. `groups` is `/proc/devices`, since systemd takes all minor numbers of a
    /// device by the name of its driver. A list that systemd cannot hold in full is not given to it: it would take
    /// away what the rules allow as soon as it is told to reload.
    pub fn systemd(&self, groups: &str) -> Vec<Property> {
        let text = |name: &str, value: &str| Property::new(name, PropertyValue::Text(value.into()));
        if !self.are_enforced() {
            return vec![];
        }
        let allowed = match DeviceList::of(self.rules()) {
            Ok(list) if list.verdict == Verdict::Deny => {
                let entries = list
                    .exceptions
                    .iter()
                    .map(|(pattern, access)| Some((pattern.systemd(groups)?, access.to_string())));
                entries.collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        match allowed {
            None => vec![text("DevicePolicy", "auto")],
            Some(allowed) => vec![
                text("DevicePolicy", "strict"),
                Property::new("DeviceAllow", PropertyValue::Pairs(allowed)),
            ],
        }
    }

    /// For the `devices` controller of v1: first everything is denied (or allowed), then the exceptions are written.
    pub fn v1(&self) -> Vec<Write> {
        let Ok(list) = DeviceList::of(self.rules()) else { return vec![] };
        if !self.are_enforced() {
            return vec![];
        }
        let (all, exception) = match list.verdict {
            Verdict::Deny => ("devices.deny", "devices.allow"),
            Verdict::Allow => ("devices.allow", "devices.deny"),
        };
        let mut writes = vec![Write::new(FIELD, "devices", all, "a")];
        writes.extend(
            list.exceptions.iter().map(|(pattern, access)| {
                Write::new(FIELD, "devices", exception, format!("{pattern} {access}"))
            }),
        );
        writes
    }
}

impl Rule {
    fn parse(field: &Field, spec: &LinuxDeviceCgroup) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let kind = match spec.typ().unwrap_or_default() {
            LinuxDeviceType::A => None,
            LinuxDeviceType::B => Some(Kind::Block),
            LinuxDeviceType::C => Some(Kind::Char),
            other => {
                problems.add(field.key("type"), format!("{:?} is not a, b or c", other.as_str()));
                None
            }
        };
        let text = spec.access().as_deref().unwrap_or("");
        let access = Access::parse(text).unwrap_or_else(|| {
            problems.add(field.key("access"), format!("{text:?} is not a selection of \"rwm\""));
            Access::ALL
        });
        let mut number = |key, value: Option<i64>| match value {
            None | Some(-1) => None,
            Some(value) => u32::try_from(value).ok().or_else(|| {
                problems.add(field.key(key), format!("{value} is not a device number"));
                None
            }),
        };
        let pattern =
            Pattern { kind, major: number("major", spec.major()), minor: number("minor", spec.minor()) };
        let verdict = if spec.allow() { Verdict::Allow } else { Verdict::Deny };
        problems.or(Self { verdict, pattern, access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::{Hierarchy, examples};

    fn parse(json: &str, host: &Host) -> Result<DeviceRules, String> {
        let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        DeviceRules::parse(&spec, host).map_err(|p| p.to_string())
    }

    fn v1(json: &str) -> Vec<String> {
        let writes = parse(json, &examples::v1()).unwrap().v1();
        writes.into_iter().map(|w| format!("{} {}", w.file.trim_start_matches("devices."), w.value)).collect()
    }

    #[test]
    fn a_scope_is_told_all_or_nothing() {
        let groups = "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n136 pts\n\nBlock devices:\n  7 loop\n";
        let rules = |json: &str, groups: &str| {
            let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
            DeviceRules::parse(&spec, &examples::v2()).unwrap().systemd(groups)
        };
        let [policy, list] = &rules(r#"[{"allow":true,"type":"b","major":7,"access":"r"}]"#, groups)[..]
        else {
            panic!()
        };
        assert_eq!(policy.value, PropertyValue::Text("strict".into()));
        let PropertyValue::Pairs(pairs) = &list.value else { panic!() };
        for expected in [("block-loop", "r"), ("char-*", "m"), ("/dev/char/1:3", "rwm"), ("char-pts", "rwm")]
        {
            assert!(
                pairs.iter().any(|(what, access)| (&**what, &**access) == expected),
                "{expected:?} in {pairs:?}"
            );
        }
        let auto = [Property::new("DevicePolicy", PropertyValue::Text("auto".into()))];
        assert_eq!(rules(r#"[{"allow":true,"access":"rwm"}]"#, groups), auto);
        assert_eq!(rules(r#"[{"allow":true,"type":"c","major":77,"access":"r"}]"#, groups), auto);
    }

    #[test]
    fn without_a_list_all_but_the_defaults_is_denied() {
        let writes = v1("[]");
        assert_eq!(writes[..4], ["deny a", "allow c *:* m", "allow b *:* m", "allow c 1:3 rwm"]);
        assert_eq!(writes.len(), 12);
        assert_eq!(writes, v1(r#"[{"allow":false,"access":"rwm"}]"#));
    }

    #[test]
    fn all_allowed_is_one_write() {
        assert_eq!(v1(r#"[{"allow":true,"access":"rwm"}]"#), ["allow a"]);
    }

    #[test]
    fn later_rules_win_on_v1() {
        let list = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"},
            {"allow":false,"type":"c","major":10,"minor":229,"access":"wm"}]"#;
        assert_eq!(v1(list)[1], "allow c 10:229 r");
        let list = r#"[{"allow":true,"access":"rwm"},{"allow":false,"major":8,"minor":0,"access":"rw"}]"#;
        assert_eq!(v1(list), ["allow a", "deny c 8:0 rw", "deny b 8:0 rw"]);
    }

    #[test]
    fn what_v1_cannot_hold_is_refused_there() {
        let list = r#"[{"allow":true,"type":"c","access":"rwm"},
            {"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]"#;
        assert_eq!(
            parse(list, &examples::v1()).unwrap_err(),
            "linux.resources.devices: cgroup v1 cannot except \"c 10:229\" from \"c *:*\""
        );
        assert!(parse(list, &examples::v2()).is_ok());
    }

    #[test]
    fn bad_entries() {
        for (json, field) in [
            (r#"[{"allow":true}]"#, "access"),
            (r#"[{"allow":true,"access":""}]"#, "access"),
            (r#"[{"allow":true,"access":"rx"}]"#, "access"),
            (r#"[{"allow":true,"access":"r","type":"p"}]"#, "type"),
            (r#"[{"allow":true,"access":"r","major":-7}]"#, "major"),
            (r#"[{"allow":true,"access":"r","minor":4294967296}]"#, "minor"),
        ] {
            let text = parse(json, &examples::v2()).unwrap_err();
            assert!(text.starts_with(&format!("linux.resources.devices[0].{field}: ")), "{text}");
        }
        let rule = parse(r#"[{"allow":true,"access":"r","major":-1}]"#, &examples::v2()).unwrap().rules()[0];
        assert_eq!(rule.pattern, Pattern::ALL);
    }

    #[test]
    fn rules_fail_closed_but_not_where_nobody_can_have_them() {
        let list = r#"[{"allow":false,"access":"rwm"}]"#;
        let bare = examples::host(Hierarchy::V1(vec![]));
        assert!(parse(list, &bare).unwrap_err().contains("no cgroup controller \"devices\""));
        assert_eq!(parse("[]", &bare), Ok(DeviceRules::NotPossible));
        assert!(parse(list, &examples::hybrid()).unwrap().are_enforced());
        let rootless = Host { in_user_namespace: true, ..examples::v2() };
        assert_eq!(parse(list, &rootless), Ok(DeviceRules::NotPossible));
    }
}
