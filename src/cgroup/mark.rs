//! Whose a cgroup is: a mark on the directory whose processes are killed at the end.
//!
//! The layout says where the container's cgroup was made. A directory of that name may have been removed since, and be
//! another container's by now, of ours or of another runtime: its processes are not to be killed.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use super::Cgroup;
use crate::sys::{self, Errno, file};

const MARK: &CStr = c"trusted.crust.id";

/// Tells whether the file system would take a mark.
const PROBE: &CStr = c"trusted.crust.probe";

impl Cgroup {
    /// Mark it, before a process is in it. Only root of the machine can, on a kernel whose cgroups take it.
    pub(super) fn mark(&self) {
        if let Some(leaf) = self.killed()
            && let Err(error) = file::set_xattr(leaf, MARK, self.layout.mark().as_bytes())
        {
            crate::log::debug(&format!("going without a mark: {error}"));
        }
    }

    /// Whether it is another's. Without the mark it is, if it could have one; an empty one is nobody's yet.
    pub fn is_anothers(&self) -> bool {
        self.killed().is_some_and(|leaf| is_anothers(leaf, self.layout.mark()).unwrap_or(false))
    }

    /// Where the processes are looked for that are to be killed.
    pub(super) fn killed(&self) -> Option<&OwnedFd> {
        match self.with_controller("freezer") {
            Some((_, leaf)) => Some(leaf),
            None => self.v2().or_else(|| self.places.iter().find_map(|place| place.leaf.as_ref())),
        }
    }
}

fn is_anothers(leaf: &OwnedFd, mark: &str) -> sys::Result<bool> {
    match file::xattr(leaf, MARK) {
        Ok(found) => Ok(found != mark.as_bytes()),
        Err(error) if error.errno == Errno::ENODATA => {
            let takes_marks = file::set_xattr(leaf, PROBE, b"1").is_ok();
            Ok(takes_marks && !super::processes::below(leaf)?.is_empty())
        }
        Err(error) => Err(error),
    }
}
