//! A further process of a container, from its birth to `execve(2)`: what [`init`] makes, this joins.
//!
//! The pid namespace comes last, by a fork, when nothing of the host is open any more: whoever is in the container, root
//! with `CAP_SYS_PTRACE` too, never sees a process that could be led back to the host (CVE-2016-9962).

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use crate::cgroup::Entrance;
use crate::config::exec::ExecPlan;
use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::config::linux::seccomp::Program;
use crate::config::process::Process;
use crate::container::state::Init;
use crate::create::protocol::{ChildEnd, Request};
use crate::create::{self, enter, identity, init, intermediate, program, stdio};
use crate::error::{At, Error};
use crate::host::Host;
use crate::sys::file::{self, Mode, OFlag, ResolveFlag};
use crate::sys::namespace::{self, CloneFlags};
use crate::sys::prctl::{self, Dumpable};
use crate::sys::process::{self, Pid};
use crate::sys::{self, Errno, credentials, mount, proc};
use crate::terminal::{self, Terminal};

/// The container's init, and what sets its namespaces apart from ours.
#[derive(Debug)]
pub struct Target {
    pid: i32,
    pidfd: Option<OwnedFd>,
    /// `/proc/PID`; it stands for the process, not for its number.
    dir: OwnedFd,
    differ: Vec<Kind>,
}

impl Target {
    /// Find out, and change nothing. `ESRCH` if it is dead: descriptors come first, and then it is asked whether the
    /// process of this number is still the same.
    ///
    /// `config` is what the container's namespaces were to be. One that was made for it is none that a caller is in, or
    /// joining it once more is no harm; of the types of which that would be an error the kernel is asked.
    pub fn of(init: &Init, procfs: impl AsFd, config: &Namespaces) -> Result<Self, Error> {
        let name = "the container's init";
        let dir = file::open_path(&procfs, init.pid.to_string(), OFlag::O_DIRECTORY).at(name)?;
        let pidfd = process::pidfd_open(Pid::from_raw(init.pid)).ok();
        if !init.is_alive() {
            return Err(sys::Error::new(format!("stat(/proc/{})", init.pid), Errno::ESRCH)).at(name);
        }
        let mut differ = Vec::new();
        for kind in Kind::ALL {
            if config.creates(kind) && !matches!(kind, Kind::User | Kind::Time) {
                differ.push(kind);
                continue;
            }
            let file = format!("ns/{}", kind.file_name());
            let own = file::stat_at(&procfs, format!("self/{file}"));
            if matches!(&own, Err(error) if error.errno == Errno::ENOENT) {
                continue; // a type that this kernel does not have
            }
            let (own, theirs) = (own.at(name)?, file::stat_at(&dir, &file).at(name)?);
            if (own.st_dev, own.st_ino) != (theirs.st_dev, theirs.st_ino) {
                differ.push(kind);
            }
        }
        Ok(Self { pid: init.pid, pidfd, dir, differ })
    }

    /// The root directory of its processes.
    pub fn root(&self) -> Result<OwnedFd, Error> {
        file::open_path(&self.dir, "root", OFlag::O_DIRECTORY).at("the container's root")
    }

    fn differs(&self, kind: Kind) -> bool {
        self.differ.contains(&kind)
    }

    /// Join all namespaces at once (Linux 5.8), or one after the other. The pid namespace is entered by the next fork.
    fn join(self) -> Result<(), Error> {
        let field = "linux.namespaces";
        let name = format!("init, process {}", self.pid);
        let root = if self.differs(Kind::Mount) { None } else { Some(self.root()?) };
        let all: CloneFlags = self.differ.iter().map(|kind| kind.flag()).collect();
        if !all.is_empty() {
            let at_once = match &self.pidfd {
                Some(pidfd) => namespace::join(pidfd, all, Path::new(&name)),
                None => Err(sys::Error::new("pidfd_open", Errno::ENOSYS)),
            };
            match at_once {
                Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EBADF | Errno::ENOSYS) => {
                    self.join_one_by_one()?;
                }
                joined => joined.at(field)?,
            }
        }
        // They are closed with all others.
        std::mem::forget(self);
        match root {
            // Without a mount namespace the container has a root all the same.
            Some(root) => {
                file::chdir(&root).at("root.path")?;
                mount::chroot_here().at("root.path")
            }
            None => Ok(()),
        }
    }

    fn join_one_by_one(&self) -> Result<(), Error> {
        let field = "linux.namespaces";
        let open = |kind: &Kind| {
            let path = format!("ns/{}", kind.file_name());
            let file = file::open(&self.dir, &path, OFlag::O_RDONLY, Mode::empty()).at(field)?;
            Ok((*kind, format!("/proc/{}/{path}", self.pid), file))
        };
        let opened = self.differ.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
        for (kind, path, file) in opened {
            namespace::join(&file, kind.flag(), Path::new(&path)).at(field)?;
        }
        Ok(())
    }
}

