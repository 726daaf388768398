//! Mounts, by descriptor: the mount API of Linux 5.2 (`fsopen`, `open_tree`, `move_mount`) and 5.12 (`mount_setattr`),
//! and `mount(2)` where those are missing.
#![expect(unsafe_code, reason = "neither nix nor libc wraps the new mount API")]

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
pub use nix::mount::{MntFlags, MsFlags};

use super::{Errno, Error, Result, checked, named};

/// Attributes of one mount, as in `struct mount_attr` of `mount_setattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
}

impl Attributes {
    /// Whether there is nothing to set or clear.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Read-only.
pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// No set-user-id programs.
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// No devices.
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
/// No programs.
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
/// The field of access time behaviours: clear it whole to set one of them.
pub const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
/// Access times are not updated.
pub const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
/// Access times are always updated.
pub const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
/// Access times of directories are not updated.
pub const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
/// Symbolic links are not followed (Linux 5.14).
pub const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;

/// How far a call reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This mount.
    One,
    /// This mount and all below it.
    Tree,
}

impl Reach {
    pub(super) fn at_flag(self) -> u32 {
        match self {
            Self::One => 0,
            Self::Tree => libc::AT_RECURSIVE as u32,
        }
    }
}

/// Whether mounts can be made, and changed, that are attached nowhere: Linux 5.12, and no filter of an outer container that
/// hides the calls. Each refuses flags that it does not know before it looks at anything else.
pub fn can_be_detached() -> bool {
    if super::has_calls_of((5, 12)) {
        return true;
    }
    let calls = [libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_move_mount, libc::SYS_mount_setattr];
    // SAFETY: with all bits set the flags are none that the kernel knows, so that it does not come to the pointers.
    let refused = |call| Errno::result(unsafe { libc::syscall(call, -1, -1, -1, -1, -1, -1) });
    calls.into_iter().all(|call| refused(call) == Err(Errno::EINVAL))
}

/// A setting of a file system: `size=64k` or `ro`.
pub type Parameter<'a> = (&'a str, Option<&'a str>);

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(format!("{text:?}: holds a NUL byte"), Errno::EINVAL))
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: the system call has just returned this descriptor to us, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A new instance of a file system as a detached mount: `fsopen(2)`, `fsconfig(2)` for each parameter, `fsmount(2)` with
/// the mount's attributes. The kernel's own explanation of a refusal is in the error.
pub fn new_filesystem(
    kind: &str,
    source: &str,
    parameters: &[Parameter],
    attributes: u64,
) -> Result<OwnedFd> {
    new_filesystem_of(kind, source, parameters, None, attributes)
}

/// The same with a parameter whose value is a descriptor: `pidns` of procfs (Linux 6.17).
pub fn new_filesystem_of(
    kind: &str,
    source: &str,
    parameters: &[Parameter],
    descriptor: Option<(&str, BorrowedFd)>,
    attributes: u64,
) -> Result<OwnedFd> {
    let name = c_string(kind)?;
    // SAFETY: a NUL-terminated string and flags.
    let result = unsafe {
        libc::syscall(libc::SYS_fsopen, name.as_ptr(), 1 /* FSOPEN_CLOEXEC */)
    };
    let context = owned(checked(result, || format!("fsopen({kind:?})"))?);
    let explained = |error: Error| explain(error, &context);
    configure(&context, ("source", Some(source))).map_err(explained)?;
    for parameter in parameters {
        configure(&context, *parameter).map_err(explained)?;
    }
    if let Some((key, value)) = descriptor {
        configure_descriptor(&context, key, value).map_err(explained)?;
    }
    // SAFETY: FSCONFIG_CMD_CREATE takes no key and no value.
    let created = unsafe {
        let nothing = std::ptr::null::<libc::c_char>();
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            6, /* FSCONFIG_CMD_CREATE */
            nothing,
            nothing,
            0,
        )
    };
    checked(created, || format!("fsconfig({kind:?}, FSCONFIG_CMD_CREATE)")).map_err(explained)?;
    // SAFETY: numbers only.
    let result = unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1 /* FSMOUNT_CLOEXEC */, attributes)
    };
    checked(result, || format!("fsmount({kind:?}, {attributes:#x})")).map(owned).map_err(explained)
}

