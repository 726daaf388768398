//! `start` — let init run the program.

use std::os::fd::AsFd;

use crate::cli::Global;
use crate::commands::runtime_root;
use crate::config::hooks::Kind as Hook;
use crate::container::notify_socket::NotifySocket;
use crate::container::status::{Operation, Status};
use crate::container::{Container, destroy, start_gate};
use crate::error::Error;
use crate::sys::process::{self, Pid};

/// `start`
pub fn run(global: &Global, id: &str) -> Result<(), Error> {
    let (id, dir) = runtime_root::container(global, id)?;
    // Of several starts one opens the gate.
    dir.lock()?;
    let container = Container::load(id, dir)?;
    container.allow(Operation::Start)?;
    if !container.state.has_process {
        return Err(Error::message(format!(
            "container {}: cannot start: process is missing in config.json",
            container.id
        )));
    }
    let notify_socket = NotifySocket::bind(&container.dir)?;
    start_gate::open(&container.dir)?;
    // A hook may call us on the same container.
    container.dir.unlock()?;
    poststart(&container)?;
    match (notify_socket, &container.init) {
        (Some(socket), Some(init)) => {
            let pidfd = process::pidfd_open(Pid::from_raw(init.pid)).ok();
            socket.pass_on(init.pid, pidfd.as_ref().map(AsFd::as_fd))
        }
        _ => Ok(()),
    }
}

/// "If any poststart hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at"
/// its end.
pub fn poststart(container: &Container) -> Result<(), Error> {
    let pid = container.init.as_ref().map_or(0, |init| init.pid);
    let document = container.state.document(Status::Running, pid).to_string().into_bytes();
    let ran = container.state.hooks.run(Hook::Poststart, &document, Some(&container.state.bundle));
    if ran.is_err() {
        let cgroup = destroy::kill(container)?;
        destroy::remove(container, cgroup)?;
    }
    ran
}
