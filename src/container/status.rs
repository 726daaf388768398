//! What a container is doing: computed from what the kernel says, never stored.
//! <https://github.com/opencontainers/runtime-spec/blob/main/runtime.md#state>

use std::fmt;

use crate::container::id::ContainerId;

/// A container's status, in the spec's words and runc's `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Init waits at the start gate.
    Created,
    /// The container process has been started and has not ended.
    Running,
    /// The container's processes are frozen.
    Paused,
    /// The container process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The start gate as it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Not in its place yet: `create` has not finished.
    NotYet,
    /// In its place, and init waits behind it.
    Waiting,
    /// Gone, or nobody waits behind it.
    Opened,
}

/// Three facts, read each time; nothing here is ever written down.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Init exists (same pid, start time and boot) and is not a zombie.
    pub init_alive: bool,
    /// The start gate.
    pub gate: Gate,
    /// The freezer holds the container's cgroup.
    pub frozen: bool,
}

impl Status {
    /// The status that these facts make.
    pub fn of(observed: &Observed) -> Self {
        match *observed {
            Observed { init_alive: false, .. } => Self::Stopped,
            Observed { frozen: true, .. } => Self::Paused,
            Observed { gate: Gate::NotYet, .. } => Self::Creating,
            Observed { gate: Gate::Waiting, .. } => Self::Created,
            Observed { gate: Gate::Opened, .. } => Self::Running,
        }
    }
}

/// What a command wants to do to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `start`
    Start,
    /// `kill`
    Kill,
    /// `delete`
    Delete,
    /// `delete --force`
    ForceDelete,
    /// `exec`
    Exec,
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `update`
    Update,
    /// `events`
    Events,
}

impl Operation {
    /// The state machine. `delete` takes a created container: every engine deletes one whose start has failed, and runc
    /// lets it (a deviation from the spec, which wants it stopped first).
    pub fn allowed(self, status: Status) -> bool {
        use Status::{Created, Paused, Running, Stopped};
        match self {
            Self::Start => status == Created,
            Self::Kill | Self::Exec | Self::Update | Self::Events => {
                matches!(status, Created | Running | Paused)
            }
            Self::Delete => matches!(status, Created | Stopped),
            Self::ForceDelete => true,
            Self::Pause => matches!(status, Created | Running),
            Self::Resume => status == Paused,
        }
    }

    /// Why not. containerd and CRI-O look for `container not running`; the other texts are runc's as well.
    pub fn refusal(self, id: &ContainerId, status: Status) -> String {
        let container = format!("container {id}");
        match (self, status) {
            (Self::Start, Status::Stopped) => {
                format!("{container}: cannot start a container that has stopped")
            }
            (Self::Start, Status::Running | Status::Paused) => {
                format!("{container}: cannot start an already running container")
            }
            (Self::Kill | Self::Pause | Self::Update, Status::Stopped) => {
                format!("{container}: container not running")
            }
            (Self::Resume, _) => format!("{container}: container not paused"),
            (Self::Events, _) => format!("container with id {id} is not running"),
            (Self::Exec, Status::Stopped) => format!("{container}: cannot exec in a stopped container"),
            (Self::Exec, Status::Paused) => {
                format!("{container}: cannot exec in a paused container (use --ignore-paused to override)")
            }
            (Self::Pause, Status::Paused) => format!("{container}: container not running: already paused"),
            (Self::Delete, _) => format!("cannot delete container {id} that is not stopped: {status}"),
            _ => format!("{container}: cannot {self} while {status}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Kill => "kill",
            Self::Delete | Self::ForceDelete => "delete",
            Self::Exec => "exec",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Update => "update",
            Self::Events => "report events",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUSES: [Status; 5] =
        [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];

    #[test]
    fn the_whole_product() {
        use Operation as O;
        // In the order of STATUSES.
        let table = [
            (O::Start, [false, true, false, false, false]),
            (O::Kill, [false, true, true, true, false]),
            (O::Delete, [false, true, false, false, true]),
            (O::ForceDelete, [true, true, true, true, true]),
            (O::Exec, [false, true, true, true, false]),
            (O::Pause, [false, true, true, false, false]),
            (O::Resume, [false, false, false, true, false]),
            (O::Update, [false, true, true, true, false]),
            (O::Events, [false, true, true, true, false]),
        ];
        let id = ContainerId::parse("web").unwrap();
        for (operation, row) in table {
            for (status, allowed) in STATUSES.into_iter().zip(row) {
                assert_eq!(operation.allowed(status), allowed, "{operation} while {status}");
                assert!(operation.refusal(&id, status).contains("web"));
            }
        }
    }

    #[test]
    fn status_is_what_the_kernel_says() {
        for init_alive in [false, true] {
            for frozen in [false, true] {
                for gate in [Gate::NotYet, Gate::Waiting, Gate::Opened] {
                    let status = Status::of(&Observed { init_alive, gate, frozen });
                    let expected = match (init_alive, frozen, gate) {
                        (false, ..) => Status::Stopped,
                        (true, true, _) => Status::Paused,
                        (true, false, Gate::NotYet) => Status::Creating,
                        (true, false, Gate::Waiting) => Status::Created,
                        (true, false, Gate::Opened) => Status::Running,
                    };
                    assert_eq!(status, expected);
                }
            }
        }
    }

    #[test]
    fn texts_that_callers_parse() {
        let id = ContainerId::parse("web").unwrap();
        assert!(Operation::Kill.refusal(&id, Status::Stopped).contains("container not running"));
        assert_eq!(
            Operation::Delete.refusal(&id, Status::Running),
            "cannot delete container web that is not stopped: running"
        );
    }
}
