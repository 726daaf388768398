//! Files and directories, by descriptor. Every descriptor is made close-on-exec.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::AtFlags;
pub use nix::fcntl::{OFlag, ResolveFlag};
pub use nix::sys::stat::{FileStat, Mode, SFlag};
pub use nix::sys::statfs::{FsType, Statfs};
pub use nix::sys::statvfs::FsFlags;

pub use super::openat2::openat2;
use super::{Errno, Result, named};

mod content;
mod descriptors;
pub use content::{
    read, read_all, read_from_start, read_own, read_piece, read_regular, read_text, write_all, write_once,
    write_value,
};
pub use descriptors::{
    UntilHandOver, close_all_but, close_on_exec_from, duplicate, is_open, set_close_on_exec,
};

/// Open a path of the caller's file system, or relative to `dir`.
pub fn open(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
    let path = path.as_ref();
    named(nix::fcntl::openat(dir, path, flags | OFlag::O_CLOEXEC, mode), || {
        format!("openat({path:?}, {flags:?})")
    })
}

/// The current directory, for functions that take a directory.
pub fn here() -> BorrowedFd<'static> {
    nix::fcntl::AT_FDCWD
}

/// A handle that stands for the file and can neither read nor write it.
pub fn open_path(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlag) -> Result<OwnedFd> {
    open(dir, path, flags | OFlag::O_PATH, Mode::empty())
}

/// A file that what is written goes to the end of; it is made, for its owner alone, if it is not there.
pub fn append_to(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY;
    open(here(), path, flags, Mode::from_bits_truncate(0o600))
}

/// `mkdirat(2)`.
pub fn mkdir(dir: impl AsFd, path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    named(nix::sys::stat::mkdirat(dir, path, Mode::from_bits_truncate(mode)), || {
        format!("mkdirat({path:?}, {mode:#o})")
    })
}

/// `mknodat(2)`; `device` is ignored for what is neither a character nor a block device.
pub fn mknod(dir: impl AsFd, path: impl AsRef<Path>, kind: SFlag, mode: u32, device: u64) -> Result<()> {
    let path = path.as_ref();
    named(nix::sys::stat::mknodat(dir, path, kind, Mode::from_bits_truncate(mode), device), || {
        format!(
            "mknodat({path:?}, {kind:?} {mode:#o}, {}:{})",
            nix::sys::stat::major(device),
            nix::sys::stat::minor(device)
        )
    })
}

/// `symlinkat(2)`.
pub fn symlink(target: impl AsRef<Path>, dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
    let (target, path) = (target.as_ref(), path.as_ref());
    named(nix::unistd::symlinkat(target, dir, path), || format!("symlinkat({target:?}, {path:?})"))
}

/// `readlinkat(2)`.
pub fn readlink(dir: impl AsFd, path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    named(nix::fcntl::readlinkat(dir, path), || format!("readlinkat({path:?})")).map(PathBuf::from)
}

/// Remove a file that is not a directory.
pub fn unlink(dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    named(nix::unistd::unlinkat(dir, path, nix::unistd::UnlinkatFlags::NoRemoveDir), || {
        format!("unlinkat({path:?})")
    })
}

/// Remove an empty directory.
pub fn rmdir(dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    named(nix::unistd::unlinkat(dir, path, nix::unistd::UnlinkatFlags::RemoveDir), || {
        format!("unlinkat({path:?}, AT_REMOVEDIR)")
    })
}

/// `renameat(2)` within one directory.
pub fn rename(dir: impl AsFd, from: &str, to: &str) -> Result<()> {
    named(nix::fcntl::renameat(dir.as_fd(), from, dir.as_fd(), to), || format!("renameat({from:?}, {to:?})"))
}

/// `fstat(2)`.
pub fn stat(file: impl AsFd) -> Result<FileStat> {
    let number = file.as_fd().as_raw_fd();
    named(nix::sys::stat::fstat(file), || format!("fstat({number})"))
}

/// `fstatat(2)`, not following a link at the end.
pub fn lstat(dir: impl AsFd, path: impl AsRef<Path>) -> Result<FileStat> {
    let path = path.as_ref();
    named(nix::sys::stat::fstatat(dir, path, AtFlags::AT_SYMLINK_NOFOLLOW), || format!("fstatat({path:?})"))
}

/// `fstatat(2)`, following links, those of procfs as well.
pub fn stat_at(dir: impl AsFd, path: impl AsRef<Path>) -> Result<FileStat> {
    let path = path.as_ref();
    named(nix::sys::stat::fstatat(dir, path, AtFlags::empty()), || format!("fstatat({path:?})"))
}

/// What kind of file a `stat` tells of.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// `fstatfs(2)`: the file system a descriptor is on.
pub fn statfs(file: impl AsFd) -> Result<Statfs> {
    let number = file.as_fd().as_raw_fd();
    named(nix::sys::statfs::fstatfs(file), || format!("fstatfs({number})"))
}

/// `statfs(2)`: the type of the file system that a path is on.
pub fn statfs_path(path: impl AsRef<Path>) -> Result<FsType> {
    let path = path.as_ref();
    named(nix::sys::statfs::statfs(path).map(|statfs| statfs.filesystem_type()), || {
        format!("statfs({path:?})")
    })
}

/// `statfs(2)`: the flags of the mount that a path is on.
pub fn mount_flags(path: impl AsRef<Path>) -> Result<FsFlags> {
    let path = path.as_ref();
    named(nix::sys::statfs::statfs(path).map(|statfs| statfs.flags()), || format!("statfs({path:?})"))
}

