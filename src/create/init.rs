//! The container's first process, from its birth to `execve(2)`, read from top to bottom.
//!
//! Why a step stands where it stands is in ARCHITECTURE.md, "The order of init's steps".

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use crate::cgroup::Entrance;
use crate::cgroup::layout::Layout;
use crate::config::Plan;
use crate::config::hooks::Kind as Hook;
use crate::config::linux::namespaces::{Fork, JoinedNamespaces, Kind};
use crate::config::linux::seccomp::Program;
use crate::config::mounts::What;
use crate::container::start_gate::StartGate;
use crate::container::state::document;
use crate::container::status::Status;
use crate::create::protocol::{ChildEnd, Request};
use crate::create::{self, identity, intermediate, program, stdio};
use crate::error::{At, Error};
use crate::host::Host;
use crate::rootfs::{self, Enter, Rootfs, cgroup_mount, cover, device_nodes, links};
use crate::sys::{self, Errno, credentials, file, keyring, namespace, prctl};
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
    pub entrance: Option<Entrance>,
    /// The cgroup's directories.
    pub cgroup: &'a Layout,
    /// Copies of the root and of the sources of bind mounts, where the parent had to make them.
    pub sources: Sources,
    /// The compiled filter.
    pub filter: Option<Program>,
    /// Where to wait for `start`.
    pub gate: Option<StartGate>,
}

/// Detached copies of mounts that the parent has made: of the root, and of each mount's source.
#[derive(Debug, Default)]
pub struct Sources {
    /// The root file system.
    pub root: Option<OwnedFd>,
    /// In the order of `mounts`; what is no bind mount has none.
    pub mounts: Vec<Option<OwnedFd>>,
}

