//! `openat2(2)`: a path resolved within bounds, by the kernel (Linux 5.6), or step by step where it cannot or may not.
#![expect(unsafe_code, reason = "statx(2), which tells a mount's id, is not in nix")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OpenHow, openat, readlinkat};
use nix::sys::stat::{FileStat, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::file::{Mode, OFlag, ResolveFlag, SFlag, errno_of, kind};
use super::{Errno, Result, is_missing, named};

/// Open a path below `dir` with `openat2(2)`; `EAGAIN` (a rename raced with the walk) is tried again.
///
/// Without the call the path is walked here, with the same outcome. Files are opened, never made, by either.
pub fn openat2(
    dir: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlag,
    mode: Mode,
    resolve: ResolveFlag,
) -> Result<OwnedFd> {
    let path = path.as_ref();
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    let mut result = Err(Errno::EAGAIN);
    for _ in 0..128 {
        result = nix::fcntl::openat2(dir.as_fd(), path, how);
        if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
            break;
        }
    }
    if matches!(result, Err(errno) if is_missing(errno)) {
        result = walk(dir.as_fd(), path, flags, resolve);
    }
    named(result, || format!("openat2({path:?}, {flags:?}, {resolve:?})"))
}

/// As many links as the kernel follows in one path, `path_resolution(7)`.
const MOST_LINKS: u32 = 40;
/// `f_flags` of `statfs(2)`: links on this mount are not followed (Linux 5.10).
const ST_NOSYMFOLLOW: u64 = 0x2000;
/// procfs' root directory. The links in it lead where their text says; those deeper down lead to the object itself.
const PROC_ROOT_INO: u64 = 1;

/// A path on the way. The kernel never resolves more than one name, and never follows a link: their texts are read and
/// walked like the rest, so that nothing leads out of the bounds, the magic links of procfs least of all.
struct Walk {
    /// Handles on the directories from the root to where we are. `..` goes back to the one we came from, wherever
    /// somebody has moved the directory in the meantime.
    way: Vec<OwnedFd>,
    bounds: ResolveFlag,
    /// The mount to stay on, if that is one of the bounds.
    mount: Option<u64>,
    links: u32,
}

fn walk(dir: BorrowedFd, path: &Path, flags: OFlag, bounds: ResolveFlag) -> nix::Result<OwnedFd> {
    let known = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_IN_ROOT
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let made = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_TRUNC;
    if !known.contains(bounds) || flags.intersects(made) {
        return Err(Errno::EINVAL);
    }
    let start = openat(dir, ".", HANDLE | OFlag::O_DIRECTORY, Mode::empty())?;
    let stays = bounds.contains(ResolveFlag::RESOLVE_NO_XDEV);
    let mount = if stays { Some(mount_id(&start)?) } else { None };
    Walk { way: vec![start], bounds, mount, links: MOST_LINKS }.open(path, flags)
}

