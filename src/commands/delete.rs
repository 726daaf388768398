//! `delete` — remove a container.

use crate::cli::{Delete, Global};
use crate::commands::runtime_root;
use crate::container::dir::Dir;
use crate::container::id::ContainerId;
use crate::container::state::State;
use crate::container::status::{Operation, Status};
use crate::container::{Container, destroy};
use crate::error::Error;

/// `delete`
pub fn run(global: &Global, command: &Delete) -> Result<(), Error> {
    let id = ContainerId::parse(&command.id)?;
    let root = runtime_root::open(global)?;
    let deleted = Dir::open(&root, &id).and_then(|dir| delete(id, dir, command.force));
    match deleted {
        // Engines delete once more to be sure.
        Err(Error::NoContainer { .. }) if command.force => Ok(()),
        deleted => deleted,
    }
}

fn delete(id: ContainerId, dir: Dir, force: bool) -> Result<(), Error> {
    dir.lock()?;
    // `create` was interrupted before it made anything else.
    if matches!(State::load(&dir), Ok(None)) {
        dir.remove()?;
        return Err(Error::NoContainer { id: id.to_string() });
    }
    let container = Container::load(id, dir)?;
    let status = container.allow(if force { Operation::ForceDelete } else { Operation::Delete })?;
    let may_live = status != Status::Stopped || !container.state.own_pid_namespace || force;
    let cgroup = if may_live { destroy::kill(&container)? } else { container.cgroup()? };
    destroy::remove(&container, cgroup)
}
