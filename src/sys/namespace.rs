//! Namespaces: join, leave, name.
#![expect(unsafe_code, reason = "two ioctls and sethostname's twin")]

use std::os::fd::{AsFd, AsRawFd};

pub use nix::sched::CloneFlags;

use super::{Errno, Result, checked, named};

/// `setns(2)`; `name` is the path that the descriptor was opened by.
pub fn join(namespace: impl AsFd, kind: CloneFlags, name: &std::path::Path) -> Result<()> {
    named(nix::sched::setns(namespace, kind), || format!("setns({name:?}, {kind:?})"))
}

/// `unshare(2)`.
pub fn unshare(kinds: CloneFlags) -> Result<()> {
    named(nix::sched::unshare(kinds), || format!("unshare({kinds:?})"))
}

/// The type of the namespace that a file stands for, as its `CLONE_NEW*` flag; `ENOTTY` if it is none.
pub fn kind_of(file: impl AsFd) -> Result<CloneFlags> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    let number = file.as_fd().as_raw_fd();
    // SAFETY: an ioctl without an argument, on an open descriptor.
    let kind =
        checked(i64::from(unsafe { libc::ioctl(number, NS_GET_NSTYPE) }), || "ioctl(NS_GET_NSTYPE)".into())?;
    Ok(CloneFlags::from_bits_retain(kind as i32))
}

/// `sethostname(2)`.
pub fn set_hostname(name: &str) -> Result<()> {
    named(nix::unistd::sethostname(name), || format!("sethostname({name:?})"))
}

/// `setdomainname(2)`.
pub fn set_domainname(name: &str) -> Result<()> {
    // SAFETY: a pointer with its length.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    named(Errno::result(result).map(drop), || format!("setdomainname({name:?})"))
}

/// Bring up `lo` in the current network namespace.
pub fn bring_up_loopback() -> Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let made = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let socket = named(made, || "socket(AF_INET, SOCK_DGRAM)".into())?;
    // SAFETY: all of ifreq may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    named(Errno::result(result).map(drop), || "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into())
}