const HANDLE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Walk {
    fn open(mut self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let mut todo = Vec::new();
        self.take_up(path.as_os_str(), &mut todo)?;
        while let Some(name) = todo.pop() {
            match name.as_bytes() {
                // After a trailing slash as well.
                b"" | b"." => directory(&fstat(self.here())?)?,
                b".." => self.up()?,
                _ => {
                    let next = openat(self.here(), &*name, HANDLE, Mode::empty())?;
                    self.check_mount(&next)?;
                    let stat = fstat(&next)?;
                    let is_last = todo.is_empty();
                    if kind(&stat) == SFlag::S_IFLNK && !(is_last && flags.contains(OFlag::O_NOFOLLOW)) {
                        let text = self.follow(&next)?;
                        self.take_up(&text, &mut todo)?;
                    } else if is_last {
                        return self.open_last(next, &stat, &name, flags);
                    } else {
                        self.way.push(next);
                    }
                }
            }
        }
        openat(self.here(), ".", flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    fn here(&self) -> &OwnedFd {
        &self.way[self.way.len() - 1]
    }

    fn is_confined(&self) -> bool {
        self.bounds.intersects(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_BENEATH)
    }

    /// Walk this path before what is still to be walked, which is kept with its first name last.
    fn take_up(&mut self, path: &OsStr, todo: &mut Vec<OsString>) -> nix::Result<()> {
        let bytes = path.as_bytes();
        if bytes.is_empty() {
            return Err(Errno::ENOENT);
        }
        if bytes[0] == b'/' {
            if self.bounds.contains(ResolveFlag::RESOLVE_BENEATH) {
                return Err(Errno::EXDEV);
            } else if self.is_confined() {
                self.way.truncate(1);
            } else {
                self.way = vec![openat(AT_FDCWD, "/", HANDLE | OFlag::O_DIRECTORY, Mode::empty())?];
            }
        }
        let names = bytes.split(|c| *c == b'/').rev().map(|name| OsStr::from_bytes(name).to_owned());
        todo.extend(names);
        Ok(())
    }

    fn up(&mut self) -> nix::Result<()> {
        directory(&fstat(self.here())?)?;
        if !self.is_confined() {
            self.way = vec![openat(self.here(), "..", HANDLE | OFlag::O_DIRECTORY, Mode::empty())?];
        } else if self.way.len() > 1 {
            self.way.pop();
        } else if self.bounds.contains(ResolveFlag::RESOLVE_BENEATH) {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    /// What a link says, if it may be followed.
    fn follow(&mut self, link: &OwnedFd) -> nix::Result<OsString> {
        let filesystem = fstatfs(link)?;
        let is_magic =
            filesystem.filesystem_type() == PROC_SUPER_MAGIC && fstat(self.here())?.st_ino != PROC_ROOT_INO;
        let is_refused = self.bounds.contains(ResolveFlag::RESOLVE_NO_SYMLINKS)
            || is_magic
            || filesystem.flags().bits() & ST_NOSYMFOLLOW != 0;
        self.links = self.links.checked_sub(1).filter(|_| !is_refused).ok_or(Errno::ELOOP)?;
        readlinkat(link, "")
    }

    /// The last name is there; `next` is a handle on it.
    fn open_last(&self, next: OwnedFd, stat: &FileStat, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
        if flags.contains(OFlag::O_PATH) {
            if flags.contains(OFlag::O_DIRECTORY) {
                directory(stat)?;
            }
            return Ok(next);
        }
        // What stands there by now may be another file, but it is no link.
        let file = openat(self.here(), name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        self.check_mount(&file)?;
        Ok(file)
    }

    fn check_mount(&self, file: &OwnedFd) -> nix::Result<()> {
        match self.mount {
            Some(mount) if mount_id(file)? != mount => Err(Errno::EXDEV),
            _ => Ok(()),
        }
    }
}

fn directory(stat: &FileStat) -> nix::Result<()> {
    if kind(stat) == SFlag::S_IFDIR { Ok(()) } else { Err(Errno::ENOTDIR) }
}

/// The number of the mount that a file was reached by: `statx(2)` since Linux 5.8, `proc_pid_fdinfo(5)` before.
fn mount_id(file: &OwnedFd) -> nix::Result<u64> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: an open descriptor, an empty path, and a buffer of the right type, of which any content is valid.
    let answer = unsafe {
        let flags = libc::AT_EMPTY_PATH;
        let path = c"".as_ptr();
        Errno::result(libc::statx(file.as_raw_fd(), path, flags, libc::STATX_MNT_ID, answer.as_mut_ptr()))
            .map(|_| answer.assume_init())
    };
    match answer {
        Ok(answer) if answer.stx_mask & libc::STATX_MNT_ID != 0 => Ok(answer.stx_mnt_id),
        _ => mount_id_by_procfs(file),
    }
}

fn mount_id_by_procfs(file: &OwnedFd) -> nix::Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let fdinfo = openat(AT_FDCWD, &*path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(fdinfo).read_to_string(&mut text).map_err(|error| errno_of(&error))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A tree with links of all kinds, and what must not be reached beside it.
    struct Ground(std::path::PathBuf);

    impl Ground {
        fn new(name: &str) -> Self {
            let top = std::env::temp_dir().join(format!("crust-walk-{name}-{}", std::process::id()));
            std::fs::create_dir_all(top.join("root/a/b")).unwrap();
            std::fs::create_dir_all(top.join("root/x")).unwrap();
            std::fs::create_dir_all(top.join("outside")).unwrap();
            std::fs::write(top.join("outside/file"), "host").unwrap();
            std::fs::write(top.join("root/a/file"), "in").unwrap();
            for (link, target) in [
                ("absolute", "/a/b"),
                ("relative", "a/b"),
                ("out", "../../../outside"),
                ("absolute-out", "/../../a"),
                ("dangling", "/nowhere/at/all"),
                ("loop", "loop"),
                ("to-file", "a/file"),
                ("a/b/up", "../../x"),
                ("chain", "absolute/up"),
                ("proc", "/proc/self/root"),
            ] {
                symlink(target, top.join("root").join(link)).unwrap();
            }
            Self(top)
        }

        fn root(&self) -> OwnedFd {
            openat(AT_FDCWD, &self.0.join("root"), HANDLE | OFlag::O_DIRECTORY, Mode::empty()).unwrap()
        }
    }

    impl Drop for Ground {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const PATHS: &[&str] = &[
        "a",
        "a/b",
        "a/b/",
        "a/file",
        "a/file/",
        "a/file/.",
        "a/file/..",
        "a/file/x",
        "/a/b",
        "/",
        ".",
        "..",
        "../../..",
        "",
        "a/../x",
        "a/b/../../x/..",
        "absolute",
        "absolute/",
        "relative",
        "out",
        "out/file",
        "absolute-out",
        "absolute-out/file",
        "dangling",
        "dangling/",
        "loop",
        "loop/x",
        "to-file",
        "to-file/",
        "chain",
        "chain/..",
        "x/../chain/../a/file",
        "proc",
        "nowhere",
        "nowhere/x",
        "a//b/./up",
    ];

    fn outcome(opened: nix::Result<OwnedFd>) -> nix::Result<(u64, u64, SFlag)> {
        opened.and_then(fstat).map(|stat| (stat.st_dev, stat.st_ino, kind(&stat)))
    }

    /// Where something is renamed meanwhile, the kernel does not know whether `..` is still below, and wants to be asked
    /// again.
    fn kernels(root: &OwnedFd, path: &str, how: OpenHow) -> nix::Result<OwnedFd> {
        loop {
            let opened = nix::fcntl::openat2(root, path, how);
            if !matches!(opened, Err(Errno::EAGAIN)) {
                return opened;
            }
        }
    }

    #[test]
    fn the_walk_ends_where_the_kernels_does() {
        let ground = Ground::new("same");
        let root = ground.root();
        let (no_magic, no_links) = (ResolveFlag::RESOLVE_NO_MAGICLINKS, ResolveFlag::RESOLVE_NO_SYMLINKS);
        let (in_root, beneath) = (ResolveFlag::RESOLVE_IN_ROOT, ResolveFlag::RESOLVE_BENEATH);
        let bounds = [
            in_root | no_magic,
            in_root | no_magic | no_links,
            beneath | no_magic,
            beneath | no_links | no_magic | ResolveFlag::RESOLVE_NO_XDEV,
            no_magic,
        ];
        let path = OFlag::O_PATH;
        let flags = [path, path | OFlag::O_DIRECTORY, path | OFlag::O_NOFOLLOW, OFlag::O_RDONLY];
        for (bounds, flags) in bounds.iter().flat_map(|b| flags.iter().map(move |f| (*b, *f))) {
            let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(bounds);
            for path in PATHS {
                let kernel = outcome(kernels(&root, path, how));
                let ours = outcome(walk(root.as_fd(), Path::new(path), flags, bounds));
                assert_eq!(ours, kernel, "{path:?} {flags:?} {bounds:?}");
            }
        }
    }

    #[test]
    fn magic_links_are_refused_and_others_of_procfs_are_not() {
        let proc = openat(AT_FDCWD, "/proc", HANDLE | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let bounds = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        for path in ["self/exe", "self/cwd", "self/root/etc", "self/fd/0", "self/ns/mnt", "thread-self/root"]
        {
            let opened = walk(proc.as_fd(), Path::new(path), OFlag::O_PATH, bounds);
            assert_eq!(opened.unwrap_err(), Errno::ELOOP, "{path}");
        }
        for path in ["self/status", "mounts", "net/dev", "thread-self/attr"] {
            walk(proc.as_fd(), Path::new(path), OFlag::O_PATH, bounds).unwrap();
        }
    }

    #[test]
    fn mounts_are_told_apart() {
        let bounds = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV;
        let top = openat(AT_FDCWD, "/", HANDLE | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let opened = walk(top.as_fd(), Path::new("proc/self/status"), OFlag::O_PATH, bounds);
        assert_eq!(opened.unwrap_err(), Errno::EXDEV);
        assert_eq!(mount_id(&top), mount_id_by_procfs(&top));
    }

    #[test]
    fn a_tree_that_changes_meanwhile_is_never_left() {
        let ground = Ground::new("race");
        let root = ground.root();
        let outside =
            fstat(openat(AT_FDCWD, &ground.0.join("outside"), HANDLE, Mode::empty()).unwrap()).unwrap();
        let top = &ground.0;
        symlink(top.join("outside"), top.join("root/swap")).unwrap();
        std::fs::create_dir_all(top.join("root/d/e")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // A link in the place of the directory, and the directory outside of the tree.
                    for (from, to) in
                        [("root/d", "d"), ("root/swap", "root/d"), ("root/d", "root/swap"), ("d", "root/d")]
                    {
                        std::fs::rename(top.join(from), top.join(to)).ok();
                    }
                }
            });
            let bounds = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
            for _ in 0..3000 {
                for path in ["d/e/../../outside", "d/e/../..", "d/file", "d"] {
                    if let Ok(file) = walk(root.as_fd(), Path::new(path), OFlag::O_PATH, bounds) {
                        let stat = fstat(&file).unwrap();
                        assert_ne!((stat.st_dev, stat.st_ino), (outside.st_dev, outside.st_ino), "{path}");
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
