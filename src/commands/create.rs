//! `create` — make a container whose init waits for `start`.

use std::path::{Path, PathBuf};

use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::cgroup::hierarchy::{Driver, Hierarchy};
use crate::cli::{self, CgroupManager, Create, Global};
use crate::commands::inherit::Inherited;
use crate::commands::{print, runtime_root};
use crate::config::{self, Plan, annotations};
use crate::container::destroy::run_poststop;
use crate::container::dir::Dir;
use crate::container::id::ContainerId;
use crate::container::notify_socket::{self, NotifySocket};
use crate::create::parent::{self, Created, Order};
use crate::create::{Request, Then};
use crate::error::{At, Error};
use crate::foreground::{Lent, Streams};
use crate::host::Host;
use crate::log;
use crate::resctrl::Group;
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::signal;
use crate::terminal;

/// `create`
pub fn run(global: &Global, command: &Create, inherited: Inherited) -> Result<(), Error> {
    let (id, bundle) = named(&command.id, command.directory.as_deref(), command.new.bundle.as_deref())?;
    let New { mut created, mut dir, .. } =
        create(global, &command.new, (&id, &bundle), inherited, Then::WaitAtTheGate)?;
    // Last of all: callers wait for it.
    let written = write_pid_file(command.new.pid_file.as_deref(), created.init.pid);
    if written.is_err() {
        undo(created, &dir);
        return written;
    }
    dir.keep();
    created.let_go();
    if command.id.contains('/') { print(&format!("{id}\n")) } else { Ok(()) }
}

/// The three forms: `ID --bundle DIR` as runc has it, `ID DIR` as the spec has it, and `DIR` alone.
pub fn named(
    id: &str,
    directory: Option<&Path>,
    bundle: Option<&Path>,
) -> Result<(ContainerId, PathBuf), Error> {
    if directory.is_some() && bundle.is_some() {
        return Err(Error::message("the bundle is given twice: as --bundle and as an argument"));
    }
    if !id.contains('/') {
        let bundle = directory.or(bundle).unwrap_or(Path::new("."));
        return Ok((ContainerId::parse(id)?, bundle.into()));
    }
    // An id with a slash in a place where only an id can stand.
    if directory.is_some() || bundle.is_some() {
        return ContainerId::parse(id).map(|id| (id, PathBuf::new()));
    }
    let directory = std::path::absolute(id).map_err(|e| Error::message(format!("bundle {id}: {e}")))?;
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok((ContainerId::parse(name)?, directory.clone()))
}

/// A new container.
pub struct New {
    /// Its init.
    pub created: Created,
    /// Its state directory, which is still to be kept.
    pub dir: Dir,
    /// Where its program says that it is ready, if it runs already and somebody waits for that.
    pub notify_socket: Option<NotifySocket>,
    /// What is carried between our terminal and a process in the foreground.
    pub streams: Streams,
}

/// What `create` and `run` do alike: read, judge, make. The state directory is still to be kept.
pub fn create(
    global: &Global,
    new: &cli::New,
    (id, bundle): (&ContainerId, &Path),
    inherited: Inherited,
    then: Then,
) -> Result<New, Error> {
    let mut bundle = Bundle::open(bundle)?;
    let mut host = Host::read(global.rootless)?;
    signal::wait_for_children_if_ignored(host.ignored_signals).at("signals")?;
    if global.cgroup_manager == CgroupManager::Disabled {
        host.hierarchy = Hierarchy::None;
        config::forget_cgroup(&mut bundle.spec);
    } else if global.systemd_cgroup || global.cgroup_manager == CgroupManager::Systemd {
        host.driver = Driver::Systemd;
    }
    if let (Some(caller), true) = (&host.caller, host.rootless) {
        bundle.complete(|spec| config::rootless::complete(spec, caller))?;
    }
    annotations::ask_for_leave(bundle.spec.annotations(), &mut host)?;
    let found = std::mem::take(&mut bundle.problems);
    let plan = Plan::new(&bundle.spec, &bundle.path, found, &host)?;
    let warnings =
        bundle.warnings.iter().chain(plan.process.iter().flat_map(|process| process.capabilities.warnings()));
    warnings.for_each(|warning| log::warn(warning));
    let request = request(new, &plan, inherited, then)?;
    let dir = Dir::create(&runtime_root::open(global)?, id)?;
    let plan = match notify_socket::make_directory(&dir)? {
        Some(source) => plan.with_directory(source, notify_socket::DIRECTORY, notify_socket::VARIABLE),
        None => plan,
    };
    let notify_socket = match then {
        Then::WaitAtTheGate => None,
        Then::Execute | Then::ExecuteInForeground => NotifySocket::bind(&dir)?,
    };
    let order = Order { plan: &plan, host: &host, request, id, bundle: &bundle };
    let lends = then == Then::ExecuteInForeground
        && plan.process.as_ref().is_some_and(|process| process.terminal.is_none());
    let lent = lends.then(Lent::instead_of_terminals).transpose().at("process")?;
    let created = parent::create(&order, &dir)?;
    let streams = lent.map(Lent::give_back).unwrap_or_default();
    Ok(New { created, dir, notify_socket, streams })
}

