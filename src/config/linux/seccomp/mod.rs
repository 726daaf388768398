//! `linux.seccomp` — which system calls the container's processes may make.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp>

mod architecture;
mod assemble;
mod newer_calls;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

use crate::error::{At, Error, Problems};
use crate::host::Host;
use crate::sys;
use crate::sys::seccomp::{Action, Arch, Draft, Flags, Instruction};
use rules::Rule;

const FIELD: &str = "linux.seccomp";

/// What is meant: the calls by name, not yet a program. `None` is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seccomp(Option<Filter>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    default: Action,
    /// Without repetitions, and with the one that crust is built for.
    architectures: Vec<Arch>,
    rules: Vec<Rule>,
    flags: Flags,
    listener: Option<Listener>,
}

/// Who decides about the calls of `SCMP_ACT_NOTIFY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The socket to which the descriptor is sent.
    pub path: PathBuf,
    /// What is sent with it, as it stands.
    pub metadata: String,
}

impl Seccomp {
    /// Refuses what the spec forbids, and what would hang: a filter that asks the listener about the call which init
    /// needs to go on until the listener is there.
    pub fn parse(seccomp: Option<&LinuxSeccomp>, host: &Host) -> Result<Self, Problems> {
        let Some(seccomp) = seccomp else {
            return Ok(Self(None));
        };
        let mut problems = Problems::default();
        let default = problems.keep(rules::action(
            seccomp.default_action(),
            seccomp.default_errno_ret(),
            &format!("{FIELD}.defaultErrnoRet").into(),
        ));
        if seccomp.default_action() == LinuxSeccompAction::ScmpActNotify {
            problems.add(
                format!("{FIELD}.defaultAction"),
                "SCMP_ACT_NOTIFY cannot be used as default action: nobody listens until init has made more calls",
            );
        }
        let architectures = seccomp.architectures().as_deref().unwrap_or_default();
        let architectures = problems.keep(architecture::parse(architectures));
        let syscalls = seccomp.syscalls().as_deref().unwrap_or_default();
        let rules = problems.keep(rules::parse(syscalls));
        let notifies = syscalls.iter().any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify);
        let listener = problems.keep(parse_listener(seccomp, notifies));
        let flags = flags(seccomp.flags().as_deref(), notifies, host);
        match (default, architectures, rules, listener) {
            (Some(default), Some(architectures), Some(mut rules), Some(listener)) => {
                // A rule that says what the default says is an error to libseccomp; engines write them (runc#3109).
                rules.retain(|rule| rule.action != default);
                problems.or(Self(Some(Filter { default, architectures, rules, flags, listener })))
            }
            _ => Err(problems),
        }
    }

    /// Whom to send the descriptor that [`Program::load`] gives.
    pub fn listener(&self) -> Option<&Listener> {
        self.0.as_ref()?.listener.as_ref()
    }

    /// Make the program. This is work for the parent, before there is a container: libseccomp is not a small thing to
    /// run in a process that the container can see.
    pub fn compile(&self) -> Result<Option<Program>, Error> {
        let Some(filter) = &self.0 else {
            return Ok(None);
        };
        if filter.flags.contain(Flags::WAIT_KILLABLE_RECV) && !sys::seccomp::knows(WAIT_KILLABLE) {
            let rule = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is not known to this kernel (it came with Linux 5.19)";
            return Err(Problems::one(format!("{FIELD}.flags"), rule).into());
        }
        if crate::log::debugging() {
            filter.tell_unknown_names();
        }
        let instructions = match table::tables(filter) {
            Some(tables) => assemble::assemble(&tables),
            None => filter.compile_with_libseccomp()?,
        };
        Ok(Some(Program { instructions, flags: filter.flags }))
    }
}

impl Filter {
    fn tell_unknown_names(&self) {
        for rule in &self.rules {
            for name in rule.unknown_names() {
                crate::log::debug(&format!("{}.names: libseccomp does not know {name:?}", rule.field));
            }
        }
    }

    fn compile_with_libseccomp(&self) -> Result<Vec<Instruction>, Error> {
        let mut draft = Draft::new(self.default, &self.architectures).at(FIELD)?;
        for rule in &self.rules {
            rule.add_to(&mut draft).at(rule.field.clone())?;
        }
        let mut instructions = newer_calls::prelude(self.default, &self.architectures);
        instructions.extend(draft.finish().at(FIELD)?);
        Ok(instructions)
    }
}

