//! Descriptors by number: which there are, and which of them an `execve(2)` or a child gets.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{Mode, OFlag, errno_of, list, open};
use crate::sys::{Errno, Result, is_missing, named, proc};

/// A descriptor of init's that is closed with all others when it hands over ([`close_all_but`]), or ends, and needs no
/// call of its own. Only init may have such: the parent lives as long as the container. One with a great number is closed
/// like any other, as a container may have thousands of mounts.
#[derive(Debug)]
pub struct UntilHandOver(ManuallyDrop<OwnedFd>);

impl UntilHandOver {
    /// Of the 1024 that a process may have by default; a caller under a low `ulimit -n` has his containers as well.
    const MOST: i32 = 64;
}

impl From<OwnedFd> for UntilHandOver {
    fn from(file: OwnedFd) -> Self {
        Self(ManuallyDrop::new(file))
    }
}

impl Deref for UntilHandOver {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.0
    }
}

impl AsFd for UntilHandOver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[expect(unsafe_code, reason = "ManuallyDrop")]
impl Drop for UntilHandOver {
    fn drop(&mut self) {
        if self.0.as_raw_fd() >= Self::MOST {
            // SAFETY: it is not used any more.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

/// Close every descriptor from 3 on that is not among these: `close_range(2)`, or one by one before Linux 5.9. `procfs` is
/// the runtime's own: in the container's, an image could have put something that shows fewer of them.
pub fn close_all_but(procfs: impl AsFd, kept: &[i32]) -> Result<()> {
    let mut kept: Vec<i32> = kept.iter().copied().filter(|number| *number > 2).collect();
    kept.sort_unstable();
    let mut first = 3_u32;
    for number in kept.iter().map(|number| *number as u32).chain([u32::MAX]) {
        if number > first && !close_range(first, number - 1, 0)? {
            // The procfs is closed by this too, after it was listed.
            return close_one_by_one(procfs, first, Then::Close(&kept));
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// Whether there is a descriptor of this number.
#[expect(unsafe_code, reason = "descriptors by number")]
pub fn is_open(number: i32) -> bool {
    // SAFETY: only asks for the flags of a number, which may be none.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Make every descriptor from this number on close with `execve(2)`.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    if close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)? {
        return Ok(());
    }
    close_one_by_one(proc::open_procfs()?, first, Then::CloseOnExec)
}

/// Whether there is such a call: not before Linux 5.9, nor 5.11 for the flag.
#[expect(unsafe_code, reason = "not in nix")]
fn close_range(first: u32, last: u32, flags: u32) -> Result<bool> {
    // SAFETY: numbers only; the callers answer for what is closed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    match Errno::result(result) {
        Err(errno) if is_missing(errno) || errno == Errno::EINVAL => Ok(false),
        result => named(result.map(|_| true), || format!("close_range({first}, {last}, {flags:#x})")),
    }
}

enum Then<'a> {
    Close(&'a [i32]),
    CloseOnExec,
}

#[expect(unsafe_code, reason = "descriptors by number")]
fn close_one_by_one(procfs: impl AsFd, first: u32, then: Then) -> Result<()> {
    let open = open(procfs, "self/fd", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
    for name in list(&open)? {
        let number: i32 = name.to_str().and_then(|name| name.parse().ok()).unwrap_or(0);
        if number < first as i32 || number == open.as_raw_fd() {
            continue;
        }
        // SAFETY: numbers of descriptors that the callers answer for; one that is closed already is no harm.
        unsafe {
            match then {
                Then::Close(kept) if kept.contains(&number) => 0,
                Then::Close(_) => libc::close(number),
                Then::CloseOnExec => libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC),
            };
        }
    }
    Ok(())
}

/// Another descriptor for the same open file.
pub fn duplicate(file: impl AsFd) -> Result<OwnedFd> {
    let file = file.as_fd();
    let result = file.try_clone_to_owned().map_err(|e| errno_of(&e));
    named(result, || format!("fcntl({}, F_DUPFD_CLOEXEC)", file.as_raw_fd()))
}

/// Let a descriptor stay open over `execve(2)`, or not.
pub fn set_close_on_exec(file: impl AsFd, close: bool) -> Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let number = file.as_fd().as_raw_fd();
    let flag = if close { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    named(fcntl(file, FcntlArg::F_SETFD(flag)).map(drop), || format!("fcntl({number}, F_SETFD, {flag:?})"))
}
