//! The id mapping of a mount: `mount_setattr(2)` with `MOUNT_ATTR_IDMAP`, Linux 5.12.
#![expect(unsafe_code, reason = "neither nix nor libc wraps mount_setattr")]

use std::os::fd::{AsFd, AsRawFd};

use super::mount::Reach;
use super::{Result, checked};

/// Give a mount that is attached nowhere the mapping of a user namespace. `EINVAL`: its file system cannot have one.
/// `EPERM`: the file system is not ours to map, or the mount has a mapping already.
pub fn set(mount: impl AsFd, user_namespace: impl AsFd, reach: Reach) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_fd().as_raw_fd() as u64,
    };
    let (recursive, word) = match reach {
        Reach::One => (0, ""),
        Reach::Tree => (libc::AT_RECURSIVE, ", AT_RECURSIVE"),
    };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // SAFETY: open descriptors, an empty path, and a structure that outlives the call, with its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result, || format!("mount_setattr(MOUNT_ATTR_IDMAP{word})")).map(drop)
}
