//! `NOTIFY_SOCKET`: a service manager waits for the container's program to say that it is ready (`sd_notify(3)`).
//!
//! The manager's own socket stays out of the container. The program gets one in the state directory, whose directory is
//! mounted read-only, and of what it says only that it is ready is passed on, with its pid as the manager knows it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::container::dir::Dir;
use crate::error::{At, Error};
use crate::sys::clone::{self, Birth, Fork};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::process::{self, Pid, PollFd, PollFlags};
use crate::sys::{self, Errno, pipe, prctl, socket};

/// In the container.
pub const DIRECTORY: &str = "/run/notify";
/// What the program is told.
pub const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

const NAME: &str = "NOTIFY_SOCKET";
const NOTIFY: &str = "notify";
const SOCKET: &str = "notify.sock";
/// How long the manager may take to see who we are before we end.
const BARRIER: Duration = Duration::from_secs(30);

/// The manager's socket, if there is a manager that waits.
fn manager() -> Option<OsString> {
    std::env::var_os(NAME).filter(|address| !address.is_empty())
}

/// For a container that is being created: the directory that is to be mounted at [`DIRECTORY`].
pub fn make_directory(dir: &Dir) -> Result<Option<PathBuf>, Error> {
    if manager().is_none() {
        return Ok(None);
    }
    let path = dir.path().join(NOTIFY);
    file::mkdir(dir, NOTIFY, 0o755).at_file(&path)?;
    // Whatever our umask is.
    file::chmod(dir, NOTIFY, 0o755).at_file(&path)?;
    Ok(Some(path))
}

/// Remove the directory, if there is one.
pub fn remove_directory(dir: &Dir) -> sys::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let notify = match file::open(dir, NOTIFY, flags, Mode::empty()) {
        Err(sys::Error { errno: Errno::ENOENT, .. }) => return Ok(()),
        notify => notify?,
    };
    for name in file::list(&notify)? {
        file::unlink(&notify, PathBuf::from(name))?;
    }
    file::rmdir(dir, NOTIFY)
}

/// The program's socket, and the manager's.
pub struct NotifySocket {
    socket: OwnedFd,
    manager: OwnedFd,
}

impl NotifySocket {
    /// Listen, before the program is run; `None` if nobody waits.
    pub fn bind(dir: &Dir) -> Result<Option<Self>, Error> {
        let Some(address) = manager() else { return Ok(None) };
        let path = dir.path().join(NOTIFY);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let notify = match file::open(dir, NOTIFY, flags, Mode::empty()) {
            // Nobody waited when it was created.
            Err(sys::Error { errno: Errno::ENOENT, .. }) => return Ok(None),
            notify => notify.at_file(&path)?,
        };
        let manager = socket::connect_datagram(&address).at(NAME)?;
        let socket = socket::bind_datagram(&notify, SOCKET).at_file(&path)?;
        // Whoever the container's user is.
        file::chmod(&notify, SOCKET, 0o777).at_file(&path)?;
        Ok(Some(Self { socket, manager }))
    }

    /// Wait until the program says that it is ready, or has ended, and pass that on.
    pub fn pass_on(&self, pid: i32, pidfd: Option<BorrowedFd>) -> Result<(), Error> {
        let mut datagram = [0; 4096];
        loop {
            let mut watched = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            watched.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::POLLIN)));
            // Without a pidfd one has to look.
            let limit = if pidfd.is_some() { None } else { Some(Duration::from_millis(100)) };
            process::poll(&mut watched, limit).at(NAME)?;
            let has = |index: usize| watched.get(index).is_some_and(|fd| fd.any() == Some(true));
            if has(0) {
                let length = file::read(&self.socket, &mut datagram, SOCKET).at(NAME)?;
                if let Some(ready) = ready(&datagram[..length]) {
                    return self.tell(ready, pid).at(NAME);
                }
            } else if has(1) || (pidfd.is_none() && process::kill(Pid::from_raw(pid), 0).is_err()) {
                return Ok(());
            }
        }
    }

    /// The same by a child, while the caller does something else and reaps it.
    pub fn pass_on_meanwhile(self, pid: i32, pidfd: Option<BorrowedFd>) -> Result<(), Error> {
        match clone::clone(&Birth::default()).at(NAME)? {
            Fork::Parent(..) => Ok(()),
            Fork::Child => {
                let with_us = prctl::set_parent_death_signal(Some(process::Signal::SIGKILL)).at(NAME);
                let passed_on = with_us.and_then(|()| self.pass_on(pid, pidfd));
                process::exit(passed_on.is_err().into())
            }
        }
    }

    /// The manager looks at who has sent this; the barrier keeps us alive until it has.
    fn tell(&self, ready: &str, pid: i32) -> sys::Result<()> {
        socket::send(&self.manager, format!("{ready}\nMAINPID={pid}\n").as_bytes(), &[])?;
        let (read, write) = pipe::pipe()?;
        // A manager that is content already may have gone.
        let sent = socket::send(&self.manager, b"BARRIER=1", &[write.as_fd()]);
        drop(write);
        if sent.is_ok() { process::wait_readable(&read, Some(BARRIER)).map(drop) } else { Ok(()) }
    }
}

/// The line that says that the program is ready.
fn ready(datagram: &[u8]) -> Option<&str> {
    let mut lines = datagram.split(|c| *c == b'\n');
    let line = lines.find(|line| line.starts_with(b"READY="))?;
    std::str::from_utf8(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readiness_is_passed_on() {
        assert_eq!(ready(b"STATUS=x\nREADY=1\nMAINPID=1"), Some("READY=1"));
        assert_eq!(ready(b"STATUS=READY=1"), None);
        assert_eq!(ready(b"READY=\xff"), None);
    }
}
