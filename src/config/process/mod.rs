//! `process` — the container process.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#process>

pub mod apparmor_profile;
pub mod capabilities;
pub mod exec_cpu_affinity;
pub mod io_priority;
pub mod no_new_privileges;
pub mod oom_score_adj;
pub mod rlimits;
pub mod scheduler;
pub mod selinux_label;
pub mod user;

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime as spec;

use crate::config::linux::namespaces::Namespaces;
use crate::config::linux::sysctl::OwnNamespaces;
use crate::error::{Error, Field, Problems};
use crate::host::Host;
use crate::sys::process::Pid;
use crate::terminal::Size;

use apparmor_profile::ApparmorProfile;
use capabilities::{Capabilities, Ungrantable};
use exec_cpu_affinity::ExecCpuAffinity;
use io_priority::IoPriority;
use no_new_privileges::NoNewPrivileges;
use oom_score_adj::OomScoreAdj;
use rlimits::Rlimits;
use scheduler::Scheduler;
use selinux_label::SelinuxLabel;
use user::{Setgroups, User};

/// What is run in the container, as whom, and with which rights.
#[derive(Clone, Debug)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub args: Vec<CString>,
    /// `NAME=VALUE`, each name once.
    pub env: Vec<CString>,
    /// Absolute path in the container.
    pub cwd: PathBuf,
    /// Whether it has a terminal, and of which size that is; `None` as the size leaves the kernel's.
    pub terminal: Option<Option<Size>>,
    /// Who it is.
    pub user: User,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Its resource limits.
    pub rlimits: Rlimits,
    /// Whether a program may give it more rights.
    pub no_new_privileges: NoNewPrivileges,
    /// How soon it is chosen when memory runs out.
    pub oom_score_adj: OomScoreAdj,
    /// Its AppArmor profile.
    pub apparmor_profile: ApparmorProfile,
    /// Its SELinux label.
    pub selinux_label: SelinuxLabel,
    /// When it runs.
    pub scheduler: Scheduler,
    /// How soon its input and output is done.
    pub io_priority: IoPriority,
    /// Which CPUs it runs on, if it is not the first.
    pub exec_cpu_affinity: ExecCpuAffinity,
}

/// One argument or variable is at most this long for `execve(2)` (`MAX_ARG_STRLEN`, with its NUL byte), in bytes.
const LONGEST_STRING: usize = 131_072;
/// All together may take a quarter of the stack's limit, and never more than this, in bytes.
const MOST_OF_ALL: u64 = 6 << 20;

