//! The parent: makes what must be there before init, serves what init may not do itself, and undoes all of it when
//! something fails.

use std::convert::Infallible;
use std::os::fd::OwnedFd;

use crate::bundle::Bundle;
use crate::cgroup::layout::Layout;
use crate::cgroup::{Cgroup, Entrance};
use crate::config::Plan;
use crate::config::hooks::Kind as Hook;
use crate::config::linux::namespaces::{JoinedNamespaces, Kind};
use crate::config::linux::net_devices::MovedDevices;
use crate::container::destroy::run_poststop;
use crate::container::dir::Dir;
use crate::container::id::ContainerId;
use crate::container::start_gate::StartGate;
use crate::container::state::{Creation, Init, State};
use crate::container::status::Status;
use crate::create::child::{Child, forward_listener, send_pidfd};
use crate::create::init::{self, Birthright};
use crate::create::protocol::{self, ChildEnd, Done, ParentEnd, Request};
use crate::create::sources::{self, Sources};
use crate::create::{self, Then};
use crate::error::{At, Error};
use crate::host::Host;
use crate::resctrl::Group;
use crate::rootfs;
use crate::sys::clone::{self, Birth, Fork};
use crate::sys::process::{self, Pid};
use crate::sys::{self, Errno, proc, signal};

/// A container that has been created.
#[derive(Debug)]
pub struct Created {
    /// Its init.
    pub init: Child,
    /// The other end of its terminal, for a caller in the foreground.
    pub terminal: Option<OwnedFd>,
    /// What was written down.
    pub state: State,
    /// What was written down of its init.
    pub identity: Option<Init>,
    /// Its control groups.
    pub cgroup: Cgroup,
    /// The network devices that were moved into it.
    pub net_devices: Option<MovedDevices>,
}

impl Created {
    /// It stays: whoever is our reaper takes care of its init from now on.
    pub fn let_go(&mut self) {
        self.init.let_go();
        if let Some(devices) = self.net_devices.take() {
            devices.keep();
        }
    }
}

/// What is to be created, and for whom.
pub struct Order<'a> {
    /// The config as it is meant.
    pub plan: &'a Plan,
    /// Facts about the machine.
    pub host: &'a Host,
    /// What the caller asks for beside it.
    pub request: create::Request,
    /// The new container's id.
    pub id: &'a ContainerId,
    /// Where the config came from.
    pub bundle: &'a Bundle,
}

/// Create the container. On failure nothing is left but the state directory, which is its owner's to remove.
pub fn create(order: &Order, dir: &Dir) -> Result<Created, Error> {
    let Order { plan, host, request, id, bundle } = order;
    // All that can fail without having changed anything comes first.
    let joined = plan.namespaces.open()?;
    rootfs::check(&plan.root)?;
    let filter = plan.seccomp.compile()?;
    let procfs = proc::open_procfs().at("host")?;
    plan.net_devices.check(&joined, &procfs)?;
    let sources = Sources::open(plan, host, &joined)?;

    let group = plan.intel_rdt.as_ref();
    let group = group.map(|plan| Ok::<_, Error>((plan, Group::survey(plan, id)?))).transpose()?;
    let survey = Layout::new(&plan.cgroups_path, id, &plan.resources, host).survey()?;
    let state = State::new(
        Creation {
            id: id.as_str(),
            bundle: bundle.path.clone(),
            rootfs: plan.root.path.clone(),
            owner: host.euid,
            intel_rdt: group.as_ref().map(|(_, survey)| survey.group().clone()),
            own_pid_namespace: plan.namespaces.creates(Kind::Pid),
            has_process: plan.process.is_some(),
            no_new_keyring: request.no_new_keyring,
        },
        plan.annotations.clone(),
        plan.hooks.clone(),
        survey.layout().clone(),
    );
    state.save(dir)?;
    let gate = match request.then {
        Then::WaitAtTheGate => Some(StartGate::create(dir)?),
        Then::Execute | Then::ExecuteInForeground => None,
    };

    let mut cgroup = survey.create(&plan.cgroups_path, &plan.resources)?;
    if let Some(uid) = plan.cgroup_owner().filter(|uid| host.euid == 0 && *uid != 0) {
        cgroup.delegate(uid)?;
    }
    let entrance = cgroup.entrance()?;
    let late = cgroup.may_restrict_devices_late();
    let group = group.map(|(plan, survey)| survey.create(plan)).transpose()?;
    let birthright = Birthright {
        plan,
        host,
        request,
        id: id.as_str(),
        bundle: &bundle.path,
        procfs,
        joined,
        entrance: Some(entrance),
        cgroup: cgroup.layout(),
        sources,
        filter,
        waits_for_cgroup: late && gate.is_none(),
        gate,
    };
    let (mut init, end, joined) = bear(birthright)?;
    // What need not be there before init, is done while init is on its way.
    let finish_cgroup = || match (late, request.then) {
        (false, _) => Ok(()),
        (true, Then::WaitAtTheGate) => cgroup.restrict_devices(&plan.resources.devices),
        (true, Then::Execute | Then::ExecuteInForeground) => {
            cgroup.restrict_devices(&plan.resources.devices)?;
            end.say_cgroup_is_finished()
        }
    };
    // "Any updates to config.json after this step MUST NOT affect the container."
    let prepared = finish_cgroup().and_then(|()| dir.write_first("config.json", &bundle.bytes));
    let mut service = Service {
        order,
        dir,
        state: &state,
        joined,
        terminal: None,
        identity: None,
        net_devices: None,
        hooks_have_run: false,
    };
    let served = prepared
        .and_then(|()| service.serve(&mut init, &end))
        .and_then(|()| ready(order, dir, &init))
        .and_then(|()| cgroup.settle());
    let Service { terminal, identity, net_devices, hooks_have_run, .. } = service;
    if let Err(error) = served {
        let error = explain(error, &cgroup);
        drop(init);
        drop(net_devices);
        drop((cgroup, group));
        if hooks_have_run {
            // "If any prestart hook fails, the runtime MUST … stop the container, and continue the lifecycle at" its
            // end, which is where poststop hooks run.
            run_poststop(&state);
        }
        return Err(error);
    }
    cgroup.keep();
    if let Some(group) = group {
        group.keep();
    }
    Ok(Created { init, terminal, state, identity, cgroup, net_devices })
}

