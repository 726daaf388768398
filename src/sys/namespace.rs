//! Namespaces: join, leave, name.
#![expect(unsafe_code, reason = "two ioctls and sethostname's twin")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

pub use nix::sched::CloneFlags;

use super::file::{self, Mode, OFlag};
use super::{Errno, Result, checked, mount, named};

/// `setns(2)`; `name` is the path that the descriptor was opened by.
pub fn join(namespace: impl AsFd, kind: CloneFlags, name: &Path) -> Result<()> {
    named(nix::sched::setns(namespace, kind), || format!("setns({name:?}, {kind:?})"))
}

/// `unshare(2)`.
pub fn unshare(kinds: CloneFlags) -> Result<()> {
    named(nix::sched::unshare(kinds), || format!("unshare({kinds:?})"))
}

/// Enter the time namespace that was made for our children by [`unshare`]. Its clocks cannot be set any more after.
pub fn join_own_time(procfs: impl AsFd) -> Result<()> {
    let name = "self/ns/time_for_children";
    let namespace = file::open(procfs, name, OFlag::O_RDONLY, Mode::empty())?;
    join(&namespace, CloneFlags::from_bits_retain(libc::CLONE_NEWTIME), Path::new(name))
}

/// A mount namespace, and the root directory to have in it.
#[derive(Debug)]
pub struct MountNamespace {
    /// `/proc/PID/ns/mnt`
    pub namespace: OwnedFd,
    /// Not the namespace's own, where a caller was put into a root (`chroot(2)`).
    pub root: OwnedFd,
}

impl MountNamespace {
    /// The one that the caller is in.
    pub fn own(procfs: impl AsFd) -> Result<Self> {
        Ok(Self {
            namespace: file::open(procfs, "self/ns/mnt", OFlag::O_RDONLY, Mode::empty())?,
            root: file::open_path(file::here(), "/", OFlag::O_DIRECTORY)?,
        })
    }

    /// Do something in there, with the rights that the caller has here. Whatever came of it, afterwards the caller is where
    /// it was; that it is not is the only other error. This process must have one thread.
    pub fn visit<T>(&self, procfs: impl AsFd, act: impl FnOnce() -> T) -> Result<T> {
        let ours = Self::own(procfs)?;
        let directory = file::open_path(file::here(), ".", OFlag::O_DIRECTORY)?;
        let done = self.enter().map(|()| act());
        ours.enter()?;
        file::chdir(&directory)?;
        done
    }

    fn enter(&self) -> Result<()> {
        join(&self.namespace, CloneFlags::CLONE_NEWNS, Path::new("ns/mnt"))?;
        file::chdir(&self.root)?;
        mount::chroot_here()
    }
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
    let socket = named(made, || "socket(AF_INET, SOCK_DGRAM)".into()).map(file::UntilHandOver::from)?;
    // SAFETY: all of ifreq may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    named(Errno::result(result).map(drop), || "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into())
}
