//! The sources of bind mounts: outside, where the host's paths lead, or in the container's root.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::mounts::Mount;
use crate::error::{At, Error};
use crate::rootfs::attributes::change;
use crate::rootfs::resolve::Tree;
use crate::rootfs::stage::Stage;
use crate::sys::file::{self, OFlag};
use crate::sys::mount::{Attributes, MsFlags, Reach};
use crate::sys::{self, Errno};

/// A copy of a bind mount's source. One that is opened in the host's own mount namespace is made a `slave` first, as everything in the container's is, unless its propagation to the host is what was asked for.
pub fn open_outside(stage: &Stage, mount: &Mount, slave: bool) -> Result<Option<OwnedFd>, Error> {
    let Some((source, reach)) = mount.bind_source() else { return Ok(None) };
    let tree = stage.copy(file::here(), source, reach);
    let tree = tree.map_err(|error| explain_copy(error, reach)).at(mount.field.key("source"))?;
    if slave {
        change(&tree, Attributes::default(), MsFlags::MS_SLAVE, Reach::Tree).at(mount.field.key("source"))?;
    }
    Ok(Some(tree))
}

/// What the parent has opened: a mount that is nowhere, or a handle on a source.
pub fn adopt(tree: &Tree, mount: &Mount, source: OwnedFd) -> Result<OwnedFd, Error> {
    match (tree.stage(), mount.bind_source()) {
        (Stage::Tmpfs(..), Some((_, reach))) => {
            let copy = tree.stage().copy(&source, "", reach);
            copy.map_err(|error| explain_copy(error, reach)).at(mount.field.key("source"))
        }
        _ => Ok(source),
    }
}

/// The copy of a source in the container's root, as the mounts before it have left it.
pub fn open_inside(tree: &Tree, mount: &Mount, inside: &Path) -> Result<Option<OwnedFd>, Error> {
    let Some((_, reach)) = mount.bind_source() else { return Ok(None) };
    let field = mount.field.key("source");
    let found = tree.open(inside, OFlag::empty()).at(field.clone())?;
    let copy = tree.stage().copy(&found, "", reach);
    copy.map_err(|error| explain_copy(error, reach)).at(field).map(Some)
}

/// `mount_namespaces(7)`: what lies below the mounts that came from a more privileged namespace stays covered.
fn explain_copy(error: sys::Error, reach: Reach) -> sys::Error {
    if error.errno != Errno::EINVAL || reach == Reach::Tree {
        return error;
    }
    let hint = "there are mounts below it, which a user namespace can only copy with it: rbind";
    sys::Error::new(format!("{} [{hint}]", error.call), error.errno)
}
