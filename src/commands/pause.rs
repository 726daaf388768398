//! `pause` — freeze all processes of a container.

use crate::cgroup::Cgroup;
use crate::cli::Global;
use crate::commands::runtime_root;
use crate::container::Container;
use crate::container::status::Operation;
use crate::error::Error;

/// `pause`
pub fn run(global: &Global, id: &str) -> Result<(), Error> {
    let (id, dir) = runtime_root::container(global, id)?;
    let container = Container::load(id, dir)?;
    container.allow(Operation::Pause)?;
    Cgroup::open(container.state.cgroup.clone())?.freeze()
}
