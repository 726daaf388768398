//! `process.capabilities` — the privileges of the container process.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxCapabilities};

use crate::config::linux::sysctl::OwnNamespaces;
use crate::error::{At, Error, Field, Problems};
use crate::host::Host;
use crate::sys;

/// The capabilities by their numbers, as in `linux/capability.h`.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What to do about a capability that this machine, or this caller, cannot give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ungrantable {
    /// Refuse the config, as runc does.
    Refuse,
    /// Leave it out and say so in [`Capabilities::warnings`], as the spec asks since 1.1.
    LeaveOut,
}

/// The five sets, as bit masks by capability number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
    /// What the bounding set of init is before anything is dropped.
    present: u64,
    /// The caller's own ambient set is not empty.
    caller_has_ambient: bool,
    warnings: Vec<String>,
}

impl Capabilities {
    /// Refuses sets that the kernel would not take. No object at all is no capability at all, for root as well: so it is
    /// in runc, and anything else would give more than was asked for.
    pub fn parse(
        sets: Option<&LinuxCapabilities>,
        host: &Host,
        own: &OwnNamespaces,
        ungrantable: Ungrantable,
    ) -> Result<Self, Problems> {
        let (present, caller_has_ambient) = (grantable(host, own), host.ambient != 0);
        let mut plan = Self { present, caller_has_ambient, ..Self::default() };
        let Some(sets) = sets else {
            return Ok(plan);
        };
        let mut problems = Problems::default();
        plan.bounding = mask(sets.bounding());
        plan.effective = mask(sets.effective());
        plan.permitted = mask(sets.permitted());
        plan.inheritable = mask(sets.inheritable());
        plan.ambient = mask(sets.ambient());
        plan.judge_ungrantable(ungrantable, &mut problems);
        refuse(&mut problems, "effective", plan.effective & !plan.permitted, "is not permitted as well");
        plan.lower_ambient();
        problems.or(plan)
    }

    /// What was left out, for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Drop what is not in the bounding set of the config. Needs `CAP_SETPCAP`, so it comes before the change of user;
    /// only what is present is dropped, as each is a system call.
    pub fn drop_bounding(&self) -> Result<(), Error> {
        for number in numbers(self.present & !self.bounding) {
            sys::capability::drop_bounding(number).at("process.capabilities.bounding")?;
        }
        Ok(())
    }

    /// Let the caller act with the final effective set, while it may still take the others back: what it looks at is
    /// what its program may look at.
    pub fn lower_effective(&self) -> Result<(), Error> {
        self.set_effective(|_| self.effective)
    }

    /// Act with everything that is permitted again, to load a filter: that needs `CAP_SYS_ADMIN` or no_new_privs.
    pub fn raise_effective(&self) -> Result<(), Error> {
        self.set_effective(|permitted| permitted)
    }

    fn set_effective(&self, effective: impl Fn(u64) -> u64) -> Result<(), Error> {
        let field = "process.capabilities";
        let now = sys::capability::get().at(field)?;
        let effective = effective(now.permitted) & now.permitted;
        sys::capability::set(sys::capability::Sets { effective, ..now }).at(field)
    }

    /// Set the other four sets: after the change of user, which empties the effective set.
    pub fn apply(&self) -> Result<(), Error> {
        let field = "process.capabilities";
        let wanted = sys::capability::Sets {
            effective: self.effective,
            permitted: self.permitted,
            inheritable: self.inheritable,
        };
        sys::capability::set(wanted).at(field)?;
        self.raise_ambient()?;
        // CVE-2022-29162, CVE-2022-27650 and CVE-2025-27612 were sets that held more than was asked for.
        let real = sys::capability::get().at(field)?;
        if real != wanted {
            return Err(Error::message(format!(
                "{field}: the kernel has {real:x?} where {wanted:x?} was set"
            )));
        }
        Ok(())
    }

    /// The caller's own ambient set is emptied first: what of it is also in the new permitted and inheritable sets would
    /// outlive `capset(2)`.
    fn raise_ambient(&self) -> Result<(), Error> {
        if !self.caller_has_ambient && self.ambient == 0 {
            return Ok(());
        }
        let field = "process.capabilities.ambient";
        match sys::capability::clear_ambient() {
            // Before Linux 4.3 there is no ambient set: nothing to empty.
            Err(error) if error.errno == sys::Errno::EINVAL && self.ambient == 0 => return Ok(()),
            result => result.at(field)?,
        }
        for number in numbers(self.ambient) {
            sys::capability::raise_ambient(number).at(field)?;
        }
        Ok(())
    }

    fn judge_ungrantable(&mut self, ungrantable: Ungrantable, problems: &mut Problems) {
        let present = self.present;
        let sets = [
            ("bounding", &mut self.bounding),
            ("effective", &mut self.effective),
            ("permitted", &mut self.permitted),
            ("inheritable", &mut self.inheritable),
            ("ambient", &mut self.ambient),
        ];
        let rule = "cannot be granted: not in the bounding set of crust";
        for (key, set) in sets {
            let beyond = *set & !present;
            match ungrantable {
                // An inheritable or ambient one that is not permitted is harmless, and runc passes over it.
                Ungrantable::Refuse if !matches!(key, "inheritable" | "ambient") => {
                    refuse(problems, key, beyond, rule);
                }
                _ => {
                    *set &= present;
                    self.warnings.extend(left_out(key, beyond, rule));
                }
            }
        }
    }

