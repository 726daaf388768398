//! The end of a container: kill what is left of it, and remove what was made for it. Every step may be repeated, and
//! what is gone already is well: whatever an earlier command was interrupted in, this finishes it.

use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::config::hooks::Kind as Hook;
use crate::container::Container;
use crate::container::state::{Init, State};
use crate::container::status::Status;
use crate::error::Error;
use crate::resctrl::Group;

/// How long processes may take to die of `SIGKILL`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kill init and everything in the cgroup, and wait until they are dead. Its control groups, as they were found.
pub fn kill(container: &Container) -> Result<Cgroup, Error> {
    let cgroup = container.cgroup()?;
    container.signal(libc::SIGKILL)?;
    if cgroup.is_anothers() {
        return Ok(cgroup);
    }
    if cgroup.is_frozen() {
        cgroup.let_die()?;
    }
    let deadline = Instant::now() + PATIENCE;
    if let Some(init) = &container.init {
        wait_for_death(init, deadline)?;
    }
    // What is left had init's pid namespace only if it was its own; elsewhere it lives on.
    while !cgroup.pids()?.is_empty() {
        cgroup.kill_all(libc::SIGKILL)?;
        let left = living(&cgroup)?;
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(Error::message(format!(
                "container {}: processes do not die: {left:?}",
                container.id
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(cgroup)
}

/// Zombies stay in the cgroup's list until they are reaped, which is for their parent to do.
fn living(cgroup: &Cgroup) -> Result<Vec<i32>, Error> {
    let pids = cgroup.pids()?;
    let lives =
        |pid: &i32| crate::sys::proc::process_stat(*pid).is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'));
    Ok(pids.into_iter().filter(lives).collect())
}

fn wait_for_death(init: &Init, deadline: Instant) -> Result<(), Error> {
    let mut pause = Duration::from_micros(100);
    while init.is_alive() {
        if Instant::now() > deadline {
            return Err(Error::message(format!("process {} does not die of SIGKILL", init.pid)));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

/// Remove the cgroup and the state directory, and run the hooks of the end. The directory goes last, so that as long as
/// something is left of the container, a command can find it.
pub fn remove(container: &Container, cgroup: Cgroup) -> Result<(), Error> {
    if cgroup.is_anothers() {
        crate::log::warn(&format!("container {}: its cgroup is another's by now, and stays", container.id));
    } else {
        cgroup.delete()?;
    }
    container.state.intel_rdt.as_ref().map_or(Ok(()), Group::delete)?;
    run_poststop(&container.state);
    container.dir.remove()
}

/// Run the hooks of the end. "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and
/// lifecycle continue as if the hook had succeeded."
pub fn run_poststop(state: &State) {
    let document = state.document(Status::Stopped, 0).to_string().into_bytes();
    for error in state.hooks.run_all(Hook::Poststop, &document, Some(&state.bundle)) {
        crate::log::warn(&error.to_string());
    }
}
