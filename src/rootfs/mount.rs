//! Mount what the config lists, in order, onto paths inside the container's root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::config::mount_options::Options;
use crate::config::mounts::{Mount, What};
use crate::error::{At, Error};
use crate::rootfs::attributes::{
    FILESYSTEM_FLAGS, change, data, explain, in_force, in_old_words, through_procfs,
};
use crate::rootfs::resolve::{Found, Leaf, Tree};
use crate::rootfs::stage::Stage;
use crate::rootfs::{copy_up, procfs, source};
use crate::sys::file::{self, Mode, OFlag, SFlag, UntilHandOver};
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, Errno, proc};

/// A new instance of a file system, for a parent that has to give it what init cannot.
pub fn new_filesystem(stage: &Stage, mount: &Mount) -> Result<OwnedFd, Error> {
    let What::Filesystem(kind, source) = &mount.what else {
        return Err(Error::message(format!("{}: is no file system", mount.field)));
    };
    let mut parameters: Vec<(&str, Option<&str>)> =
        mount.options.parameters.iter().map(|p| split(p)).collect();
    if must_use_old_call(mount, &parameters) {
        let rule = "an id mapping does not go with iversion, silent, or values of more than 255 bytes";
        return Err(Error::message(format!("{}: {rule}", mount.field.key("options"))));
    }
    parameters.extend(filesystem_flags(mount).map(|name| (name, None)));
    stage.new_filesystem(kind, source, &parameters, attributes(mount)).at(mount.field.clone())
}

/// Mount a file system or a bind mount. `source` is the copy of a bind mount's source, or the new file system, where the
/// parent has made it;
/// `pid_namespace` is the one that a procfs shall show where we are not in it yet.
pub fn mount(
    tree: &Tree,
    mount: &Mount,
    source: Option<OwnedFd>,
    pid_namespace: Option<&OwnedFd>,
) -> Result<(), Error> {
    let staged = match (&mount.what, source) {
        (What::Bind(..), Some(source)) => UntilHandOver::from(source),
        (What::Bind(..), None) => match source::open_outside(tree.stage(), mount, false)? {
            Some(source) => source.into(),
            None => return Ok(()),
        },
        (What::Filesystem(kind, name), made) => {
            return filesystem(tree, mount, (kind, name), (made, pid_namespace));
        }
        (What::Remount, _) => return remount(tree, mount),
        (What::Cgroup, _) => return Err(Error::message(format!("{}: not a plain mount", mount.field))),
    };
    bind(tree, mount, &staged).at(mount.field.clone())
}

