//! The processes of a cgroup: into it, and all of them at once.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Cgroup;
use super::cgroupfs::visit;
use super::hierarchy::Version;
use super::layout::Need;
use super::sub_cgroups::SubCgroups;
use crate::config::linux::cgroups_path::FIELD;
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{self, Errno, signal};

const PROCESSES: &str = "cgroup.procs";

/// How long killed processes may take to be gone from the kernel's view of those to kill.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What a new process enters the cgroup by, without the wait that moving a process costs: writing to `cgroup.procs`
/// stops every fork on the machine for an RCU grace period, about 10 ms.
#[derive(Debug)]
pub struct Entrance<'a> {
    v2: Option<V2<'a>>,
    tasks: Vec<OwnedFd>,
}

/// A directory of the v2 tree.
#[derive(Debug)]
enum V2<'a> {
    /// The container's own.
    Own(BorrowedFd<'a>),
    /// Another one.
    Other(OwnedFd),
}

impl AsFd for V2<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(directory) => *directory,
            Self::Other(directory) => directory.as_fd(),
        }
    }
}

impl Entrance<'_> {
    /// The directory for `clone3(2)` with `CLONE_INTO_CGROUP` (Linux 5.7), if there is a v2 tree.
    pub fn into_cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(AsFd::as_fd)
    }

    /// The kernel does not know `CLONE_INTO_CGROUP`: the new process enters the v2 tree as it does the others, by itself,
    /// so that it has not done anything outside, and its cgroup namespace begins where it should.
    pub fn is_entered_by_self(&mut self) -> sys::Result<()> {
        if let Some(directory) = self.v2.take() {
            self.tasks.push(file::open(directory, PROCESSES, OFlag::O_WRONLY, Mode::empty())?);
        }
        Ok(())
    }

    /// Enter the v1 trees. A thread that moves itself need not wait for anybody, so this is for the new process, as
    /// long as it has one thread.
    pub fn enter_self(&self) -> Result<(), Error> {
        for tasks in &self.tasks {
            file::write_once(tasks, "0", Path::new(PROCESSES)).at(FIELD)?;
        }
        Ok(())
    }
}

