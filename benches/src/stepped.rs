//! Which functions of a program a command executes, in the order in which it comes to them: `ptrace(2)`, an instruction at
//! a time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Attempt, Result};

/// The addresses that a command and the processes that it makes execute, each once, in the order in which they first do,
/// as long as they run the same file. A container that is left behind is let go.
pub fn addresses(line: &[String]) -> Result<Vec<u64>> {
    let main = crate::traced::follow(line, Options::empty())?;
    ptrace::step(main, None).attempt("ptrace(PTRACE_SINGLESTEP)")?;
    let own = fs::metadata(&line[0]).attempt(&line[0])?;
    let mut stepping =
        Stepping { file: (own.dev(), own.ino()), seen: BTreeSet::new(), order: Vec::new(), main, code: None };
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::__WALL)) {
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => {}
            status => stepping.step(status.attempt("waitpid")?),
        }
        if stepping.code.is_some() {
            break;
        }
    }
    match stepping.code {
        Some(0) => Ok(stepping.order),
        code => Err(format!("{line:?}: exit code {code:?}")),
    }
}

struct Stepping {
    /// Device and inode of the program.
    file: (u64, u64),
    seen: BTreeSet<u64>,
    order: Vec<u64>,
    main: Pid,
    code: Option<i32>,
}

impl Stepping {
    fn step(&mut self, status: WaitStatus) {
        let (pid, signal) = match status {
            WaitStatus::PtraceEvent(pid, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => {
                let its = fs::metadata(format!("/proc/{pid}/exe"));
                if its.is_ok_and(|its| (its.dev(), its.ino()) != self.file) {
                    let _gone = ptrace::detach(pid, None);
                    return;
                }
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, ..) | WaitStatus::Stopped(pid, Signal::SIGSTOP) => (pid, None),
            WaitStatus::Stopped(pid, Signal::SIGTRAP) => {
                if let Some(address) = instruction(pid)
                    && self.seen.insert(address)
                {
                    self.order.push(address);
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::Exited(pid, code) if pid == self.main => return self.code = Some(code),
            WaitStatus::Signaled(pid, signal, _) if pid == self.main => {
                return self.code = Some(128 + signal as i32);
            }
            _ => return,
        };
        // It may have been killed meanwhile.
        let _gone = ptrace::step(pid, signal);
    }
}

#[cfg(target_arch = "x86_64")]
fn instruction(pid: Pid) -> Option<u64> {
    ptrace::getregs(pid).ok().map(|registers| registers.rip)
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction(_: Pid) -> Option<u64> {
    None
}
