//! What of a container's config counts for a further process in it (`exec`), and how the process differs from the
//! container's own.

use oci_spec::runtime as spec;

use crate::config::linux::id_mappings::IdMappings;
use crate::config::linux::memory_policy::MemoryPolicy;
use crate::config::linux::namespaces::Namespaces;
use crate::config::linux::personality::Personality;
use crate::config::linux::seccomp::Seccomp;
use crate::config::process::Process;
use crate::config::process::capabilities::NAMES;
use crate::config::{annotations, mapped, setgroups};
use crate::error::Problems;
use crate::host::Host;

/// What is to be executed: the sections of config.json that concern any process of the container, and the process.
#[derive(Clone, Debug)]
pub struct ExecPlan {
    /// The namespaces that the container was to have.
    pub namespaces: Namespaces,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Where its memory comes from.
    pub memory_policy: MemoryPolicy,
    /// Which kernel it believes to see.
    pub personality: Personality,
    /// The process.
    pub process: Process,
}

impl ExecPlan {
    /// Turn the container's spec and the process into a plan, or say everything that is wrong. `found` is what was wrong
    /// already when they were read.
    pub fn new(
        spec: &spec::Spec,
        process: &spec::Process,
        found: Problems,
        host: &Host,
    ) -> Result<Self, Problems> {
        let mut problems = found;
        let linux = spec.linux().as_ref();
        let list = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        let namespaces = problems.keep(Namespaces::parse(list)).unwrap_or_default();
        let id_mappings = problems.keep(IdMappings::parse(
            linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default(),
            linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default(),
            &namespaces,
        ));
        let meaning =
            problems.keep(annotations::meaning(spec.annotations().as_ref(), host)).unwrap_or_default();
        let seccomp = linux.and_then(|linux| linux.seccomp().as_ref());
        let seccomp = problems.keep(Seccomp::parse(seccomp, host));
        let memory_policy = linux.and_then(|linux| linux.memory_policy().as_ref());
        let memory_policy = problems.keep(MemoryPolicy::parse(memory_policy));
        let personality = linux.and_then(|linux| linux.personality().as_ref());
        let personality = problems.keep(Personality::parse(personality));
        let setgroups = setgroups(&namespaces, id_mappings.as_ref(), host, meaning.groups);
        let process = problems.keep(Process::parse(process, &namespaces, setgroups, host));
        if let (Some(process), Some(mappings)) = (&process, &id_mappings) {
            problems.keep(mapped(process, mappings));
        }
        match (seccomp, memory_policy, personality, process) {
            (Some(seccomp), Some(memory_policy), Some(personality), Some(process)) => {
                problems.or(Self { namespaces, seccomp, memory_policy, personality, process })
            }
            _ => Err(problems),
        }
    }
}

/// How the process differs from the container's own: `exec` without `--process`.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `--tty`: the process has a terminal, or none, whatever the container's own has.
    pub terminal: bool,
    /// `--cwd`
    pub cwd: Option<std::path::PathBuf>,
    /// `--env`: behind those that are there, so that they count.
    pub env: Vec<String>,
    /// `--user`: uid, and gid unless it stays.
    pub user: Option<(u32, Option<u32>)>,
    /// `--additional-gids`: beside those that are there.
    pub additional_gids: Vec<u32>,
    /// `--cap`: beside those that are there.
    pub capabilities: Vec<String>,
    /// `--no-new-privs`
    pub no_new_privileges: Option<bool>,
    /// `--apparmor`
    pub apparmor_profile: Option<String>,
    /// `--process-label`
    pub selinux_label: Option<String>,
}

impl Changes {
    /// The container's own process with these changes.
    pub fn apply_to(self, own: &spec::Process) -> Result<spec::Process, Problems> {
        let mut process = own.clone();
        if let Some(cwd) = self.cwd {
            process.set_cwd(cwd);
        }
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(self.env);
        process.set_args(Some(self.args)).set_env(Some(env)).set_terminal(Some(self.terminal));
        if let Some((uid, gid)) = self.user {
            let user = process.user_mut();
            user.set_uid(uid);
            if let Some(gid) = gid {
                user.set_gid(gid);
            }
        }
        if !self.additional_gids.is_empty() {
            let mut groups = process.user().additional_gids().clone().unwrap_or_default();
            groups.extend(self.additional_gids);
            process.user_mut().set_additional_gids(Some(groups));
        }
        if !self.capabilities.is_empty() {
            let sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
            process.set_capabilities(Some(with_capabilities(sets, &self.capabilities)?));
        }
        if self.no_new_privileges.is_some() {
            process.set_no_new_privileges(self.no_new_privileges);
        }
        if self.apparmor_profile.is_some() {
            process.set_apparmor_profile(self.apparmor_profile);
        }
        if self.selinux_label.is_some() {
            process.set_selinux_label(self.selinux_label);
        }
        Ok(process)
    }
}

fn no_capabilities() -> spec::LinuxCapabilities {
    let mut none = spec::LinuxCapabilities::default();
    none.set_bounding(None).set_effective(None).set_permitted(None).set_inheritable(None).set_ambient(None);
    none
}

