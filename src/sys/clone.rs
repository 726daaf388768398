//! New processes in new namespaces: `clone3(2)` with the meaning of `fork(2)`.
#![expect(unsafe_code, reason = "no crate wraps clone3 without a stack of its own")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sched::CloneFlags;

use super::process::{Pid, pidfd_open};
use super::{Errno, Result, checked, is_missing};

/// libc has these two as numbers that overflow their type.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// On which side of a fork one is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one: the child's pid in this pid namespace, and its pidfd.
    Parent(i32, Option<OwnedFd>),
}

/// How a process comes into being.
#[derive(Debug, Default)]
pub struct Birth<'a> {
    /// `CLONE_NEW*`, and `CLONE_PARENT`.
    pub flags: u64,
    /// The v2 cgroup directory it is born in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// `clone3(2)`, as `fork(2)` does: the child goes on with a copy of the memory. This process must have one thread.
///
/// The kernel's `CLONE_CLEAR_SIGHAND` gives every caught signal its default again. Where `clone3` is missing or
/// forbidden and no cgroup was asked for, `clone(2)` does the same.
pub fn clone(birth: &Birth) -> Result<Fork> {
    let mut pidfd: i32 = -1;
    let with_parent = birth.flags & libc::CLONE_PARENT as u64 != 0;
    // SAFETY: all of clone_args may be zero.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = birth.flags | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    args.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the signal is the caller's own, and must be zero here.
    args.exit_signal = if with_parent { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = birth.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no stack is given, so the child runs on a copy of this one, as after fork(2); crust has one thread, so no
    // lock is held by another. The pidfd's address outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    let pid = match Errno::result(result) {
        Err(errno) if is_missing(errno) && birth.cgroup.is_none() => plain_clone(birth.flags)?,
        _ => checked(result, || format!("clone3({:?})", CloneFlags::from_bits_retain(birth.flags as i32)))?,
    };
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the kernel has stored a new descriptor there.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    // Nobody but us can reap it, so that the number is still its own.
    let pidfd = pidfd.or_else(|| pidfd_open(Pid::from_raw(pid as i32)).ok());
    Ok(Fork::Parent(pid as i32, pidfd))
}

/// Let a new process go on in our place, in the pid namespace that was joined: a sibling of ours that has our memory, not
/// a copy, as after `vfork(2)`. We ourselves wait in the kernel until it executes a program, or ends, and end then: not an
/// instruction of ours follows that could meet what it has done to the memory. The new process's pid, in the pid namespace
/// that we are in. `ENOSYS` where this is not done.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn succeed() -> Result<i32> {
    let mut pid: i32 = 0;
    // SAFETY: all of clone_args may be zero.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let memory = libc::CLONE_VM | libc::CLONE_VFORK;
    args.flags = (memory | libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64 | CLONE_CLEAR_SIGHAND;
    // Written before the new process runs, into the memory that it sees as well.
    args.parent_tid = &raw mut pid as u64;
    let size = size_of::<libc::clone_args>();
    let mut result = libc::SYS_clone3;
    // SAFETY: the new process returns from here on the stack that it has for itself, since the old one does not touch it
    // again; the structure and the pid's address outlive the call.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jle 2f",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") result,
            inlateout("rdi") &raw const args => _,
            in("rsi") size,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cmp x0, 0",
            "b.le 2f",
            "mov x0, 0",
            "mov x8, {exit}",
            "svc 0",
            "brk 0",
            "2:",
            exit = const libc::SYS_exit_group,
            in("x8") result,
            inlateout("x0") &raw const args as i64 => result,
            in("x1") size,
        );
    }
    if result < 0 {
        // Without the C library the answer is the errno itself.
        let errno = Errno::from_raw(result.unsigned_abs() as i32);
        return Err(super::Error::new("clone3(CLONE_VM | CLONE_VFORK | CLONE_PARENT)", errno));
    }
    // SAFETY: a variable of ours that the kernel has written to.
    match unsafe { (&raw const pid).read_volatile() } {
        known @ 1.. => Ok(known),
        // Whoever goes on is the new process already, and nobody could know of it.
        _ => super::process::exit(1),
    }
}

/// The same for processors that it was not written for.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn succeed() -> Result<i32> {
    Err(super::Error::new("clone3(CLONE_VM | CLONE_VFORK)", Errno::ENOSYS))
}

/// `clone(2)` by its number, as `fork(2)` with flags.
fn plain_clone(flags: u64) -> Result<i64> {
    let flags = flags | libc::SIGCHLD as u64;
    // SAFETY: as in `clone`; the other arguments are null.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    checked(result, || format!("clone({:?})", CloneFlags::from_bits_retain(flags as i32)))
}
