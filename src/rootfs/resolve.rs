//! Paths inside the container's file system: resolved inside it, and handed on as descriptors.
//!
//! An image controls every link in its tree, and other containers may change a shared volume while we work. So a path
//! is given to the kernel once, with the container's root as its root, and what comes back is a descriptor that is
//! used from then on. 16 of the 37 CVEs of this field were paths that were resolved twice, or outside.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::path::clean;
use crate::rootfs::stage::Stage;
use crate::sys::file::{self, Mode, OFlag, ResolveFlag, SFlag, UntilHandOver};
use crate::sys::{self, Errno};

/// A directory that is the root of all paths below it.
#[derive(Debug)]
pub struct Tree {
    root: UntilHandOver,
    stage: Stage,
    /// The directory that something was made in last: most of what is made has the same.
    neighbour: RefCell<Option<(PathBuf, Rc<UntilHandOver>)>>,
    /// Where something empty was mounted last.
    empty: RefCell<Option<PathBuf>>,
}

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A directory, mode 0755.
    Directory,
    /// An empty regular file.
    File,
}

/// Whether something was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was.
    There,
    /// It was made.
    Made,
}

/// As many links as the kernel follows in one path, `path_resolution(7)`.
const MOST_LINKS: u32 = 40;

impl Tree {
    /// The tree below this directory.
    pub fn new(root: OwnedFd) -> Self {
        Self::with_stage(root, Stage::Detached)
    }

    /// The same, with another place to make mounts for it.
    pub fn with_stage(root: OwnedFd, stage: Stage) -> Self {
        Self { root: root.into(), stage, neighbour: RefCell::default(), empty: RefCell::default() }
    }

