//! The container's first process, from its birth to `execve(2)`, read from top to bottom.
//!
//! Why a step stands where it stands is in ARCHITECTURE.md, "The order of init's steps".

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use crate::cgroup::Entrance;
use crate::cgroup::layout::Layout;
use crate::config::Plan;
use crate::config::annotations::Annotations;
use crate::config::hooks::Kind as Hook;
use crate::config::linux::namespaces::{Fork, JoinedNamespaces, Kind};
use crate::config::linux::seccomp::Program;
use crate::config::process::exec_cpu_affinity;
use crate::container::start_gate::StartGate;
use crate::container::state::document;
use crate::container::status::Status;
use crate::create::assemble::View;
use crate::create::protocol::{ChildEnd, Request};
use crate::create::sources::{Opened, Sources};
use crate::create::{self, enter, identity, intermediate, program, stdio};
use crate::error::{At, Error};
use crate::host::Host;
use crate::rootfs;
use crate::sys::namespace::CloneFlags;
use crate::sys::{self, credentials, file, namespace, prctl};
use crate::terminal;

/// All that init is born with. It is a copy of the parent's memory: nothing in it has to be sent.
pub struct Birthright<'a> {
    /// What is to be created.
    pub plan: &'a Plan,
    /// Facts about the machine.
    pub host: &'a Host,
    /// What the caller asked for.
    pub request: &'a create::Request,
    /// The container's id.
    pub id: &'a str,
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// The runtime's `/proc`.
    pub procfs: OwnedFd,
    /// The namespaces to join.
    pub joined: JoinedNamespaces,
    /// The way into the cgroup, if init was not born in it.
    pub entrance: Option<Entrance<'a>>,
    /// The cgroup's directories.
    pub cgroup: &'a Layout,
    /// Copies of the root and of the sources of bind mounts, where the parent had to make them.
    pub sources: Opened,
    /// The compiled filter.
    pub filter: Option<Program>,
    /// The device rules come later than init, which must not execute the program before.
    pub waits_for_cgroup: bool,
    /// Where to wait for `start`, which nobody can call before all is finished.
    pub gate: Option<StartGate>,
}

/// What is left of the birthright when the host's file system is out of reach.
struct Rest<'a> {
    birthright: (&'a Plan, &'a create::Request, &'a str, &'a Path),
    host: &'a Host,
    /// What went into the terminal's place: its slave end.
    terminal: Option<OwnedFd>,
    filter: Option<Program>,
    waits_for_cgroup: bool,
    gate: Option<StartGate>,
}

/// Be the intermediate, if there is one, and init. Comes back only with an error, which is for the parent as long as
/// there is an end.
pub fn init(birthright: Birthright, end: &mut Option<ChildEnd>) -> Result<Infallible, Error> {
    let rest = match end {
        Some(end) => build(birthright, end)?,
        None => return Err(Error::message("init was born without an end")),
    };
    hand_over(rest, end)
}