fn request(new: &cli::New, plan: &Plan, inherited: Inherited, then: Then) -> Result<Request, Error> {
    let wants_terminal = plan.process.as_ref().is_some_and(|process| process.terminal.is_some());
    check_console(wants_terminal, then != Then::ExecuteInForeground, new.console_socket.is_some())?;
    Ok(Request {
        console_socket: new.console_socket.as_deref().map(terminal::connect_console_socket).transpose()?,
        pidfd_socket: new.pidfd_socket.clone(),
        inherited: inherited.count,
        variables: inherited.variables,
        no_pivot: new.no_pivot,
        no_new_keyring: new.no_new_keyring,
        then,
    })
}

/// Somebody must hold the other end of a terminal: the receiver of the socket, or we, as long as we stay.
pub fn check_console(wants_terminal: bool, detached: bool, has_socket: bool) -> Result<(), Error> {
    if wants_terminal && detached && !has_socket {
        return Err(Error::message(
            "process.terminal: cannot allocate tty if crust will detach without setting console socket (--console-socket)",
        ));
    }
    if has_socket && !(detached && wants_terminal) {
        return Err(Error::message(
            "--console-socket: cannot use console socket if crust will not detach or allocate tty",
        ));
    }
    Ok(())
}

/// Decimal, without a newline, by rename: whoever finds the file finds the pid.
pub fn write_pid_file(path: Option<&Path>, pid: i32) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::message(format!("--pid-file {}: not the name of a file", path.display())));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = file::open_path(file::here(), parent, OFlag::O_DIRECTORY).at_file(path)?;
    let temporary = format!(".{name}.{}", std::process::id());
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let file = file::open(&dir, &*temporary, flags, Mode::from_bits_truncate(0o644)).at_file(path)?;
    let written = file::write_all(&file, pid.to_string().as_bytes(), Path::new(name));
    let renamed = written.and_then(|()| file::rename(&dir, &temporary, name));
    if renamed.is_err() {
        let _gone_anyway = file::unlink(&dir, &*temporary);
    }
    renamed.at_file(path)
}

/// The pid file could not be written: nobody will know of the container.
pub fn undo(created: Created, dir: &Dir) {
    let Created { init, state, cgroup, .. } = created;
    drop(init);
    match cgroup.again().and_then(Cgroup::delete) {
        Ok(()) => {}
        Err(error) => log::warn(&error.to_string()),
    }
    if let Some(Err(error)) = state.intel_rdt.as_ref().map(Group::delete) {
        log::warn(&error.to_string());
    }
    run_poststop(&state);
    let _removed_when_dropped = dir;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms() {
        let (id, bundle) = named("web", None, Some(Path::new("/b"))).unwrap();
        assert_eq!((id.as_str(), bundle.as_path()), ("web", Path::new("/b")));
        let (id, bundle) = named("web", Some(Path::new("/b")), None).unwrap();
        assert_eq!((id.as_str(), bundle.as_path()), ("web", Path::new("/b")));
        let (id, bundle) = named("/srv/web", None, None).unwrap();
        assert_eq!((id.as_str(), bundle.as_path()), ("web", Path::new("/srv/web")));
        let (_, bundle) = named("web", None, None).unwrap();
        assert_eq!(bundle, Path::new("."));
    }

    #[test]
    fn a_path_is_no_id() {
        assert!(named("../x", None, Some(Path::new("/b"))).is_err());
        assert!(named("x/y", Some(Path::new("/b")), None).is_err());
        assert!(named("web", Some(Path::new("/b")), Some(Path::new("/c"))).is_err());
        assert!(named("/", None, None).is_err());
    }
}