    /// Where mounts are made before they are put into the tree.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// A handle on what the path names; links are followed inside the tree, the magic links of procfs are not.
    pub fn open(&self, path: &Path, flags: OFlag) -> sys::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        file::openat2(&self.root, path, flags | OFlag::O_PATH, Mode::empty(), resolve)
    }

    /// The same, for reading.
    pub fn open_for_reading(&self, path: &Path, flags: OFlag) -> sys::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        file::openat2(&self.root, path, flags | OFlag::O_RDONLY, Mode::empty(), resolve)
    }

    /// A handle on a directory that is reached without any link: `ELOOP` otherwise. It is made if it is missing.
    pub fn make_without_links(&self, path: &Path) -> sys::Result<OwnedFd> {
        self.forget_neighbour();
        let resolve = ResolveFlag::RESOLVE_IN_ROOT
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let opened = file::openat2(&self.root, path, flags, Mode::empty(), resolve);
        match (opened, path.parent(), path.file_name()) {
            (Err(sys::Error { errno: Errno::ENOENT, .. }), Some(parent), Some(name)) => {
                file::mkdir(self.make_without_links(parent)?, name, 0o755)?;
                file::openat2(&self.root, path, flags, Mode::empty(), resolve)
            }
            (opened, ..) => opened,
        }
    }

    /// A handle on what the path names. What is missing of it is made: directories on the way, the leaf at the end.
    /// Links on the way, dangling ones too, are followed inside the tree.
    pub fn make(&self, path: &Path, leaf: Leaf) -> sys::Result<OwnedFd> {
        self.find_or_make(path, leaf).map(|(handle, _)| handle)
    }

    /// The same, and whether it was there. What is new covers nothing that was known before, whatever is mounted on it.
    pub fn find_or_make(&self, path: &Path, leaf: Leaf) -> sys::Result<(OwnedFd, Found)> {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Some(parent) = self.neighbour(parent).or_else(|| self.empty(parent))
            && let Ok(made) = make_in(&parent, name, leaf)
        {
            return Ok((made, Found::Made));
        }
        match self.open(path, OFlag::empty()) {
            Err(missing) if missing.errno == Errno::ENOENT => {
                self.make_missing(path, leaf, MOST_LINKS, missing).map(|handle| (handle, Found::Made))
            }
            opened => {
                self.forget_neighbour();
                opened.map(|handle| (handle, Found::There))
            }
        }
    }

    /// A directory to make something in; it is made itself if it is missing.
    pub fn directory(&self, path: &Path) -> sys::Result<Rc<UntilHandOver>> {
        match self.neighbour(path) {
            Some(known) => Ok(known),
            None => self.make(path, Leaf::Directory).map(|handle| self.remember_neighbour(path, handle)),
        }
    }

    /// Something empty has been mounted there: what is looked for below it is most likely to be made.
    pub fn remember_empty(&self, path: &Path) {
        *self.empty.borrow_mut() = Some(path.to_owned());
    }

    fn empty(&self, path: &Path) -> Option<Rc<UntilHandOver>> {
        self.empty.borrow_mut().take_if(|known| known == path)?;
        self.open(path, OFlag::O_DIRECTORY).ok().map(|handle| self.remember_neighbour(path, handle))
    }

    fn neighbour(&self, path: &Path) -> Option<Rc<UntilHandOver>> {
        self.neighbour
            .borrow()
            .as_ref()
            .filter(|(known, _)| known == path)
            .map(|(_, handle)| Rc::clone(handle))
    }

    fn remember_neighbour(&self, path: &Path, handle: OwnedFd) -> Rc<UntilHandOver> {
        let handle = Rc::new(UntilHandOver::from(handle));
        *self.neighbour.borrow_mut() = Some((path.to_owned(), Rc::clone(&handle)));
        handle
    }

    /// Something is going to be mounted on what was there, which may be it.
    fn forget_neighbour(&self) {
        *self.neighbour.borrow_mut() = None;
    }

    fn make_within(&self, path: &Path, leaf: Leaf, links: u32) -> sys::Result<OwnedFd> {
        match self.open(path, OFlag::empty()) {
            Err(missing) if missing.errno == Errno::ENOENT => self.make_missing(path, leaf, links, missing),
            opened => opened,
        }
    }

    fn make_missing(&self, path: &Path, leaf: Leaf, links: u32, missing: sys::Error) -> sys::Result<OwnedFd> {
        let (Some(parent_path), Some(name)) = (path.parent(), path.file_name()) else { return Err(missing) };
        let parent = match self.neighbour(parent_path) {
            Some(known) => known,
            None => {
                let handle = self.make_within(parent_path, Leaf::Directory, links)?;
                self.remember_neighbour(parent_path, handle)
            }
        };
        match make_in(&parent, name, leaf) {
            // It was missing a moment ago: a link that leads nowhere yet, or somebody was faster.
            Err(sys::Error { errno: Errno::EEXIST, .. }) => {
                self.forget_neighbour();
                let Some(links) = links.checked_sub(1) else {
                    return Err(sys::Error::new(format!("openat2({path:?})"), Errno::ELOOP));
                };
                let target = follow(&parent, parent_path, name)?;
                let found = self.make_within(&target, leaf, links);
                self.forget_neighbour(); // it may have been there
                found
            }
            made => made,
        }
    }

    /// The directory that holds the path's last component, made if it is missing, and that component.
    pub fn make_parent<'a>(&self, path: &'a Path) -> sys::Result<(OwnedFd, &'a OsStr)> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok((self.make(parent, Leaf::Directory)?, name)),
            _ => Err(sys::Error::new(format!("openat2({path:?})"), Errno::EISDIR)),
        }
    }
}

/// `EEXIST` if there is something of that name.
fn make_in(parent: &OwnedFd, name: &OsStr, leaf: Leaf) -> sys::Result<OwnedFd> {
    match leaf {
        Leaf::Directory => file::mkdir(parent, name, 0o755)?,
        Leaf::File => file::mknod(parent, name, SFlag::S_IFREG, 0o644, 0)?,
    }
    file::open_path(parent, name, OFlag::O_NOFOLLOW)
}

/// The path that a link stands for, as a path of the tree.
fn follow(parent: &OwnedFd, parent_path: &Path, name: &OsStr) -> sys::Result<PathBuf> {
    match file::readlink(parent, name) {
        Ok(target) => Ok(clean(&parent_path.join(target))),
        Err(sys::Error { errno: Errno::EINVAL, .. }) => Ok(parent_path.join(name)),
        Err(error) => Err(error),
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