/// What is left of the birthright when the host's file system is out of reach.
struct Rest<'a> {
    birthright: (&'a Plan, &'a create::Request, &'a str, &'a Path),
    /// What went into the terminal's place: its slave end.
    terminal: Option<OwnedFd>,
    filter: Option<Program>,
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
    let fork = birthright.plan.namespaces.fork(birthright.host.kernel);
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
        namespaces,
        time_offsets,
        names,
        sysctl,
        personality,
        hooks,
        annotations,
        process,
        id_mappings: _, // the parent's, when it is asked to MapIds
        cgroups_path: _,
        resources: _, // the parent's, before init is born
        seccomp: _,   // compiled by the parent: `filter`
    } = plan;

    intermediate::die_with_parent()?;
    if let Some(entrance) = entrance {
        entrance.enter_self()?; // by a process with one thread: v1 takes it without waiting for a grace period
    }
    let _only_for_ps = prctl::set_name(if fork == Fork::Once { "crust:[2:INIT]" } else { "crust:[1:INTER]" });
    if let Some(process) = process
        && !namespaces.creates(Kind::User)
    {
        process.oom_score_adj.apply(&procfs)?; // below the caller's own needs a right of the first user namespace
    }

    enter_namespaces((plan, host, fork), &joined, &procfs, end)?;
    if namespaces.is_own(Kind::Cgroup) && namespaces.creates(Kind::Cgroup) {
        namespace::unshare(namespace::CloneFlags::CLONE_NEWCGROUP).at("linux.namespaces")?; // shows the cgroup we are in
    }
    if namespaces.creates(Kind::Time) && fork != Fork::IntermediateFirst {
        namespace::unshare(Kind::Time.flag()).at("linux.namespaces")?; // entered by execve(2), or by the fork below
        time_offsets.apply(&procfs)?;
    }
    if !request.no_new_keyring {
        join_keyring(id)?;
    }
    if namespaces.creates(Kind::Network) {
        namespace::bring_up_loopback().at("linux.namespaces")?;
    }

    credentials::set_umask(0);
    let enter = match () {
        () if !namespaces.is_own(Kind::Mount) => Enter::Chroot,
        () if request.no_pivot => Enter::Move,
        () => Enter::Pivot,
    };
    let rootfs = Rootfs::open(root, enter, *rootfs_propagation, sources.root)?;
    if enter != Enter::Chroot {
        let given = sources.mounts.into_iter().chain(std::iter::repeat_with(|| None));
        for (mount, source) in mounts.iter().zip(given) {
            match mount.what {
                What::Cgroup => cgroup_mount::mount(rootfs.tree(), mount, namespaces, cgroup)?,
                _ => {
                    let others = if fork == Fork::IntermediateLast { joined.get(Kind::Pid) } else { None };
                    rootfs::mount::mount(rootfs.tree(), mount, source, others)?;
                }
            }
        }
    }
    let dev_is_bound = mounts.iter().any(|m| m.destination == Path::new("/dev") && m.bind_source().is_some());
    if !dev_is_bound && enter != Enter::Chroot {
        let nodes = if namespaces.is_own(Kind::User) || host.in_user_namespace {
            device_nodes::Nodes::Bind
        } else {
            device_nodes::Nodes::Make
        };
        device_nodes::make(rootfs.tree(), devices, nodes)?;
        links::make(rootfs.tree())?;
    }
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
    // "For hooks executed in the container namespace, it is the pid as seen by the container."
    let state =
        |status| document(id, status, credentials::own_pid(), bundle, annotations).to_string().into_bytes();
    hooks.run(Hook::CreateContainer, &state(Status::Created), Some(bundle))?;

    sysctl.apply(&procfs)?;
    if let Some(process) = process {
        rootfs::make_cwd(&rootfs, &process.cwd)?;
        process.apparmor_profile.apply(&procfs)?;
        process.selinux_label.apply(&procfs)?;
    }
    if enter != Enter::Chroot {
        cover::make_readonly(rootfs.tree(), readonly_paths)?;
        cover::mask(rootfs.tree(), masked_paths)?;
        if root.readonly {
            rootfs.make_readonly()?;
        }
    }
    let _container = rootfs.enter(*rootfs_propagation)?;
    names.apply()?;
    personality.apply()?;

    // Nothing of the host is open from here on: the next step may be into a pid namespace full of strangers (R18).
    let terminal = match terminal {
        Some(terminal) => {
            send_master(request, terminal.master, end)?;
            Some(terminal.slave)
        }
        None => None,
    };
    let rest = Rest { birthright: (plan, request, id, bundle), terminal, filter, gate };
    let joined = std::mem::ManuallyDrop::new(joined);
    let procfs = std::mem::ManuallyDrop::new(procfs);
    close_all_but(&procfs, &rest, end, joined.get(Kind::Pid))?;
    if fork == Fork::IntermediateLast {
        joined.join(|kind| kind == Kind::Pid)?;
        intermediate::fork_init(namespaces, &[], end)?;
    }
    Ok(rest)
}

