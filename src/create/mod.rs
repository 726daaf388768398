//! From a plan to a container whose init waits at the start gate, or runs the program at once.
//!
//! ```text
//!  parent                      intermediate (only if the namespaces ask for it)        init
//!    │ everything that can be done before: namespaces opened, filter compiled,
//!    │ cgroup made and limited, state written
//!    ├─ clone3 ─────────────────────▶ │ joins what is joined
//!    │ ◀──────────────── Born(pid) ── ├─ clone3(CLONE_PARENT) ─────────────────────▶ │
//!    │ ◀──────────────────────────────────────────────────────────────── MapIds ───── │ user namespace
//!    │ ◀──────────────────────────────────────────────────────── SetTimeOffsets ───── │ time namespace in a user namespace
//!    │ ◀──────────────────────────────────────────────────────── MoveNetDevices ───── │ namespaces entered
//!    │ ◀─────────────────────────────────────────────────────────────── RunHooks ──── │ root file system assembled
//!    │ ◀─────────────────────────────────────────────────────────────── Terminal ──── │ pty
//!    │ ◀───────────────────────────────────────────────────────── LimitResources ──── │ host out of reach
//!    │ ◀──────────────────────────────────────────────────────── ForwardListener ──── │ filter loaded
//!    │ ◀──────────────────────────────────────────── Ready, or Failed ─────────────── │ identity taken
//!    │ gate put in place, pid file                                                     │ waits, or executes
//! ```
//!
//! The drawing is [`protocol::Request`]. init asks only where an answer is needed. What need not be there before it (the
//! device rules of a new v2 cgroup, the copy of config.json) the parent does meanwhile, and says so: before that, init
//! does not execute.
//!
//! A further process ([`exec`]) comes to be in the same way, only that it joins ([`join`]) what init made:
//!
//! ```text
//!  parent                      joining                                                 the process
//!    │ namespaces found, filter compiled
//!    ├─ clone3 ─────────────────────▶ │ in the container's cgroup, namespaces, terminal; closes all of the host's
//!    │                                ├─ clone3(CLONE_PARENT | CLONE_VFORK) ───────▶ │ in the pid namespace
//!    │ ◀──── Succeeded(pid), LimitResources, ForwardListener, Ready, or Failed ─────── │ identity taken
//!    │ pid file                                                                        │ executes
//! ```

pub mod assemble;
pub mod child;
pub mod enter;
pub mod exec;
pub mod identity;
pub mod init;
pub mod intermediate;
pub mod join;
pub mod parent;
pub mod program;
pub mod protocol;
pub mod sources;
pub mod stdio;
pub mod user_namespaces;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What the caller of `create` and `run` asks for beside the config.
#[derive(Debug, Default)]
pub struct Request {
    /// Where the pty's master goes, connected.
    pub console_socket: Option<OwnedFd>,
    /// Where a pidfd of init goes.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors after the standard ones the program inherits.
    pub inherited: u32,
    /// Variables for the program that belong to those descriptors (`LISTEN_FDS` and its like).
    pub variables: Vec<String>,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// What init does when it is ready.
    pub then: Then,
}

/// What init does when it is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Wait for `start`.
    #[default]
    WaitAtTheGate,
    /// Run the program, detached from us.
    Execute,
    /// Run the program, while we attend to it.
    ExecuteInForeground,
}
