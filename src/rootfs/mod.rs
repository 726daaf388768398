//! The container's file system: assembled in the container's mount namespace while the host's is still there, then
//! entered.
//!
//! A function that needs the host's file system takes [`Rootfs`], one that runs when it is gone takes [`ContainerRoot`].

pub mod accounts;
pub mod attributes;
pub mod cgroup_mount;
pub mod copy_up;
pub mod cover;
pub mod device_nodes;
pub mod links;
pub mod mount;
pub mod procfs;
pub mod resolve;
pub mod source;
pub mod stage;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::config::linux::rootfs_propagation::Propagation;
use crate::config::root::Root;
use crate::error::{At, Error};
use crate::rootfs::resolve::Tree;
use crate::rootfs::stage::{Covers, Stage};
use crate::sys::file::{self, OFlag, SFlag};
use crate::sys::mount::{self as sys_mount, Attributes, MntFlags, MsFlags, Reach};
use crate::sys::{self, Errno};
use crate::terminal::{Size, Terminal};

/// How the container's root becomes the root of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// `pivot_root(2)`: the host's file system is not there any more.
    Pivot,
    /// `--no-pivot`, for a host whose root is a ramdisk: it is moved over the host's root.
    Move,
    /// `chroot(2)`, for a container without a mount namespace, which shares the host's mounts.
    Chroot,
}

/// The container's file system before it is entered: the host's paths resolve as well.
#[derive(Debug)]
pub struct Rootfs {
    tree: Tree,
    enter: Enter,
}

/// The container's file system after it was entered: the host's is out of reach.
#[derive(Debug)]
pub struct ContainerRoot(());

/// Check that the root is a directory, and no link that could lead to another one later. Changes nothing.
pub fn check(root: &Root) -> Result<(), Error> {
    match file::open_path(file::here(), &root.path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW) {
        Ok(_) => Ok(()),
        Err(error) if error.errno == Errno::ENOTDIR && file::readlink(file::here(), &root.path).is_ok() => {
            Err(sys::Error::new(format!("{}: it is a symbolic link", error.call), Errno::ENOTDIR))
                .at("root.path")
        }
        Err(error) => Err(error).at("root.path"),
    }
}

