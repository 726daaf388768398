//! Pipes, and memory that is read as if it were one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::MFdFlags;

use super::file::{self, OFlag};
use super::{Errno, Error, Result, named};

/// The read end and the write end of a pipe. Reading never waits (`EAGAIN`); writing does.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = named(nix::unistd::pipe2(OFlag::O_CLOEXEC), || "pipe2(O_CLOEXEC)".into())?;
    set_nonblocking(&read)?;
    Ok((read, write))
}

/// `eventfd(2)`: a counter; reading it never waits, and takes what it has counted.
#[expect(unsafe_code, reason = "not in nix as it is configured")]
pub fn event_counter() -> Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: two numbers.
    let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    let number = super::checked(number.into(), || "eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK)".into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// Let reading and writing answer `EAGAIN` instead of waiting.
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let number = fd.as_fd().as_raw_fd();
    let set = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    named(fcntl(fd, set).map(drop), || format!("fcntl({number}, F_SETFL, O_NONBLOCK)"))
}

/// Let reading and writing wait.
pub fn set_blocking(fd: impl AsFd) -> Result<()> {
    let number = fd.as_fd().as_raw_fd();
    named(fcntl(fd, FcntlArg::F_SETFL(OFlag::empty())).map(drop), || format!("fcntl({number}, F_SETFL, 0)"))
}

/// Write as much as is taken in one `write(2)`; how much it was.
pub fn write_some(fd: impl AsFd, bytes: &[u8], name: &str) -> Result<usize> {
    let result = file::retry(|| nix::unistd::write(fd.as_fd(), bytes));
    named(result, || format!("write({name:?}, {} bytes)", bytes.len()))
}

/// Something to read `bytes` from, to their end, without anybody who writes them in the meantime: memory that can no
/// longer be changed, or a pipe that holds them all where there is no `memfd_create(2)`.
pub fn readable(bytes: &[u8]) -> Result<OwnedFd> {
    sealed(bytes).or_else(|_| full_pipe(bytes))
}

fn sealed(bytes: &[u8]) -> Result<OwnedFd> {
    let name = "crust";
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag; later ones may be told to refuse memory without it.
    let noexec = flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let memory =
        nix::sys::memfd::memfd_create(name, noexec).or_else(|_| nix::sys::memfd::memfd_create(name, flags));
    let memory = named(memory, || format!("memfd_create({name:?})"))?;
    file::write_all(&memory, bytes, Path::new("memfd"))?;

    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    let sealed = fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).map(drop);
    named(sealed, || "fcntl(memfd, F_ADD_SEALS)".into())?;
    let rewound = nix::unistd::lseek(&memory, 0, nix::unistd::Whence::SeekSet);
    named(rewound.map(drop), || "lseek(memfd, 0)".into())?;
    Ok(memory)
}

fn full_pipe(bytes: &[u8]) -> Result<OwnedFd> {
    let call = || format!("write(pipe, {} bytes)", bytes.len());
    let (read, write) = named(nix::unistd::pipe2(OFlag::O_CLOEXEC), || "pipe2(O_CLOEXEC)".into())?;
    // More than the pipe takes by itself is only asked for when needed: the size is accounted to the user.
    if let Ok(size @ 65_537..) = i32::try_from(bytes.len()) {
        let grown = fcntl(&write, FcntlArg::F_SETPIPE_SZ(size)).map(drop);
        named(grown, || format!("fcntl(pipe, F_SETPIPE_SZ, {size})"))?;
    }
    set_nonblocking(&write)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match write_some(&write, rest, "pipe")? {
            0 => return Err(Error::new(call(), Errno::EIO)),
            n => rest = &rest[n..],
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_readable_is_all_there_and_ends() {
        let bytes: Vec<u8> = (0..900_000u32).map(|i| i as u8).collect();
        for length in [0, 1, 65_536, 65_537, 900_000] {
            for readable in [sealed(&bytes[..length]).unwrap(), full_pipe(&bytes[..length]).unwrap()] {
                assert_eq!(file::read_all(&readable, bytes.len(), "readable").unwrap(), bytes[..length]);
            }
        }
    }

    #[test]
    fn sealed_memory_stays_as_it_is() {
        let memory = sealed(b"state").unwrap();
        assert_eq!(nix::unistd::write(&memory, b"x"), Err(Errno::EPERM));
        assert_eq!(nix::unistd::ftruncate(&memory, 0), Err(Errno::EPERM));
    }
}