impl Process {
    /// Refuses what `execve(2)` and the kernel would refuse later, as far as that can be told without the container.
    pub fn parse(
        process: &spec::Process,
        namespaces: &Namespaces,
        setgroups: Setgroups,
        host: &Host,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let own = OwnNamespaces::of(namespaces);
        let user = problems.keep(User::parse(process.user(), setgroups));
        let capabilities = process.capabilities().as_ref();
        let capabilities = problems.keep(Capabilities::parse(capabilities, host, &own, Ungrantable::Refuse));
        let rlimits = problems.keep(Rlimits::parse(process.rlimits().as_deref()));
        let oom_score_adj = problems.keep(OomScoreAdj::parse(process.oom_score_adj()));
        let apparmor_profile =
            problems.keep(ApparmorProfile::parse(process.apparmor_profile().as_deref(), host));
        let selinux_label = problems.keep(SelinuxLabel::parse(process.selinux_label().as_deref(), host));
        let scheduler = problems.keep(Scheduler::parse(process.scheduler().as_ref()));
        let io_priority = problems.keep(IoPriority::parse(process.io_priority().as_ref()));
        let affinity = problems.keep(ExecCpuAffinity::parse(process.exec_cpu_affinity().as_ref()));
        let args = problems.keep(args(process.args().as_deref().unwrap_or_default()));
        let env = problems.keep(env(process.env().as_deref().unwrap_or_default()));
        let cwd = problems.keep(cwd(process.cwd()));
        let terminal = problems.keep(terminal(process));
        if let (Some(args), Some(env)) = (&args, &env) {
            problems.keep(fits(args, env, process.rlimits().as_deref().unwrap_or_default()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let missing = || Problems::one("process", "is not complete");
        Ok(Self {
            args: args.ok_or_else(missing)?,
            env: env.ok_or_else(missing)?,
            cwd: cwd.ok_or_else(missing)?,
            terminal: terminal.ok_or_else(missing)?,
            user: user.ok_or_else(missing)?,
            capabilities: capabilities.ok_or_else(missing)?,
            rlimits: rlimits.ok_or_else(missing)?,
            no_new_privileges: NoNewPrivileges::parse(process.no_new_privileges()),
            oom_score_adj: oom_score_adj.ok_or_else(missing)?,
            apparmor_profile: apparmor_profile.ok_or_else(missing)?,
            selinux_label: selinux_label.ok_or_else(missing)?,
            scheduler: scheduler.ok_or_else(missing)?,
            io_priority: io_priority.ok_or_else(missing)?,
            exec_cpu_affinity: affinity.ok_or_else(missing)?,
        })
    }

    /// Limit the caller, who then is the process. Where it may not, the parent may: [`Process::write_limits_for`].
    pub fn apply_limits(&self) -> Result<(), Error> {
        self.write_limits_for(Pid::from_raw(0))
    }

    /// What the parent may set, for whoever has become the process: it may have rights that the process has not.
    pub fn write_limits_for(&self, pid: Pid) -> Result<(), Error> {
        self.rlimits.write_for(pid)?;
        self.scheduler.write_for(pid)?;
        self.io_priority.write_for(pid)
    }

    /// Set a variable of its environment, given as `NAME=VALUE`.
    pub fn set_variable(&mut self, entry: &str) {
        let name = entry.split_once('=').map_or(entry, |(name, _)| name);
        let is_it = |other: &CString| {
            other.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        };
        self.env.retain(|other| !is_it(other));
        self.env.extend(CString::new(entry));
    }

    /// The value of a variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find_map(|entry| {
            let value = entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsStr::from_bytes(value))
        })
    }
}

fn c_string(text: &str, field: Field, problems: &mut Problems) -> CString {
    if text.len() >= LONGEST_STRING {
        let rule =
            format!("has {} bytes, execve(2) takes at most {} (E2BIG)", text.len(), LONGEST_STRING - 1);
        problems.add(field, rule);
        return CString::default();
    }
    CString::new(text).unwrap_or_else(|_| {
        problems.add(field, "holds a NUL byte");
        CString::default()
    })
}

fn args(args: &[String]) -> Result<Vec<CString>, Problems> {
    let mut problems = Problems::default();
    match args.first() {
        None => problems.add("process.args", "must have at least one element: the program"),
        Some(program) if program.is_empty() => {
            problems.add("process.args[0]", "must not be empty: it is the program")
        }
        Some(_) => {}
    }
    let field = Field::new("process.args");
    let args = args.iter().enumerate().map(|(i, arg)| c_string(arg, field.index(i), &mut problems)).collect();
    problems.or(args)
}

/// Of a variable that is given twice the last one counts, at the place of the first.
fn env(env: &[String]) -> Result<Vec<CString>, Problems> {
    let mut problems = Problems::default();
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(env.len());
    let mut entries = Vec::with_capacity(env.len());
    for (i, entry) in env.iter().enumerate() {
        let field = Field::new("process.env").index(i);
        let Some((name, _)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let start: String = entry.chars().take(64).collect();
            problems.add(field, format!("{start:?} is not NAME=VALUE"));
            continue;
        };
        let entry = c_string(entry, field, &mut problems);
        match places.get(name) {
            Some(place) => entries[*place] = entry,
            None => {
                places.insert(name, entries.len());
                entries.push(entry);
            }
        }
    }
    problems.or(entries)
}

