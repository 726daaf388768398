//! The parent of a further process: finds the container's init, bears the process, and serves it what it may not do
//! itself.

use std::os::fd::OwnedFd;

use crate::cgroup::Cgroup;
use crate::cgroup::sub_cgroups::SubCgroups;
use crate::config::exec::{Account, ExecPlan};
use crate::config::linux::namespaces::Namespaces;
use crate::container::Container;
use crate::container::state::Init;
use crate::container::status::{Operation, Status};
use crate::create;
use crate::create::child::{Child, forward_listener, send_pidfd};
use crate::create::join::{self, Birthright, Target, procfs};
use crate::create::parent::{CPUS_OF_A_BIRTH, child_main, clone_into, explain};
use crate::create::protocol::{self, Done, ParentEnd, Request};
use crate::error::{At, Error};
use crate::host::Host;
use crate::rootfs::accounts::Accounts;
use crate::sys::clone::Fork;
use crate::sys::process::Pid;
use crate::sys::{self, Errno};

/// A process that has been executed.
#[derive(Debug)]
pub struct Executed {
    /// The process, killed if it is dropped.
    pub process: Child,
    /// The other end of its terminal, for a caller in the foreground.
    pub terminal: Option<OwnedFd>,
}

/// What is to be executed, where, and for whom.
pub struct Order<'a> {
    /// The process as it is meant.
    pub plan: &'a ExecPlan,
    /// Facts about the machine.
    pub host: &'a Host,
    /// What the caller asks for beside it.
    pub request: create::Request,
    /// The container.
    pub container: &'a Container,
    /// Its control groups.
    pub cgroup: Cgroup,
    /// `--cgroup`
    pub sub_cgroups: Option<SubCgroups>,
}

/// Execute the process. On failure it is dead.
pub fn exec(order: &Order) -> Result<Executed, Error> {
    let Order { plan, host, request, container, cgroup, sub_cgroups } = order;
    let procfs = procfs()?;
    let init = init_of(container)?;
    let target = Target::of(init, &procfs, &plan.namespaces)?;
    let filter = plan.seccomp.compile()?;
    let entrance = match sub_cgroups {
        Some(sub_cgroups) => cgroup.entrance_to(sub_cgroups)?,
        None => cgroup.entrance()?,
    };
    plan.process.exec_cpu_affinity.apply_initial()?;
    let id = container.id.as_str();
    let beside = || match sub_cgroups {
        // It was asked for by name.
        Some(_) => Err(Error::message("--cgroup: the kernel takes no process into it (EBUSY)")),
        None => cgroup.entrance_beside(init.pid),
    };
    let birthright =
        Birthright { plan, host, request, id, procfs, target, entrance, beside: &beside, filter };
    let (mut process, end) = bear(birthright)?;
    container.state.intel_rdt.as_ref().map_or(Ok(()), |group| group.take(process.pid))?;
    let mut terminal = None;
    match serve(order, &mut process, &end, &mut terminal) {
        Ok(()) => {
            process.reap_predecessor()?;
            send_pidfd(request, &process, "setns")?;
            Ok(Executed { process, terminal })
        }
        Err(error) => Err(explain(error, cgroup)),
    }
}

fn init_of(container: &Container) -> Result<&Init, Error> {
    let (id, operation, status) = (container.id.clone(), Operation::Exec, Status::Stopped);
    container.init.as_ref().ok_or(Error::Status { id, operation, status })
}

/// The ids of accounts that only the container knows, in its present root.
pub fn resolve(
    container: &Container,
    (user, group): &(Account, Option<Account>),
) -> Result<(u32, Option<u32>), Error> {
    let target = || Target::of(init_of(container)?, procfs()?, &Namespaces::default());
    let accounts = || Ok::<_, Error>(Accounts::new(target()?.root()?));
    let (uid, own_group) = match user {
        Account::Number(uid) => (*uid, None),
        Account::Name(name) => accounts()?.user(name).map(|(uid, gid)| (uid, Some(gid)))?,
    };
    let gid = match group {
        None => own_group,
        Some(Account::Number(gid)) => Some(*gid),
        Some(Account::Name(name)) => Some(accounts()?.group(name)?),
    };
    Ok((uid, gid))
}

/// Clone the process. In it, this does not return.
fn bear(mut birthright: Birthright) -> Result<(Child, ParentEnd), Error> {
    let (parent_end, child_end) = protocol::pair()?;
    if birthright.host.kernel < CPUS_OF_A_BIRTH {
        birthright.entrance.is_entered_by_self().at("linux.cgroupsPath")?;
    }
    let mut born = clone_into(0, Some(&mut birthright.entrance));
    if let Err(sys::Error { errno: Errno::EBUSY | Errno::ENODEV, .. }) = &born {
        birthright.entrance = (birthright.beside)()?;
        born = clone_into(0, Some(&mut birthright.entrance));
    }
    match born.at("linux.cgroupsPath")? {
        Fork::Child => {
            drop(parent_end);
            child_main(child_end, birthright.host.ignored_signals, |end| join::join(birthright, end))
        }
        Fork::Parent(pid, pidfd) => Ok((Child::new(pid, pidfd), parent_end)),
    }
}

/// Serve until the process executes its program.
fn serve(
    order: &Order,
    process: &mut Child,
    end: &ParentEnd,
    terminal: &mut Option<OwnedFd>,
) -> Result<(), Error> {
    let plan = order.plan;
    let mut executing = false;
    while let Some(request) = end.receive()? {
        match request {
            Request::Born(pid) => process.replace_by(pid)?,
            Request::Succeeded(pid) => {
                process.is_succeeded_by(pid);
                continue;
            }
            Request::Terminal(master) => {
                *terminal = Some(master);
                continue;
            }
            Request::LimitResources => plan.process.write_limits_for(Pid::from_raw(process.pid))?,
            Request::ForwardListener(number) => {
                let state = (&order.container.state, Status::Running);
                forward_listener(plan.seccomp.listener(), state, process, number)?;
            }
            Request::Warning(text) => {
                crate::log::warn(&text);
                continue;
            }
            Request::Ready => {
                executing = true;
                continue;
            }
            Request::Failed(code, message) => return Err(Error::Program { code, message }),
            Request::MapIds
            | Request::OpenSources(_)
            | Request::MapMount(..)
            | Request::SetTimeOffsets
            | Request::MoveNetDevices
            | Request::RunHooks => {
                return Err(Error::message("a further process asks for what only init may ask for"));
            }
        }
        end.send(Done)?;
    }
    if executing { Ok(()) } else { Err(Error::message("the process died before it could run the program")) }
}