/// Set one parameter of a file system that is being made.
fn configure(context: &OwnedFd, (key, value): Parameter) -> Result<()> {
    let c_key = c_string(key)?;
    let c_value = value.map(c_string).transpose()?;
    let command = if value.is_some() {
        1 /* FSCONFIG_SET_STRING */
    } else {
        0 /* FSCONFIG_SET_FLAG */
    };
    // SAFETY: NUL-terminated strings that outlive the call, or a null pointer for a flag.
    let result = unsafe {
        let value = c_value.as_ref().map_or(std::ptr::null(), |v| v.as_ptr());
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, c_key.as_ptr(), value, 0)
    };
    checked(result, || match value {
        Some(value) => format!("fsconfig(FSCONFIG_SET_STRING, {key:?}, {value:?})"),
        None => format!("fsconfig(FSCONFIG_SET_FLAG, {key:?})"),
    })
    .map(drop)
}

fn configure_descriptor(context: &OwnedFd, key: &str, value: BorrowedFd) -> Result<()> {
    let c_key = c_string(key)?;
    // SAFETY: a NUL-terminated string that outlives the call, no value, and an open descriptor.
    let result = unsafe {
        let nothing = std::ptr::null::<libc::c_char>();
        let set_fd = 5; // FSCONFIG_SET_FD
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            set_fd,
            c_key.as_ptr(),
            nothing,
            value.as_raw_fd(),
        )
    };
    checked(result, || format!("fsconfig(FSCONFIG_SET_FD, {key:?})")).map(drop)
}

/// Add what the kernel left to read in the context: `e tmpfs: Unknown parameter 'x'`.
fn explain(mut error: Error, context: &OwnedFd) -> Error {
    let mut line = [0; 512];
    if let Ok(length) = nix::unistd::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        error.call = format!("{} [{}]", error.call, text.trim_start_matches(['e', 'w', 'i', ' ']).trim_end());
    }
    error
}

/// A detached copy of a mount, or of a tree of mounts: `open_tree(OPEN_TREE_CLONE)`. With an empty path the descriptor
/// itself is meant.
pub fn clone_tree(dir: impl AsFd, path: impl AsRef<Path>, reach: Reach) -> Result<OwnedFd> {
    open_tree(dir.as_fd(), path.as_ref(), 1 /* OPEN_TREE_CLONE */ | reach.at_flag())
}

/// The same of a path that ends with no link.
pub fn clone_tree_without_link(path: &Path) -> Result<OwnedFd> {
    let flags = 1 /* OPEN_TREE_CLONE */ | libc::AT_RECURSIVE as u32 | libc::AT_SYMLINK_NOFOLLOW as u32;
    open_tree(super::file::here(), path, flags)
}

fn open_tree(dir: BorrowedFd, path: &Path, flags: u32) -> Result<OwnedFd> {
    let flags =
        flags | libc::O_CLOEXEC as u32 | if NixPath::is_empty(path) { libc::AT_EMPTY_PATH as u32 } else { 0 };
    let result = path.with_nix_path(|c_path| {
        // SAFETY: an open descriptor, a NUL-terminated path, flags.
        Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c_path.as_ptr(), flags) })
    });
    named(result.and_then(|r| r), || format!("open_tree({path:?}, {flags:#x})")).map(owned)
}

/// Put a detached mount onto the file that `target` stands for: `move_mount(2)` between two descriptors.
pub fn attach(mount: impl AsFd, target: impl AsFd, name: &Path) -> Result<()> {
    let (mount, target) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    // MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    let flags = 0x4 | 0x40;
    // SAFETY: open descriptors, empty NUL-terminated paths, flags.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), target, c"".as_ptr(), flags) };
    checked(result, || format!("move_mount({name:?})")).map(drop)
}

