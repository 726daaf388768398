//! Mount what the config lists, in order, onto paths inside the container's root.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::config::mount_options::Options;
use crate::config::mounts::{Mount, What};
use crate::error::{At, Error};
use crate::rootfs::resolve::{Leaf, Tree};
use crate::rootfs::{copy_up, procfs};
use crate::sys::file::{self, OFlag, SFlag};
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, Errno, proc};

/// A detached copy of a bind mount's source. A source opened in the host's own mount namespace (`foreign`) is made a
/// slave first, as everything in the container's is, unless its propagation to the host is what was asked for.
pub fn open_source(mount: &Mount, slave: bool) -> Result<Option<OwnedFd>, Error> {
    let Some((source, reach)) = mount.bind_source() else { return Ok(None) };
    let tree = mount::clone_tree(file::here(), source, reach).at(mount.field.key("source"))?;
    if slave {
        change(&tree, Attributes::default(), MsFlags::MS_SLAVE, Reach::Tree).at(mount.field.key("source"))?;
    }
    Ok(Some(tree))
}

/// Mount a file system or a bind mount. `source` is the copy of a bind mount's source where the parent has made it;
/// `pid_namespace` is the one that a procfs shall show where we are not in it yet.
pub fn mount(
    tree: &Tree,
    mount: &Mount,
    source: Option<OwnedFd>,
    pid_namespace: Option<&OwnedFd>,
) -> Result<(), Error> {
    let detached = match (&mount.what, source) {
        (What::Bind(..), Some(source)) => source,
        (What::Bind(..), None) => match open_source(mount, false)? {
            Some(source) => source,
            None => return Ok(()),
        },
        (What::Filesystem(kind, name), _) => return filesystem(tree, mount, (kind, name), pid_namespace),
        (What::Remount, _) => return remount(tree, mount),
        (What::Cgroup, _) => return Err(Error::message(format!("{}: not a plain mount", mount.field))),
    };
    bind(tree, mount, &detached).at(mount.field.clone())
}

fn bind(tree: &Tree, mount: &Mount, detached: &OwnedFd) -> sys::Result<()> {
    let is_directory = is_directory(detached)?;
    let target = tree.make(&mount.destination, if is_directory { Leaf::Directory } else { Leaf::File })?;
    if self::is_directory(&target)? != is_directory {
        // Engines explain this one to their users; they know it by "not a directory".
        let (source, name) = if is_directory { ("directory", "file") } else { ("file", "directory") };
        let call = format!("mount a {source} onto {:?}, which is a {name}", mount.destination);
        return Err(sys::Error::new(call, Errno::ENOTDIR));
    }
    refuse_procfs(&target, &mount.destination)?;
    attach(detached, &target, mount)
}

fn is_directory(file: impl AsFd) -> sys::Result<bool> {
    Ok(file::kind(&file::stat(file)?) == SFlag::S_IFDIR)
}

/// A link in the image may lead a destination into a mounted procfs, where only the paths that the config's check has
/// let through may be mounted over (CVE-2019-16884).
fn refuse_procfs(target: &OwnedFd, destination: &Path) -> sys::Result<()> {
    if !destination.starts_with("/proc") && proc::is_procfs(target)? {
        return Err(sys::Error::new(
            format!("openat2({destination:?}): it leads into a proc file system"),
            Errno::EPERM,
        ));
    }
    Ok(())
}

/// Give a detached mount its attributes, put it in its place, and set its propagation. Before Linux 5.12 there is no
/// `mount_setattr(2)`; then the attributes follow at once after the attachment.
fn attach(detached: &OwnedFd, target: &OwnedFd, mount: &Mount) -> sys::Result<()> {
    let Options { attributes, recursive, propagation, .. } = &mount.options;
    let mut late = Vec::new();
    for (attributes, reach) in [(*recursive, Reach::Tree), (*attributes, Reach::One)] {
        if attributes.is_empty() {
            continue;
        }
        match mount::set_attributes(detached, attributes, MsFlags::empty(), reach) {
            Err(sys::Error { errno: Errno::ENOSYS, .. }) => late.push((attributes, reach)),
            set => set?,
        }
    }
    mount::attach(detached, target, &mount.destination)?;
    for (attributes, reach) in late {
        change(detached, attributes, MsFlags::empty(), reach)?;
    }
    for propagation in propagation {
        change(detached, Attributes::default(), propagation.kind, propagation.reach)?;
    }
    Ok(())
}

