//! What lives between two invocations.

pub mod destroy;
pub mod dir;
pub mod id;
pub mod notify_socket;
pub mod start_gate;
pub mod state;
pub mod status;

use crate::cgroup::Cgroup;
use crate::container::dir::Dir;
use crate::container::id::ContainerId;
use crate::container::state::{Init, State};
use crate::container::status::{Observed, Operation, Status};
use crate::error::Error;
use crate::sys::process::{self, Pid};
use crate::sys::{self, Errno};

const RESOURCES: &str = "resources.json";

/// A container that was created, or half created, by an earlier invocation.
#[derive(Debug)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its state directory.
    pub dir: Dir,
    /// The facts of its creation.
    pub state: State,
    /// Its init; `None` if `create` did not come that far.
    pub init: Option<Init>,
}

impl Container {
    /// Load what was written down.
    pub fn load(id: ContainerId, dir: Dir) -> Result<Self, Error> {
        match State::load(&dir)? {
            Some(state) => Ok(Self { init: Init::load(&dir)?, id, dir, state }),
            None => Err(Error::NoContainer { id: id.to_string() }),
        }
    }

    /// Its control groups, as far as they are there.
    pub fn cgroup(&self) -> Result<Cgroup, Error> {
        Cgroup::open(self.state.cgroup.clone())
    }

    /// Ask the kernel what it is doing.
    pub fn observe(&self) -> Result<Status, Error> {
        self.observe_if(|| self.state.cgroup.is_frozen())
    }

    /// The same by somebody who knows how to find out whether the cgroup is frozen.
    fn observe_if(&self, is_frozen: impl FnOnce() -> Result<bool, Error>) -> Result<Status, Error> {
        let init_alive = match &self.init {
            Some(init) => init.is_alive(),
            // `create` is at work as long as it holds the lock.
            None if sys::file::try_lock(&self.dir).is_err_and(|e| e.errno == Errno::EWOULDBLOCK) => {
                return Ok(Status::Creating);
            }
            None => false,
        };
        if !init_alive {
            return Ok(Status::Stopped);
        }
        let frozen = is_frozen()?;
        Ok(Status::of(&Observed { init_alive, gate: start_gate::observe(&self.dir)?, frozen }))
    }

    /// Go on if the container's status allows it.
    pub fn allow(&self, operation: Operation) -> Result<Status, Error> {
        self.allow_if(operation, || self.state.cgroup.is_frozen())
    }

    /// The same by somebody who knows how to find out whether the cgroup is frozen.
    pub fn allow_if(
        &self,
        operation: Operation,
        is_frozen: impl FnOnce() -> Result<bool, Error>,
    ) -> Result<Status, Error> {
        let status = self.observe_if(is_frozen)?;
        if operation.allowed(status) {
            Ok(status)
        } else {
            Err(Error::Status { id: self.id.clone(), operation, status })
        }
    }

    /// Init's pid, or 0 when it has stopped.
    pub fn pid(&self, status: Status) -> i32 {
        match &self.init {
            Some(init) if status != Status::Stopped => init.pid,
            _ => 0,
        }
    }

    /// The resources in force, as JSON: what the last `update` has left, or what the config had at creation.
    pub fn resources(&self) -> Result<serde_json::Value, Error> {
        let parse = |name: &str, bytes: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(bytes)
                .map_err(|e| Error::message(format!("{}: {e}", self.dir.path().join(name).display())))
        };
        if let Some(bytes) = self.dir.read(RESOURCES)? {
            return parse(RESOURCES, &bytes);
        }
        let config = self.dir.read("config.json")?.unwrap_or_else(|| b"{}".to_vec());
        let mut config = parse("config.json", &config)?;
        Ok(config.pointer_mut("/linux/resources").map(serde_json::Value::take).unwrap_or_default())
    }

    /// Write down the resources that an update has put in force. `state.json` stays what it was at creation.
    pub fn save_resources(&self, resources: &serde_json::Value) -> Result<(), Error> {
        self.dir.write(RESOURCES, resources.to_string().as_bytes())
    }

    /// Send a signal to init, and to nobody who has its number now: the pidfd is taken first, and then it is checked
    /// that it is init's. `false` if it is dead.
    pub fn signal(&self, signal: i32) -> Result<bool, Error> {
        let Some(init) = &self.init else { return Ok(false) };
        let pid = Pid::from_raw(init.pid);
        let sent = match process::pidfd_open(pid) {
            Ok(_) if !init.is_alive() => return Ok(false),
            Ok(pidfd) => process::pidfd_send_signal(&pidfd, signal),
            Err(sys::Error { errno: Errno::ESRCH | Errno::EINVAL, .. }) => return Ok(false),
            Err(error) => Err(error),
        };
        let sent = match sent {
            // Before Linux 5.3, or hidden: the look at its start time comes just before.
            Err(error) if sys::is_missing(error.errno) => {
                if !init.is_alive() {
                    return Ok(false);
                }
                process::kill(pid, signal)
            }
            sent => sent,
        };
        match sent {
            Err(sys::Error { errno: Errno::ESRCH, .. }) => Ok(false),
            Err(error) => Err(Error::message(format!("container {}: {error}", self.id))),
            Ok(()) => Ok(true),
        }
    }
}
