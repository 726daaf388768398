//! Cover the paths that the container may not read, or not write.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::linux::covered_paths::CoveredPaths;
use crate::error::{At, Error};
use crate::rootfs::attributes::change;
use crate::rootfs::resolve::Tree;
use crate::sys::file::{self, OFlag, SFlag};
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, Errno};

/// Put an empty read-only directory over directories, and `/dev/null` over everything else. What does not exist need
/// not be hidden.
///
/// The null device is the container's if it is one, and else the host's: the image may have anything in its place
/// (CVE-2025-31133). All directories share one tmpfs.
pub fn mask(tree: &Tree, paths: &CoveredPaths) -> Result<(), Error> {
    let mut empty: Option<OwnedFd> = None;
    let mut null: Option<OwnedFd> = None;
    for (field, path) in paths.iter() {
        let Some(target) = existing(tree, path).at(field.clone())? else { continue };
        let is_directory = file::kind(&file::stat(&target).at(field.clone())?) == SFlag::S_IFDIR;
        let (shared, first): (_, fn(&Tree) -> sys::Result<OwnedFd>) =
            if is_directory { (&mut empty, empty_directory) } else { (&mut null, null_device) };
        let cover = match shared {
            // An attached mount can be copied on every kernel, a detached one only since Linux 6.15.
            Some(attached) => tree.stage().copy(attached, "", Reach::One),
            None => first(tree),
        };
        let cover = cover.at(field.clone())?;
        tree.stage().attach(&cover, &target, path).at(field.clone())?;
        if shared.is_none() {
            *shared = Some(cover);
        }
    }
    Ok(())
}

fn empty_directory(tree: &Tree) -> sys::Result<OwnedFd> {
    let attributes = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
    let parameters = [("nr_inodes", Some("2")), ("size", Some("4k")), ("mode", Some("755")), ("ro", None)];
    tree.stage().new_filesystem("tmpfs", "tmpfs", &parameters, attributes)
}

fn null_device(tree: &Tree) -> sys::Result<OwnedFd> {
    let path = Path::new("/dev/null");
    let own = tree.open(path, OFlag::O_NOFOLLOW).and_then(checked_null);
    let null = own.or_else(|_| checked_null(file::open_path(file::here(), path, OFlag::O_NOFOLLOW)?))?;
    tree.stage().copy(&null, "", Reach::One)
}

fn checked_null(file: OwnedFd) -> sys::Result<OwnedFd> {
    let found = file::stat(&file)?;
    if file::kind(&found) == SFlag::S_IFCHR && found.st_rdev == nix::sys::stat::makedev(1, 3) {
        Ok(file)
    } else {
        Err(sys::Error::new("stat(\"/dev/null\"): it is not the null device", Errno::ENODEV))
    }
}

/// Make paths read-only. What is mounted below them stays as it is, as with other runtimes: engines put writable mounts
/// there. What does not exist is left out.
pub fn make_readonly(tree: &Tree, paths: &CoveredPaths) -> Result<(), Error> {
    for (field, path) in paths.iter() {
        let Some(target) = existing(tree, path).at(field.clone())? else { continue };
        let readonly = Attributes { set: mount::RDONLY, clear: 0 };
        let again = || -> sys::Result<()> {
            let copy = tree.stage().copy(&target, "", Reach::Tree)?;
            change(&copy, readonly, MsFlags::empty(), Reach::One)?;
            tree.stage().attach(&copy, &target, path)
        };
        again().at(field.clone())?;
    }
    Ok(())
}

/// "missing" is the path's own absence only: what cannot be reached for another reason must not be left uncovered.
fn existing(tree: &Tree, path: &Path) -> sys::Result<Option<OwnedFd>> {
    match tree.open(path, OFlag::empty()) {
        Ok(target) => Ok(Some(target)),
        Err(sys::Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