/// Make the container's view: namespaces, cgroup, file system.
fn build<'a>(birthright: Birthright<'a>, end: &ChildEnd) -> Result<Rest<'a>, Error> {
    let fork = birthright.plan.namespaces.fork();
    let Birthright {
        plan,
        host,
        request,
        id,
        bundle,
        procfs,
        joined,
        entrance,
        cgroup,
        sources,
        filter,
        waits_for_cgroup,
        gate,
    } = birthright;
    // No `..`: a section that is planned and never applied does not compile.
    let Plan {
        root,
        rootfs_propagation,
        mounts,
        devices,
        masked_paths,
        readonly_paths,
        mount_label,
        namespaces,
        names,
        sysctl,
        memory_policy,
        personality,
        hooks,
        annotations,
        process,
        id_mappings: _, // the parent's, when it is asked to MapIds
        net_devices,
        time_offsets: _, // with the time namespace
        cgroups_path: _,
        resources: _, // the parent's, before init is born
        intel_rdt: _, // the parent's, when it knows init
        seccomp: _,   // compiled by the parent: `filter`
    } = plan;

    intermediate::die_with_parent()?;
    if let Some(entrance) = entrance {
        entrance.enter_self()?; // by a process with one thread: v1 takes it without waiting for a grace period
    }
    exec_cpu_affinity::reset()?;
    // Who waits at the gate is seen there.
    if gate.is_some() {
        let _only_for_ps =
            prctl::set_name(if fork == Fork::Once { "crust:[2:INIT]" } else { "crust:[1:INTER]" });
    }
    if let Some(process) = process
        && !namespaces.creates(Kind::User)
    {
        process.oom_score_adj.apply(&procfs)?; // below the caller's own needs a right of the first user namespace
    }

    enter::namespaces((plan, host, fork), &joined, &procfs, end)?;
    let join = || if request.no_new_keyring { Ok(()) } else { enter::join_keyring(id) };
    // That no policy knows the label is found here at the latest: before any hook.
    process.as_ref().map_or_else(join, |process| process.selinux_label.label_keys(&procfs, join))?;
    if !net_devices.is_empty() {
        end.ask(&Request::MoveNetDevices)?;
    }
    if namespaces.creates(Kind::Network) {
        namespace::bring_up_loopback().at("linux.namespaces")?;
    }

    credentials::set_umask(0);
    let sources = match sources {
        Opened::Here(sources) => sources,
        Opened::WhenAsked => Sources::ask(end, &procfs, plan)?,
    };
    let others = if fork == Fork::IntermediateLast { joined.get(Kind::Pid) } else { None };
    let rootfs_propagation = *rootfs_propagation;
    let view = View { root, rootfs_propagation, mounts, devices, masked_paths, readonly_paths, mount_label };
    let rootfs = view.assemble((namespaces, host, request), sources, (cgroup, others, end))?;
    let terminal = match process.as_ref().and_then(|p| p.terminal.map(|size| (size, p.user.uid()))) {
        Some((size, uid)) => Some(rootfs::open_terminal(&rootfs, size, uid)?),
        None => None,
    };

    if [Hook::Prestart, Hook::CreateRuntime, Hook::CreateContainer]
        .iter()
        .any(|kind| !hooks.of(*kind).is_empty())
    {
        end.ask(&Request::RunHooks)?; // also to say that from now on a failure ends with the hooks of the end
    }
    if !hooks.of(Hook::CreateContainer).is_empty() {
        // In the container's root, as runc runs them: hooks make links to libraries by relative paths.
        let state = state_for_hooks(id, bundle, annotations);
        hooks.run(Hook::CreateContainer, state.as_bytes(), Some(&rootfs.path()))?;
    }

    sysctl.apply(&procfs)?;
    if let Some(process) = process {
        rootfs::make_cwd(&rootfs, &process.cwd)?;
        process.apparmor_profile.apply(&procfs)?;
        process.selinux_label.apply(&procfs)?;
    }
    view.cover(&rootfs)?;
    let _container = rootfs.enter(rootfs_propagation)?;
    names.apply()?;
    memory_policy.apply()?;
    personality.apply()?;

    // Nothing of the host is open from here on: the next step may be into a pid namespace full of strangers (R18).
    let terminal = match terminal {
        Some(terminal) => {
            send_master(request, terminal.master, end)?;
            Some(terminal.slave)
        }
        None => None,
    };
    let birthright = (plan, request, id, bundle);
    let rest = Rest { birthright, host, terminal, filter, waits_for_cgroup, gate };
    let joined = std::mem::ManuallyDrop::new(joined);
    let procfs = std::mem::ManuallyDrop::new(procfs);
    close_all_but(&procfs, &rest, end, joined.get(Kind::Pid))?;
    if fork == Fork::IntermediateLast {
        joined.join(|kind| kind == Kind::Pid)?;
        intermediate::fork_init(CloneFlags::empty(), end)?;
    }
    Ok(rest)
}