/// Change attributes and propagation of a mount, with `mount(2)` where `mount_setattr(2)` is missing: that one needs an
/// attached mount, knows no recursion for attributes, and sets all flags at once, so that those in force are read first.
pub fn change(
    mounted: impl AsFd,
    attributes: Attributes,
    propagation: MsFlags,
    reach: Reach,
) -> sys::Result<()> {
    let mounted = mounted.as_fd();
    match mount::set_attributes(mounted, attributes, propagation, reach) {
        Err(sys::Error { errno: Errno::ENOSYS, call }) => {
            let path = through_procfs(mounted);
            if !attributes.is_empty() {
                if reach == Reach::Tree {
                    return Err(sys::Error { errno: Errno::ENOSYS, call });
                }
                let old = file::statfs(mounted)?.flags().bits();
                let flags = with_attributes(MsFlags::from_bits_truncate(old), attributes);
                mount::mount(None, &path, None, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, None)?;
            }
            if !propagation.is_empty() {
                let recursive = if reach == Reach::Tree { MsFlags::MS_REC } else { MsFlags::empty() };
                mount::propagate(&path, propagation | recursive)?;
            }
            Ok(())
        }
        changed => changed,
    }
}

/// A path that names exactly what the descriptor stands for. Before the pivot `/proc` is the host's.
fn through_procfs(file: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

/// The attributes in the words of `mount(2)`.
const MS_OF: [(u64, MsFlags); 6] = [
    (mount::RDONLY, MsFlags::MS_RDONLY),
    (mount::NOSUID, MsFlags::MS_NOSUID),
    (mount::NODEV, MsFlags::MS_NODEV),
    (mount::NOEXEC, MsFlags::MS_NOEXEC),
    (mount::NOATIME, MsFlags::MS_NOATIME),
    (mount::NODIRATIME, MsFlags::MS_NODIRATIME),
];

/// These flags with the attributes set and cleared. `MS_STRICTATIME` asks for neither of the other two behaviours.
fn with_attributes(flags: MsFlags, attributes: Attributes) -> MsFlags {
    let mut flags = flags;
    if attributes.clear & mount::ATIME == mount::ATIME {
        flags.remove(MsFlags::MS_NOATIME | MsFlags::MS_RELATIME | MsFlags::MS_STRICTATIME);
        flags.set(MsFlags::MS_STRICTATIME, attributes.set & mount::STRICTATIME != 0);
    }
    for (attribute, flag) in MS_OF {
        if attributes.set & attribute != 0 {
            flags.insert(flag);
        } else if attributes.clear & attribute != 0 {
            flags.remove(flag);
        }
    }
    flags
}

/// Mount a new instance of a file system.
fn filesystem(
    tree: &Tree,
    mount: &Mount,
    (kind, source): (&str, &str),
    pid_namespace: Option<&OwnedFd>,
) -> Result<(), Error> {
    let mode: String;
    let field = &mount.field;
    // CVE-2019-19921, CVE-2025-54867: with a link there, procfs would be mounted elsewhere, and labels written to files
    // that only look like procfs.
    let was_there = tree.open(&mount.destination, OFlag::O_DIRECTORY).is_ok();
    let target = match kind {
        "proc" | "sysfs" => tree.make_without_links(&mount.destination).at(field.key("destination"))?,
        _ => tree.make(&mount.destination, Leaf::Directory).at(field.key("destination"))?,
    };
    if kind != "proc" {
        refuse_procfs(&target, &mount.destination).at(field.key("destination"))?;
    }
    let mut parameters: Vec<(&str, Option<&str>)> =
        mount.options.parameters.iter().map(|p| split(p)).collect();
    if kind == "tmpfs" && was_there && !parameters.iter().any(|(key, _)| *key == "mode") {
        // The directory's own mode, as if nothing had been mounted there.
        mode = format!("{:o}", file::stat(&target).at(field.clone())?.st_mode & 0o7777);
        parameters.push(("mode", Some(&mode)));
    }
    let attributes = if mount.options.copy_up { 0 } else { mount.options.attributes.set };
    if must_use_old_call(mount, &parameters) {
        return old_call(mount, &target, kind, source).at(field.clone());
    }
    for flag in filesystem_flags(mount) {
        parameters.push(flag);
    }
    let made = match pid_namespace {
        Some(namespace) if kind == "proc" => procfs::showing(namespace, source, &parameters, attributes),
        _ => mount::new_filesystem(kind, source, &parameters, attributes),
    };
    let detached = match made {
        Err(error) if error.errno == Errno::ENOSYS => {
            return old_call(mount, &target, kind, source).at(field.clone());
        }
        // Without a network namespace of its own a user namespace gets no new sysfs; the host's shows the same.
        Err(error) if kind == "sysfs" && error.errno == Errno::EPERM => {
            let host = mount::clone_tree(file::here(), "/sys", Reach::Tree).at(field.clone())?;
            return attach(&host, &target, mount).at(field.clone());
        }
        made => made.at(field.clone())?,
    };
    if mount.options.copy_up {
        copy_up::copy(tree, &mount.destination, &detached).at(field.clone())?;
        let attributes = mount.options.attributes;
        return change_and_attach(&detached, &target, mount, attributes).at(field.clone());
    }
    mount::attach(&detached, &target, &mount.destination).at(field.clone())?;
    finish(&detached, mount).at(field.clone())
}

fn change_and_attach(
    detached: &OwnedFd,
    target: &OwnedFd,
    mount: &Mount,
    attributes: Attributes,
) -> sys::Result<()> {
    mount::attach(detached, target, &mount.destination)?;
    if !attributes.is_empty() {
        change(detached, attributes, MsFlags::empty(), Reach::One)?;
    }
    finish(detached, mount)
}

fn finish(mounted: &OwnedFd, mount: &Mount) -> sys::Result<()> {
    if !mount.options.recursive.is_empty() {
        change(mounted, mount.options.recursive, MsFlags::empty(), Reach::Tree)?;
    }
    for propagation in &mount.options.propagation {
        change(mounted, Attributes::default(), propagation.kind, propagation.reach)?;
    }
    Ok(())
}

fn split(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (parameter, None),
    }
}

