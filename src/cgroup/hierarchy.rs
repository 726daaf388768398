//! Which cgroup directories the host has: v1, hybrid, v2, or none.

/// The cgroup file systems of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// No cgroup file system at all.
    None,
}
