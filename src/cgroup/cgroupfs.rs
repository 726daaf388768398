//! The driver that makes and removes the directories itself.
//!
//! Every path is resolved below a descriptor of the tree's root that was verified to be a cgroup file system, and never
//! through a link.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::hierarchy::Version;
use super::layout::{Directory, Levels};
use crate::sys::file::{self, Mode, OFlag, ResolveFlag};
use crate::sys::{Errno, Error, Result};

/// The root of a tree.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Flags to look at a directory, and to make and remove directories in it.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);

/// Flags to list a directory as well.
const LIST: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

impl Root {
    /// Open the root, and verify that it is a cgroup file system of the version that it was.
    pub fn open(directory: &Directory) -> Result<Self> {
        let root = file::open_path(file::here(), &directory.mount_point, OFlag::O_DIRECTORY)?;
        if file::statfs(&root)?.filesystem_type() != directory.version.magic() {
            let version = match directory.version {
                Version::V1 => "cgroup",
                Version::V2 => "cgroup2",
            };
            let call = format!("fstatfs({:?}): not a {version} file system", directory.mount_point);
            return Err(Error::new(call, Errno::ENODEV));
        }
        Ok(Self(root))
    }

    /// Open a directory below the root to work in it.
    pub fn open_beneath(&self, path: &Path) -> Result<OwnedFd> {
        self.resolve(path, LIST)
    }

    /// How many levels there are already.
    pub fn existing(&self, levels: &Levels) -> Result<usize> {
        for level in (1..=levels.last()).rev() {
            match self.resolve(&levels.to(level), LOOK) {
                Ok(_) => return Ok(level),
                Err(error) if error.errno == Errno::ENOENT => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// Make one level, whose parent is there. `EEXIST` is no failure, and answered as such.
    pub fn make(&self, levels: &Levels, level: usize) -> Result<Made> {
        let path = levels.to(level);
        let parent = self.parent(&path)?;
        match file::mkdir(parent.as_ref().unwrap_or(&self.0), path.file_name().unwrap_or_default(), 0o755) {
            Ok(()) => Ok(Made::Now),
            Err(error) if error.errno == Errno::EEXIST => Ok(Made::Before),
            Err(error) => Err(error),
        }
    }

    /// Remove what is below the last level, and of the levels what was not there before. The container's own level
    /// must go; a level above it stays while it has other children.
    pub fn remove(&self, levels: &Levels) -> Result<()> {
        if levels.last() == levels.existing {
            return match self.open_beneath(levels.path()) {
                Ok(leaf) => remove_children(leaf),
                Err(error) => gone_is_fine(Err(error)),
            };
        }
        for level in (levels.existing + 1..=levels.last()).rev() {
            let path = levels.to(level);
            let parent = match self.parent(&path) {
                Err(error) if error.errno == Errno::ENOENT => continue,
                parent => parent?,
            };
            let parent = parent.as_ref().unwrap_or(&self.0);
            let name = path.file_name().unwrap_or_default();
            match gone_is_fine(file::rmdir(parent, name)) {
                Err(error) if error.errno == Errno::EBUSY && level == levels.last() => {
                    remove_children(open_child(parent, name.as_ref(), LIST)?)?;
                    gone_is_fine(file::rmdir(parent, name))?;
                }
                Err(error) if error.errno == Errno::EBUSY => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    /// The directory above a path; `None` is the root itself.
    fn parent(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.resolve(parent, LOOK).map(Some),
            _ => Ok(None),
        }
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV;
        file::openat2(&self.0, path, flags, Mode::empty(), resolve)
    }
}

/// Whether a directory was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is ours.
    Now,
    /// Somebody was faster.
    Before,
}

fn open_child(dir: &OwnedFd, name: &Path, flags: OFlag) -> Result<OwnedFd> {
    file::open(dir, name, flags | OFlag::O_NOFOLLOW, Mode::empty())
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.errno == Errno::ENOENT => Ok(()),
        result => result,
    }
}

/// A directory on the way through a tree, and which of its children are still to be seen.
struct Step {
    name: OsString,
    todo: Vec<OsString>,
}

/// Visit a directory and all below it, parents first. It holds one descriptor however deep the tree is, since its depth
/// is the container's choice.
pub fn visit(top: &OwnedFd, mut each: impl FnMut(&OwnedFd) -> Result<()>) -> Result<()> {
    each(top)?;
    let mut here = file::duplicate(top)?;
    let mut steps = vec![Step { name: OsString::new(), todo: file::list_directories(&here)? }];
    while let Some(step) = steps.last_mut() {
        if let Some(name) = step.todo.pop() {
            match open_child(&here, name.as_ref(), LIST) {
                Ok(child) => here = child,
                Err(error) if error.errno == Errno::ENOENT => continue,
                Err(error) => return Err(error),
            }
            each(&here)?;
            steps.push(Step { name, todo: file::list_directories(&here)? });
        } else {
            steps.pop();
            if !steps.is_empty() {
                here = open_child(&here, "..".as_ref(), LIST)?;
            }
        }
    }
    Ok(())
}

/// Remove all below a directory, children first.
fn remove_children(top: OwnedFd) -> Result<()> {
    let mut here = top;
    let mut steps = vec![Step { name: OsString::new(), todo: file::list_directories(&here)? }];
    while let Some(step) = steps.last_mut() {
        if let Some(name) = step.todo.pop() {
            match gone_is_fine(file::rmdir(&here, &name)) {
                Err(error) if error.errno == Errno::EBUSY => {
                    let child = open_child(&here, name.as_ref(), LIST)?;
                    let todo = file::list_directories(&child)?;
                    if todo.is_empty() {
                        return Err(error);
                    }
                    here = child;
                    steps.push(Step { name, todo });
                }
                result => result?,
            }
        } else if let Some(Step { name, .. }) = steps.pop().filter(|_| !steps.is_empty()) {
            here = open_child(&here, "..".as_ref(), LIST)?;
            gone_is_fine(file::rmdir(&here, &name))?;
        }
    }
    Ok(())
}
