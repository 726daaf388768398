//! Children and other processes: waiting, signals, pidfds.
#![expect(unsafe_code, reason = "wait statuses with real-time signals and pidfds are beyond nix")]

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub use nix::poll::{PollFd, PollFlags};
pub use nix::sys::signal::Signal;
pub use nix::unistd::Pid;

use super::file::retry;
use super::{Errno, Result, checked, named};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it. A number: there are more signals than [`Signal`] has names.
    Signal(i32),
}

impl Exit {
    /// The code a shell gives it, and the runtime: 128 and the signal's number for a killed process.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => 128 + number,
        }
    }

    fn of(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// Wait until a child ends, and reap it. `__WALL`: also one that was cloned without a signal for its end.
pub fn wait(pid: Pid) -> Result<Exit> {
    let mut status = 0;
    // SAFETY: waitpid writes the status to the integer it is given.
    let result =
        retry(|| Errno::result(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, libc::__WALL) }));
    named(result, || format!("waitpid({pid})"))?;
    Ok(Exit::of(status))
}

/// Reap a child if it has ended; `None` while it lives.
pub fn try_wait(pid: Pid) -> Result<Option<Exit>> {
    Ok(wait_without_blocking(pid)?.map(|(_, exit)| exit))
}

/// Whether a child has ended. It is not reaped: its number stays its own.
pub fn has_ended(pid: Pid) -> Result<bool> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let result = retry(|| waitid(Id::Pid(pid), flags));
    named(result, || format!("waitid({pid}, WEXITED|WNOHANG|WNOWAIT)"))
        .map(|status| status != WaitStatus::StillAlive)
}

/// Reap any child that has ended; `None` when there is none, or when no child is left at all.
pub fn reap_any() -> Result<Option<(Pid, Exit)>> {
    match wait_without_blocking(Pid::from_raw(-1)) {
        Err(error) if error.errno == Errno::ECHILD => Ok(None),
        result => result,
    }
}

fn wait_without_blocking(pid: Pid) -> Result<Option<(Pid, Exit)>> {
    let flags = libc::WNOHANG | libc::__WALL;
    let mut status = 0;
    // SAFETY: waitpid writes the status to the integer it is given.
    let result = retry(|| Errno::result(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, flags) }));
    match named(result, || format!("waitpid({pid}, WNOHANG)"))? {
        0 => Ok(None),
        reaped => Ok(Some((Pid::from_raw(reaped), Exit::of(status)))),
    }
}

/// `kill(2)`, with any signal number. A negative pid means a process group.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: kill takes two numbers.
    checked(unsafe { libc::kill(pid.as_raw(), signal) }.into(), || format!("kill({pid}, {signal})")).map(drop)
}

/// `pidfd_open(2)`: a descriptor that stands for this process and never for a later one with its number.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let number = checked(result, || format!("pidfd_open({pid})"))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

/// `pidfd_send_signal(2)`.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let number = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo means what kill(2) sends.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, number, signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    checked(result, || format!("pidfd_send_signal({number}, {signal})")).map(drop)
}

/// `poll(2)`: how many descriptors have something to tell. 0 when the time is over or a signal came in between: look
/// at the clock and ask again. Without a limit it waits for ever.
pub fn poll(fds: &mut [PollFd], limit: Option<Duration>) -> Result<usize> {
    // Rounded up, lest the last millisecond be spent in a busy loop.
    let milliseconds =
        limit.map_or(-1, |limit| i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    let timeout = nix::poll::PollTimeout::try_from(milliseconds).unwrap_or(nix::poll::PollTimeout::NONE);
    match nix::poll::poll(fds, timeout) {
        Err(Errno::EINTR) => Ok(0),
        result => {
            Ok(named(result, || format!("poll({} descriptors, {milliseconds} ms)", fds.len()))? as usize)
        }
    }
}

/// Our effective user and group id.
pub fn effective_ids() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// Inherit the children of processes that end below us, to reap them.
pub fn become_subreaper() -> Result<()> {
    named(nix::sys::prctl::set_child_subreaper(true), || "prctl(PR_SET_CHILD_SUBREAPER)".into())
}

/// Wait until there is something to read, or the other side has closed; `false` when the time has run out.
pub fn wait_readable(file: impl AsFd, limit: Option<Duration>) -> Result<bool> {
    poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], limit).map(|ready| ready > 0)
}

