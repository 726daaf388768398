//! Attributes and propagation of mounts: in one call since Linux 5.12, in the words of `mount(2)` before.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, Errno, file};

/// Change attributes and propagation of a mount, with `mount(2)` where `mount_setattr(2)` is missing: that one needs an
/// attached mount, knows no recursion for attributes, and sets all flags at once, so that those in force are read first.
pub fn change(
    mounted: impl AsFd,
    attributes: Attributes,
    propagation: MsFlags,
    reach: Reach,
) -> sys::Result<()> {
    let mounted = mounted.as_fd();
    let changed = mount::set_attributes(mounted, attributes, propagation, reach);
    match &changed {
        // Of the kernel's own refusals the other call knows nothing better.
        Err(error) if error.errno == Errno::EPERM && mount::can_be_detached() => return changed,
        Err(error) if sys::is_missing(error.errno) => {}
        _ => return changed,
    }
    let path = through_procfs(&mounted);
    if !attributes.is_empty() {
        if reach == Reach::Tree {
            return changed;
        }
        let flags = in_old_words(in_force(mounted)?, attributes);
        mount::mount(None, &path, None, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, None)?;
    }
    if !propagation.is_empty() {
        let recursive = if reach == Reach::Tree { MsFlags::MS_REC } else { MsFlags::empty() };
        mount::propagate(&path, propagation | recursive)?;
    }
    Ok(())
}

/// A path that names exactly what the descriptor stands for. Before the pivot `/proc` is the host's.
pub fn through_procfs(file: &(impl AsFd + ?Sized)) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

/// Not in libc: links are not followed (Linux 5.10).
const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

/// An attribute as `mount_setattr(2)`, `mount(2)` and `statfs(2)` know it.
const WORDS: [(u64, MsFlags, u64); 7] = [
    (mount::RDONLY, MsFlags::MS_RDONLY, libc::ST_RDONLY),
    (mount::NOSUID, MsFlags::MS_NOSUID, libc::ST_NOSUID),
    (mount::NODEV, MsFlags::MS_NODEV, libc::ST_NODEV),
    (mount::NOEXEC, MsFlags::MS_NOEXEC, libc::ST_NOEXEC),
    (mount::NOATIME, MsFlags::MS_NOATIME, libc::ST_NOATIME),
    (mount::NODIRATIME, MsFlags::MS_NODIRATIME, libc::ST_NODIRATIME),
    (mount::NOSYMFOLLOW, MS_NOSYMFOLLOW, 0x2000),
];

/// An error about attributes, with those that a mount has and may not lose: a mount that came from a more privileged
/// user namespace is locked, `mount_namespaces(7)`.
pub fn explain(error: sys::Error, mounted: impl AsFd, wanted: Attributes) -> sys::Error {
    let Ok(found) = in_force(mounted) else { return error };
    let mut locked: Vec<&str> = WORDS
        .iter()
        .zip(["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"])
        .filter(|((attribute, flag, _), _)| {
            *attribute & mount::ATIME == 0 && wanted.clear & attribute != 0 && found.contains(*flag)
        })
        .map(|(_, word)| word)
        .collect();
    let times = MsFlags::MS_NOATIME | MsFlags::MS_NODIRATIME | MsFlags::MS_RELATIME | MsFlags::MS_STRICTATIME;
    if (in_old_words(found, wanted) ^ found).intersects(times) {
        locked.push("how access times behave");
    }
    if error.errno != Errno::EPERM || locked.is_empty() {
        return error;
    }
    let locked = locked.join(", ");
    sys::Error::new(
        format!("{} [a user namespace cannot change what its source is mounted with: {locked}]", error.call),
        error.errno,
    )
}

/// The attributes that a mount has. Strict access times are not shown, but are the absence of the other two.
pub fn in_force(mounted: impl AsFd) -> sys::Result<MsFlags> {
    let shown = file::statfs(mounted)?.flags().bits();
    let mut flags: MsFlags =
        WORDS.iter().filter(|(.., st)| shown & st != 0).map(|(_, flag, _)| *flag).collect();
    if shown & libc::ST_RELATIME != 0 {
        flags |= MsFlags::MS_RELATIME;
    } else if shown & libc::ST_NOATIME == 0 {
        flags |= MsFlags::MS_STRICTATIME;
    }
    Ok(flags)
}

/// These flags with the attributes set and cleared.
pub fn in_old_words(flags: MsFlags, attributes: Attributes) -> MsFlags {
    let mut flags = flags;
    if attributes.clear & mount::ATIME == mount::ATIME {
        flags.remove(MsFlags::MS_NOATIME | MsFlags::MS_RELATIME | MsFlags::MS_STRICTATIME);
        flags.insert(match attributes.set & mount::ATIME {
            mount::STRICTATIME => MsFlags::MS_STRICTATIME,
            mount::NOATIME => MsFlags::MS_NOATIME,
            _ => MsFlags::MS_RELATIME,
        });
    }
    for (attribute, flag, _) in WORDS {
        if attributes.set & attribute != 0 {
            flags.insert(flag);
        } else if attributes.clear & attribute != 0 && attribute & mount::ATIME == 0 {
            flags.remove(flag);
        }
    }
    flags
}

/// Flags of a file system, by the names that `fsconfig(2)` knows.
pub const FILESYSTEM_FLAGS: [(&str, MsFlags); 5] = [
    ("ro", MsFlags::MS_RDONLY),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("mand", MsFlags::MS_MANDLOCK),
    ("lazytime", MsFlags::MS_LAZYTIME),
];

/// The flag of this name.
pub fn filesystem_flag(name: &str) -> Option<MsFlags> {
    FILESYSTEM_FLAGS.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag)
}

/// Parameters as `mount(2)` takes them; a label with a comma stands in quotes.
pub fn data(parameters: &[String]) -> Option<String> {
    let quoted = |parameter: &String| match parameter.split_once('=') {
        Some((key, value)) if key.ends_with("context") && value.contains(',') => format!("{key}=\"{value}\""),
        _ => parameter.clone(),
    };
    let data: Vec<_> = parameters.iter().map(quoted).collect();
    (!data.is_empty()).then(|| data.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_in_the_words_of_the_old_call() {
        let attributes =
            Attributes { set: mount::RDONLY | mount::STRICTATIME, clear: mount::ATIME | mount::NOSUID };
        let flags = in_old_words(MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RELATIME, attributes);
        assert_eq!(flags, MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME);
        let relatime = Attributes { set: 0, clear: mount::ATIME };
        assert_eq!(in_old_words(MsFlags::MS_NOATIME, relatime), MsFlags::MS_RELATIME);
        let noatime = Attributes { set: mount::NOATIME | mount::NOSYMFOLLOW, clear: mount::ATIME };
        assert_eq!(in_old_words(MsFlags::MS_STRICTATIME, noatime), MsFlags::MS_NOATIME | MS_NOSYMFOLLOW);
    }

    #[test]
    fn labels_are_quoted_for_the_old_call() {
        let parameters = ["size=1k".to_string(), "context=a:s0:c1,c2".to_string()];
        assert_eq!(data(&parameters).as_deref(), Some("size=1k,context=\"a:s0:c1,c2\""));
        assert_eq!(data(&[]), None);
    }

    #[test]
    fn the_file_systems_flags_have_names() {
        assert_eq!(filesystem_flag("ro"), Some(MsFlags::MS_RDONLY));
        assert_eq!(filesystem_flag("size"), None);
    }
}
