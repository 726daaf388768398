//! The receiving ends of the console socket and of the seccomp listener.

use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::trial::patience;
use crate::verdict::{Verdict, failed};

/// One message: its descriptors and its payload.
pub struct Message {
    /// The descriptors of `SCM_RIGHTS`.
    pub descriptors: Vec<OwnedFd>,
    /// The bytes, up to the end of the connection.
    pub payload: Vec<u8>,
}

/// A listening socket at a path.
pub fn listen(path: &Path) -> Verdict<UnixListener> {
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accept one connection and read it to its end.
pub fn receive(listener: &UnixListener) -> Verdict<Message> {
    let stream = accept(listener)?;
    stream.set_read_timeout(Some(patience()))?;
    receive_from(stream)
}

fn accept(listener: &UnixListener) -> Verdict<UnixStream> {
    let end = Instant::now() + patience();
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return failed(format!("nobody connected: {error}")),
        }
    }
}

fn receive_from(mut stream: UnixStream) -> Verdict<Message> {
    let mut buffer = vec![0_u8; 65536];
    let mut space = nix::cmsg_space!([i32; 8]);
    let (length, numbers) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let mut numbers = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                numbers.extend(received);
            }
        }
        (message.bytes, numbers)
    };
    let descriptors = numbers.into_iter().map(crate::sys::own).collect();
    let mut payload = buffer[..length].to_vec();
    let mut rest = Vec::new();
    if stream.read_to_end(&mut rest).is_ok() {
        payload.extend(rest);
    }
    Ok(Message { descriptors, payload })
}
