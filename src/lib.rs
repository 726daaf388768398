//! crust, a low-level OCI container runtime. The modules, in the order in which a command meets them.

pub mod cgroup;
pub mod config;
pub mod container;
pub mod error;
pub mod host;
pub mod log;
pub mod sys;
pub mod time;
