//! Mounts of type `cgroup` and `cgroup2`: the container's view of its control groups.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::cgroup::hierarchy::{Hierarchy, Version};
use crate::cgroup::layout::{Directory, Layout, Need};
use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::config::mounts::Mount;
use crate::error::{At, Error};
use crate::rootfs::attributes::{change, in_old_words, through_procfs};
use crate::rootfs::resolve::{Leaf, Tree};
use crate::rootfs::stage::Stage;
use crate::sys::file::{self, OFlag, UntilHandOver};
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, Errno};

/// The container's directories, and what the host has.
type Cgroups<'a> = (&'a Layout, &'a Hierarchy);

/// Mount the tree of controllers (v1) or the one hierarchy (v2). With a cgroup namespace of its own the container sees
/// its own cgroup as the root of each; without, its own cgroup's directory is bound there, which shows the same.
pub fn mount(
    tree: &Tree,
    mount: &Mount,
    namespaces: &Namespaces,
    (layout, host): Cgroups,
) -> Result<(), Error> {
    let target = tree.make(&mount.destination, Leaf::Directory).at(mount.field.key("destination"))?;
    let target = UntilHandOver::from(target);
    let own_namespace = namespaces.is_own(Kind::Cgroup);
    let directories = layout.directories();
    match directories.iter().find(|directory| directory.version == Version::V2) {
        Some(v2) if directories.len() == 1 => {
            one(tree, mount, &target, v2, own_namespace, (layout, host)).at(mount.field.clone())
        }
        _ => all(tree, mount, &target, own_namespace, (layout, host)).at(mount.field.clone()),
    }
}

fn one(
    tree: &Tree,
    mount: &Mount,
    target: &OwnedFd,
    directory: &Directory,
    own: bool,
    cgroups: Cgroups,
) -> sys::Result<()> {
    if own && mount.propagation().is_empty() {
        // One call for what takes seven of the newer ones, which say why where this fails.
        let flags = in_old_words(MsFlags::empty(), mount.options.attributes);
        let place = through_procfs(target);
        if mount::mount(Some("cgroup"), &place, Some("cgroup2"), flags, None).is_ok() {
            return Ok(());
        }
    }
    let staged = staged(tree.stage(), directory, own, cgroups)?;
    set(&staged, mount.options.attributes)?;
    tree.stage().attach(&staged, target, &mount.destination)?;
    propagate(&staged, mount)
}

/// A tmpfs with a directory for each hierarchy, and a link for each controller of one that has several.
fn all(tree: &Tree, mount: &Mount, target: &OwnedFd, own: bool, cgroups: Cgroups) -> sys::Result<()> {
    let attributes = mount::NOSUID | mount::NODEV | mount::NOEXEC;
    let stage = tree.stage();
    let top = stage.new_filesystem("tmpfs", "tmpfs", &[("mode", Some("755"))], attributes)?;
    stage.attach(&top, target, &mount.destination)?;
    for directory in cgroups.0.directories() {
        let name = name(directory);
        file::mkdir(&top, &name, 0o755)?;
        let source = cgroups.0.host_path(directory);
        let may_bind = !own && matches!(stage, Stage::Detached);
        let bound = may_bind.then(|| bind(&top, &name, &source, mount.options.attributes));
        let shown = match bound {
            None | Some(Err(sys::Error { errno: Errno::ENOENT, .. })) => {
                show(&top, &name, directory, (mount, own, cgroups), stage)
            }
            Some(bound) => bound,
        };
        match shown {
            // The container's own directory may be missing where it could not be made: then there is nothing to show.
            Err(sys::Error { errno: Errno::ENOENT, .. }) => continue,
            shown => shown?,
        }
        for controller in directory
            .controllers
            .iter()
            .filter(|controller| **controller != name && !controller.contains('='))
        {
            file::symlink(&name, &top, controller)?;
        }
    }
    let readonly = Attributes { set: mount.options.attributes.set & mount::RDONLY, clear: 0 };
    set(&top, readonly)?;
    propagate(&top, mount)
}

/// A directory of the host in its place, in two calls. Nobody else is in this mount namespace yet, so that the name leads
/// to what we have just made.
fn bind(top: &OwnedFd, name: &str, source: &Path, attributes: Attributes) -> sys::Result<()> {
    let place = through_procfs(top).join(name);
    mount::mount(source.to_str(), &place, None, MsFlags::MS_BIND, None)?;
    if attributes.is_empty() { Ok(()) } else { mount::set_attributes_at(top, name, attributes) }
}

/// The same in the other ways that there are.
fn show(
    top: &OwnedFd,
    name: &str,
    directory: &Directory,
    (mount, own, cgroups): (&Mount, bool, Cgroups),
    stage: &Stage,
) -> sys::Result<()> {
    let place = file::open_path(top, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?;
    let staged = staged(stage, directory, own, cgroups)?;
    set(&staged, mount.options.attributes)?;
    stage.attach(&staged, &place, Path::new(name))
}

/// The name that the hierarchy's directory has on the host: `memory`, `cpu,cpuacct`, `systemd`.
fn name(directory: &Directory) -> String {
    directory.mount_point.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn staged(
    stage: &Stage,
    directory: &Directory,
    own_namespace: bool,
    (layout, host): Cgroups,
) -> sys::Result<OwnedFd> {
    let bound = || stage.copy(file::here(), layout.host_path(directory), Reach::One);
    if !own_namespace {
        return match (bound(), host.own(&directory.mount_point)) {
            // An ordinary user could not make it, so that the container is where he is.
            (Err(error), Some(own)) if error.errno == Errno::ENOENT && layout.need() == Need::Optional => {
                stage.copy(file::here(), own, Reach::One)
            }
            (bound, _) => bound,
        };
    }
    let new = match directory.version {
        Version::V2 => stage.new_filesystem("cgroup2", "cgroup", &[], 0),
        Version::V1 => {
            let controllers: Vec<_> = directory.controllers.iter().map(|name| parameter(name)).collect();
            stage.new_filesystem("cgroup", "cgroup", &controllers, 0)
        }
    };
    match new {
        // A user namespace that does not own the hierarchy, or one that is in use elsewhere: its own directory shows
        // the same.
        Err(sys::Error { errno: Errno::EPERM | Errno::EBUSY, .. }) => bound(),
        new => new,
    }
}

/// A named hierarchy without a controller is mounted by its name.
fn parameter(controller: &str) -> (&str, Option<&str>) {
    match controller.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (controller, None),
    }
}

fn set(mounted: &OwnedFd, attributes: Attributes) -> sys::Result<()> {
    if attributes.is_empty() { Ok(()) } else { change(mounted, attributes, MsFlags::empty(), Reach::One) }
}

fn propagate(mounted: &OwnedFd, mount: &Mount) -> sys::Result<()> {
    for propagation in mount.propagation() {
        change(mounted, Attributes::default(), propagation.kind, propagation.reach)?;
    }
    Ok(())
}
