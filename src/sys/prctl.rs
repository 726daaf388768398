//! `prctl(2)` and `personality(2)`: attributes of the calling process.
#![expect(unsafe_code, reason = "personality(2): nix knows its flags but not its domains")]

use std::ffi::CString;

pub use nix::sys::signal::Signal;

use super::{Errno, Result, checked, named};

/// Whether other processes of the same user may look into this one with `ptrace(2)` and `/proc/PID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumpable {
    /// As after an ordinary `execve(2)`.
    Yes,
    /// Only a process with `CAP_SYS_PTRACE` may look; `/proc/PID` belongs to root.
    No,
}

/// `PR_SET_DUMPABLE`.
pub fn set_dumpable(dumpable: Dumpable) -> Result<()> {
    let on = dumpable == Dumpable::Yes;
    named(nix::sys::prctl::set_dumpable(on), || format!("prctl(PR_SET_DUMPABLE, {})", u8::from(on)))
}

/// `PR_SET_PDEATHSIG`: the signal that arrives when the parent thread dies; `None` clears it. The kernel clears it too
/// when credentials change, so ask again after `setresuid(2)`.
pub fn set_parent_death_signal(signal: Option<Signal>) -> Result<()> {
    let name = signal.map_or("0", Signal::as_str);
    named(nix::sys::prctl::set_pdeathsig(signal), || format!("prctl(PR_SET_PDEATHSIG, {name})"))
}

/// `PR_SET_NO_NEW_PRIVS`: no `execve(2)` gives more privileges from here on. Nothing clears it.
pub fn set_no_new_privs() -> Result<()> {
    named(nix::sys::prctl::set_no_new_privs(), || "prctl(PR_SET_NO_NEW_PRIVS, 1)".into())
}

/// `PR_SET_KEEPCAPS`: permitted capabilities outlive the change from user 0 to another. `execve(2)` clears it.
pub fn keep_capabilities() -> Result<()> {
    named(nix::sys::prctl::set_keepcaps(true), || "prctl(PR_SET_KEEPCAPS, 1)".into())
}

/// `PR_SET_CHILD_SUBREAPER`: orphans among the descendants become children of this process.
pub fn become_child_subreaper() -> Result<()> {
    named(nix::sys::prctl::set_child_subreaper(true), || "prctl(PR_SET_CHILD_SUBREAPER, 1)".into())
}

/// `PR_SET_NAME`: the name that `ps` shows; the kernel keeps its first 15 bytes. A NUL is `EINVAL`.
pub fn set_name(name: &str) -> Result<()> {
    let result =
        CString::new(name).map_err(|_| Errno::EINVAL).and_then(|name| nix::sys::prctl::set_name(&name));
    named(result, || format!("prctl(PR_SET_NAME, {name:?})"))
}

/// An execution domain of `personality(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// `PER_LINUX`
    Linux,
    /// `PER_LINUX32`: `uname(2)` tells of a 32 bit machine.
    Linux32,
}

/// `personality(2)`: the domain, without any flag.
pub fn set_personality(persona: Persona) -> Result<()> {
    let (value, name) = match persona {
        Persona::Linux => (0x0000, "PER_LINUX"),
        Persona::Linux32 => (0x0008, "PER_LINUX32"),
    };
    // SAFETY: personality(2) takes a number and touches no memory of ours.
    let result = unsafe { libc::personality(value) };
    checked(i64::from(result), || format!("personality({name})")).map(drop)
}