/// Before this kernel, whoever is born in a cgroup has its parent's CPUs there, not the cgroup's.
pub(super) const CPUS_OF_A_BIRTH: (u32, u32) = (6, 4);

/// Clone the first child. In it, this does not return.
fn bear(mut birthright: Birthright) -> Result<(Child, ParentEnd, JoinedNamespaces), Error> {
    let (parent_end, child_end) = protocol::pair()?;
    let namespaces = &birthright.plan.namespaces;
    let flags = namespaces.clone_flags(namespaces.fork())
        - birthright.plan.namespaces_of_the_root(birthright.host.euid);
    let flags = flags.bits() as u32 as u64;
    if birthright.host.kernel < CPUS_OF_A_BIRTH
        && let Some(entrance) = &mut birthright.entrance
    {
        entrance.is_entered_by_self().at("linux.cgroupsPath")?;
    }
    match clone_into(flags, birthright.entrance.as_mut()).at("linux.namespaces")? {
        Fork::Child => {
            drop(parent_end);
            child_main(child_end, birthright.host.ignored_signals, |end| init::init(birthright, end))
        }
        Fork::Parent(pid, pidfd) => Ok((Child::new(pid, pidfd), parent_end, birthright.joined)),
    }
}

/// Clone a child, in its v2 cgroup if the kernel can do that. If it cannot, the child enters it by itself.
pub(super) fn clone_into(flags: u64, entrance: Option<&mut Entrance>) -> sys::Result<Fork> {
    // Before there is a process that a container may come to see (R17).
    sys::prctl::set_dumpable(sys::prctl::Dumpable::No)?;
    let cgroup = entrance.as_ref().and_then(|entrance| entrance.into_cgroup());
    match (clone::clone(&Birth { flags, cgroup }), entrance) {
        (Err(error), Some(entrance))
            if entrance.into_cgroup().is_some()
                && (sys::is_missing(error.errno) || error.errno == Errno::EINVAL) =>
        {
            entrance.is_entered_by_self()?;
            clone::clone(&Birth { flags, cgroup: None })
        }
        (born, _) => born,
    }
}

/// Be the child, and tell the parent what went wrong.
pub(super) fn child_main(
    end: ChildEnd,
    ignored_signals: u64,
    run: impl FnOnce(&mut Option<ChildEnd>) -> Result<Infallible, Error>,
) -> ! {
    let mut end = Some(end);
    let _the_parents = crate::log::take_warnings();
    let Err(error) = signal::reset_ignored(ignored_signals).at("init").and_then(|()| run(&mut end));
    if let Some(end) = end {
        let _nobody_is_left_to_tell = end.tell(&Request::Failed(error.exit_code(), error.to_string()));
    }
    process::exit(1)
}