/// Wait until a file of a kernel file system tells of a change (`POLLPRI`), or until the time is over.
pub fn wait_for_change(file: impl AsFd, limit: Duration) -> Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let number = file.as_fd().as_raw_fd();
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
    named(retry(|| poll(&mut polled, limit)).map(drop), || format!("poll({number}, POLLPRI)"))
}

/// `fchown(2)` through a descriptor, an `O_PATH` one as well.
pub fn chown(file: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    let result = nix::unistd::fchownat(
        file,
        OsStr::new(""),
        Some(nix::unistd::Uid::from_raw(uid)),
        Some(nix::unistd::Gid::from_raw(gid)),
        AtFlags::AT_EMPTY_PATH,
    );
    named(result, || format!("fchownat({uid}, {gid})"))
}

/// `fchown(2)` of the owner alone, through an ordinary descriptor.
pub fn fchown(file: impl AsFd, uid: u32) -> Result<()> {
    let result = nix::unistd::fchown(file, Some(nix::unistd::Uid::from_raw(uid)), None);
    named(result, || format!("fchown({uid})"))
}

/// `fsetxattr(2)`.
#[expect(unsafe_code, reason = "not in nix")]
pub fn set_xattr(file: impl AsFd, name: &std::ffi::CStr, value: &[u8]) -> Result<()> {
    let number = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a NUL, the value has its length.
    let result = unsafe { libc::fsetxattr(number, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    super::checked(result.into(), || format!("fsetxattr({number}, {name:?})")).map(drop)
}

/// `fgetxattr(2)`, up to 512 bytes.
#[expect(unsafe_code, reason = "not in nix")]
pub fn xattr(file: impl AsFd, name: &std::ffi::CStr) -> Result<Vec<u8>> {
    let number = file.as_fd().as_raw_fd();
    let mut value = vec![0_u8; 512];
    // SAFETY: the name ends with a NUL, the buffer is as long as it says.
    let length = unsafe { libc::fgetxattr(number, name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    let length = super::checked(length as i64, || format!("fgetxattr({number}, {name:?})"))?;
    value.truncate(length as usize);
    Ok(value)
}

/// `fchmodat(2)` of a name that must not be a link; callers make the name themselves just before.
pub fn chmod(dir: impl AsFd, path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    let result = nix::sys::stat::fchmodat(
        dir,
        path,
        Mode::from_bits_truncate(mode),
        nix::sys::stat::FchmodatFlags::FollowSymlink,
    );
    named(result, || format!("fchmodat({path:?}, {mode:#o})"))
}

/// `fchmod(2)`.
pub fn fchmod(file: impl AsFd, mode: u32) -> Result<()> {
    named(nix::sys::stat::fchmod(file, Mode::from_bits_truncate(mode)), || format!("fchmod({mode:#o})"))
}

/// `fchdir(2)`.
pub fn chdir(dir: impl AsFd) -> Result<()> {
    let number = dir.as_fd().as_raw_fd();
    named(nix::unistd::fchdir(dir), || format!("fchdir({number})"))
}

/// `chdir(2)` to a path that the caller trusts.
pub fn chdir_path(path: &Path) -> Result<()> {
    named(nix::unistd::chdir(path), || format!("chdir({path:?})"))
}

/// `getcwd(2)`.
pub fn current_dir() -> Result<PathBuf> {
    named(nix::unistd::getcwd(), || "getcwd()".into())
}

/// The names in a directory, without `.` and `..`.
pub fn list(dir: impl AsFd) -> Result<Vec<std::ffi::OsString>> {
    list_where(dir, |_| true)
}

/// The names of the directories in a directory of a kernel file system, which tells the kind of an entry.
pub fn list_directories(dir: impl AsFd) -> Result<Vec<std::ffi::OsString>> {
    list_where(dir, |entry| entry.file_type() == Some(nix::dir::Type::Directory))
}

fn list_where(
    dir: impl AsFd,
    is_listed: impl Fn(&nix::dir::Entry) -> bool,
) -> Result<Vec<std::ffi::OsString>> {
    let number = dir.as_fd().as_raw_fd();
    let call = || format!("getdents64({number})");
    let again = open(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut entries = named(nix::dir::Dir::from_fd(again), call)?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let entry = named(entry, call)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && is_listed(&entry) {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Take the exclusive lock on an open file or directory, if nobody has it; `EWOULDBLOCK` if somebody does. The lock is
/// kept by the open file: it ends when its last descriptor is closed.
pub fn try_lock(file: impl AsFd) -> Result<()> {
    flock(file, libc::LOCK_EX | libc::LOCK_NB, "LOCK_EX | LOCK_NB")
}

/// Give the lock back.
pub fn unlock(file: impl AsFd) -> Result<()> {
    flock(file, libc::LOCK_UN, "LOCK_UN")
}

#[expect(unsafe_code, reason = "nix's Flock owns its file and unlocks on drop, also in a forked child")]
fn flock(file: impl AsFd, operation: i32, name: &str) -> Result<()> {
    let number = file.as_fd().as_raw_fd();
    // SAFETY: flock(2) takes an open descriptor and a number.
    let result = retry(|| Errno::result(unsafe { libc::flock(number, operation) }));
    named(result.map(drop), || format!("flock({number}, {name})"))
}

/// Make a FIFO.
pub fn mkfifo(dir: impl AsFd, path: impl AsRef<Path>, mode: u32) -> Result<()> {
    mknod(dir, path, SFlag::S_IFIFO, mode, 0)
}

/// A call again while it is interrupted by a signal.
pub fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The errno of an error of the standard library.
pub fn errno_of(error: &std::io::Error) -> Errno {
    match error.kind() {
        std::io::ErrorKind::InvalidData => Errno::EILSEQ,
        _ => Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}