/// The words that are understood in this section, for `features`.
pub struct Words {
    /// `syscalls[].action`
    pub actions: Vec<String>,
    /// `syscalls[].args[].op`
    pub operators: Vec<String>,
    /// `architectures`
    pub architectures: Vec<String>,
    /// `flags`
    pub known_flags: Vec<String>,
    /// Those of `flags` that this kernel knows.
    pub supported_flags: Vec<String>,
}

impl Words {
    /// Ask the tables, and the kernel about flags.
    pub fn read() -> Self {
        fn words<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> Vec<String> {
            let word = |value| serde_json::to_value(value).ok()?.as_str().map(str::to_owned);
            values.into_iter().filter_map(word).collect()
        }
        let supported = FLAGS.iter().filter(|(_, flags)| flags.is_none_or(sys::seccomp::knows));
        Self {
            actions: words(rules::ACTIONS),
            operators: words(rules::OPERATORS),
            architectures: words(architecture::words()),
            known_flags: words(FLAGS.map(|(word, _)| word)),
            supported_flags: words(supported.map(|(word, _)| *word)),
        }
    }
}

/// The flags of the spec, and the kernel's, if it has to be told of them.
const FLAGS: [(LinuxSeccompFilterFlag, Option<Flags>); 4] = [
    (LinuxSeccompFilterFlag::SeccompFilterFlagTsync, None),
    (LinuxSeccompFilterFlag::SeccompFilterFlagLog, Some(Flags::LOG)),
    (LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow, Some(Flags::SPEC_ALLOW)),
    (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, Some(WAIT_KILLABLE)),
];

/// The kernel takes the one only with the other.
const WAIT_KILLABLE: Flags = Flags::NEW_LISTENER.and(Flags::WAIT_KILLABLE_RECV);

/// A filter as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    flags: Flags,
}

impl Program {
    /// Load the filter into the caller. The descriptor, if there is one, is for [`Listener::path`].
    pub fn load(&self) -> Result<Option<OwnedFd>, Error> {
        // As runc says it; what looks at a log finds it in either.
        crate::log::debug(&format!("seccomp filter flags: {}", self.flags.bits()));
        sys::seccomp::load(&self.instructions, self.flags).at(FIELD)
    }

    /// Whether [`Program::load`] gives a descriptor.
    pub fn notifies(&self) -> bool {
        self.flags.contain(Flags::NEW_LISTENER)
    }
}

fn parse_listener(seccomp: &LinuxSeccomp, notifies: bool) -> Result<Option<Listener>, Problems> {
    let path = seccomp.listener_path().as_deref().filter(|path| *path != Path::new(""));
    let metadata = seccomp.listener_metadata().as_deref().unwrap_or_default();
    match path {
        None if !metadata.is_empty() => {
            Err(Problems::one(format!("{FIELD}.listenerMetadata"), "must not be set without listenerPath"))
        }
        None if notifies => {
            let rule = "is missing: SCMP_ACT_NOTIFY needs a listener, or its calls would hang";
            Err(Problems::one(format!("{FIELD}.listenerPath"), rule))
        }
        Some(path) if notifies => Ok(Some(Listener { path: path.to_owned(), metadata: metadata.to_owned() })),
        // The spec has the path ignored where no call is to be decided.
        _ => Ok(None),
    }
}

/// `TSYNC` is for several threads, and the process that loads the filter has one. `WAIT_KILLABLE_RECV` is refused by
/// the kernel where there is no listener that could receive.
fn flags(given: Option<&[LinuxSeccompFilterFlag]>, notifies: bool, host: &Host) -> Flags {
    use LinuxSeccompFilterFlag as Given;
    let mut flags = match given {
        // As runc does: without the flag, containers pay for a mitigation that the kernel itself has given up as a
        // default (5.16). The flag came with 4.17.
        None if host.kernel >= (4, 17) => Flags::SPEC_ALLOW,
        _ => Flags::default(),
    };
    for flag in given.unwrap_or_default() {
        flags = flags.and(match flag {
            Given::SeccompFilterFlagLog => Flags::LOG,
            Given::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
            Given::SeccompFilterFlagWaitKillableRecv if notifies => Flags::WAIT_KILLABLE_RECV,
            Given::SeccompFilterFlagWaitKillableRecv | Given::SeccompFilterFlagTsync => Flags::default(),
        });
    }
    if notifies { flags.and(Flags::NEW_LISTENER) } else { flags }
}
