//! Our own signals: taken from a descriptor instead of being handled.
#![expect(unsafe_code, reason = "dispositions of real-time signals are beyond nix")]

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::file::retry;
use super::{Errno, Result, checked, named};

/// The greatest signal number.
const LAST: i32 = 64;

/// Signals that wait at a descriptor. They stay blocked when this is dropped: one that came late would kill us.
pub struct Waiting(SignalFd);

impl Waiting {
    /// Block every signal but `SIGURG` and those that cannot be, and take them from a descriptor from now on.
    pub fn block() -> Result<Self> {
        let mut set = SigSet::all();
        set.remove(Signal::SIGURG);
        named(set.thread_block(), || "sigprocmask(SIG_BLOCK)".into())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        named(SignalFd::with_flags(&set, flags), || "signalfd()".into()).map(Self)
    }

    /// The number of the next signal; `None` when no more have come. That somebody has stopped reading what we write
    /// is told by the write and is not a signal for anybody.
    pub fn next(&self) -> Result<Option<i32>> {
        loop {
            let signal = named(retry(|| self.0.read_signal()), || "read(signalfd)".into())?;
            let Some((number, sender)) = signal.map(|signal| (signal.ssi_signo as i32, signal.ssi_pid))
            else {
                return Ok(None);
            };
            if number != libc::SIGPIPE || sender != std::process::id() {
                return Ok(Some(number));
            }
        }
    }

    /// Whether one of those that have come means that we are to end.
    pub fn want_an_end(&self) -> Result<bool> {
        let mut wanted = false;
        while let Some(signal) = self.next()? {
            wanted |= matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT);
        }
        Ok(wanted)
    }
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Let the kernel keep children that have ended until we have waited for them, as it does unless it was told otherwise.
pub fn wait_for_children() -> Result<()> {
    // SAFETY: no function of ours is installed.
    let default = unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    named(default.map(drop), || "signal(SIGCHLD, SIG_DFL)".into())
}

/// The same where it is known which signals are ignored (bit 0 is signal 1).
pub fn wait_for_children_if_ignored(ignored: u64) -> Result<()> {
    if ignored >> (libc::SIGCHLD - 1) & 1 == 0 { Ok(()) } else { wait_for_children() }
}

/// That somebody has stopped reading what we write is told by the write, and no reason to die.
pub fn ignore_broken_pipes() {
    // SAFETY: no function of ours is installed.
    let _cannot_fail = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// As a new program expects it: every signal has its default effect and none is blocked.
pub fn reset() -> Result<()> {
    restore(1..=LAST)
}

/// The same where only these are ignored (bit 0 is signal 1) and none is caught: after a clone that lets the handlers
/// go, or before an `execve(2)` that does.
pub fn reset_ignored(ignored: u64) -> Result<()> {
    restore((1..=LAST).filter(|signal| ignored >> (signal - 1) & 1 != 0))
}

fn restore(signals: impl Iterator<Item = i32>) -> Result<()> {
    // The kernel's own structure, which in this form is zero on every architecture. The C library refuses to touch two
    // signals that it keeps for its threads, and leaves those ignored in the programs that its posix_spawn starts.
    let default = [0u64; 4];
    for signal in signals {
        // SAFETY: the call reads one structure, which is no longer than this one.
        let result = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), 8)
        };
        match Errno::result(result) {
            Err(Errno::EINVAL) => {} // SIGKILL and SIGSTOP
            result => drop(named(result, || format!("rt_sigaction({signal}, SIG_DFL)"))?),
        }
    }
    let none = 0u64;
    // Not the C library's call either: it keeps the same two signals out of every mask.
    // SAFETY: the call reads one signal set of 8 bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut::<u64>(),
            8,
        )
    };
    checked(result, || "rt_sigprocmask(SIG_SETMASK, [])".into()).map(drop)
}

/// `kill(2)` of a process that is known by its number alone, as those in `cgroup.procs` are. One that is gone needs no
/// signal.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill(2) takes numbers.
    let result = Errno::result(unsafe { libc::kill(pid, signal) });
    let result = if result == Err(Errno::ESRCH) { Ok(0) } else { result };
    named(result.map(drop), || format!("kill({pid}, {signal})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{self, Exit, Pid};

    #[test]
    fn signals_wait_until_they_are_taken() {
        let exit = process::in_child(|| {
            let waiting = Waiting::block().unwrap();
            let (read, write) = crate::sys::pipe::pipe().unwrap();
            drop(read);
            crate::sys::pipe::write_some(&write, b"x", "pipe").unwrap_err();
            assert_eq!(waiting.next().unwrap(), None);
            for number in [libc::SIGTERM, libc::SIGHUP, 34, 64] {
                process::kill(Pid::this(), number).unwrap();
                assert_eq!(waiting.next().unwrap(), Some(number));
            }
            assert_eq!(waiting.next().unwrap(), None);
            0
        });
        assert_eq!(process::wait(exit).unwrap(), Exit::Code(0));
    }

    #[test]
    fn a_reset_child_can_be_killed() {
        let exit = process::in_child(|| {
            let _waiting = Waiting::block().unwrap();
            process::kill(Pid::this(), libc::SIGUSR1).unwrap();
            reset().unwrap();
            0
        });
        assert_eq!(process::wait(exit).unwrap(), Exit::Signal(libc::SIGUSR1));
    }

    #[test]
    fn only_what_is_ignored_needs_its_default() {
        let exit = process::in_child(|| {
            let _waiting = Waiting::block().unwrap();
            // SAFETY: no function of ours is installed.
            unsafe { nix::sys::signal::signal(Signal::SIGUSR2, SigHandler::SigIgn) }.unwrap();
            let ignored = crate::sys::proc::own_status().unwrap().ignored_signals;
            reset_ignored(ignored).unwrap();
            process::kill(Pid::this(), libc::SIGUSR2).unwrap();
            0
        });
        assert_eq!(process::wait(exit).unwrap(), Exit::Signal(libc::SIGUSR2));
    }
}
