//! The process between the parent and init, where the namespaces ask for one. It has the parent for its init's parent as
//! well (`CLONE_PARENT`), so that nobody but the caller's reaper ever has to wait for init.

use std::convert::Infallible;

use crate::create::protocol::{ChildEnd, Request};
use crate::error::{At, Error};
use crate::sys::clone::{self, Birth, Fork};
use crate::sys::namespace::CloneFlags;
use crate::sys::{prctl, process};

/// Fork init as a child of the parent, in new namespaces of these types. Returns in init, when the parent knows of it; the
/// intermediate itself ends here.
pub fn fork_init(new: CloneFlags, end: &ChildEnd) -> Result<(), Error> {
    fork_sibling(new.bits() as u64, Some("crust:[2:INIT]"), end)
}

/// The same without a namespace to make, for a process that has nothing to do but to take an identity and to execute its
/// program: it goes on with the memory of the intermediate, which ends when that is done.
pub fn succeed(end: &ChildEnd) -> Result<(), Error> {
    match clone::succeed() {
        Ok(pid) => {
            die_with_parent()?;
            end.tell(&Request::Succeeded(pid))
        }
        Err(_) => fork_sibling(0, None, end),
    }
}

/// The same with the namespaces' flags, and a name for `ps`.
pub fn fork_sibling(flags: u64, name: Option<&str>, end: &ChildEnd) -> Result<(), Error> {
    let flags = flags | libc::CLONE_PARENT as u64;
    match clone::clone(&Birth { flags, cgroup: None }).at("linux.namespaces")? {
        Fork::Child => {
            die_with_parent()?;
            let _only_for_ps = name.map(prctl::set_name);
            // The answer to what the intermediate has told: from now on the parent means us.
            end.wait()
        }
        Fork::Parent(pid, _) => leave(end.tell(&Request::Born(pid))).map(|never| match never {}),
    }
}

fn leave(told: Result<(), Error>) -> Result<Infallible, Error> {
    told?;
    process::exit(0)
}

/// Until the state is written, a container that lost its parent would be lost itself.
pub fn die_with_parent() -> Result<(), Error> {
    prctl::set_parent_death_signal(Some(process::Signal::SIGKILL)).at("init")
}