/// End this process at once: nothing that the parent has set up to be done at exit is done.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// `execve(2)`. Comes back only with an errno.
pub fn execute(path: &std::path::Path, args: &[std::ffi::CString], env: &[std::ffi::CString]) -> Errno {
    use std::os::unix::ffi::OsStrExt;
    let Ok(c_path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return Errno::EINVAL };
    let result = nix::unistd::execve(&c_path, args, env);
    match named(result, || format!("execve({path:?})")) {
        Ok(never) => match never {},
        Err(error) => error.errno,
    }
}

/// Whether the caller may execute a file, as `execve(2)` decides: by its effective ids and capabilities (`faccessat2(2)`,
/// Linux 5.8). Before that the kernel tells what the real user may, without capabilities.
pub fn may_execute(path: &std::path::Path) -> Result<()> {
    use nix::NixPath;
    let by_effective = path.with_nix_path(|c_path| {
        let flags = libc::AT_EACCESS;
        // SAFETY: a NUL-terminated path and numbers.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, c_path.as_ptr(), libc::X_OK, flags)
        })
    });
    let result = match by_effective.and_then(|result| result) {
        Err(errno) if super::is_missing(errno) => {
            match nix::unistd::access(path, nix::unistd::AccessFlags::X_OK) {
                Err(Errno::EACCES) if may_pass_over(path) => Ok(()),
                result => result,
            }
        }
        result => result.map(drop),
    };
    named(result, || format!("faccessat2({path:?}, X_OK, AT_EACCESS)"))
}

/// Whether somebody may execute the file, and `CAP_DAC_OVERRIDE` lets the caller do so too.
fn may_pass_over(path: &std::path::Path) -> bool {
    const DAC_OVERRIDE: u64 = 1 << 1;
    let noexec = nix::sys::statvfs::FsFlags::ST_NOEXEC;
    super::capability::get().is_ok_and(|sets| sets.effective & DAC_OVERRIDE != 0)
        && nix::sys::stat::stat(path).is_ok_and(|stat| stat.st_mode & 0o111 != 0)
        && nix::sys::statvfs::statvfs(path).is_ok_and(|on| !on.flags().contains(noexec))
}

/// A copy of a descriptor of another process (Linux 5.6).
pub fn pidfd_getfd(pidfd: impl AsFd, number: i32) -> Result<OwnedFd> {
    // SAFETY: numbers only.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0) };
    let copy = checked(result, || format!("pidfd_getfd({number})"))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}

/// Whoever has this process for a child: its reaper, once the parent has ended.
pub fn parent() -> Pid {
    nix::unistd::getppid()
}

/// Do nothing until a signal ends this process.
pub fn wait_for_signals() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// A child for a test: it runs `body` and exits with its result, or with 101 if it panics.
#[cfg(test)]
pub fn in_child(body: impl FnOnce() -> i32 + std::panic::UnwindSafe) -> Pid {
    // SAFETY: the child of the test's threads calls nothing that another thread may hold locked for good: the C
    // library puts its allocator in order in a forked child.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => child,
        nix::unistd::ForkResult::Child => {
            let code = std::panic::catch_unwind(body).unwrap_or(101);
            // SAFETY: ends the process without the parent's exit functions.
            unsafe { libc::_exit(code) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_names_and_codes() {
        assert_eq!(Exit::of(3 << 8), Exit::Code(3));
        assert_eq!(Exit::of(9).to_string(), "killed by SIGKILL");
        assert_eq!(Exit::of(40).to_string(), "killed by signal 40");
        assert_eq!(Exit::of(15 | 0x80).code(), 143);
    }
}
