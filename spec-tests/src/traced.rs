//! A call of the runtime that is followed with ptrace(2), with all its children, and loses a process at a chosen system call.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::verdict::Verdict;

/// Which process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The called one.
    Caller,
    /// One that it has begotten.
    Child,
}

/// What became of the call.
#[derive(Debug)]
pub struct Outcome {
    /// How many system calls those who may be killed have begun.
    pub calls: usize,
    /// The number of the system call that somebody was killed at, as the kernel counts them.
    pub killed_at: Option<String>,
    /// The exit status of the called process, or 128 and the number of the signal.
    pub code: i32,
    /// All of stderr.
    pub stderr: String,
}

/// Run the command, and kill its victim when it begins its system call with this number, from 1, instead of letting it.
/// Each process is let go at the end of the called one.
pub fn kill_at(command: &Command, victim: Victim, number: usize, stderr: &Path) -> Verdict<Outcome> {
    let main = start_stopped(command, stderr)?;
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK;
    ptrace::seize(main, options)?;
    kill(main, Signal::SIGCONT)?;
    let (mut calls, mut killed_at, mut begun, mut threads_of) = (0, None, false, BTreeMap::new());
    let code = loop {
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(pid, code) if pid == main => break code,
            WaitStatus::Signaled(pid, signal, _) if pid == main => break 128 + signal as i32,
            WaitStatus::PtraceSyscall(pid) => {
                let of = *threads_of.entry(pid).or_insert_with(|| process_of(pid));
                if begun && ((of == main) == (victim == Victim::Caller)) && begins_a_call(pid) {
                    calls += 1;
                    if calls == number {
                        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
                        killed_at = call.split(' ').next().map(str::to_owned);
                        kill(pid, Signal::SIGKILL)?;
                        continue;
                    }
                }
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                begun |= pid == main && event == libc::PTRACE_EVENT_EXEC;
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => continue,
        };
        // It may have been killed by another meanwhile.
        ptrace::syscall(pid, signal).or_else(if_gone)?;
    };
    let_go()?;
    Ok(Outcome { calls, killed_at, code, stderr: fs::read_to_string(stderr).unwrap_or_default() })
}

/// Stopped, so that it does nothing before it is followed.
fn start_stopped(command: &Command, stderr: &Path) -> Verdict<Pid> {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    let shell = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(stderr)?).spawn()?;
    let main = Pid::from_raw(shell.id().cast_signed());
    waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
    Ok(main)
}

fn begins_a_call(pid: Pid) -> bool {
    ptrace::syscall_info(pid).is_ok_and(|found| found.op == libc::PTRACE_SYSCALL_INFO_ENTRY)
}

/// The process that a thread belongs to.
fn process_of(thread: Pid) -> Pid {
    status(thread, "Tgid:").map_or(thread, Pid::from_raw)
}

fn status(pid: Pid, key: &str) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

fn if_gone(error: Errno) -> nix::Result<()> {
    if error == Errno::ESRCH { Ok(()) } else { Err(error) }
}

/// Whoever is still followed goes on alone.
fn let_go() -> Verdict {
    let own = std::process::id().cast_signed();
    loop {
        let followed: Vec<Pid> = numbers("/proc")
            .into_iter()
            .flat_map(|process| numbers(&format!("/proc/{process}/task")))
            .filter(|thread| status(*thread, "TracerPid:") == Some(own))
            .collect();
        if followed.is_empty() {
            return Ok(());
        }
        for pid in followed {
            ptrace::interrupt(pid).or_else(if_gone)?;
            match waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Stopped(pid, signal)) => ptrace::detach(pid, signal).or_else(if_gone)?,
                Ok(WaitStatus::PtraceSyscall(pid) | WaitStatus::PtraceEvent(pid, ..)) => {
                    ptrace::detach(pid, None).or_else(if_gone)?;
                }
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn numbers(directory: &str) -> Vec<Pid> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok().map(Pid::from_raw)).collect()
}
