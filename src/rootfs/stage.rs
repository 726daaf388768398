//! Where mounts are made before they are put in their place, so that each has all its attributes when it gets there.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::rootfs::attributes::{data, filesystem_flag, in_old_words, through_procfs};
use crate::sys::file::{self, OFlag, SFlag};
use crate::sys::mount::{self, Attributes, MntFlags, MsFlags, Parameter, Reach};
use crate::sys::{self, Errno, Error};

/// Since Linux 5.12 mounts can be made, and changed, while they are attached nowhere. Before, or where a filter of an
/// outer container hides the calls, a directory of ours takes them in: what is mounted there can be changed by
/// `mount(2)`, and moved.
#[derive(Debug)]
pub enum Stage {
    /// The kernel's own.
    Detached,
    /// A tmpfs in the container's mount namespace, which goes with the host's file system.
    Tmpfs(OwnedFd, Cell<u32>),
}

/// What the stage lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// The container's root.
    Root,
    /// A directory above it.
    Above,
}

impl Stage {
    /// The stage for a container's root, and a copy of that root, which is there already as `original`. A tmpfs covers it, or
    /// a directory above it where its path is out of reach.
    pub fn open(place: &Path, covers: Covers, original: &OwnedFd) -> sys::Result<(Self, OwnedFd)> {
        if mount::can_be_detached() {
            return Ok((Self::Detached, mount::clone_tree(original, "", Reach::Tree)?));
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount::mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some("size=1m,mode=700"))?;
        let tmpfs = file::open_path(file::here(), place, OFlag::O_DIRECTORY)?;
        let from = through_procfs(original);
        let copy = on(&tmpfs, "root", SFlag::S_IFDIR, |place| {
            let tree = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount::mount(from.to_str(), place, None, tree, None)?;
            // The tmpfs is part of the tree, and lies on top of the copy as it does on the original.
            if covers == Covers::Root { mount::unmount(place, MntFlags::MNT_DETACH) } else { Ok(()) }
        })?;
        Ok((Self::Tmpfs(tmpfs, Cell::new(0)), copy))
    }

    /// A copy of a mount, or of a tree of mounts. With an empty path the descriptor itself is meant.
    pub fn copy(&self, dir: impl AsFd, path: impl AsRef<Path>, reach: Reach) -> sys::Result<OwnedFd> {
        let path = path.as_ref();
        let Self::Tmpfs(tmpfs, next) = self else { return mount::clone_tree(dir, path, reach) };
        let source = match path.as_os_str().is_empty() {
            true => file::duplicate(dir)?,
            false => file::open_path(dir, path, OFlag::empty())?,
        };
        let recursive = if reach == Reach::Tree { MsFlags::MS_REC } else { MsFlags::empty() };
        let from = through_procfs(&source);
        let kind = file::kind(&file::stat(&source)?);
        on(tmpfs, &number(next), kind, |place| {
            mount::mount(from.to_str(), place, None, MsFlags::MS_BIND | recursive, None)
        })
    }

    /// A new instance of a file system.
    pub fn new_filesystem(
        &self,
        kind: &str,
        source: &str,
        parameters: &[Parameter],
        attributes: u64,
    ) -> sys::Result<OwnedFd> {
        let Self::Tmpfs(tmpfs, next) = self else {
            return mount::new_filesystem(kind, source, parameters, attributes);
        };
        let mut flags = in_old_words(MsFlags::empty(), Attributes { set: attributes, clear: mount::ATIME });
        let mut others = Vec::new();
        for (key, value) in parameters {
            match (filesystem_flag(key), value) {
                (Some(flag), None) => flags |= flag,
                (_, None) => others.push((*key).to_owned()),
                (_, Some(value)) => others.push(format!("{key}={value}")),
            }
        }
        let data = data(&others);
        on(tmpfs, &number(next), SFlag::S_IFDIR, |place| {
            mount::mount(Some(source), place, Some(kind), flags, data.as_deref())
        })
    }

    /// Put a mount onto the file that `target` stands for.
    pub fn attach(&self, mount: impl AsFd, target: impl AsFd, name: &Path) -> sys::Result<()> {
        match self {
            Self::Detached => mount::attach(mount, target, name),
            Self::Tmpfs(..) => match mount::attach(mount.as_fd(), target.as_fd(), name) {
                Err(error) if sys::is_missing(error.errno) => {
                    let (from, to) = (through_procfs(&mount), through_procfs(&target));
                    mount::mount(from.to_str(), &to, None, MsFlags::MS_MOVE, None)
                        .map_err(|error| Error::new(format!("{} [{name:?}]", error.call), error.errno))
                }
                attached => attached,
            },
        }
    }
}

fn number(next: &Cell<u32>) -> String {
    next.replace(next.get() + 1).to_string()
}

/// Mount something on a new file of the tmpfs; the handle on it stays good when it is moved.
fn on(
    tmpfs: &OwnedFd,
    name: &str,
    kind: SFlag,
    mount: impl Fn(&Path) -> sys::Result<()>,
) -> sys::Result<OwnedFd> {
    match kind {
        SFlag::S_IFDIR => file::mkdir(tmpfs, name, 0o700)?,
        _ => file::mknod(tmpfs, name, SFlag::S_IFREG, 0o600, 0)?,
    }
    let place: PathBuf = through_procfs(tmpfs).join(name);
    mount(&place)?;
    let mounted = file::open_path(tmpfs, name, OFlag::O_NOFOLLOW)?;
    if file::stat(&mounted)?.st_dev == file::stat(tmpfs)?.st_dev {
        return Err(Error::new(format!("openat({name:?}): nothing is mounted there"), Errno::EINVAL));
    }
    Ok(mounted)
}
