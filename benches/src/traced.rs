//! A command that begins under `ptrace(2)`.

#![expect(unsafe_code, reason = "what a child does before its execve has no safe form")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Pid;

use crate::{Attempt, Result};

/// Start it; it stops at its `execve(2)`.
pub fn start(command: &mut Command) -> Result<Pid> {
    // SAFETY: the closure makes one system call, and touches no lock and no memory of the parent.
    unsafe { command.pre_exec(|| nix::sys::ptrace::traceme().map_err(Into::into)) };
    // The child is waited for by its number.
    let child = command.spawn().attempt("spawn")?;
    Ok(Pid::from_raw(child.id() as i32))
}
