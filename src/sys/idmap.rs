//! The id mapping of a mount: `mount_setattr(2)` with `MOUNT_ATTR_IDMAP`, Linux 5.12.

use std::os::fd::{AsFd, AsRawFd};

use super::mount::{Reach, mount_setattr};
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
    let flags = libc::AT_EMPTY_PATH as u32 | reach.at_flag();
    let result = mount_setattr(mount, c"", flags, &attr);
    let word = if reach == Reach::Tree { ", AT_RECURSIVE" } else { "" };
    checked(result, || format!("mount_setattr(MOUNT_ATTR_IDMAP{word})")).map(drop)
}
