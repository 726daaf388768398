//! The only door to the kernel: one function, one call, one error shape.
//!
//! A function here makes a system call (or a file operation that is nothing else) and names it in its error, with its
//! arguments, as strace would. It knows nothing of config.json. With `--debug` every call is a line in the log.
#![allow(clippy::disallowed_methods, reason = "the door is where these are called")]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

pub use nix::errno::Errno;

pub mod binary;
pub mod bpf;
pub mod capability;
pub mod clone;
pub mod credentials;
pub mod file;
pub mod idmap;
pub mod keyring;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod netlink;
pub mod numa;
pub mod openat2;
pub mod pipe;
pub mod prctl;
pub mod proc;
pub mod proc_self;
pub mod process;
pub mod rlimit;
pub mod scheduling;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod start;
pub mod terminal;

/// A call that failed: what was called, and the errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The call with its arguments: `setns("/proc/7/ns/net", CLONE_NEWNET)`.
    pub call: String,
    /// Why.
    pub errno: Errno,
}

impl Error {
    /// An error made by hand, for a call that a library made.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno }
    }
}

impl fmt::Display for Error {
    /// `CALL: ERRNO: text`. The text begins with a small letter: callers look for `permission denied` and
    /// `no such file or directory` as Go writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.errno.desc();
        let (first, rest) = text.split_at(text.len().min(1));
        let small = first.to_lowercase();
        // "I/O error" and the like keep their capitals.
        let text =
            if rest.starts_with(|c: char| c.is_lowercase() || c == ' ') { small + rest } else { text.into() };
        write!(f, "{}: {:?}: {text}", crate::error::printable(&self.call), self.errno)
    }
}

impl std::error::Error for Error {}

/// Whether the call itself is missing: this kernel does not have it (`ENOSYS`), or a filter that an outer container put
/// around us hides it, many of which answer `EPERM` to what they do not know. Where the kernel itself said `EPERM`, the
/// other way to do it hears the same.
pub fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM)
}

/// The kernel whose calls are all there, as no filter is in force: major and minor version in one number.
static KERNEL: AtomicU32 = AtomicU32::new(0);

/// No filter is in force, and this is the kernel: nobody need try whether it has a call.
pub fn has_all_calls_until((major, minor): (u32, u32)) {
    KERNEL.store(major << 16 | minor, Ordering::Relaxed);
}

/// Whether it is known that all calls of this version can be made. Otherwise they may be there all the same.
pub fn has_calls_of((major, minor): (u32, u32)) -> bool {
    KERNEL.load(Ordering::Relaxed) >= major << 16 | minor
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Give a failed call its name. The name is only made when it is needed: on failure, or for `--debug`.
pub(crate) fn named<T>(result: nix::Result<T>, call: impl Fn() -> String) -> Result<T> {
    if crate::log::debugging() {
        let outcome = result.as_ref().err().map_or("ok".into(), |errno| format!("{errno:?}"));
        crate::log::debug(&format!("{}: {outcome}", call()));
    }
    result.map_err(|errno| Error { call: call(), errno })
}

/// The same for a call that is made with libc and answers -1.
pub(crate) fn checked(result: i64, call: impl Fn() -> String) -> Result<i64> {
    named(Errno::result(result), call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_go_writes_them() {
        assert_eq!(
            Error::new("open(\"x\")", Errno::ENOENT).to_string(),
            "open(\"x\"): ENOENT: no such file or directory"
        );
        assert_eq!(Error::new("read(3)", Errno::EIO).to_string(), "read(3): EIO: I/O error");
        assert_eq!(Error::new("kill(1)", Errno::ESRCH).to_string(), "kill(1): ESRCH: no such process");
    }
}