impl Cgroup {
    /// Open what a new process enters by.
    pub fn entrance(&self) -> Result<Entrance<'_>, Error> {
        let v2 = self.v2().map(|leaf| V2::Own(leaf.as_fd()));
        let mut tasks = Vec::new();
        for leaf in self.with_version(Version::V1) {
            match file::open(leaf, "tasks", OFlag::O_WRONLY, Mode::empty()) {
                Err(error) if error.errno == Errno::EACCES && self.layout.need() == Need::Optional => {}
                file => tasks.push(file.at(FIELD)?),
            }
        }
        Ok(Entrance { v2, tasks })
    }

    /// The same for sub-cgroups that the container has made.
    pub fn entrance_to(&self, subs: &SubCgroups) -> Result<Entrance<'_>, Error> {
        subs.judge(&self.layout)?;
        let field = "--cgroup";
        let mut entrance = Entrance { v2: None, tasks: Vec::new() };
        for (directory, place) in self.layout.directories().iter().zip(&self.places) {
            let path = self.layout.levels(directory).path().join(subs.path_in(directory)?);
            let dir = place.root.open_beneath(&path).at(field)?;
            match directory.version {
                Version::V1 => {
                    entrance.tasks.push(file::open(&dir, "tasks", OFlag::O_WRONLY, Mode::empty()).at(field)?)
                }
                Version::V2 => entrance.v2 = Some(V2::Other(dir)),
            }
        }
        Ok(entrance)
    }

    /// The same beside another process of the container: where the container has made sub-cgroups with controllers, v2
    /// lets no process into the cgroup above them any more, and the container's first process is in one of them.
    pub fn entrance_beside(&self, pid: i32) -> Result<Entrance<'_>, Error> {
        let entrance = self.entrance()?;
        let Some(index) = self.layout.directories().iter().position(|d| d.version == Version::V2) else {
            return Ok(entrance);
        };
        let name = format!("/proc/{pid}/cgroup");
        let text = file::read_text(file::here(), &name).at_file(&name)?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let levels = self.layout.levels(&self.layout.directories()[index]);
        if !Path::new(path).starts_with(levels.path()) {
            return Err(Error::message(format!("{name}: process {pid} is not in the container's cgroup")));
        }
        let v2 = self.places[index].root.open_beneath(Path::new(path)).at(FIELD)?;
        Ok(Entrance { v2: Some(V2::Other(v2)), ..entrance })
    }

    /// Move a process, whatever it is doing, into every directory.
    pub fn attach(&self, pid: i32) -> Result<(), Error> {
        self.places.iter().filter_map(|place| place.leaf.as_ref()).try_for_each(|leaf| {
            match attach(leaf, pid) {
                Err(error) if error.errno == Errno::EACCES && self.layout.need() == Need::Optional => Ok(()),
                result => result.at(FIELD),
            }
        })
    }

    /// The processes in it and in the sub-cgroups that they have made, in this process's pid namespace.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        self.killed().map_or(Ok(vec![]), |leaf| below(leaf).at(FIELD))
    }

    /// Send a signal to all processes in it. It is frozen meanwhile, so that none is forked behind our back, and frozen
    /// no more afterwards, unless it was before and the signal is not `SIGKILL`.
    pub fn kill_all(&self, signal: i32) -> Result<(), Error> {
        if signal == libc::SIGKILL
            && let Some(leaf) = self.v2()
            && self.with_version(Version::V1).next().is_none()
        {
            match file::write_value(leaf, "cgroup.kill", "1") {
                // Not before Linux 5.14, and not in threaded cgroups.
                Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EOPNOTSUPP) => {}
                result => return result.at(FIELD),
            }
        }
        let was_frozen = self.is_frozen();
        let frozen = was_frozen || self.freeze().is_ok();
        let result = self.signal_each(signal, if frozen { Forks::Stopped } else { Forks::GoOn });
        if frozen && signal == libc::SIGKILL {
            self.let_die()?;
        } else if frozen && !was_frozen {
            self.thaw()?;
        }
        result
    }

    fn signal_each(&self, signal: i32, forks: Forks) -> Result<(), Error> {
        let began = Instant::now();
        let mut told = BTreeSet::new();
        loop {
            let pids = self.pids()?;
            // Never 0, which would be our own process group.
            let mut new = pids.into_iter().filter(|&pid| pid > 0 && told.insert(pid)).peekable();
            if new.peek().is_none() {
                return Ok(());
            }
            for pid in new {
                signal::kill(pid, signal).at(FIELD)?;
            }
            if forks == Forks::Stopped || began.elapsed() > KILL_LIMIT {
                return Ok(());
            }
        }
    }
}

/// Whether there can be more processes than a moment ago.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forks {
    Stopped,
    GoOn,
}

/// The kernel answers `EINVAL` for a task that is not yet known to its scheduler.
fn attach(leaf: &OwnedFd, pid: i32) -> sys::Result<()> {
    let mut result = Ok(());
    for _ in 0..5 {
        result = file::write_value(leaf, PROCESSES, &pid.to_string());
        if !matches!(&result, Err(error) if error.errno == Errno::EINVAL) {
            break;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    result
}

/// The processes in a directory and below. 0 stands for those outside of our pid namespace, of which there are some
/// nevertheless.
pub fn below(leaf: &OwnedFd) -> sys::Result<Vec<i32>> {
    let mut pids = Vec::new();
    visit(leaf, |dir| {
        match file::read_text(dir, PROCESSES) {
            // Threaded: the processes are listed further up. Removed: there are none.
            Err(error) if matches!(error.errno, Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT) => {}
            text => pids.extend(text?.lines().filter_map(|line| line.parse::<i32>().ok())),
        }
        Ok(())
    })?;
    Ok(pids)
}
