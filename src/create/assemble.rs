//! Assemble the container's file system in its mount namespace.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::cgroup::layout::Layout;
use crate::config::linux::covered_paths::CoveredPaths;
use crate::config::linux::devices::Devices;
use crate::config::linux::mount_label::MountLabel;
use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::config::linux::rootfs_propagation::Propagation;
use crate::config::mounts::{Mount, What};
use crate::config::root::Root;
use crate::create::Request;
use crate::create::protocol::{self, ChildEnd};
use crate::create::sources::Sources;
use crate::error::{At, Error};
use crate::host::Host;
use crate::rootfs::device_nodes::{self, Nodes};
use crate::rootfs::resolve::Tree;
use crate::rootfs::{self, Enter, Rootfs, cgroup_mount, cover, links};
use crate::sys::file;

/// The sections of the config that are the container's file system.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// `root`
    pub root: &'a Root,
    /// `linux.rootfsPropagation`
    pub rootfs_propagation: Option<Propagation>,
    /// `mounts`
    pub mounts: &'a [Mount],
    /// `linux.devices`, and the default ones
    pub devices: &'a Devices,
    /// `linux.maskedPaths`
    pub masked_paths: &'a CoveredPaths,
    /// `linux.readonlyPaths`
    pub readonly_paths: &'a CoveredPaths,
    /// `linux.mountLabel`
    pub mount_label: &'a MountLabel,
}

impl View<'_> {
    /// Mount everything in its order, and make what every `/dev` has. `pid_namespace` is the one whose processes a
    /// procfs shall show, where it is joined later.
    pub fn assemble(
        &self,
        (namespaces, host, request): (&Namespaces, &Host, &Request),
        sources: Sources,
        (cgroup, pid_namespace, end): (&Layout, Option<&OwnedFd>, &ChildEnd),
    ) -> Result<Rootfs, Error> {
        let enter = match () {
            () if !namespaces.is_own(Kind::Mount) => Enter::Chroot,
            () if request.no_pivot => Enter::Move,
            () => Enter::Pivot,
        };
        let rootfs = Rootfs::open(self.root, enter, self.rootfs_propagation, sources.root)?;
        if enter == Enter::Chroot {
            return Ok(rootfs); // what would be mounted would be the caller's
        }
        let given = sources.mounts.into_iter().chain(std::iter::repeat_with(|| None));
        for (number, (mount, source)) in self.mounts.iter().zip(given).enumerate() {
            match mount.what {
                What::Cgroup => {
                    cgroup_mount::mount(rootfs.tree(), mount, namespaces, (cgroup, &host.hierarchy))?;
                }
                _ => {
                    let source = match (source, mount.source_below(&self.root.path)) {
                        (None, Some(inside)) => open_inside(rootfs.tree(), (number, mount), inside, end)?,
                        (Some(source), _) => Some(rootfs::source::adopt(rootfs.tree(), mount, source)?),
                        (None, None) => None,
                    };
                    rootfs::mount::mount(rootfs.tree(), mount, source, pid_namespace)?;
                }
            }
        }
        let on_dev = |mount: &&Mount| mount.destination == Path::new("/dev");
        if !self.mounts.iter().filter(on_dev).any(|mount| mount.bind_source().is_some()) {
            let may_not_make = namespaces.is_own(Kind::User) || host.in_user_namespace;
            device_nodes::make(
                rootfs.tree(),
                self.devices,
                if may_not_make { Nodes::Bind } else { Nodes::Make },
            )?;
            links::make(rootfs.tree())?;
        }
        Ok(rootfs)
    }

    /// Make read-only and hide what the config lists: after everything that is made in it.
    pub fn cover(&self, rootfs: &Rootfs) -> Result<(), Error> {
        for mount in self.mounts {
            rootfs::mount::make_readonly_late(rootfs.tree(), mount)?;
        }
        cover::make_readonly(rootfs.tree(), self.readonly_paths)?;
        cover::mask(rootfs.tree(), self.masked_paths, self.mount_label)?;
        // Without a mount namespace the config may ask for none of these.
        if self.root.readonly { rootfs.make_readonly() } else { Ok(()) }
    }
}

/// The source of a bind mount that is in the container's root. The right to map its ids is the parent's.
fn open_inside(
    tree: &Tree,
    (number, mount): (usize, &Mount),
    inside: &Path,
    end: &ChildEnd,
) -> Result<Option<OwnedFd>, Error> {
    let source = rootfs::source::open_inside(tree, mount, inside)?;
    if let (Some(source), Some(idmap)) = (&source, &mount.idmap) {
        let source = file::duplicate(source).at(idmap.field.clone())?;
        end.ask(&protocol::Request::MapMount(number, source))?;
    }
    Ok(source)
}
