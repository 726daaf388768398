//! `exec` — run a further process in a container, attending to it or not.

use std::os::fd::AsFd;

use crate::bundle::{Bundle, ProcessFile};
use crate::cgroup::sub_cgroups::SubCgroups;
use crate::cli::{Exec, Global};
use crate::commands::create::{check_console, write_pid_file};
use crate::commands::inherit::Inherited;
use crate::commands::{SUCCESS, runtime_root};
use crate::config::annotations;
use crate::config::exec::{Changes, ExecPlan, parse_group, parse_user};
use crate::container::Container;
use crate::container::status::{Operation, Status};
use crate::create::exec::{self, Order};
use crate::create::{Request, Then};
use crate::error::{At, Error, Problems};
use crate::foreground::{self, Lent};
use crate::host::Host;
use crate::log;
use crate::sys::process::Pid;
use crate::sys::signal::{self, Waiting};
use crate::sys::start;
use crate::terminal;

/// The exit code of an `exec` that did not come to run the program.
pub const FAILED: u8 = 255;

/// `exec`: the program's exit code, or 128 and the signal that killed it.
pub fn run(global: &Global, command: &Exec, inherited: Inherited) -> Result<u8, Error> {
    if command.process.is_none() && command.args.is_empty() {
        return Err(Error::message("exec args cannot be empty"));
    }
    let (id, dir) = runtime_root::container(global, &command.id)?;
    let container = Container::load(id, dir)?;
    let mut cgroup = None;
    let status =
        container.allow_if(Operation::Exec, || Ok(cgroup.insert(container.cgroup()?).is_frozen()))?;
    if status == Status::Paused && !command.ignore_paused {
        let (id, operation) = (container.id.clone(), Operation::Exec);
        return Err(Error::Status { id, operation, status });
    }
    let mut host = Host::read_without_cgroups(global.rootless)?;
    signal::wait_for_children_if_ignored(host.ignored_signals).at("signals")?;
    let plan = plan(&container, command, &mut host)?;
    let wants_terminal = plan.process.terminal.is_some();
    check_console(wants_terminal, command.detach, command.console_socket.is_some())?;
    // Before the clone, so that no signal is lost in between.
    let signals = if command.detach { None } else { Some(Waiting::block().at("signals")?) };
    let console_socket = command.console_socket.as_deref().map(terminal::connect_console_socket);
    let request = Request {
        console_socket: console_socket.transpose()?,
        pidfd_socket: command.pidfd_socket.clone(),
        inherited: inherited.count,
        variables: inherited.variables,
        no_pivot: false,
        no_new_keyring: container.state.no_new_keyring,
        then: if command.detach { Then::Execute } else { Then::ExecuteInForeground },
    };
    let sub_cgroups = SubCgroups::parse(&command.cgroup).map_err(flag)?;
    let cgroup = cgroup.map_or_else(|| container.cgroup(), Ok)?;
    let order = Order { plan: &plan, host: &host, request, container: &container, cgroup, sub_cgroups };
    let lends = signals.is_some() && !wants_terminal;
    let lent = lends.then(Lent::instead_of_terminals).transpose().at("process")?;
    let mut executed = exec::exec(&order)?;
    let streams = lent.map(Lent::give_back).unwrap_or_default();
    // Last of all: callers wait for it.
    write_pid_file(command.pid_file.as_deref(), executed.process.pid)?;
    executed.process.let_go();
    log::write_warnings();
    let Some(signals) = signals else { return Ok(SUCCESS) };
    let pidfd = executed.process.pidfd.as_ref().map(AsFd::as_fd);
    let pid = Pid::from_raw(executed.process.pid);
    start::close_clone();
    let exit = foreground::attend(pid, pidfd, &signals, executed.terminal.take(), streams)?;
    // The process ends: the kernel closes what is open, all at once.
    std::mem::forget((order, executed, signals));
    Ok(u8::try_from(exit.code()).unwrap_or(FAILED))
}

/// The process, in the container as it was created: "Any updates to config.json after this step MUST NOT affect the
/// container."
fn plan(container: &Container, command: &Exec, host: &mut Host) -> Result<ExecPlan, Error> {
    let Some(config) = container.dir.read("config.json")? else {
        return Err(Error::message(format!(
            "container {}: config.json is missing from its state",
            container.id
        )));
    };
    let mut bundle = Bundle::pinned(container.state.bundle.clone(), config)?;
    annotations::ask_for_leave(bundle.spec.annotations(), host)?;
    let found = std::mem::take(&mut bundle.problems);
    let (process, found) = match &command.process {
        Some(path) => {
            let file = ProcessFile::open(path)?;
            file.warnings.iter().for_each(|warning| log::warn(warning));
            (file.process, file.problems)
        }
        None => {
            let Some(own) = bundle.spec.process() else {
                return Err(Error::message("process: is missing in config.json; --process can name one"));
            };
            (changes(container, command)?.apply_to(own).map_err(flag)?, found)
        }
    };
    let plan = ExecPlan::new(&bundle.spec, &process, found, host)
        .map_err(|problems| if command.process.is_some() { flag(problems) } else { problems.into() })?;
    // Of the container's own `create` has warned.
    if command.process.is_some() || !command.cap.is_empty() {
        plan.process.capabilities.warnings().iter().for_each(|warning| log::warn(warning));
    }
    Ok(plan)
}

/// What is wrong is not in config.json.
fn flag(problems: Problems) -> Error {
    Error::message(problems.to_string())
}

fn changes(container: &Container, command: &Exec) -> Result<Changes, Error> {
    let user = command.user.as_deref().map(parse_user).transpose().map_err(flag)?;
    let groups = command.additional_gids.iter().map(|gid| parse_group(gid)).collect::<Result<_, _>>();
    Ok(Changes {
        args: command.args.clone(),
        terminal: command.tty,
        cwd: command.cwd.clone(),
        env: command.env.clone(),
        user: user.map(|user| exec::resolve(container, &user)).transpose()?,
        additional_gids: groups.map_err(flag)?,
        capabilities: command.cap.clone(),
        no_new_privileges: command.no_new_privs,
        apparmor_profile: command.apparmor.clone(),
        selinux_label: command.process_label.clone(),
    })
}
