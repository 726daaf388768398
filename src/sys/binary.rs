//! Programs by descriptor: copies that cannot change, and `execveat(2)`.
#![expect(unsafe_code, reason = "statx and execveat are not in nix")]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::MFdFlags;

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
    copy(program.as_fd().as_raw_fd(), memory.as_raw_fd())?;
    let sealed = fcntl(&memory, FcntlArg::F_ADD_SEALS(SEALS)).map(drop);
    named(sealed, || "fcntl(memfd, F_ADD_SEALS)".into())?;
    Ok(memory)
}

fn copy(from: i32, to: i32) -> Result<()> {
    let mut offset = 0;
    loop {
        // SAFETY: two open descriptors, and an offset that the kernel updates.
        let result = unsafe { libc::sendfile(to, from, &raw mut offset, 1 << 30) };
        match Errno::result(result) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::new("sendfile(memfd)", errno)),
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
