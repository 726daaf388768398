//! Control groups: where a container's processes are, and what they may use.

pub mod hierarchy;
