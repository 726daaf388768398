//! `run` — create a container and run its program, attending to it or not.

use std::os::fd::AsFd;

use crate::cgroup::Cgroup;
use crate::cli::{Global, Run};
use crate::commands::create::{New, create, named, undo, write_pid_file};
use crate::commands::inherit::Inherited;
use crate::commands::{SUCCESS, start};
use crate::container::{Container, destroy};
use crate::create::Then;
use crate::create::parent::Created;
use crate::error::{At, Error};
use crate::foreground;
use crate::sys::process::{self, Pid};
use crate::sys::signal::Waiting;

/// `run`: the program's exit code, or 128 and the signal that killed it.
pub fn run(global: &Global, command: &Run, inherited: Inherited) -> Result<u8, Error> {
    let (id, bundle) = named(&command.id, command.directory.as_deref(), command.new.bundle.as_deref())?;
    let new = &command.new;
    let then = if command.detach { Then::Execute } else { Then::ExecuteInForeground };
    // Before the clone, so that no signal is lost in between.
    let signals = match then {
        Then::ExecuteInForeground => Some(Waiting::block().at("signals")?),
        _ => None,
    };
    if !command.detach && !command.no_subreaper {
        process::become_subreaper().at("signals")?;
    }
    let New { created, mut dir, notify_socket, streams } =
        create(global, new, (&id, &bundle), inherited, then)?;
    if let Err(error) = write_pid_file(new.pid_file.as_deref(), created.init.pid) {
        undo(created, &dir);
        return Err(error);
    }
    dir.keep();
    dir.unlock()?;
    let Created { mut init, terminal, state, identity, cgroup, net_devices } = created;
    let container = Container { id, dir, state, init: identity };
    let ran = start::poststart(&container);
    init.let_go();
    if let Some(devices) = net_devices {
        devices.keep();
    }
    ran?;
    crate::log::write_warnings();
    let pidfd = init.pidfd.as_ref().map(AsFd::as_fd);
    let Some(signals) = signals else {
        let passed_on = notify_socket.map(|socket| socket.pass_on(init.pid, pidfd));
        return passed_on.unwrap_or(Ok(())).map(|()| SUCCESS);
    };
    if let Some(socket) = notify_socket {
        socket.pass_on_meanwhile(init.pid, pidfd)?;
    }
    crate::sys::start::close_clone();
    let exit = foreground::attend(Pid::from_raw(init.pid), pidfd, &signals, terminal, streams)?;
    if !command.keep {
        delete(&container, cgroup)?;
    }
    // The process ends: the kernel closes what is open, all at once.
    std::mem::forget((container, init, signals));
    Ok(u8::try_from(exit.code()).unwrap_or(1))
}

/// The program may have been deleted by somebody else while it ran.
fn delete(container: &Container, cgroup: Cgroup) -> Result<(), Error> {
    container.dir.lock()?;
    if container.dir.is_gone() {
        return Ok(());
    }
    if !container.state.own_pid_namespace {
        destroy::kill(container)?;
    }
    destroy::remove(container, cgroup.again()?)
}
