//! What is in a file: small ones as a whole, values of kernel file systems in one call.

use std::os::fd::AsFd;
use std::path::Path;

use super::{FileStat, Mode, OFlag, open, retry};
use crate::sys::{Errno, Error, Result, named};

/// All of a small file, from where it stands. `limit` bounds what is read, in bytes; more is `EFBIG`.
pub fn read_all(file: impl AsFd, limit: usize, name: &str) -> Result<Vec<u8>> {
    read_all_to(End::Empty, file, limit, name)
}

/// The same of a file that is known to lie in a directory of ours: it is a regular one, of which less than was asked for
/// is the rest.
pub fn read_own(file: impl AsFd, limit: usize, name: &str) -> Result<Vec<u8>> {
    read_all_to(End::Short, file, limit, name)
}

/// The same of a regular file, of which `stat` tells how long it is: who has got as much, and no more than that, need not
/// ask for the rest.
pub fn read_regular(file: impl AsFd, stat: &FileStat, limit: usize, name: &str) -> Result<Vec<u8>> {
    read_all_to(End::ShortAt(stat.st_size as usize), file, limit, name)
}

fn read_all_to(end: End, file: impl AsFd, limit: usize, name: &str) -> Result<Vec<u8>> {
    let call = || format!("read({name:?})");
    let bytes = named(read_to(end, file, limit), call)?;
    if bytes.len() > limit {
        return Err(Error::new(format!("read({name:?}): more than {limit} bytes"), Errno::EFBIG));
    }
    Ok(bytes)
}

/// The text of a small file of a kernel file system.
pub fn read_text(dir: impl AsFd, path: impl AsRef<Path>) -> Result<String> {
    read_text_to(End::Empty, dir, path.as_ref())
}

/// The same of a file that the kernel makes in one piece: an attribute of a cgroup that is one value, what
/// `/proc/self/status` and `/proc/self/cgroup` show, a sysctl. As much of it is read as fits, so that less than that is
/// all. It is not so for lists, like `cgroup.procs` or `mountinfo`, which end with whole entries.
pub fn read_piece(dir: impl AsFd, path: impl AsRef<Path>) -> Result<String> {
    read_text_to(End::Short, dir, path.as_ref())
}

fn read_text_to(end: End, dir: impl AsFd, path: &Path) -> Result<String> {
    let file = open(dir, path, OFlag::O_RDONLY, Mode::empty())?;
    let text =
        read_to(end, &file, usize::MAX).and_then(|bytes| String::from_utf8(bytes).map_err(|_| Errno::EILSEQ));
    named(text, || format!("read({path:?})"))
}

/// What tells that there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing was read.
    Empty,
    /// Less was read than was asked for.
    Short,
    /// The same, and so many bytes are there in all.
    ShortAt(usize),
}

/// Until there is no more, or until it is more than `limit`. The standard library asks for size and position first, which
/// files of the kernel do not have, and begins with 32 bytes at a time.
fn read_to(end: End, file: impl AsFd, limit: usize) -> nix::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() <= limit {
        let (read, more) = (bytes.len(), bytes.len().clamp(4096, 1 << 20));
        bytes.resize(read + more, 0);
        let length = retry(|| nix::unistd::read(file.as_fd(), &mut bytes[read..]));
        bytes.truncate(read + length.unwrap_or(0));
        let length = length?;
        let is_all = match end {
            End::Empty => false,
            End::Short => length < more,
            End::ShortAt(size) => length < more && bytes.len() == size,
        };
        if length == 0 || is_all {
            break;
        }
    }
    Ok(bytes)
}

/// Write a value to a file of a kernel file system (cgroup, procfs) in one `write(2)`, as the kernel wants it.
pub fn write_value(dir: impl AsFd, path: impl AsRef<Path>, value: &str) -> Result<()> {
    let path = path.as_ref();
    let file = open(dir, path, OFlag::O_WRONLY, Mode::empty())?;
    write_once(&file, value, path)
}

/// One `write(2)` of all the bytes to an open file; `name` is only for the error.
pub fn write_once(file: impl AsFd, value: &str, name: &Path) -> Result<()> {
    let written = retry(|| nix::unistd::write(file.as_fd(), value.as_bytes()));
    let call = || format!("write({name:?}, {:?})", value.trim_end());
    match named(written, call)? {
        n if n == value.len() => Ok(()),
        _ => Err(Error::new(call(), Errno::EIO)),
    }
}

/// Write bytes to a file until all are written.
pub fn write_all(file: impl AsFd, bytes: &[u8], name: &Path) -> Result<()> {
    let call = || format!("write({name:?}, {} bytes)", bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        match named(retry(|| nix::unistd::write(file.as_fd(), rest)), call)? {
            0 => return Err(Error::new(call(), Errno::EIO)),
            written => rest = &rest[written..],
        }
    }
    Ok(())
}

/// Read what there is, up to the buffer's size; 0 is the end.
pub fn read(file: impl AsFd, buffer: &mut [u8], name: &str) -> Result<usize> {
    named(retry(|| nix::unistd::read(file.as_fd(), buffer)), || format!("read({name:?})"))
}

/// Read what there is at the beginning of the file, up to the buffer's size.
pub fn read_from_start(file: impl AsFd, buffer: &mut [u8], name: &str) -> Result<usize> {
    named(retry(|| nix::sys::uio::pread(file.as_fd(), buffer, 0)), || format!("pread({name:?})"))
}