    /// The kernel keeps in the ambient set only what is both permitted and inheritable. Engines list ambient
    /// capabilities without the inheritable ones (podman does, and runc passes over the kernel's refusal), so this is
    /// no reason to refuse a config; and adding to the inheritable set by ourselves was CVE-2022-29162.
    fn lower_ambient(&mut self) {
        let impossible = self.ambient & !(self.permitted & self.inheritable);
        self.ambient &= !impossible;
        let rule = "left out: not permitted and inheritable as well";
        self.warnings.extend(left_out("ambient", impossible, rule));
    }
}

/// One line for a set, however many there are.
fn left_out(key: &str, set: u64, rule: &str) -> Option<String> {
    let names: Vec<_> = numbers(set).map(name).collect();
    (set != 0).then(|| format!("process.capabilities.{key}: {}: {rule}", names.join(", ")))
}

/// What can be granted. The first process of a new user namespace has all capabilities there, whatever its maker lacks
/// (`user_namespaces(7)`), and whoever joins one likewise.
fn grantable(host: &Host, own: &OwnNamespaces) -> u64 {
    if own.user { u64::MAX >> (63 - host.last_capability.get().min(63)) } else { host.bounding }
}

fn mask(set: &Option<HashSet<Capability>>) -> u64 {
    set.iter().flatten().filter_map(|&capability| number(capability)).fold(0, |mask, n| mask | 1 << n)
}

/// The number of a capability; its name in oci_spec is without the prefix.
fn number(capability: Capability) -> Option<u8> {
    let name = capability.to_string();
    let position = NAMES.iter().position(|known| known.strip_prefix("CAP_") == Some(name.as_str()))?;
    u8::try_from(position).ok()
}

fn numbers(mask: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |n| mask >> n & 1 == 1)
}

fn name(number: u8) -> &'static str {
    NAMES.get(usize::from(number)).copied().unwrap_or("an unknown capability")
}

fn refuse(problems: &mut Problems, key: &str, set: u64, rule: &str) {
    for number in numbers(set) {
        problems.add(Field::new("process.capabilities").key(key), format!("{} {rule}", name(number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::process::plain_host;
    use serde_json::json;

    const SYS_RESOURCE: u64 = 1 << 24;
    const KILL: u64 = 1 << 5;

    fn parse(
        json: serde_json::Value,
        own: &OwnNamespaces,
        rule: Ungrantable,
    ) -> Result<Capabilities, String> {
        let sets: LinuxCapabilities = serde_json::from_value(json).unwrap();
        let mut host = plain_host();
        host.bounding &= !SYS_RESOURCE;
        Capabilities::parse(Some(&sets), &host, own, rule).map_err(|problems| problems.to_string())
    }

    #[test]
    fn every_capability_of_the_spec_has_its_number() {
        for (n, name) in NAMES.iter().enumerate() {
            let capability: Capability = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(number(capability).map(usize::from), Some(n), "{name}");
        }
    }

    #[test]
    fn nothing_given_is_nothing_kept() {
        let plan = Capabilities::parse(None, &plain_host(), &OwnNamespaces::default(), Ungrantable::Refuse);
        let plan = plan.unwrap();
        assert_eq!((plan.bounding, plan.permitted, plan.present), (0, 0, (1 << 41) - 1));
    }

    #[test]
    fn what_cannot_be_granted_is_refused_by_name() {
        let sets = json!({"bounding": ["CAP_SYS_RESOURCE", "CAP_KILL"], "inheritable": ["CAP_SYS_RESOURCE"]});
        let text = parse(sets, &OwnNamespaces::default(), Ungrantable::Refuse).unwrap_err();
        assert_eq!(
            text,
            "process.capabilities.bounding: CAP_SYS_RESOURCE cannot be granted: not in the bounding set of crust"
        );
    }

    #[test]
    fn what_cannot_be_granted_is_left_out_with_a_warning() {
        let all = ["CAP_SYS_RESOURCE", "CAP_KILL"];
        let sets = json!({"bounding": all, "effective": all, "permitted": all});
        let plan = parse(sets, &OwnNamespaces::default(), Ungrantable::LeaveOut).unwrap();
        assert_eq!((plan.bounding, plan.effective, plan.permitted), (KILL, KILL, KILL));
        assert_eq!(plan.warnings.len(), 3);
    }

    #[test]
    fn a_user_namespace_of_its_own_grants_everything() {
        let own = OwnNamespaces { user: true, ..OwnNamespaces::default() };
        let sets = json!({"bounding": ["CAP_SYS_RESOURCE"], "permitted": ["CAP_SYS_RESOURCE"]});
        assert_eq!(parse(sets, &own, Ungrantable::Refuse).unwrap().permitted, SYS_RESOURCE);
    }

    #[test]
    fn effective_is_within_permitted() {
        let sets = json!({"effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"]});
        let text = parse(sets, &OwnNamespaces::default(), Ungrantable::Refuse).unwrap_err();
        assert_eq!(text, "process.capabilities.effective: CAP_CHOWN is not permitted as well");
    }

    #[test]
    fn ambient_without_inheritable_is_left_out() {
        let all = ["CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"];
        let sets = json!({"permitted": all, "inheritable": ["CAP_CHOWN"], "ambient": all});
        let plan = parse(sets, &OwnNamespaces::default(), Ungrantable::Refuse).unwrap();
        assert_eq!((plan.ambient, plan.inheritable), (1, 1));
        let line = "process.capabilities.ambient: CAP_FOWNER, CAP_KILL: left out: not permitted and inheritable as well";
        assert_eq!(plan.warnings, [line]);
    }
}
