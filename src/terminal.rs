//! `process.terminal` — the pty that the container process gets, and the console socket on which the caller gets the
//! other end.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#process>

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{At, Error, Problems};
use crate::sys::file::{self, Mode, OFlag, SFlag};
use crate::sys::{self, Errno, socket, terminal};

pub use crate::sys::terminal::Size;

const FIELD: &str = "process.terminal";

impl Size {
    /// `process.consoleSize`; the kernel counts in 16 bits.
    pub fn parse(height: u64, width: u64) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut checked = |key: &str, length: u64| {
            u16::try_from(length).unwrap_or_else(|_| {
                problems.add(format!("process.consoleSize.{key}"), format!("{length} is greater than 65535"));
                0
            })
        };
        let size = Self { rows: checked("height", height), columns: checked("width", width) };
        problems.or(size)
    }
}

/// A pty of the container.
pub struct Terminal {
    /// The caller's end.
    pub master: OwnedFd,
    /// The container's end, close-on-exec until it becomes standard input, output and error. `/dev/console` is this
    /// file too.
    pub slave: OwnedFd,
}

impl Terminal {
    /// Make a pty in the container's devpts, given as an open directory: its `/dev/pts`, which may be a mount that is
    /// not attached yet. Nothing is trusted to be what its name says, as an image or a container may have put
    /// something else in its place.
    pub fn open(devpts: impl AsFd, size: Option<Size>) -> Result<Self, Error> {
        Self::in_devpts(devpts.as_fd(), size).at(FIELD)
    }

    fn in_devpts(devpts: impl AsFd, size: Option<Size>) -> sys::Result<Self> {
        if file::statfs(&devpts)?.filesystem_type() != terminal::DEVPTS {
            return Err(sys::Error::new("open(\"/dev/pts/ptmx\"): not on devpts", Errno::ENOTTY));
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
        let master = file::open(&devpts, "ptmx", flags, Mode::empty())?;
        terminal::unlock(&master)?;
        // Kernels before 4.13 have no TIOCGPTPEER, and filters of outer containers may refuse what they do not know.
        let slave = terminal::peer(&master).or_else(|_| slave_by_number(&devpts, &master))?;
        if let Some(size) = size {
            terminal::set_size(&slave, size)?;
        }
        Ok(Self { master, slave })
    }

    /// Let the user of the container process own its terminal, so that it can open it again by name. The group is left
    /// to the mount's `gid=`.
    pub fn give_to(&self, uid: u32) -> Result<(), Error> {
        let stat = file::stat(&self.slave).at(FIELD)?;
        if stat.st_uid == uid {
            return Ok(());
        }
        file::chown(&self.slave, uid, stat.st_gid).at(FIELD)
    }
}

/// The slave by its name in the same devpts, and nothing but a slave with this number.
fn slave_by_number(devpts: impl AsFd, master: impl AsFd) -> sys::Result<OwnedFd> {
    let number = terminal::number(master)?;
    let name = number.to_string();
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    let slave = file::open(&devpts, &name, flags, Mode::empty())?;
    let stat = file::stat(&slave)?;
    let genuine = file::kind(&stat) == SFlag::S_IFCHR
        && stat.st_rdev == terminal::slave_device(number)
        && file::statfs(&slave)?.filesystem_type() == terminal::DEVPTS;
    if genuine { Ok(slave) } else { Err(sys::Error::new(format!("openat({name:?})"), Errno::ENODEV)) }
}

/// Make the slave the controlling terminal of this process and its standard input, output and error, in a session of
/// its own. For init, before it gives up its user.
pub fn become_controlling(slave: OwnedFd) -> Result<(), Error> {
    terminal::new_session().at(FIELD)?;
    terminal::control(&slave).at(FIELD)?;
    terminal::become_standard(&slave).at(FIELD)
}

/// Connect to the socket on which the caller of `create` waits for the master.
pub fn connect_console_socket(path: &Path) -> Result<OwnedFd, Error> {
    socket::connect(path).at("--console-socket")
}

/// Send the master: one message with one descriptor, and the pty's name as its text, as runc does. To be called when
/// nothing can fail any more: the caller takes it for the container's terminal.
pub fn send_master(console_socket: impl AsFd, master: impl AsFd) -> Result<(), Error> {
    socket::send(console_socket, b"/dev/ptmx", &[master.as_fd()]).at("--console-socket")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{self, Exit};

    /// The host's devpts; only root may open its ptmx.
    fn devpts() -> Option<OwnedFd> {
        let devpts = file::open(file::here(), "/dev/pts", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let usable = file::open(&devpts, "ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty());
        usable.is_ok().then_some(devpts)
    }

    #[test]
    fn both_ways_lead_to_the_same_slave() {
        let Some(devpts) = devpts() else { return };
        let pty = Terminal::open(&devpts, Some(Size { rows: 25, columns: 90 })).unwrap();
        let by_number = slave_by_number(&devpts, &pty.master).unwrap();
        assert_eq!(file::stat(&pty.slave).unwrap().st_rdev, file::stat(&by_number).unwrap().st_rdev);
        assert_eq!(terminal::size(&pty.master).unwrap(), Size { rows: 25, columns: 90 });
        pty.give_to(1234).unwrap();
        assert_eq!(file::stat(&pty.slave).unwrap().st_uid, 1234);
    }

    #[test]
    fn what_is_not_devpts_is_refused() {
        let directory = file::open(file::here(), "/tmp", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let error = Terminal::open(&directory, None).err().unwrap().to_string();
        assert!(error.starts_with("process.terminal: open(\"/dev/pts/ptmx\"): not on devpts"), "{error}");
    }

    #[test]
    fn a_child_gets_it_as_its_controlling_terminal() {
        let Some(devpts) = devpts() else { return };
        let Terminal { master, slave } = Terminal::open(&devpts, None).unwrap();
        let child = process::in_child(move || {
            become_controlling(slave).unwrap();
            // Only a process that has a controlling terminal can open this.
            file::open(file::here(), "/dev/tty", OFlag::O_RDWR, Mode::empty()).unwrap();
            for number in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
                assert!(terminal::size(number).is_ok());
            }
            file::write_all(std::io::stdout(), b"hello", Path::new("stdout")).unwrap();
            0
        });
        assert_eq!(process::wait(child).unwrap(), Exit::Code(0));
        let mut buffer = [0; 64];
        let length = file::read(&master, &mut buffer, "master").unwrap();
        assert_eq!(&buffer[..length], b"hello");
    }

    #[test]
    fn the_caller_receives_exactly_one_descriptor() {
        let (ours, theirs) = socket::pair().unwrap();
        let null = file::open(file::here(), "/dev/null", OFlag::O_RDWR, Mode::empty()).unwrap();
        send_master(&ours, &null).unwrap();
        let mut buffer = Vec::new();
        let (length, descriptors) = socket::receive(&theirs, &mut buffer).unwrap();
        assert_eq!((length, descriptors.len(), buffer.as_slice()), (9, 1, &b"/dev/ptmx"[..]));
    }

    #[test]
    fn a_missing_console_socket_is_named() {
        let error = connect_console_socket(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.starts_with("--console-socket: openat(\"/nonexistent\""), "{error}");
        assert!(error.ends_with("ENOENT: no such file or directory"), "{error}");
    }

    #[test]
    fn sizes_fit_into_sixteen_bits() {
        assert_eq!(Size::parse(25, 80).unwrap(), Size { rows: 25, columns: 80 });
        assert_eq!(
            Size::parse(65_536, 80).unwrap_err().to_string(),
            "process.consoleSize.height: 65536 is greater than 65535"
        );
    }
}
