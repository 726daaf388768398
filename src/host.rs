//! Facts about the machine, read once and only read.

use crate::cgroup::hierarchy::Hierarchy;

/// What `Plan::new` needs to know of the machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// The effective user id of this process, in its user namespace.
    pub euid: u32,
    /// Whether this process is in a user namespace that is not the initial one.
    pub in_user_namespace: bool,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The capabilities that can be granted: our bounding set, as a bit mask.
    pub bounding: u64,
    /// The number of the last capability that the kernel has.
    pub last_capability: u8,
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// Which cgroup directories there are.
    pub hierarchy: Hierarchy,
}
