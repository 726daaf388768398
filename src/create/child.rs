//! A child while it is ours: it does not outlive a failure. What is sent of it to those who want to know it.

use std::os::fd::{AsFd, OwnedFd};

use crate::config::linux::seccomp::Listener;
use crate::container::state::{Init, State};
use crate::container::status::Status;
use crate::create;
use crate::error::{At, Error};
use crate::sys::process::{self, Pid};
use crate::sys::socket;

/// A child of ours, killed and reaped when it is dropped, unless it is let go.
#[derive(Debug)]
pub struct Child {
    /// In the runtime's pid namespace.
    pub pid: i32,
    /// Its pidfd, on kernels that have them.
    pub pidfd: Option<OwnedFd>,
    ours: bool,
    /// Whom we have cloned for it, and who ends when it executes its program.
    predecessor: Option<i32>,
}

impl Child {
    /// It closed its end without the word that it is ready. Its end is near, if it has not come yet.
    pub(super) fn died(&self) -> Error {
        let exit = process::wait(Pid::from_raw(self.pid))
            .map_or_else(|error| error.to_string(), |exit| exit.to_string());
        Error::message(format!("the container's init died before it was ready: {exit}"))
    }

    /// Whoever is our reaper takes care of it from now on.
    pub fn let_go(&mut self) {
        self.ours = false;
    }

    /// A child that was just cloned.
    pub(super) fn new(pid: i32, pidfd: Option<OwnedFd>) -> Self {
        Self { pid, pidfd, ours: true, predecessor: None }
    }

    pub(super) fn identity(&self) -> Result<Init, Error> {
        Init::of(self.pid).at("init")
    }

    /// The intermediate has ended; this is init, which is our child too.
    pub(super) fn replace_by(&mut self, pid: i32) -> Result<(), Error> {
        let _intermediate = process::wait(Pid::from_raw(self.pid)).at("init")?;
        self.pid = pid;
        self.pidfd = process::pidfd_open(Pid::from_raw(pid)).ok();
        Ok(())
    }

    /// The intermediate waits for this one, which is our child too, to execute its program.
    pub(super) fn is_succeeded_by(&mut self, pid: i32) {
        self.predecessor = Some(self.pid);
        self.pid = pid;
        self.pidfd = process::pidfd_open(Pid::from_raw(pid)).ok();
    }

    fn needed_pidfd(&self, field: &str) -> Result<&OwnedFd, Error> {
        let missing = || Error::message(format!("{field}: needs pidfd_open(2), Linux 5.3"));
        self.pidfd.as_ref().ok_or_else(missing)
    }

    /// It has executed its program.
    pub(super) fn reap_predecessor(&mut self) -> Result<(), Error> {
        match self.predecessor.take() {
            Some(pid) => process::wait(Pid::from_raw(pid)).map(drop).at("exec"),
            None => Ok(()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        for pid in self.predecessor.into_iter().chain(self.ours.then_some(self.pid)) {
            let pid = Pid::from_raw(pid);
            let _may_be_dead = process::kill(pid, libc::SIGKILL);
            let _may_be_reaped = process::wait(pid);
        }
    }
}

/// The listener gets the descriptor from us: the child's own calls are already its to decide.
pub(super) fn forward_listener(
    listener: Option<&Listener>,
    (state, status): (&State, Status),
    child: &Child,
    number: i32,
) -> Result<(), Error> {
    let field = "linux.seccomp.listenerPath";
    let Some(listener) = listener else {
        return Err(Error::message(format!("{field}: is missing")));
    };
    let pidfd = child.needed_pidfd(field)?;
    let descriptor = process::pidfd_getfd(pidfd, number).at(field)?;
    let document = serde_json::json!({
        "ociVersion": crate::container::state::OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": child.pid,
        "metadata": listener.metadata,
        "state": state.document(status, child.pid),
    });
    let socket = socket::connect(&listener.path).at(field)?;
    socket::send(&socket, document.to_string().as_bytes(), &[descriptor.as_fd()]).at(field)
}

/// `--pidfd-socket`
pub(super) fn send_pidfd(request: &create::Request, child: &Child, name: &str) -> Result<(), Error> {
    let field = "--pidfd-socket";
    let Some(path) = &request.pidfd_socket else { return Ok(()) };
    let pidfd = child.needed_pidfd(field)?;
    let socket = socket::connect(path).at(field)?;
    socket::send(&socket, name.as_bytes(), &[pidfd.as_fd()]).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_does_not_outlive_its_owner() {
        let pid = process::in_child(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        });
        drop(Child::new(pid.as_raw(), None));
        assert!(process::kill(pid, 0).is_err());
    }
}