/// All that the process is born with.
pub struct Birthright<'a> {
    /// What is to be executed.
    pub plan: &'a ExecPlan,
    /// Facts about the machine.
    pub host: &'a Host,
    /// What the caller asked for.
    pub request: &'a create::Request,
    /// The container's id.
    pub id: &'a str,
    /// The runtime's `/proc`.
    pub procfs: OwnedFd,
    /// Whom to join.
    pub target: Target,
    /// The way into the cgroup.
    pub entrance: Entrance<'a>,
    /// The way to where init is, if v2 takes no process into the cgroup any more: the container has divided it.
    pub beside: &'a dyn Fn() -> Result<Entrance<'a>, Error>,
    /// The compiled filter.
    pub filter: Option<Program>,
}

/// Be the process. Comes back only with an error, which is for the parent.
pub fn join(birthright: Birthright, end: &mut Option<ChildEnd>) -> Result<Infallible, Error> {
    let Some(end) = end else { return Err(Error::message("the process was born without an end")) };
    let Birthright { plan, host, request, id, procfs, target, entrance, beside, filter } = birthright;
    let ExecPlan { namespaces: _, seccomp: _, memory_policy, personality, process } = plan;

    intermediate::die_with_parent()?;
    enter_cgroup(entrance, beside)?;
    process.exec_cpu_affinity.apply_final()?;
    process.oom_score_adj.apply(&procfs)?; // below the caller's own needs a right of the first user namespace
    process.apparmor_profile.apply(&procfs)?; // at execve(2); a fork takes it along
    process.selinux_label.apply(&procfs)?;

    let (new_user, new_pid) = (target.differs(Kind::User), target.differs(Kind::Pid));
    target.join()?;
    if new_user {
        become_the_containers_root(host, process)?;
        // Both go with a change of user or of his rights.
        prctl::set_dumpable(prctl::Dumpable::No).at("exec")?;
        intermediate::die_with_parent()?;
    }
    if !request.no_new_keyring {
        process.selinux_label.label_keys(&procfs, || enter::join_keyring(id))?;
    }
    memory_policy.apply()?;
    personality.apply()?;
    let terminal = open_terminal(process)?;
    let slave = match terminal {
        Some(Terminal { master, slave }) => {
            init::send_master(request, master, end)?;
            Some(slave)
        }
        None => None,
    };
    let procfs = std::mem::ManuallyDrop::new(procfs);
    close_all_but(&procfs, request, end, slave.as_ref())?;
    if new_pid {
        intermediate::succeed(end)?;
    }

    match slave {
        Some(slave) => terminal::become_controlling(slave)?,
        None => credentials::new_session().at("exec")?,
    }
    stdio::make_the_containers_own(process)?;
    if process.apply_limits().is_err() {
        end.ask(&Request::LimitResources)?; // the parent may raise them above our own, or says why not
    }
    // The container's processes see us, and one that could trace us would be rid of its filter.
    let (path, env) = identity::take((process, Dumpable::No), filter, &request.variables, end)?;
    prctl::set_parent_death_signal(None).at("exec")?;
    end.say_ready()?;
    program::execute(&path, &process.args, &env)
}

/// By a process with one thread: v1 takes it without waiting for a grace period.
fn enter_cgroup<'a>(
    entrance: Entrance,
    beside: &dyn Fn() -> Result<Entrance<'a>, Error>,
) -> Result<(), Error> {
    match entrance.enter_self() {
        Err(Error::Apply { source, .. }) if source.errno == Errno::EBUSY => {
            let mut beside = beside()?;
            beside.is_entered_by_self().at("linux.cgroupsPath")?;
            beside.enter_self()
        }
        entered => entered,
    }
}

/// Whatever the container's root is, if it has one: a namespace need not map it.
fn become_the_containers_root(host: &Host, process: &Process) -> Result<(), Error> {
    match enter::become_mapped(host, (0, 0), Some(process)) {
        Err(Error::Apply { source, .. }) if source.errno == Errno::EINVAL => Ok(()),
        done => done,
    }
}

/// In the container's own devpts, wherever its links lead inside the container.
fn open_terminal(process: &Process) -> Result<Option<Terminal>, Error> {
    let field = "process.terminal";
    let Some(size) = process.terminal else { return Ok(None) };
    let resolve = ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let devpts = file::openat2(file::here(), "/dev/pts", flags, Mode::empty(), resolve).at(field)?;
    let terminal = Terminal::open(&devpts, size)?;
    terminal.give_to(process.user.uid())?;
    Ok(Some(terminal))
}

/// Nothing of the host is open from here on (R18).
fn close_all_but(
    procfs: &OwnedFd,
    request: &create::Request,
    end: &ChildEnd,
    slave: Option<&OwnedFd>,
) -> Result<(), Error> {
    let mut kept: Vec<i32> = (3..3 + request.inherited as i32).collect();
    kept.push(end.as_fd().as_raw_fd());
    kept.extend(slave.map(AsRawFd::as_raw_fd));
    kept.extend(crate::log::descriptor());
    file::close_all_but(procfs, &kept).at("exec")
}

/// The runtime's `/proc`, checked to be one.
pub fn procfs() -> Result<OwnedFd, Error> {
    proc::open_procfs().at("host")
}
