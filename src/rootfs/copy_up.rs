//! `tmpcopyup`: what a directory of the image holds is copied into the tmpfs that is mounted over it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::rootfs::resolve::Tree;
use crate::sys::file::{self, FileStat, Mode, OFlag, SFlag};
use crate::sys::{self, Errno};

/// More is not what a directory of an image holds, and would fill the tmpfs' memory.
const DEEPEST: u32 = 64;

/// Copy all that is below the directory into a file system that is mounted nowhere yet. Links are copied, not followed.
pub fn copy(tree: &Tree, directory: &Path, into: impl AsFd) -> sys::Result<()> {
    let from = tree.open_for_reading(directory, OFlag::O_DIRECTORY)?;
    copy_directory(&from, into, DEEPEST)
}

fn copy_directory(from: &OwnedFd, into: impl AsFd, depth: u32) -> sys::Result<()> {
    let into = into.as_fd();
    for name in file::list(from)? {
        let name = Path::new(&name);
        let stat = file::lstat(from, name)?;
        match file::kind(&stat) {
            SFlag::S_IFDIR => {
                let Some(depth) = depth.checked_sub(1) else {
                    return Err(sys::Error::new(format!("tmpcopyup: {name:?} is too deep"), Errno::ELOOP));
                };
                file::mkdir(into, name, 0o700)?;
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
                let (from, below) = (
                    file::open(from, name, flags, Mode::empty())?,
                    file::open(into, name, flags, Mode::empty())?,
                );
                copy_directory(&from, &below, depth)?;
                own(&below, &stat)?;
            }
            SFlag::S_IFREG => copy_file(from, into, name, &stat)?,
            SFlag::S_IFLNK => {
                file::symlink(file::readlink(from, name)?, into, name)?;
                file::chown(file::open_path(into, name, OFlag::O_NOFOLLOW)?, stat.st_uid, stat.st_gid)?;
            }
            kind => {
                file::mknod(into, name, kind, stat.st_mode & 0o7777, stat.st_rdev)?;
                file::chown(file::open_path(into, name, OFlag::O_NOFOLLOW)?, stat.st_uid, stat.st_gid)?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, into: impl AsFd, name: &Path, stat: &FileStat) -> sys::Result<()> {
    // Without O_NONBLOCK something that is a FIFO by now would make us wait.
    let source =
        file::open(from, name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK, Mode::empty())?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let copy = file::open(into, name, flags, Mode::from_bits_truncate(0o600))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file::read(&source, &mut buffer, "tmpcopyup")? {
            0 => return own(&copy, stat),
            length => file::write_all(&copy, &buffer[..length], name)?,
        }
    }
}

/// Owner first: changing it takes the set-user-id bit away.
fn own(file: &OwnedFd, stat: &FileStat) -> sys::Result<()> {
    file::chown(file, stat.st_uid, stat.st_gid)?;
    file::fchmod(file, stat.st_mode & 0o7777)
}
