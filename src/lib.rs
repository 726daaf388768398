//! crust, a low-level OCI container runtime. The modules, in the order in which a command meets them.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make what they look at"))]

// argv: runc's verbs, flags and words.
pub mod cli;
// One verb per file.
pub mod commands;

// What can go wrong, and the line that the user sees.
pub mod error;
// `--log`, `--log-format`, `--debug`.
pub mod log;
// Points in time as text.
pub mod time;

// The bundle directory and its config.json.
pub mod bundle;
// config.json as it is meant, one file per section.
pub mod config;
// Facts about the machine.
pub mod host;

// What lives between two invocations: state directory, status, start gate.
pub mod container;
// The way from a plan to a container: parent, intermediate, init.
pub mod create;

// The runtime's own binary, kept out of the container's reach.
pub mod own_binary;

// Control groups.
pub mod cgroup;
// Groups with a part of the caches and of the memory bandwidth.
pub mod resctrl;
// A foreground command and its child: signals, terminal, exit status.
pub mod foreground;
// The container's file system.
pub mod rootfs;
// The container's pty and the console socket.
pub mod terminal;

// The only door to the kernel.
pub mod sys;
