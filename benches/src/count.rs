//! How many system calls a command makes, with all its children: `ptrace(2)`.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Attempt, Result};

/// The number of system calls of a command and of all processes that it makes, until its last one has ended; of a
/// container that is left behind, until the command itself has.
///
/// A call counts when it is entered. Calls that never return (`exit_group`) count as well.
pub fn system_calls(line: &[String]) -> Result<u64> {
    let main = crate::traced::follow(line, Options::PTRACE_O_TRACESYSGOOD)?;
    ptrace::syscall(main, None).attempt("ptrace(PTRACE_SYSCALL)")?;
    let mut tracing = Tracing { main, calls: 0, inside: BTreeSet::new(), seen: BTreeSet::from([main]) };
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::__WALL)) {
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => {}
            status => {
                if let Some(code) = tracing.step(status.attempt("waitpid")?) {
                    tracing.leave();
                    return if code == 0 {
                        Ok(tracing.calls)
                    } else {
                        Err(format!("{line:?}: exit code {code}"))
                    };
                }
            }
        }
    }
    Err(format!("{line:?}: was lost"))
}

struct Tracing {
    main: Pid,
    calls: u64,
    /// Those that are within a system call.
    inside: BTreeSet<Pid>,
    seen: BTreeSet<Pid>,
}

impl Tracing {
    /// Let whoever stopped go on; the exit code of the command when it has ended.
    fn step(&mut self, status: WaitStatus) -> Option<i32> {
        let (pid, signal) = match status {
            WaitStatus::PtraceSyscall(pid) => {
                if !self.inside.remove(&pid) {
                    self.inside.insert(pid);
                    self.calls += 1;
                }
                (pid, None)
            }
            // The first stop of a new process.
            WaitStatus::Stopped(pid, Signal::SIGSTOP) if self.seen.insert(pid) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::PtraceEvent(pid, ..) => (pid, None),
            WaitStatus::Exited(pid, code) => return (pid == self.main).then_some(code),
            WaitStatus::Signaled(pid, signal, _) => return (pid == self.main).then_some(128 + signal as i32),
            _ => return None,
        };
        // It may have been killed meanwhile.
        let _gone = ptrace::syscall(pid, signal);
        None
    }

    /// Let go of those that live on: a container.
    fn leave(&mut self) {
        for pid in std::mem::take(&mut self.seen) {
            // What runs is stopped first, or it could not be let go.
            if nix::sys::signal::kill(pid, None).is_ok() && pid != self.main {
                let _gone = nix::sys::signal::kill(pid, Signal::SIGSTOP);
                while let Ok(status) = waitpid(pid, Some(WaitPidFlag::__WALL)) {
                    match status {
                        WaitStatus::Stopped(pid, Signal::SIGSTOP) => {
                            let _gone = ptrace::detach(pid, None);
                            break;
                        }
                        WaitStatus::Exited(..) | WaitStatus::Signaled(..) => break,
                        _ => drop(ptrace::syscall(pid, None)),
                    }
                }
            }
        }
    }
}