/// Take the container process's identity, wait for `start`, and become its program.
fn hand_over(rest: Rest, end: &mut Option<ChildEnd>) -> Result<Infallible, Error> {
    let Rest { birthright: (plan, request, id, bundle), host, terminal, filter, waits_for_cgroup, gate } =
        rest;
    let Some(process) = &plan.process else {
        return without_a_process(end, gate);
    };
    match terminal {
        Some(slave) => terminal::become_controlling(slave)?,
        None => credentials::new_session().at("init")?,
    }
    stdio::make_the_containers_own(process)?;
    let parent = parent_of(end)?;
    if process.apply_limits().is_err() {
        parent.ask(&Request::LimitResources)?; // it may raise them above our own, or says why not
    }
    let (path, env) = identity::take(
        (process, enter::seen_by(&plan.namespaces, host)),
        filter,
        &request.variables,
        parent,
    )?;

    if waits_for_cgroup {
        parent_of(end)?.wait_for_cgroup()?;
    }
    // Whatever becomes of the parent from here on, the state is written, and `delete` finds us.
    prctl::set_parent_death_signal(None).at("init")?;
    if let Some(gate) = &gate {
        say_ready(end)?;
        gate.wait()?;
    }
    let ran = (|| {
        if !plan.hooks.of(Hook::StartContainer).is_empty() {
            let state = state_for_hooks(id, bundle, &plan.annotations);
            plan.hooks.run_in_container(state.as_bytes(), &program::texts(&env))?;
        }
        match &gate {
            Some(gate) => gate.executing()?,
            None => parent_of(end)?.say_ready()?,
        }
        program::execute(&path, &process.args, &env)
    })();
    match (ran, gate) {
        (Err(error), Some(gate)) => {
            gate.failed(&error.to_string());
            sys::process::exit(1)
        }
        (ran, _) => ran,
    }
}

/// "For hooks executed in the container namespace, it is the pid as seen by the container."
fn state_for_hooks(id: &str, bundle: &Path, annotations: &Annotations) -> String {
    document(id, Status::Created, credentials::own_pid(), bundle, annotations).to_string()
}

/// The last word to the parent of a container that is created.
fn say_ready(end: &mut Option<ChildEnd>) -> Result<(), Error> {
    parent_of(end)?.say_ready()?;
    *end = None;
    Ok(())
}

fn parent_of(end: &Option<ChildEnd>) -> Result<&ChildEnd, Error> {
    end.as_ref().ok_or_else(|| Error::message("init has lost its end"))
}

/// A container without a process can be created; `start` refuses it, and init waits for the end.
fn without_a_process(end: &mut Option<ChildEnd>, gate: Option<StartGate>) -> Result<Infallible, Error> {
    let Some(gate) = gate else {
        return Err(Error::message("process: is missing, there is nothing to run"));
    };
    prctl::set_parent_death_signal(None).at("init")?;
    say_ready(end)?;
    loop {
        gate.wait()?;
    }
}

pub(super) fn send_master(request: &create::Request, master: OwnedFd, end: &ChildEnd) -> Result<(), Error> {
    match &request.console_socket {
        Some(socket) => terminal::send_master(socket, &master),
        None => {
            // As runc does: what goes on to a pipe has the lines of the program. A terminal adds what it needs itself.
            sys::terminal::keep_ends_of_lines(&master).at("process.terminal")?;
            // Whoever attends to it keeps it at the size of ours, and may be later than the program's first look.
            if let Some(size) = sys::terminal::size_of_ours() {
                sys::terminal::set_size(&master, size).at("process.terminal")?;
            }
            end.tell(&Request::Terminal(master))
        }
    }
}

/// Close what is not needed any more; the rest of the birthright's descriptors is forgotten by its owners.
fn close_all_but(
    procfs: &OwnedFd,
    rest: &Rest,
    end: &ChildEnd,
    pid_namespace: Option<&OwnedFd>,
) -> Result<(), Error> {
    let mut kept: Vec<i32> = (3..3 + rest.birthright.1.inherited as i32).collect();
    kept.push(end.as_fd().as_raw_fd());
    kept.extend(pid_namespace.map(AsRawFd::as_raw_fd));
    kept.extend(rest.terminal.as_ref().map(AsRawFd::as_raw_fd));
    kept.extend(rest.gate.iter().flat_map(StartGate::descriptors));
    kept.extend(crate::log::descriptor());
    file::close_all_but(procfs, &kept).at("init")
}