impl Rootfs {
    /// Put a copy of the root's mounts on top of everything in this mount namespace. `source` is the copy, where the
    /// parent has made it because the container's users may not reach the path.
    ///
    /// What the container mounts never shows on the host: all that came from it becomes a slave (or private) first.
    pub fn open(
        root: &Root,
        enter: Enter,
        propagation: Option<Propagation>,
        source: Option<OwnedFd>,
    ) -> Result<Self, Error> {
        if enter == Enter::Chroot {
            let dir = file::open_path(file::here(), &root.path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
                .at("root.path")?;
            return Ok(Self { tree: Tree::new(dir), enter });
        }
        let kind = match propagation {
            Some(propagation) if propagation.kind == MsFlags::MS_PRIVATE => MsFlags::MS_PRIVATE,
            _ => MsFlags::MS_SLAVE,
        };
        let field = "linux.rootfsPropagation";
        // Otherwise the parent has made copies of what the host shall see, which are still the host's peers.
        let keeps_peers = is_shared(propagation) && source.is_none() && !sys_mount::can_be_detached();
        if keeps_peers {
            leave_peers_alone(root, enter)?;
        } else {
            sys_mount::propagate(Path::new("/"), kind | MsFlags::MS_REC).at(field)?;
        }
        // On top of itself: hooks look for the container's mounts there.
        if source.is_none() && sys_mount::can_be_detached() {
            let copy = sys_mount::clone_tree_without_link(&root.path).at("root.path")?;
            sys_mount::attach_at(&copy, &root.path).at("root.path")?;
            return Ok(Self { tree: Tree::new(copy), enter });
        }
        let place = file::open_path(file::here(), &root.path, OFlag::O_DIRECTORY);
        let (copy, place, stage) = match (source, place) {
            (Some(original), place) if !sys_mount::can_be_detached() => {
                let (path, covers) = reachable(&root.path, place.is_ok())?;
                let place = file::open_path(file::here(), path, OFlag::O_DIRECTORY).at("root.path")?;
                let (stage, copy) = Stage::open(path, covers, &original).at("root.path")?;
                (copy, place, stage)
            }
            (Some(source), Ok(place)) => (source, place, Stage::Detached),
            // A user who does not reach it has it on "/".
            (Some(source), Err(_)) => {
                let top = file::open_path(file::here(), "/", OFlag::O_DIRECTORY).at("root.path")?;
                (source, top, Stage::Detached)
            }
            (None, place) => {
                let place = place.at("root.path")?;
                let (stage, copy) = Stage::open(&root.path, Covers::Root, &place).at("root.path")?;
                (copy, place, stage)
            }
        };
        if keeps_peers {
            attributes::change(&copy, Attributes::default(), MsFlags::MS_SLAVE, Reach::Tree).at(field)?;
        }
        stage.attach(&copy, place, &root.path).at("root.path")?;
        Ok(Self { tree: Tree::with_stage(copy, stage), enter })
    }

    /// The container's root, to resolve paths in.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// A path that leads to the container's root as long as the host's `/proc` is there.
    pub fn path(&self) -> PathBuf {
        attributes::through_procfs(&self.tree)
    }

    /// Make the container's root read-only: after everything that had to be made in it.
    pub fn make_readonly(&self) -> Result<(), Error> {
        let readonly = Attributes { set: sys_mount::RDONLY, clear: 0 };
        attributes::change(&self.tree, readonly, MsFlags::empty(), Reach::One).at("root.readonly")
    }

    /// Leave the host's file system: after this, host paths do not resolve.
    pub fn enter(self, propagation: Option<Propagation>) -> Result<ContainerRoot, Error> {
        file::chdir(&self.tree).at("root.path")?;
        match self.enter {
            Enter::Pivot => {
                let shared = is_shared(propagation);
                let old = shared.then(|| file::open_path(file::here(), "/", OFlag::O_DIRECTORY));
                let old = old.transpose().at("root.path")?;
                sys_mount::pivot_root_here().at("root.path")?;
                if let Some(old) = old {
                    // Where the host's mounts have stayed peers, to unmount ours would unmount theirs.
                    file::chdir(old).at("root.path")?;
                    sys_mount::propagate(Path::new("."), MsFlags::MS_SLAVE | MsFlags::MS_REC)
                        .at("root.path")?;
                }
                // The old root lies on top of the new one now.
                sys_mount::unmount(Path::new("."), MntFlags::MNT_DETACH).at("root.path")?;
            }
            Enter::Move => {
                unmount_hosts_kernel_filesystems(&file::current_dir().at("root.path")?)?;
                sys_mount::mount(Some("."), Path::new("/"), None, MsFlags::MS_MOVE, None).at("root.path")?;
                sys_mount::chroot_here().at("root.path")?;
            }
            Enter::Chroot => sys_mount::chroot_here().at("root.path")?,
        }
        file::chdir_path(Path::new("/")).at("root.path")?;
        // The root alone: the mounts below have what their options say. pivot_root(2) takes no shared root.
        if let Some(Propagation { kind: kind @ (MsFlags::MS_SHARED | MsFlags::MS_UNBINDABLE), .. }) =
            propagation
        {
            sys_mount::propagate(Path::new("/"), kind).at("linux.rootfsPropagation")?;
        }
        Ok(ContainerRoot(()))
    }
}

fn is_shared(propagation: Option<Propagation>) -> bool {
    propagation.is_some_and(|propagation| propagation.kind == MsFlags::MS_SHARED)
}

/// Before Linux 5.12, what shall propagate to the host is bound from mounts that are the host's peers still. One leaves
/// them: that on which the container's root is put, for all else is mounted on that. A source on the same mount has left
/// too.
fn leave_peers_alone(root: &Root, enter: Enter) -> Result<(), Error> {
    let field = "linux.rootfsPropagation";
    if enter != Enter::Pivot {
        let call = "open_tree(2) or mount_setattr(2) is missing (Linux 5.12), and --no-pivot would unmount the host's";
        return Err(sys::Error::new(call, Errno::ENOSYS)).at(field);
    }
    let below = sys::mountinfo::mount_of(&root.path).at(field)?;
    if sys::mountinfo::mount_of(&below.mount_point).at(field)?.id != below.id {
        return Err(sys::Error::new(format!("mountinfo: {:?} is hidden", below.mount_point), Errno::EXDEV))
            .at(field);
    }
    sys_mount::propagate(&below.mount_point, MsFlags::MS_PRIVATE).at(field)
}

/// The root's path, or the lowest directory above it that is within reach of the container's users.
fn reachable(root: &Path, is_reached: bool) -> Result<(&Path, Covers), Error> {
    if is_reached {
        return Ok((root, Covers::Root));
    }
    let above = root.ancestors().skip(1);
    let found =
        above.into_iter().find(|path| file::open_path(file::here(), path, OFlag::O_DIRECTORY).is_ok());
    let missing = || sys::Error::new(format!("openat({root:?})"), Errno::EACCES);
    found.map(|path| (path, Covers::Above)).ok_or_else(missing).at("root.path")
}

/// Without `pivot_root(2)` the host's mounts stay below the container's. A full procfs or sysfs among them would let a
/// user namespace inside the container mount another, without its masks (runc's pull request 1962). Those of the container
/// are below `own`, unless its root lies on top of the host's: then these paths lead to the host's alone.
fn unmount_hosts_kernel_filesystems(own: &Path) -> Result<(), Error> {
    for mount in sys::mountinfo::read().at("root.path")?.iter().rev() {
        let is_own = own != Path::new("/") && mount.mount_point.starts_with(own);
        if is_own || !matches!(mount.kind.as_str(), "proc" | "sysfs") {
            continue;
        }
        match sys_mount::unmount(&mount.mount_point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(sys::Error { errno: Errno::EINVAL | Errno::ENOENT | Errno::EPERM, .. }) => {}
            Err(error) => return Err(error).at("root.path"),
        }
    }
    Ok(())
}

/// Make the working directory if the image does not have it; whether it can be entered is seen when it is.
pub fn make_cwd(rootfs: &Rootfs, cwd: &Path) -> Result<(), Error> {
    if cwd == Path::new("/") {
        return Ok(());
    }
    rootfs.tree().make(cwd, resolve::Leaf::Directory).map(drop).at("process.cwd")
}

/// Make the container's terminal in its own devpts, and its `/dev/console`.
pub fn open_terminal(rootfs: &Rootfs, size: Option<Size>, uid: u32) -> Result<Terminal, Error> {
    let field = "process.terminal";
    let devpts = rootfs.tree().open(Path::new("/dev/pts"), OFlag::O_DIRECTORY).at(field)?;
    let terminal = Terminal::open(&devpts, size)?;
    terminal.give_to(uid)?;
    let stage = rootfs.tree().stage();
    let console = stage.copy(&terminal.slave, "", Reach::One).at(field)?;
    // The image's own may be a link: to a file of the host, once (CVE-2026-88264 in crun).
    let (dev, name) = rootfs.tree().make_parent(Path::new("/dev/console")).at(field)?;
    match file::mknod(&dev, name, SFlag::S_IFREG, 0o600, 0) {
        Ok(()) | Err(sys::Error { errno: Errno::EEXIST, .. }) => {}
        Err(error) => return Err(error).at("/dev/console"),
    }
    let target = file::open_path(&dev, name, OFlag::O_NOFOLLOW).at("/dev/console")?;
    stage.attach(&console, &target, Path::new("/dev/console")).at("/dev/console")?;
    Ok(terminal)
}