/// Take the container process's identity, wait for `start`, and become its program.
fn hand_over(rest: Rest, end: &mut Option<ChildEnd>) -> Result<Infallible, Error> {
    let Rest { birthright: (plan, request, id, bundle), terminal, filter, gate } = rest;
    let Some(process) = &plan.process else {
        return without_a_process(end, gate);
    };
    match terminal {
        Some(slave) => terminal::become_controlling(slave)?,
        None => credentials::new_session().at("init")?,
    }
    stdio::make_the_containers_own(process)?;
    let parent = parent_of(end)?;
    parent.ask(&Request::LimitResources)?; // the parent may raise them above our own
    let (path, env) = identity::take(process, filter, &request.variables, parent)?;

    // Whatever becomes of the parent from here on, the state is written, and `delete` finds us.
    prctl::set_parent_death_signal(None).at("init")?;
    if let Some(gate) = &gate {
        say_ready(end)?;
        gate.wait()?;
    }
    let ran = (|| {
        let state =
            document(id, Status::Created, credentials::own_pid(), bundle, &plan.annotations).to_string();
        plan.hooks.run_in_container(state.as_bytes(), &program::texts(&env))?;
        match &gate {
            Some(gate) => gate.executing()?,
            None => parent_of(end)?.tell(&Request::Ready)?,
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

/// The last word to the parent of a container that is created.
fn say_ready(end: &mut Option<ChildEnd>) -> Result<(), Error> {
    parent_of(end)?.tell(&Request::Ready)?;
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

/// Enter the namespaces, in whichever process the plan says. Returns in the one that goes on.
fn enter_namespaces(
    birthright: (&Plan, &Host, Fork),
    joined: &JoinedNamespaces,
    procfs: &OwnedFd,
    end: &ChildEnd,
) -> Result<(), Error> {
    let (plan, host, fork) = birthright;
    let namespaces = &plan.namespaces;
    match fork {
        Fork::Once => joined.join(|_| true)?,
        Fork::IntermediateFirst => {
            // A new user namespace has no rights in the pid namespace, so that one is joined first.
            joined.join(|kind| kind != Kind::Pid || namespaces.creates(Kind::User))?;
            if namespaces.creates(Kind::Time) {
                namespace::unshare(Kind::Time.flag()).at("linux.namespaces")?;
                plan.time_offsets.apply(procfs)?;
            }
            let kinds = [Kind::User, Kind::Ipc, Kind::Uts, Kind::Network, Kind::Mount, Kind::Pid];
            intermediate::fork_init(namespaces, &kinds, end)?;
        }
        Fork::IntermediateLast => {
            joined.join(|kind| kind != Kind::Pid)?;
            if namespaces.joins(Kind::User) {
                let kinds = [Kind::Ipc, Kind::Uts, Kind::Network, Kind::Mount];
                namespace::unshare(namespaces.flags_of_new(&kinds)).at("linux.namespaces")?;
            }
        }
    }
    if namespaces.creates(Kind::User) {
        if host.euid != 0 {
            // The files in /proc of a process that is not dumpable are root's, and the parent is not. Nobody else is in
            // the new user namespace yet.
            prctl::set_dumpable(prctl::Dumpable::Yes).at("init")?;
        }
        end.ask(&Request::MapIds)?;
    }
    if namespaces.is_own(Kind::User) && plan.id_mappings.maps(0, 0) == (true, true) {
        become_the_containers_root(host)?;
    }
    prctl::set_dumpable(prctl::Dumpable::No).at("init")?;
    intermediate::die_with_parent() // the change of user has cleared it
}

pub(super) fn become_the_containers_root(host: &Host) -> Result<(), Error> {
    let field = "linux.uidMappings";
    if host.euid == 0 {
        credentials::set_groups(&[]).at(field)?;
    }
    credentials::set_group(0).at(field)?;
    credentials::set_user(0).at(field)
}

/// A keyring of its own, so that the container's processes do not use the caller's keys.
pub(super) fn join_keyring(id: &str) -> Result<(), Error> {
    let joined = keyring::join_session_keyring(&format!("_ses.{id}"));
    let permitted = joined.and_then(|keyring| keyring::add_permissions(keyring, keyring::USER_SEARCH));
    match permitted {
        Ok(()) => Ok(()),
        // No keyrings in this kernel, or none for us (an outer container's filter): the caller's stays out of reach
        // of a user namespace, and --no-new-keyring says that one knows.
        Err(sys::Error { errno: Errno::ENOSYS | Errno::EPERM | Errno::EACCES, call }) => {
            crate::log::warn(&format!("{call}: the container keeps the session keyring"));
            Ok(())
        }
        Err(error) => Err(error).at("session keyring"),
    }
}

pub(super) fn send_master(request: &create::Request, master: OwnedFd, end: &ChildEnd) -> Result<(), Error> {
    match &request.console_socket {
        Some(socket) => terminal::send_master(socket, &master),
        None => end.tell(&Request::Terminal(master)),
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