/// The same onto a path that the caller trusts; a link at its end is not followed.
pub fn attach_at(mount: impl AsFd, target: &Path) -> Result<()> {
    let number = mount.as_fd().as_raw_fd();
    let result = target.with_nix_path(|c_target| {
        let flags = 0x4; // MOVE_MOUNT_F_EMPTY_PATH
        // SAFETY: an open descriptor, NUL-terminated paths, flags.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                number,
                c"".as_ptr(),
                libc::AT_FDCWD,
                c_target.as_ptr(),
                flags,
            )
        })
    });
    named(result.and_then(|r| r).map(drop), || format!("move_mount({target:?})"))
}

/// Change attributes and propagation of a mount: `mount_setattr(2)`, Linux 5.12. `propagation` is one of `MS_SHARED`,
/// `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or empty to leave it.
pub fn set_attributes(
    mount: impl AsFd,
    attributes: Attributes,
    propagation: MsFlags,
    reach: Reach,
) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: propagation.bits(),
        userns_fd: 0,
    };
    let result = mount_setattr(mount, c"", libc::AT_EMPTY_PATH as u32 | reach.at_flag(), &attr);
    checked(result, || {
        let reach = if reach == Reach::Tree { ", AT_RECURSIVE" } else { "" };
        format!(
            "mount_setattr(set {:#x}, clear {:#x}, {propagation:?}{reach})",
            attributes.set, attributes.clear
        )
    })
    .map(drop)
}

/// The same for a mount that lies on a name in a directory.
pub fn set_attributes_at(dir: impl AsFd, name: &str, attributes: Attributes) -> Result<()> {
    let c_name = c_string(name)?;
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: 0,
        userns_fd: 0,
    };
    let result = mount_setattr(dir, &c_name, libc::AT_SYMLINK_NOFOLLOW as u32, &attr);
    checked(result, || {
        format!("mount_setattr({name:?}, set {:#x}, clear {:#x})", attributes.set, attributes.clear)
    })
    .map(drop)
}

/// The call itself, which neither nix nor libc wraps, and what it answers.
pub(super) fn mount_setattr(at: impl AsFd, path: &CStr, flags: u32, attr: &libc::mount_attr) -> libc::c_long {
    // SAFETY: an open descriptor, a NUL-terminated path, and a structure that outlives the call, with its size.
    unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const *attr,
            size_of::<libc::mount_attr>(),
        )
    }
}

/// `mount(2)`.
pub fn mount(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> Result<()> {
    named(nix::mount::mount(source, target, kind, flags, data), || {
        format!(
            "mount({:?}, {target:?}, {:?}, {flags:?}, {:?})",
            source.unwrap_or(""),
            kind.unwrap_or(""),
            data.unwrap_or("")
        )
    })
}

/// Change the propagation of a mount point: `MS_SLAVE | MS_REC` and the like.
pub fn propagate(target: &Path, flags: MsFlags) -> Result<()> {
    named(nix::mount::mount(None::<&str>, target, None::<&str>, flags, None::<&str>), || {
        format!("mount({target:?}, {flags:?})")
    })
}

/// `umount2(2)`.
pub fn unmount(target: &Path, flags: MntFlags) -> Result<()> {
    named(nix::mount::umount2(target, flags), || format!("umount2({target:?}, {flags:?})"))
}

/// `pivot_root(".", ".")`: the current directory becomes the root, and the old root is mounted on top of it.
pub fn pivot_root_here() -> Result<()> {
    named(nix::unistd::pivot_root(".", "."), || "pivot_root(\".\", \".\")".into())
}

/// `chroot(".")`.
pub fn chroot_here() -> Result<()> {
    named(nix::unistd::chroot("."), || "chroot(\".\")".into())
}
