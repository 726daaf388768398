//! `/proc/self/mountinfo`: what is mounted where, `proc_pid_mountinfo(5)`. It is long on a host with many containers, and
//! the kernel takes a lock for it: not for what every command does.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::file::{OFlag, here, open_path, read_text, readlink};
use super::mount::Reach;
use super::{Errno, Error, Result};

/// A mount of this process's mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique at one time.
    pub id: u64,
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where.
    pub mount_point: PathBuf,
    /// The type of the file system: `cgroup2`.
    pub kind: String,
    /// The options of the file system, not of the mount.
    pub options: Vec<String>,
}

/// All mounts, the oldest first.
pub fn read() -> Result<Vec<Mount>> {
    Ok(read_text(here(), "/proc/self/mountinfo")?.lines().filter_map(Mount::parse).collect())
}

/// The mount that a path is on.
pub fn mount_of(path: &Path) -> Result<Mount> {
    let opened = open_path(here(), path, OFlag::empty())?;
    let id = id_of(opened.as_raw_fd())?;
    let found = read()?.into_iter().find(|mount| mount.id == id);
    found.ok_or_else(|| Error::new(format!("mountinfo: {path:?}"), Errno::ENOENT))
}

fn id_of(number: i32) -> Result<u64> {
    let shown = read_text(here(), format!("/proc/self/fdinfo/{number}"))?;
    let id = shown.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| Error::new("fdinfo: mnt_id", Errno::EINVAL))
}

/// The types of the file systems that a path is on and, with the tree, of those below it.
pub fn kinds_of(path: &Path, reach: Reach) -> Result<Vec<String>> {
    let opened = open_path(here(), path, OFlag::empty())?;
    let number = opened.as_raw_fd();
    let id = id_of(number)?;
    let real = readlink(here(), format!("/proc/self/fd/{number}"))?;
    let below = |mount: &Mount| reach == Reach::Tree && mount.mount_point.starts_with(&real);
    let meant = read()?.into_iter().filter(|mount| mount.id == id || below(mount));
    let mut kinds: Vec<String> = meant.map(|mount| mount.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

impl Mount {
    /// A line.
    pub fn parse(line: &str) -> Option<Self> {
        // The number of optional fields in front of the hyphen varies.
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let id = mount.next()?.parse().ok()?;
        let (root, mount_point) = (mount.nth(2)?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next()?.to_owned();
        let options = filesystem.nth(1)?.split(',').map(Into::into).collect();
        Some(Self { id, root: unescape(root), mount_point: unescape(mount_point), kind, options })
    }
}

/// Blanks and backslashes are octal: `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = "32 31 0:29 /docker/x /mnt/a\\040b rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(mount.id, 32);
        assert_eq!(mount.root, Path::new("/docker/x"));
        assert_eq!(mount.mount_point, Path::new("/mnt/a b"));
        assert_eq!((mount.kind.as_str(), mount.options.len()), ("cgroup", 3));
        assert_eq!(Mount::parse("1 2 0:3 / /c rw - cgroup2 none rw").unwrap().kind, "cgroup2");
        assert_eq!(Mount::parse("nonsense"), None);
        assert!(!read().unwrap().is_empty());
    }

    #[test]
    fn proc_is_a_proc() {
        assert_eq!(kinds_of(Path::new("/proc/self"), Reach::One).unwrap(), ["proc"]);
    }
}
