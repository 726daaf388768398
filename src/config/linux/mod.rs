//! `linux` — what is special to Linux.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md>

pub mod cgroups_path;
pub mod covered_paths;
pub mod devices;
pub mod id_mappings;
pub mod intel_rdt;
pub mod map_program;
pub mod memory_policy;
pub mod mount_label;
pub mod namespaces;
pub mod net_devices;
pub mod personality;
pub mod resources;
pub mod rootfs_propagation;
pub mod scope;
pub mod seccomp;
pub mod sysctl;
pub mod time_offsets;
