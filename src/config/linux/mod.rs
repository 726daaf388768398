//! `linux` — what is special to Linux.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md>

pub mod resources;