fn cwd(cwd: &Path) -> Result<PathBuf, Problems> {
    if !cwd.is_absolute() {
        return Err(Problems::one("process.cwd", format!("{cwd:?} is not absolute")));
    }
    match crate::config::path::too_long(cwd) {
        Some(rule) => Err(Problems::one("process.cwd", rule)),
        None => Ok(crate::config::path::clean(cwd)),
    }
}

/// "The runtime MUST ignore consoleSize if terminal is false or unset."
fn terminal(process: &spec::Process) -> Result<Option<Option<Size>>, Problems> {
    if !process.terminal().unwrap_or(false) {
        return Ok(None);
    }
    let size = process.console_size().filter(|size| (size.height(), size.width()) != (0, 0));
    size.map(|size| Size::parse(size.height(), size.width())).transpose().map(Some)
}

fn fits(args: &[CString], env: &[CString], rlimits: &[spec::PosixRlimit]) -> Result<(), Problems> {
    let stack = rlimits.iter().find(|limit| limit.typ() == spec::PosixRlimitType::RlimitStack);
    // The usual limit of the stack where the config has none.
    let room = (stack.map_or(8 << 20, |limit| limit.soft()) / 4).clamp(LONGEST_STRING as u64, MOST_OF_ALL);
    let pointer = size_of::<usize>();
    let total: usize = args.iter().chain(env).map(|string| string.as_bytes_with_nul().len() + pointer).sum();
    if total as u64 > room {
        let rule = format!("args and env have {total} bytes, execve(2) takes at most {room} (E2BIG)");
        return Err(Problems::one("process", rule));
    }
    Ok(())
}

/// A machine without any security module, for the tests of the sections.
#[cfg(test)]
pub(crate) fn plain_host() -> crate::host::Host {
    crate::host::Host {
        euid: 0,
        in_user_namespace: false,
        setgroups_denied: false,
        caller: None,
        rootless: false,
        kernel: (6, 12),
        bounding: (1 << 41) - 1,
        last_capability: crate::host::Fact::Known(40),
        ambient: 0,
        ignored_signals: 0,
        apparmor: crate::host::Fact::Known(false),
        selinux: crate::host::Fact::Known(false),
        hierarchy: crate::cgroup::hierarchy::Hierarchy::None,
        driver: crate::cgroup::hierarchy::Driver::default(),
        allowed_annotations: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<Process, Problems> {
        let mut process = serde_json::json!({"args": ["sh"], "cwd": "/", "user": {}});
        for (key, value) in json.as_object().unwrap() {
            process[key] = value.clone();
        }
        let process: spec::Process = serde_json::from_value(process).unwrap();
        Process::parse(&process, &Namespaces::default(), Setgroups::Allowed, &plain_host())
    }

    #[test]
    fn the_last_of_two_variables_counts() {
        let process = parse(serde_json::json!({"env": ["A=1", "B=2", "A=3"]})).unwrap();
        assert_eq!(process.env, [c"A=3".to_owned(), c"B=2".to_owned()]);
        assert_eq!(process.variable("A"), Some(OsStr::new("3")));
        assert_eq!(process.variable("C"), None);
    }

    #[test]
    fn what_execve_would_refuse() {
        for bad in [
            serde_json::json!({"args": []}),
            serde_json::json!({"args": [""]}),
            serde_json::json!({"env": ["NOVALUE"]}),
            serde_json::json!({"env": ["=x"]}),
            serde_json::json!({"env": [format!("A={}", "x".repeat(3 << 20))]}),
            serde_json::json!({"env": vec![format!("A={}", "x".repeat(1000)); 1], "args": vec!["x".repeat(100_000); 40]}),
            serde_json::json!({"cwd": "tmp"}),
            serde_json::json!({"cwd": ""}),
            serde_json::json!({"terminal": true, "consoleSize": {"height": 100_000_000_000_u64, "width": 80}}),
        ] {
            assert!(parse(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_without_a_terminal_is_ignored() {
        let process = parse(serde_json::json!({"consoleSize": {"height": 100_000, "width": 80}})).unwrap();
        assert_eq!(process.terminal, None);
    }
}