fn bind(tree: &Tree, mount: &Mount, staged: &OwnedFd) -> sys::Result<()> {
    let is_directory = is_directory(staged)?;
    let target = tree.make(&mount.destination, if is_directory { Leaf::Directory } else { Leaf::File })?;
    let target = UntilHandOver::from(target);
    if self::is_directory(&target)? != is_directory {
        // Engines explain this one to their users; they know it by "not a directory".
        let (source, name) = if is_directory { ("directory", "file") } else { ("file", "directory") };
        let call = format!("mount a {source} onto {:?}, which is a {name}", mount.destination);
        return Err(sys::Error::new(call, Errno::ENOTDIR));
    }
    refuse_procfs(&target, &mount.destination)?;
    attach(tree, staged, &target, mount)
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

/// Give a mount its attributes, put it in its place, and set its propagation.
fn attach(tree: &Tree, staged: &OwnedFd, target: &OwnedFd, mount: &Mount) -> sys::Result<()> {
    let Options { attributes, recursive, .. } = &mount.options;
    for (attributes, reach) in [(*recursive, Reach::Tree), (*attributes, Reach::One)] {
        if !attributes.is_empty() {
            change(staged, attributes, MsFlags::empty(), reach)
                .map_err(|error| explain(error, staged, attributes))?;
        }
    }
    tree.stage().attach(staged, target, &mount.destination)?;
    propagate(staged, mount)
}

fn propagate(mounted: &OwnedFd, mount: &Mount) -> sys::Result<()> {
    for propagation in &mount.options.propagation {
        change(mounted, Attributes::default(), propagation.kind, propagation.reach)?;
    }
    Ok(())
}

/// Mount a new instance of a file system, unless the parent has `made` it.
fn filesystem(
    tree: &Tree,
    mount: &Mount,
    (kind, source): (&str, &str),
    (made, pid_namespace): (Option<OwnedFd>, Option<&OwnedFd>),
) -> Result<(), Error> {
    let text: String;
    let mut mode = None;
    let field = &mount.field;
    let (target, found) = match kind {
        // CVE-2019-19921, CVE-2025-54867: with a link there, procfs would be mounted elsewhere, and labels written to
        // files that only look like procfs.
        "proc" | "sysfs" => tree.make_without_links(&mount.destination).map(|target| (target, Found::There)),
        _ => tree.find_or_make(&mount.destination, Leaf::Directory),
    }
    .at(field.key("destination"))?;
    let target = UntilHandOver::from(target);
    // What was made just now is in no procfs, which lets nobody make directories.
    if kind != "proc" && found == Found::There {
        refuse_procfs(&target, &mount.destination).at(field.key("destination"))?;
    }
    let mut parameters: Vec<(&str, Option<&str>)> =
        mount.options.parameters.iter().map(|p| split(p)).collect();
    if kind == "tmpfs" && found == Found::There && !parameters.iter().any(|(key, _)| *key == "mode") {
        // The directory's own mode, as if nothing had been mounted there.
        let number = file::stat(&target).at(field.clone())?.st_mode & 0o7777;
        text = format!("{number:o}");
        parameters.push(("mode", Some(&text)));
        mode = Some(number);
    }
    if must_use_old_call(mount, &parameters) {
        return old_call(tree, mount, &target, (kind, source)).at(field.clone());
    }
    if made.is_none() && (pid_namespace.is_none() || kind != "proc") {
        // Where this fails it is done step by step, in which the kernel says why.
        if let Some(Ok(())) = at_once(mount, &target, (kind, source), &parameters, attributes(mount)) {
            if kind == "tmpfs" {
                tree.remember_empty(&mount.destination);
            }
            return Ok(());
        }
    }
    parameters.extend(filesystem_flags(mount).map(|name| (name, None)));
    let made = match (made, pid_namespace) {
        (Some(made), _) => {
            let writable = mount.options.attributes.set & mount::RDONLY == 0;
            // Where its owner is nobody for us, nobody can make anything in it either.
            let _given = mode.filter(|_| writable).map(|mode| give_mode(&made, mode));
            Ok(made)
        }
        (None, Some(namespace)) if kind == "proc" => {
            procfs::showing(namespace, source, &parameters, attributes(mount))
        }
        (None, _) => tree.stage().new_filesystem(kind, source, &parameters, attributes(mount)),
    };
    let staged = match made {
        // Without a network namespace of its own a user namespace gets no new sysfs; the host's shows the same.
        Err(error) if kind == "sysfs" && error.errno == Errno::EPERM => {
            let host = tree.stage().copy(file::here(), "/sys", Reach::Tree).at(field.clone())?;
            return attach(tree, &host, &target, mount).at(field.clone());
        }
        made => made.at(field.clone())?,
    };
    if mount.options.copy_up {
        copy_up::copy(tree, &mount.destination, &staged).at(field.clone())?;
        return attach(tree, &staged, &target, mount).at(field.clone());
    }
    tree.stage().attach(&staged, &target, &mount.destination).at(field.clone())?;
    finish(&staged, mount).at(field.clone())
}

/// The parent, who has made it, could not know the directory that it would be mounted on.
fn give_mode(made: &OwnedFd, mode: u32) -> sys::Result<()> {
    file::chmod(file::here(), through_procfs(made), mode)
}

/// What a new file system is mounted with.
fn attributes(mount: &Mount) -> u64 {
    match () {
        () if mount.options.copy_up => 0,
        () if is_made_readonly_late(mount) => mount.options.attributes.set & !mount::RDONLY,
        () => mount.options.attributes.set,
    }
}

fn finish(mounted: &OwnedFd, mount: &Mount) -> sys::Result<()> {
    if !mount.options.recursive.is_empty() {
        change(mounted, mount.options.recursive, MsFlags::empty(), Reach::Tree)?;
    }
    if let Some(label) = &mount.options.label {
        match set_label(mounted, label) {
            // Of a namespace that is joined it may be somebody else's, who has labelled it.
            Ok(()) | Err(sys::Error { errno: Errno::EPERM, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    propagate(mounted, mount)
}

fn set_label(mounted: &OwnedFd, label: &str) -> sys::Result<()> {
    let root = file::open(mounted, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
    file::set_xattr(root, c"security.selinux", label.as_bytes())
}

fn split(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (parameter, None),
    }
}

/// The flags that `fsconfig(2)` knows by name.
fn filesystem_flags(mount: &Mount) -> impl Iterator<Item = &'static str> + use<> {
    let readonly = mount.options.attributes.set & mount::RDONLY != 0
        && !mount.options.copy_up
        && !is_made_readonly_late(mount);
    let readonly = if readonly { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let flags = mount.options.filesystem | readonly;
    FILESYSTEM_FLAGS.into_iter().filter_map(move |(name, flag)| flags.contains(flag).then_some(name))
}

/// The runtime makes devices and links in `/dev`, and other mounts their directories, before it can be read-only.
fn is_made_readonly_late(mount: &Mount) -> bool {
    let is_filesystem = matches!(mount.what, What::Filesystem(..));
    is_filesystem
        && mount.destination == Path::new("/dev")
        && mount.options.attributes.set & mount::RDONLY != 0
}

/// After everything that is made in it.
pub fn make_readonly_late(tree: &Tree, mount: &Mount) -> Result<(), Error> {
    if !is_made_readonly_late(mount) {
        return Ok(());
    }
    let readonly = Attributes { set: mount::RDONLY, clear: 0 };
    let dev = tree.open(&mount.destination, OFlag::O_DIRECTORY).at(mount.field.clone())?;
    change(&dev, readonly, MsFlags::empty(), Reach::One).at(mount.field.clone())
}

/// `fsconfig(2)` takes values of at most 255 bytes, which a list of overlay's layers exceeds, and has no name for these
/// two flags.
fn must_use_old_call(mount: &Mount, parameters: &[(&str, Option<&str>)]) -> bool {
    mount.options.filesystem.intersects(MsFlags::MS_I_VERSION | MsFlags::MS_SILENT)
        || parameters
            .iter()
            .any(|(key, value)| key.len() > 255 || value.is_some_and(|value| value.len() > 255))
}

/// `mount(2)`, onto the descriptor: one call for what takes seven of the newer ones, where it can say all that is asked.
fn at_once(
    mount: &Mount,
    target: &OwnedFd,
    (kind, source): (&str, &str),
    parameters: &[(&str, Option<&str>)],
    attributes: u64,
) -> Option<sys::Result<()>> {
    let Options { copy_up, recursive, propagation, filesystem, label, .. } = &mount.options;
    let text = |(key, value): &(&str, Option<&str>)| match value {
        Some(value) => format!("{key}={value}"),
        None => (*key).to_owned(),
    };
    let data = parameters.iter().map(text).collect::<Vec<_>>().join(",");
    let commas = data.matches(',').count();
    let is_plain = recursive.is_empty()
        && propagation.is_empty()
        && !copy_up
        && label.is_none()
        && *filesystem == MsFlags::empty();
    if !is_plain || commas + 1 > parameters.len().max(1) || data.len() >= LONGEST_DATA {
        return None;
    }
    let attributes = Attributes { set: attributes, clear: mount.options.attributes.clear };
    let flags = in_old_words(MsFlags::empty(), attributes);
    let data = (!data.is_empty()).then_some(&*data);
    Some(mount::mount(Some(source), &through_procfs(target), Some(kind), flags, data))
}

/// `mount(2)` reads no more than a page, in bytes.
const LONGEST_DATA: usize = 4000;

/// `mount(2)`, onto the descriptor.
fn old_call(tree: &Tree, mount: &Mount, target: &OwnedFd, (kind, source): (&str, &str)) -> sys::Result<()> {
    let data = data(&mount.options.parameters);
    let flags = in_old_words(mount.options.filesystem, mount.options.attributes);
    mount::mount(Some(source), &through_procfs(target), Some(kind), flags, data.as_deref())?;
    let Options { recursive, propagation, label, .. } = &mount.options;
    if recursive.is_empty() && propagation.is_empty() && label.is_none() {
        return Ok(());
    }
    // The descriptor stands for what is covered now. Only the path leads to what covers it.
    let mounted = tree.open(&mount.destination, OFlag::O_DIRECTORY)?;
    if file::stat(&mounted)?.st_dev == file::stat(target)?.st_dev {
        let call = format!("openat2({:?}): somebody has moved what was mounted there", mount.destination);
        return Err(sys::Error::new(call, Errno::EXDEV));
    }
    finish(&mounted, mount)
}

/// New options for what is mounted there already.
fn remount(tree: &Tree, mount: &Mount) -> Result<(), Error> {
    let target = tree.open(&mount.destination, OFlag::empty()).at(mount.field.key("destination"))?;
    let options = &mount.options;
    let bind = if options.bind.is_some() { MsFlags::MS_BIND } else { MsFlags::empty() };
    let flags = MsFlags::MS_REMOUNT | bind | in_old_words(options.filesystem, options.attributes);
    let data = data(&options.parameters);
    let place = through_procfs(&target);
    let remounted = match mount::mount(None, &place, None, flags, data.as_deref()) {
        // The call takes all flags off that it is not given, and some may be locked: those stay, unless the config wants
        // them away.
        Err(error) if error.errno == Errno::EPERM && options.bind.is_some() => {
            let kept = in_old_words(in_force(&target).at(mount.field.clone())?, options.attributes);
            mount::mount(None, &place, None, flags | kept, None)
                .map_err(|_| explain(error, &target, options.attributes))
        }
        remounted => remounted,
    };
    remounted.at(mount.field.clone())?;
    finish(&target, mount).at(mount.field.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_values_or_not() {
        assert_eq!(split("size=64k"), ("size", Some("64k")));
        assert_eq!(split("lowerdir=a=b"), ("lowerdir", Some("a=b")));
        assert_eq!(split("newinstance"), ("newinstance", None));
    }
}
