//! Unix sockets: message pairs between our own processes, and the sockets on which callers receive descriptors.
#![expect(unsafe_code, reason = "descriptors arrive in a control message as plain numbers")]

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::file::{self, OFlag, SFlag, retry};
use super::{Errno, Error, Result, named};

/// The most descriptors that one message carries.
pub const MAX_DESCRIPTORS: usize = 8;

/// Two connected ends that keep messages apart (`SOCK_SEQPACKET`).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let result =
        nix::sys::socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    named(result, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())
}

/// Send one message with descriptors. It is never empty: a receiver takes no bytes for the end. `EPIPE` when the other
/// end is gone; no signal is raised.
pub fn send(fd: impl AsFd, bytes: &[u8], fds: &[BorrowedFd]) -> Result<()> {
    let number = fd.as_fd().as_raw_fd();
    let call = || format!("sendmsg({number}, {} bytes, {} descriptors)", bytes.len(), fds.len());
    if bytes.is_empty() || fds.len() > MAX_DESCRIPTORS {
        return Err(Error::new(call(), Errno::EINVAL));
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let content = [IoSlice::new(bytes)];
    let result =
        retry(|| nix::sys::socket::sendmsg::<()>(number, &content, control, MsgFlags::MSG_NOSIGNAL, None));
    match named(result, call)? {
        n if n == bytes.len() => Ok(()),
        // Only a stream can take less than the whole.
        _ => Err(Error::new(call(), Errno::EMSGSIZE)),
    }
}

/// Receive one message of a [`pair`] into `buffer`, which becomes as long as the message. The descriptors are
/// close-on-exec. 0 bytes: the other end is gone.
pub fn receive(fd: impl AsFd, buffer: &mut Vec<u8>) -> Result<(usize, Vec<OwnedFd>)> {
    let number = fd.as_fd().as_raw_fd();
    // The length first: a message that does not fit would lose its end.
    let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
    let length =
        named(retry(|| nix::sys::socket::recv(number, &mut [], peek)), || format!("recv({number})"))?;
    buffer.clear();
    buffer.reserve_exact(length);
    receive_within(fd, buffer)
}

/// The same for a message that is known to fit into the buffer's capacity; one that does not is `EMSGSIZE`.
pub fn receive_within(fd: impl AsFd, buffer: &mut Vec<u8>) -> Result<(usize, Vec<OwnedFd>)> {
    let number = fd.as_fd().as_raw_fd();
    let call = || format!("recvmsg({number})");
    buffer.clear();
    let room = buffer.spare_capacity_mut();
    // SAFETY: the slice is as long as the buffer has room, and the kernel only writes to it.
    let room = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), room.len()) };
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut content = [IoSliceMut::new(room)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match nix::sys::socket::recvmsg::<()>(number, &mut content, Some(&mut control), flags) {
            Err(Errno::EINTR) => {}
            result => break named(result, call)?,
        }
    };
    let mut descriptors = Vec::new();
    for part in named(message.cmsgs(), call)? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel has just made these descriptors for us; nobody else knows their numbers.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    let (length, flags) = (message.bytes, message.flags);
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Error::new(call(), Errno::EMSGSIZE));
    }
    // SAFETY: the kernel has written so many bytes.
    unsafe { buffer.set_len(length) };
    Ok((length, descriptors))
}

/// Connect to a listening stream socket of the host. The path may be longer than the 108 bytes of `sun_path`, and what
/// is not a socket is `ENOTSOCK` rather than a refused connection.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    connect_or_wait(path, None)
}

/// The same, where the other side may be slow: to connect and to send take no longer than this, then it is `EAGAIN`.
pub fn connect_within(path: &Path, patience: Duration) -> Result<OwnedFd> {
    connect_or_wait(path, Some(patience))
}

fn connect_or_wait(path: &Path, patience: Option<Duration>) -> Result<OwnedFd> {
    let call = || format!("connect({path:?})");
    let found = file::open_path(file::here(), path, OFlag::empty())?;
    if file::kind(&file::stat(&found)?) != SFlag::S_IFSOCK {
        return Err(Error::new(call(), Errno::ENOTSOCK));
    }
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let socket = named(socket, || "socket(AF_UNIX, SOCK_STREAM)".into())?;
    if let Some(patience) = patience {
        let time = TimeVal::milliseconds(patience.as_millis().try_into().unwrap_or(i64::MAX));
        named(nix::sys::socket::setsockopt(&socket, sockopt::SendTimeout, &time), || {
            "setsockopt(SO_SNDTIMEO)".into()
        })?;
    }
    let address = named(UnixAddr::new(format!("/proc/self/fd/{}", found.as_raw_fd()).as_str()), call)?;
    named(retry(|| nix::sys::socket::connect(socket.as_raw_fd(), &address)), call)?;
    Ok(socket)
}