/// The flags that `fsconfig(2)` knows by name.
fn filesystem_flags(mount: &Mount) -> impl Iterator<Item = (&'static str, Option<&'static str>)> + use<> {
    let readonly = mount.options.attributes.set & mount::RDONLY != 0 && !mount.options.copy_up;
    let flags = mount.options.filesystem;
    [
        (readonly, "ro"),
        (flags.contains(MsFlags::MS_SYNCHRONOUS), "sync"),
        (flags.contains(MsFlags::MS_DIRSYNC), "dirsync"),
        (flags.contains(MsFlags::MS_MANDLOCK), "mand"),
        (flags.contains(MsFlags::MS_LAZYTIME), "lazytime"),
    ]
    .into_iter()
    .filter_map(|(given, name)| given.then_some((name, None)))
}

/// `fsconfig(2)` takes values of at most 255 bytes, which a list of overlay's layers exceeds, and has no name for these
/// two flags.
fn must_use_old_call(mount: &Mount, parameters: &[(&str, Option<&str>)]) -> bool {
    mount.options.filesystem.intersects(MsFlags::MS_I_VERSION | MsFlags::MS_SILENT)
        || parameters
            .iter()
            .any(|(key, value)| key.len() > 255 || value.is_some_and(|value| value.len() > 255))
}

/// `mount(2)`, onto the descriptor.
fn old_call(mount: &Mount, target: &OwnedFd, kind: &str, source: &str) -> sys::Result<()> {
    let data = data(&mount.options.parameters);
    let flags = with_attributes(mount.options.filesystem, mount.options.attributes);
    mount::mount(Some(source), &through_procfs(target), Some(kind), flags, data.as_deref())?;
    // What was mounted lies on top of the descriptor; a path through it leads there.
    let mounted = file::open_path(file::here(), through_procfs(target), OFlag::O_DIRECTORY)?;
    finish(&mounted, mount)
}

/// Parameters as `mount(2)` takes them; a label with a comma stands in quotes.
fn data(parameters: &[String]) -> Option<String> {
    let quoted = |parameter: &String| match parameter.split_once('=') {
        Some((key, value)) if key.ends_with("context") && value.contains(',') => format!("{key}=\"{value}\""),
        _ => parameter.clone(),
    };
    let data: Vec<_> = parameters.iter().map(quoted).collect();
    (!data.is_empty()).then(|| data.join(","))
}

/// New options for what is mounted there already.
fn remount(tree: &Tree, mount: &Mount) -> Result<(), Error> {
    let target = tree.open(&mount.destination, OFlag::empty()).at(mount.field.key("destination"))?;
    let options = &mount.options;
    let bind = if options.bind.is_some() { MsFlags::MS_BIND } else { MsFlags::empty() };
    let flags = MsFlags::MS_REMOUNT | bind | with_attributes(options.filesystem, options.attributes);
    let data = data(&options.parameters);
    mount::mount(None, &through_procfs(&target), None, flags, data.as_deref()).at(mount.field.clone())?;
    finish(&target, mount).at(mount.field.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_in_the_words_of_the_old_call() {
        let attributes =
            Attributes { set: mount::RDONLY | mount::STRICTATIME, clear: mount::ATIME | mount::NOSUID };
        let flags =
            with_attributes(MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RELATIME, attributes);
        assert_eq!(flags, MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME);
    }

    #[test]
    fn labels_are_quoted_for_the_old_call() {
        let parameters = ["size=1k".to_string(), "context=a:s0:c1,c2".to_string()];
        assert_eq!(data(&parameters).as_deref(), Some("size=1k,context=\"a:s0:c1,c2\""));
        assert_eq!(data(&[]), None);
    }

    #[test]
    fn parameters_have_values_or_not() {
        assert_eq!(split("size=64k"), ("size", Some("64k")));
        assert_eq!(split("lowerdir=a=b"), ("lowerdir", Some("a=b")));
        assert_eq!(split("newinstance"), ("newinstance", None));
    }
}
