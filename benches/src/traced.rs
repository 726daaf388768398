//! A command that begins under `ptrace(2)`.

#![expect(unsafe_code, reason = "what a child does before its execve has no safe form")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::{Attempt, Result};

/// Start a command line without streams, to be followed with all the processes that it makes. It stops at its `execve(2)`, and
/// all of them are killed with us.
pub fn follow(line: &[String], more: Options) -> Result<Pid> {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let main = start(&mut command)?;
    let options = Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    waitpid(main, None).attempt("waitpid")?;
    ptrace::setoptions(main, options | more).attempt("ptrace(PTRACE_SETOPTIONS)")?;
    Ok(main)
}

/// Start it; it stops at its `execve(2)`.
fn start(command: &mut Command) -> Result<Pid> {
    // SAFETY: the closure makes one system call, and touches no lock and no memory of the parent.
    unsafe { command.pre_exec(|| nix::sys::ptrace::traceme().map_err(Into::into)) };
    // The child is waited for by its number.
    let child = command.spawn().attempt("spawn")?;
    Ok(Pid::from_raw(child.id() as i32))
}
