//! The state directory of a container, and the runtime root that holds them all.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::container::id::ContainerId;
use crate::container::notify_socket;
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{self, Errno};

/// The directory that holds the state directories (`--root`).
#[derive(Debug)]
pub struct RuntimeRoot {
    path: PathBuf,
    dir: Rc<OwnedFd>,
}

impl RuntimeRoot {
    /// Open it, making it if it is missing. It must be ours, and nobody else may write to it: who can, can make us
    /// signal and delete as he likes.
    pub fn open(path: &Path, euid: u32) -> Result<Self, Error> {
        match Self::find(path, euid)? {
            Some(root) => Ok(root),
            None => {
                make_all(path)?;
                Self::open_existing(path, euid)
            }
        }
    }

    /// Open it if it is there.
    pub fn find(path: &Path, euid: u32) -> Result<Option<Self>, Error> {
        match Self::open_existing(path, euid) {
            Err(Error::File { source: sys::Error { errno: Errno::ENOENT, .. }, .. }) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_existing(path: &Path, euid: u32) -> Result<Self, Error> {
        let dir = file::open(file::here(), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
            .at_file(path)?;
        let stat = file::stat(&dir).at_file(path)?;
        let shared = stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0;
        if stat.st_uid != euid || shared {
            let (owner, mode) = (stat.st_uid, stat.st_mode & 0o7777);
            return Err(Error::message(format!(
                "--root {}: it must belong to uid {euid} and be writable for nobody else: owner is {owner}, mode {mode:04o}",
                path.display()
            )));
        }
        Ok(Self { path: path.into(), dir: Rc::new(dir) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids of all containers that have a state directory, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>, Error> {
        let names = file::list(&self.dir).at_file(&self.path)?;
        let mut ids: Vec<_> =
            names.iter().filter_map(|name| ContainerId::parse(name.to_str()?).ok()).collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }
}

/// `mkdir -p`, as far as it is missing. Parents get the usual mode, the root itself is for its owner only.
fn make_all(path: &Path) -> Result<(), Error> {
    match file::mkdir(file::here(), path, 0o700) {
        Ok(()) | Err(sys::Error { errno: Errno::EEXIST, .. }) => Ok(()),
        Err(sys::Error { errno: Errno::ENOENT, .. })
            if path.parent().is_some_and(|p| !p.as_os_str().is_empty()) =>
        {
            make_all(path.parent().unwrap_or(path))?;
            file::mkdir(file::here(), path, 0o700).at_file(path)
        }
        Err(error) => Err(error).at_file(path),
    }
}

/// A container's state directory, open. While it is new it removes itself when dropped.
#[derive(Debug)]
pub struct Dir {
    root: Rc<OwnedFd>,
    name: String,
    path: PathBuf,
    dir: OwnedFd,
    new: bool,
}

impl Dir {
    /// Make the directory of a new container: that it did not exist is what makes the id unique. Locked until dropped.
    pub fn create(root: &RuntimeRoot, id: &ContainerId) -> Result<Self, Error> {
        let path = root.path.join(id.as_str());
        match file::mkdir(&root.dir, id.as_str(), 0o700) {
            Err(sys::Error { errno: Errno::EEXIST, .. }) => {
                return Err(Error::message(format!(
                    "container {id}: container with given ID already exists"
                )));
            }
            made => made.at_file(&path)?,
        }
        let mut dir = Self::open_at(root, id.as_str(), path)?;
        dir.new = true;
        dir.lock()?;
        Ok(dir)
    }

    /// Open the directory of an existing container.
    pub fn open(root: &RuntimeRoot, id: &ContainerId) -> Result<Self, Error> {
        Self::open_at(root, id.as_str(), root.path.join(id.as_str()))
    }

    fn open_at(root: &RuntimeRoot, name: &str, path: PathBuf) -> Result<Self, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let dir = match file::open(&root.dir, name, flags, Mode::empty()) {
            Err(sys::Error { errno: Errno::ENOENT, .. }) => {
                return Err(Error::NoContainer { id: name.into() });
            }
            opened => opened.at_file(&path)?,
        };
        Ok(Self { root: Rc::clone(&root.dir), name: name.into(), path, dir, new: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Let nobody else change the container until this is dropped. Whoever holds the lock is given two seconds: a hook
    /// that calls the runtime on its own container must get an answer, not wait for itself.
    pub fn lock(&self) -> Result<(), Error> {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            match file::try_lock(&self.dir) {
                Err(sys::Error { errno: Errno::EWOULDBLOCK, .. }) if Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(sys::Error { errno: Errno::EWOULDBLOCK, .. }) => {
                    return Err(Error::message(format!(
                        "container {}: another command is at work on it",
                        self.name
                    )));
                }
                locked => return locked.at_file(&self.path),
            }
        }
    }

    /// Let others at it again, before this is dropped.
    pub fn unlock(&self) -> Result<(), Error> {
        file::unlock(&self.dir).at_file(&self.path)
    }

    /// Read a whole file; `None` if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        match file::open(&self.dir, name, flags, Mode::empty()) {
            Err(sys::Error { errno: Errno::ENOENT, .. }) => Ok(None),
            opened => file::read_own(opened.at_file(&path)?, 64 << 20, name).at_file(&path).map(Some),
        }
    }

    /// Write a whole file under another name and rename it, so that a reader sees all of it or nothing.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let temporary = format!(".{name}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        let file =
            file::open(&self.dir, &*temporary, flags, Mode::from_bits_truncate(0o600)).at_file(&path)?;
        file::write_all(&file, bytes, Path::new(name)).at_file(&path)?;
        file::rename(&self.dir, &temporary, name).at_file(&path)
    }

    /// The same of a file that nobody reads before the container exists, and nobody writes a second time.
    pub fn write_first(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let file = file::open(&self.dir, name, flags, Mode::from_bits_truncate(0o600)).at_file(&path)?;
        file::write_all(&file, bytes, Path::new(name)).at_file(&path)
    }

    /// The container exists: from now on the directory stays.
    pub fn keep(&mut self) {
        self.new = false;
    }

    /// Whether somebody has removed it since it was opened.
    pub fn is_gone(&self) -> bool {
        file::stat(&self.dir).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Remove the directory and the files in it. What is gone already is well.
    pub fn remove(&self) -> Result<(), Error> {
        for name in USUAL {
            gone(file::unlink(&self.dir, Path::new(name))).at_file(self.path.join(name))?;
        }
        match gone(file::rmdir(&*self.root, &*self.name)) {
            // There is more: it has to be looked at.
            Err(error) if error.errno == Errno::ENOTEMPTY => {}
            removed => return removed.at_file(&self.path),
        }
        notify_socket::remove_directory(self).at_file(&self.path)?;
        for name in file::list(&self.dir).at_file(&self.path)? {
            gone(file::unlink(&self.dir, Path::new(&name))).at_file(self.path.join(&name))?;
        }
        gone(file::rmdir(&*self.root, &*self.name)).at_file(&self.path)
    }
}

/// The files that every container has. The one without which it is no container goes last.
const USUAL: [&str; 3] = ["init", "config.json", "state.json"];

/// What is missing need not be removed.
fn gone(removed: sys::Result<()>) -> sys::Result<()> {
    match removed {
        Err(sys::Error { errno: Errno::ENOENT, .. }) => Ok(()),
        other => other,
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.new
            && let Err(error) = self.remove()
        {
            crate::log::warn(&error.to_string());
        }
    }
}