/// What the parent does while init is on its way.
struct Service<'a> {
    order: &'a Order<'a>,
    dir: &'a Dir,
    state: &'a State,
    joined: JoinedNamespaces,
    terminal: Option<OwnedFd>,
    identity: Option<Init>,
    net_devices: Option<MovedDevices>,
    hooks_have_run: bool,
}

impl Service<'_> {
    /// Serve until init is ready. The arms are all that a container may not do for itself.
    fn serve(&mut self, init: &mut Child, end: &ParentEnd) -> Result<(), Error> {
        let plan = self.order.plan;
        if plan.namespaces.fork() == crate::config::linux::namespaces::Fork::Once {
            self.introduce(init)?;
        }
        let mut ready = false;
        while let Some(request) = end.receive()? {
            match request {
                Request::Born(pid) => {
                    init.replace_by(pid)?;
                    self.introduce(init)?;
                }
                Request::Succeeded(_) => {
                    return Err(Error::message("init asks for what only a further process may ask for"));
                }
                Request::MapIds => self.map_ids(init.pid)?,
                Request::OpenSources(namespace) => {
                    let procfs = proc::open_procfs().at("host")?;
                    let sources = Sources::open_in(&namespace, &procfs, plan, &self.joined)?;
                    end.send_descriptors(&sources.numbered())?;
                }
                Request::MapMount(number, source) => {
                    if let Some(mount) = plan.mounts.get(number) {
                        sources::map(&source, mount, &self.joined)?;
                    }
                }
                Request::SetTimeOffsets => {
                    plan.time_offsets.write_for(init.pid, proc::open_procfs().at("host")?)?;
                }
                Request::MoveNetDevices => {
                    let procfs = proc::open_procfs().at("host")?;
                    self.net_devices = Some(plan.net_devices.move_to(init.pid, &procfs)?);
                }
                Request::RunHooks => self.run_hooks(init.pid)?,
                Request::Terminal(master) => {
                    self.terminal = Some(master);
                    continue;
                }
                Request::LimitResources => {
                    if let Some(process) = &plan.process {
                        process.write_limits_for(Pid::from_raw(init.pid))?;
                    }
                }
                Request::ForwardListener(number) => {
                    let listener = plan.seccomp.listener();
                    forward_listener(listener, (self.state, Status::Creating), init, number)?;
                }
                Request::Warning(text) => {
                    crate::log::warn(&text);
                    continue;
                }
                Request::Ready => {
                    ready = true;
                    continue;
                }
                Request::Failed(code, message) => return Err(Error::Program { code, message }),
            }
            end.send(Done)?;
        }
        if ready { Ok(()) } else { Err(init.died()) }
    }

    /// Init exists: what knows it by its pid gets to know it.
    fn introduce(&mut self, init: &Child) -> Result<(), Error> {
        let identity = init.identity()?;
        identity.save(self.dir)?;
        self.identity = Some(identity);
        self.state.intel_rdt.as_ref().map_or(Ok(()), |group| group.take(init.pid))
    }

    fn map_ids(&self, pid: i32) -> Result<(), Error> {
        let Order { plan, host, .. } = self.order;
        let procfs = proc::open_procfs().at("host")?;
        plan.id_mappings.write_for(pid, &procfs, host.caller.as_ref())?;
        match &plan.process {
            Some(process) => process.oom_score_adj.write_for(pid, &procfs),
            None => Ok(()),
        }
    }

    fn run_hooks(&mut self, pid: i32) -> Result<(), Error> {
        self.hooks_have_run = true;
        // "created (after step 2 in the lifecycle)": these are its steps 3 and 4.
        let document = self.state.document(Status::Created, pid).to_string().into_bytes();
        for kind in [Hook::Prestart, Hook::CreateRuntime] {
            self.state.hooks.run(kind, &document, Some(&self.state.bundle))?;
        }
        Ok(())
    }
}

/// Init has said that it is ready and closed its end: it waits at the gate, or runs its program.
fn ready(order: &Order, dir: &Dir, init: &Child) -> Result<(), Error> {
    if order.request.then == Then::WaitAtTheGate {
        StartGate::put_in_place(dir)?;
    }
    send_pidfd(&order.request, init, "standard")
}

/// Init that died while it was made has often met the memory limit.
pub(super) fn explain(error: Error, cgroup: &Cgroup) -> Error {
    match cgroup.out_of_memory_kills() {
        Some(kills) if kills > 0 => Error::message(format!(
            "{error}: the kernel killed it for lack of memory; linux.resources.memory.limit is too low"
        )),
        _ => error,
    }
}