/// Never inheritable: a process that had what was meant for another user gave it on to every program (CVE-2022-29162).
/// Ambient only where the container has inheritable ones, as without them the kernel has none.
fn with_capabilities(
    mut sets: spec::LinuxCapabilities,
    names: &[String],
) -> Result<spec::LinuxCapabilities, Problems> {
    let mut problems = Problems::default();
    let known = |name: &&String| {
        let known = NAMES.contains(&name.as_str());
        if !known {
            problems.add("--cap", format!("{name:?} is no capability that is known"));
        }
        known
    };
    let names: Vec<&String> = names.iter().filter(known).collect();
    let added: Vec<spec::Capability> =
        names.iter().filter_map(|name| serde_json::from_value(serde_json::json!(name)).ok()).collect();
    let with = |set: &Option<spec::Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(added.iter().copied());
        Some(set)
    };
    let (bounding, effective, permitted) =
        (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    let inherits = sets.inheritable().as_ref().is_some_and(|set| !set.is_empty());
    let ambient = if inherits { with(sets.ambient()) } else { sets.ambient().clone() };
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted).set_ambient(ambient);
    problems.or(sets)
}

/// Who `--user` names: a number, or a name that only the container knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// An id.
    Number(u32),
    /// A name for the container's `/etc/passwd` or `/etc/group`.
    Name(String),
}

/// `--user UID[:GID]`, with a name in either place. What is neither a number nor can be a name is refused: `1 `, `-1` and
/// `0x10` have been taken for root by runtimes (CVE-2026-30892), and a number is never looked up as a name, since an
/// image may have a user that is called `1001` and is root (CVE-2016-3697).
pub fn parse_user(text: &str) -> Result<(Account, Option<Account>), Problems> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let account = |part: &str| {
        parse_account(part)
            .ok_or_else(|| Problems::one("--user", format!("{text:?} is not UID[:GID], and no name")))
    };
    Ok((account(user)?, group.map(account).transpose()?))
}

/// The number of a group for `--additional-gids`.
pub fn parse_group(text: &str) -> Result<u32, Problems> {
    match parse_account(text) {
        Some(Account::Number(gid)) => Ok(gid),
        _ => Err(Problems::one("--additional-gids", format!("{text:?} is not a group id"))),
    }
}

fn parse_account(text: &str) -> Option<Account> {
    let mut characters = text.bytes();
    match characters.next()? {
        b'0'..=b'9' if characters.all(|c| c.is_ascii_digit()) => {
            // 4294967295 means "no change" to the kernel: the process would stay root.
            text.parse().ok().filter(|id| *id != u32::MAX).map(Account::Number)
        }
        c if c.is_ascii_alphabetic() || c == b'_' => {
            let rest = |c: u8| c.is_ascii_alphanumeric() || b"_.-$".contains(&c);
            characters.all(rest).then(|| Account::Name(text.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn process(json: serde_json::Value) -> spec::Process {
        serde_json::from_value(json).unwrap()
    }

    fn own() -> spec::Process {
        process(json!({
            "cwd": "/a", "user": {"uid": 5, "gid": 6, "additionalGids": [7]}, "args": ["own"], "env": ["A=1"],
            "terminal": true, "noNewPrivileges": true, "capabilities": {"bounding": ["CAP_KILL"]},
        }))
    }

    #[test]
    fn what_is_not_changed_is_the_containers() {
        let args = vec!["ls".to_owned()];
        let changed = Changes { args, ..Changes::default() }.apply_to(&own()).unwrap();
        assert_eq!(changed.args().as_deref(), Some(&["ls".to_owned()][..]));
        assert_eq!((changed.user().uid(), changed.user().gid()), (5, 6));
        assert_eq!(changed.cwd(), "/a".as_ref() as &std::path::Path);
        assert_eq!((changed.terminal(), changed.no_new_privileges()), (Some(false), Some(true)));
    }

    #[test]
    fn users_and_groups_add_up() {
        let changes = Changes { user: Some((8, None)), additional_gids: vec![9], ..Changes::default() };
        let changed = changes.apply_to(&own()).unwrap();
        assert_eq!((changed.user().uid(), changed.user().gid()), (8, 6));
        assert_eq!(changed.user().additional_gids().as_deref(), Some(&[7, 9][..]));
    }

    #[test]
    fn capabilities_are_never_inheritable() {
        let changes = Changes { capabilities: vec!["CAP_CHOWN".into()], ..Changes::default() };
        let sets = changes.apply_to(&own()).unwrap().capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 2);
        assert_eq!(sets.effective().as_ref().unwrap().len(), 1);
        assert!(sets.inheritable().is_none() && sets.ambient().is_none());
        let none = process(json!({"cwd": "/", "user": {}}));
        let changes = Changes { capabilities: vec!["CAP_CHOWN".into()], ..Changes::default() };
        let sets = changes.apply_to(&none).unwrap().capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
        let unknown = Changes { capabilities: vec!["CAP_FOO".into()], ..Changes::default() };
        assert!(unknown.apply_to(&own()).unwrap_err().to_string().contains("CAP_FOO"));
    }

    #[test]
    fn numbers_are_numbers_and_names_are_names() {
        let number = |id| Account::Number(id);
        assert_eq!(parse_user("1"), Ok((number(1), None)));
        assert_eq!(parse_user("1:2"), Ok((number(1), Some(number(2)))));
        assert_eq!(parse_user("web:33"), Ok((Account::Name("web".into()), Some(number(33)))));
        for bad in [
            "",
            "-1",
            "+1",
            "4294967295",
            "4294967296",
            ":1",
            "1:",
            "0x10",
            "1:2:3",
            " 1",
            "1 ",
            "1a",
            "a b",
            "../x",
            "1\n",
            "é",
        ] {
            assert!(parse_user(bad).is_err(), "{bad:?}");
        }
        assert!(parse_group("tty").is_err());
        assert_eq!(parse_group("5"), Ok(5));
    }
}
