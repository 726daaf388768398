//! The program's standard input, output and error.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::config::process::Process;
use crate::error::{At, Error};
use crate::sys::file::{self, FileStat, Mode, OFlag, SFlag};
use crate::sys::{self, Errno, terminal};

/// Replace the host's null device by the container's own, and let the container's user own the rest, so that he can open
/// `/dev/stdout` again. A device of the host stays its owner's: whoever has the number of the container's user there could
/// open the terminal from which the container was started.
pub fn make_the_containers_own(process: &Process) -> Result<(), Error> {
    let mut null = Null::Unknown;
    for standard in standard() {
        let stat = file::stat(standard).at("process")?;
        if is_null(&stat) {
            if let Some(null) = null.find()? {
                terminal::replace(standard, null).at("process")?;
            }
        } else if stat.st_uid != process.user.uid() && (process.terminal.is_some() || !is_device(&stat)) {
            match file::fchown(standard, process.user.uid()) {
                // Not ours to give away (a user namespace), or of a kind that nobody owns.
                Ok(()) | Err(sys::Error { errno: Errno::EPERM | Errno::EINVAL | Errno::EROFS, .. }) => {}
                Err(error) => return Err(error).at("process.user.uid"),
            }
        }
    }
    Ok(())
}

fn standard() -> [BorrowedFd<'static>; 3] {
    terminal::standard()
}

/// The device alone does not make it the null device: so would a regular file's number (CVE-2026-88265 in crun).
fn is_null(stat: &FileStat) -> bool {
    file::kind(stat) == SFlag::S_IFCHR && stat.st_rdev == nix::sys::stat::makedev(1, 3)
}

fn is_device(stat: &FileStat) -> bool {
    matches!(file::kind(stat), SFlag::S_IFCHR | SFlag::S_IFBLK)
}

/// The container's null device.
enum Null {
    /// It was not looked for.
    Unknown,
    /// An image without a `/dev`, or with something else there, keeps the host's.
    Missing,
    Found(OwnedFd),
}

impl Null {
    fn find(&mut self) -> Result<Option<&OwnedFd>, Error> {
        if let Self::Unknown = self {
            let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW;
            *self = match file::open(file::here(), Path::new("/dev/null"), flags, Mode::empty()) {
                Ok(null) if is_null(&file::stat(&null).at("process")?) => Self::Found(null),
                _ => Self::Missing,
            };
        }
        match self {
            Self::Found(null) => Ok(Some(null)),
            _ => Ok(None),
        }
    }
}