/// A datagram socket in a directory of ours; the path may be longer than the 108 bytes of `sun_path`. What had the name
/// before is removed.
pub fn bind_datagram(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let call = || format!("bind({name:?})");
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let socket = named(socket, || "socket(AF_UNIX, SOCK_DGRAM)".into())?;
    match file::unlink(&dir, name) {
        Err(error) if error.errno != Errno::ENOENT => return Err(error),
        _ => {}
    }
    let path = format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd());
    let address = named(UnixAddr::new(path.as_str()), call)?;
    named(nix::sys::socket::bind(socket.as_raw_fd(), &address), call)?;
    Ok(socket)
}

/// Connect to a datagram socket as `sd_notify(3)` names them: a path, or `@` and an abstract name.
pub fn connect_datagram(address: &OsStr) -> Result<OwnedFd> {
    let call = || format!("connect({address:?})");
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let socket = named(socket, || "socket(AF_UNIX, SOCK_DGRAM)".into())?;
    let found = match address.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name),
        _ => UnixAddr::new(address),
    };
    let found = named(found, call)?;
    named(retry(|| nix::sys::socket::connect(socket.as_raw_fd(), &found)), call)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_apart_and_carry_descriptors() {
        let (ours, theirs) = pair().unwrap();
        let null = file::open(file::here(), "/dev/null", OFlag::O_RDWR, file::Mode::empty()).unwrap();
        let mut buffer = Vec::new();

        send(&ours, b"one", &[]).unwrap();
        send(&ours, &[7; 100_000], &[null.as_fd(); MAX_DESCRIPTORS]).unwrap();
        let (length, descriptors) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!((length, descriptors.len(), buffer.as_slice()), (3, 0, &b"one"[..]));
        let (length, descriptors) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!((length, descriptors.len()), (100_000, MAX_DESCRIPTORS));
        assert_eq!(buffer, [7; 100_000]);
        for descriptor in descriptors {
            assert_eq!(file::stat(&descriptor).unwrap().st_rdev, file::stat(&null).unwrap().st_rdev);
            let flags = nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
    }

    #[test]
    fn the_end_is_seen_from_both_sides() {
        let (ours, theirs) = pair().unwrap();
        drop(theirs);
        assert_eq!(send(&ours, b"x", &[]).unwrap_err().errno, Errno::EPIPE);
        assert_eq!(receive(&ours, &mut Vec::new()).unwrap().0, 0);
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let (ours, _theirs) = pair().unwrap();
        assert_eq!(send(&ours, b"", &[]).unwrap_err().errno, Errno::EINVAL);
        let many = [ours.as_fd(); MAX_DESCRIPTORS + 1];
        assert_eq!(send(&ours, b"x", &many).unwrap_err().errno, Errno::EINVAL);
    }

    #[test]
    fn a_long_path_connects_and_a_file_does_not() {
        let mut directory = std::env::temp_dir();
        directory.push(format!("crust-socket-{}", std::process::id()));
        let top = directory.clone();
        directory.push("d".repeat(150));
        std::fs::create_dir_all(&directory).unwrap();
        // The listener needs a short way to the long path as well.
        let handle = file::open_path(file::here(), &directory, OFlag::O_DIRECTORY).unwrap();
        let short = format!("/proc/self/fd/{}/s", handle.as_raw_fd());
        let listener = std::os::unix::net::UnixListener::bind(short).unwrap();

        connect(&directory.join("s")).unwrap();
        listener.accept().unwrap();
        std::fs::write(directory.join("file"), "").unwrap();
        assert_eq!(connect(&directory.join("file")).unwrap_err().errno, Errno::ENOTSOCK);
        assert_eq!(connect(&directory.join("none")).unwrap_err().errno, Errno::ENOENT);
        // Nobody takes what waits, and no more may wait.
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let within = || connect_within(&directory.join("s"), Duration::from_millis(1));
        let _waits = within().unwrap();
        assert_eq!(within().unwrap_err().errno, Errno::EAGAIN);
        std::fs::remove_dir_all(top).unwrap();
    }
}
