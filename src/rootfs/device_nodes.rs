//! Device nodes in the container's file system.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::linux::devices::{Device, Devices};
use crate::error::{At, Error};
use crate::rootfs::resolve::{Leaf, Tree};
use crate::sys::file::{self, OFlag};
use crate::sys::mount::Reach;
use crate::sys::{self, Errno};

/// How a node comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// `mknod(2)`.
    Make,
    /// The host's node is mounted: a user namespace may not make devices.
    Bind,
}

/// Make all nodes. The umask must be 0.
pub fn make(tree: &Tree, devices: &Devices, nodes: Nodes) -> Result<(), Error> {
    for device in devices.iter() {
        if nodes == Nodes::Bind && device.path == Path::new("/dev/ptmx") {
            continue; // the container's own is a link to its devpts, and the host's would be in its place
        }
        if nodes == Nodes::Bind {
            bind(tree, device).at(device.field.clone())?;
            continue;
        }
        let directory = device.path.parent().unwrap_or(&device.path);
        let made = tree.directory(directory).and_then(|directory| node(&directory, device));
        made.at(device.field.clone())?;
    }
    Ok(())
}

fn node(directory: &OwnedFd, device: &Device) -> sys::Result<()> {
    let name = Path::new(device.path.file_name().unwrap_or_default());
    match file::mknod(directory, name, device.kind, device.mode, device.number) {
        Err(error) if error.errno == Errno::EEXIST => {
            // "If a file already exists at path that does not match the requested device, the runtime MUST generate an
            // error."
            let found = file::lstat(directory, name)?;
            let same = file::kind(&found) == device.kind && found.st_rdev == device.number;
            if same { Ok(()) } else { Err(error) }
        }
        made => {
            made?;
            if (device.uid, device.gid) != (0, 0) {
                file::chown(file::open_path(directory, name, OFlag::O_NOFOLLOW)?, device.uid, device.gid)?;
            }
            Ok(())
        }
    }
}

fn bind(tree: &Tree, device: &Device) -> sys::Result<()> {
    let host = tree.stage().copy(file::here(), &device.path, Reach::One)?;
    let found = file::stat(&host)?;
    if file::kind(&found) != device.kind || found.st_rdev != device.number {
        return Err(sys::Error::new(
            format!("stat({:?}): the host has another device there", device.path),
            Errno::ENODEV,
        ));
    }
    let target = tree.make(&device.path, Leaf::File)?;
    tree.stage().attach(&host, &target, &device.path)
}
