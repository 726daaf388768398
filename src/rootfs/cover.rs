//! Cover the paths that the container may not read, or not write.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::linux::covered_paths::CoveredPaths;
use crate::config::linux::mount_label::MountLabel;
use crate::error::{At, Error};
use crate::rootfs::attributes::{change, through_procfs};
use crate::rootfs::resolve::Tree;
use crate::sys::file::{self, OFlag, SFlag, UntilHandOver};
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, Errno};

/// Put an empty read-only directory over directories, and `/dev/null` over everything else. What does not exist need
/// not be hidden.
///
/// The null device is the container's if it is one, and else the host's: the image may have anything in its place
/// (CVE-2025-31133). All directories share one tmpfs.
pub fn mask(tree: &Tree, paths: &CoveredPaths, label: &MountLabel) -> Result<(), Error> {
    let mut empty: Option<UntilHandOver> = None;
    let mut null: Option<UntilHandOver> = None;
    for (field, path) in paths.iter() {
        let Some(target) = existing(tree, path).at(field.clone())? else { continue };
        let is_directory = file::kind(&file::stat(&*target).at(field.clone())?) == SFlag::S_IFDIR;
        let covered = match (is_directory, &mut empty, &mut null) {
            (true, Some(attached), _) => bind(attached, &target),
            (true, empty @ None, _) => mount_empty(&target, label).and_then(|()| {
                *empty = Some(tree.open(path, OFlag::O_DIRECTORY)?.into());
                Ok(())
            }),
            (false, _, Some(null)) => bind(null, &target),
            (false, _, null @ None) => {
                null_device(tree).and_then(|found| bind(null.insert(found.into()), &target))
            }
        };
        covered.at(field.clone())?;
    }
    Ok(())
}

/// One mount on another place: a single call, by the names that procfs has for the two handles.
fn bind(from: &OwnedFd, onto: &OwnedFd) -> sys::Result<()> {
    let from = through_procfs(from);
    mount::mount(from.to_str(), &through_procfs(onto), None, MsFlags::MS_BIND, None)
}

/// Unlabelled, it could be seen to be there and not to be empty.
fn mount_empty(target: &OwnedFd, label: &MountLabel) -> sys::Result<()> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let size = "nr_inodes=2,size=4k,mode=755";
    let labelled = label.quoted().map(|label| format!("{size},{label}"));
    let parameters = labelled.as_deref().unwrap_or(size);
    mount::mount(Some("tmpfs"), &through_procfs(target), Some("tmpfs"), flags, Some(parameters))
}

fn null_device(tree: &Tree) -> sys::Result<OwnedFd> {
    let path = Path::new("/dev/null");
    let own = tree.open(path, OFlag::O_NOFOLLOW).and_then(checked_null);
    own.or_else(|_| checked_null(file::open_path(file::here(), path, OFlag::O_NOFOLLOW)?))
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
        // The container's root stays the mount that it is: one on top of it would be seen by nobody.
        if path == Path::new("/") {
            change(tree, readonly, MsFlags::empty(), Reach::One).at(field.clone())?;
            continue;
        }
        let again = || -> sys::Result<()> {
            let copy = UntilHandOver::from(tree.stage().copy(&*target, "", Reach::Tree)?);
            change(&*copy, readonly, MsFlags::empty(), Reach::One)?;
            tree.stage().attach(&*copy, &*target, path)
        };
        again().at(field.clone())?;
    }
    Ok(())
}

/// "missing" is the path's own absence only: what cannot be reached for another reason must not be left uncovered.
fn existing(tree: &Tree, path: &Path) -> sys::Result<Option<UntilHandOver>> {
    match tree.open(path, OFlag::empty()) {
        Ok(target) => Ok(Some(target.into())),
        Err(sys::Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
