//! Programs by descriptor: copies that cannot change, and `execveat(2)`.
#![expect(unsafe_code, reason = "statx and execveat are not in nix")]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::MFdFlags;

use super::file::{self, FsFlags, Mode, OFlag};
use super::{Errno, Error, Result, named};

/// Everything that keeps the content, and the seals themselves, as they are.
const SEALS: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_SEAL);

/// Whether this is memory that can no longer be changed, `memfd_create(2)`.
pub fn is_sealed(file: impl AsFd) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(SEALS))
}

/// Whether the file has the attribute `i` of `chattr(1)`, or fs-verity: nobody can write to it. A kernel or file system
/// that cannot tell counts as no.
pub fn is_immutable(file: impl AsFd) -> bool {
    // SAFETY: all of statx may be zero.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let number = file.as_fd().as_raw_fd();
    // SAFETY: an empty NUL-terminated path, and a structure that the kernel fills in.
    let result = unsafe { libc::statx(number, c"".as_ptr(), libc::AT_EMPTY_PATH, 0, &raw mut found) };
    let immutable = (libc::STATX_ATTR_IMMUTABLE | libc::STATX_ATTR_VERITY) as u64;
    result == 0 && found.stx_attributes & immutable != 0
}

/// A copy of a program in memory that can no longer be changed.
pub fn sealed_copy(program: impl AsFd) -> Result<OwnedFd> {
    let name = "crust";
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag; later ones may be told to refuse memory without it.
    let exec = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let memory =
        nix::sys::memfd::memfd_create(name, exec).or_else(|_| nix::sys::memfd::memfd_create(name, flags));
    let memory = named(memory, || format!("memfd_create({name:?})"))?;
    copy(program, &memory)?;
    let sealed = fcntl(&memory, FcntlArg::F_ADD_SEALS(SEALS)).map(drop);
    named(sealed, || "fcntl(memfd, F_ADD_SEALS)".into())?;
    Ok(memory)
}

/// The mode of a file of [`unnamed_copy`], which tells it from others.
const UNNAMED: u32 = 0o700;

/// A copy of a program in a file that has no name and cannot be given one, and that nobody has open for writing: from
/// now on it can be executed, and as long as it is executed nobody can open it for writing.
pub fn unnamed_copy(program: impl AsFd, dir: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_EXCL;
    let writable = file::open(file::here(), dir, flags, Mode::S_IRWXU)?;
    if file::statfs(&writable)?.flags().contains(FsFlags::ST_NOEXEC) {
        return Err(Error::new(format!("{dir:?} is mounted noexec"), Errno::EACCES));
    }
    copy(program, &writable)?;
    file::fchmod(&writable, UNNAMED)?; // whatever the umask
    reopen(&writable, OFlag::O_RDONLY)
}

/// Whether this is an [`unnamed_copy`] of our own.
pub fn is_unnamed(file: impl AsFd) -> bool {
    file::stat(&file).is_ok_and(|stat| {
        stat.st_nlink == 0
            && stat.st_uid == nix::unistd::geteuid().as_raw()
            && stat.st_mode == libc::S_IFREG | UNNAMED
    })
}

/// Whether the kernel lets nobody write to the file since it is being executed. This is found out by trying: from Linux
/// 6.11 to 6.12.1 it did.
pub fn is_busy(file: impl AsFd) -> bool {
    matches!(reopen(&file, OFlag::O_WRONLY), Err(error) if error.errno == Errno::ETXTBSY)
}

fn reopen(file: impl AsFd, flags: OFlag) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    file::open(file::here(), path, flags, Mode::empty())
}

fn copy(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let mut offset = 0;
    loop {
        // SAFETY: two open descriptors, and an offset that the kernel updates.
        let result = unsafe { libc::sendfile(to, from, &raw mut offset, 1 << 30) };
        match Errno::result(result) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::new(format!("sendfile({to}, {from})"), errno)),
        }
    }
}

/// `execveat(2)` of an open file. Comes back only with an error.
pub fn execute(program: impl AsFd, args: &[CString], env: &[CString]) -> Error {
    let number = program.as_fd().as_raw_fd();
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: an empty NUL-terminated path, and two arrays of such strings that end with a null pointer.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            number,
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    let errno = Errno::last();
    if !matches!(errno, Errno::ENOSYS | Errno::EPERM) {
        return Error::new(format!("execveat({number})"), errno);
    }
    // A filter of an outer container that does not know the call.
    let path = CString::new(format!("/proc/self/fd/{number}")).unwrap_or_default();
    // SAFETY: as above.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Error::new(format!("execve({path:?})"), Errno::last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

    fn shell() -> OwnedFd {
        let program = file::open(file::here(), "/bin/sh", OFlag::O_RDONLY, Mode::empty()).unwrap();
        ["/dev/shm", "/tmp", "/run"].iter().find_map(|dir| unnamed_copy(&program, dir).ok()).unwrap()
    }

    #[test]
    fn an_unnamed_copy_cannot_be_written_to_while_it_is_executed() {
        let copy = shell();
        assert!(is_unnamed(&copy) && !is_busy(&copy));
        let words = [c"sh", c"-c", c"while :; do read line; done"].map(CString::from);
        let pid = process::in_child(|| {
            execute(&copy, &words, &[]);
            1
        });
        let busy = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            is_busy(&copy)
        });
        process::kill(pid, libc::SIGKILL).unwrap();
        process::wait(pid).unwrap();
        assert!(busy);
        assert!(!is_busy(&copy));
    }

    #[test]
    fn an_unnamed_copy_gets_no_name() {
        let copy = shell();
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let name = format!("/tmp/crust-unnamed-{}", std::process::id());
        let linked = nix::unistd::linkat(
            file::here(),
            path.as_str(),
            file::here(),
            name.as_str(),
            nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW,
        );
        assert!(linked.is_err());
    }
}
