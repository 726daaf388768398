//! Files about the calling process, in a procfs that the caller holds by descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::file::{self, Mode, OFlag, ResolveFlag};
use super::{Result, file::openat2};

/// Write a value to a file below the directory of the calling process: `attr/exec`, `oom_score_adj`.
///
/// `/proc/self` is a link, and links are refused below (a mount or link in the way would send a label or a score to
/// another file: CVE-2019-16884, CVE-2025-52881). So the link is read, and what it says, which is the caller's pid as
/// this procfs knows it, is opened.
pub fn write(procfs: impl AsFd, path: &str, value: &str) -> Result<()> {
    let pid = file::readlink(procfs.as_fd(), "self")?;
    let path = pid.join(path);
    let file = open_for_writing(procfs, &path)?;
    file::write_once(file, value, &path)
}

/// Open a file of procfs for writing, through nothing that leads elsewhere.
pub fn open_for_writing(procfs: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let beneath = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(procfs, path, OFlag::O_WRONLY, Mode::empty(), beneath)
}
