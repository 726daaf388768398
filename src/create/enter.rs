//! Enter the container's namespaces, and leave the caller's keys behind.

use std::os::fd::OwnedFd;

use crate::config::Plan;
use crate::config::linux::namespaces::{Fork, JoinedNamespaces, Kind, Namespaces};
use crate::config::process::Process;
use crate::create::intermediate;
use crate::create::protocol::{ChildEnd, Request};
use crate::error::{At, Error};
use crate::host::Host;
use crate::sys::{self, Errno, credentials, keyring, namespace, prctl};

/// Since this kernel at the latest (not yet 6.1) `execve(2)` enters a time namespace that was made by `unshare(2)`.
const TIME_ENTERED_BY_EXECVE: (u32, u32) = (6, 3);

/// Enter the namespaces, in whichever process the plan says. Returns in the one that goes on.
pub fn namespaces(
    birthright: (&Plan, &Host, Fork),
    joined: &JoinedNamespaces,
    procfs: &OwnedFd,
    end: &ChildEnd,
) -> Result<(), Error> {
    let (plan, host, fork) = birthright;
    let namespaces = &plan.namespaces;
    let late = plan.namespaces_of_the_root(host.euid);
    let keeps = plan.process.as_ref().is_some_and(|process| process.user.keeps_groups());
    if namespaces.joins(Kind::User) && host.euid == 0 && !host.setgroups_denied && !keeps {
        // In there it may be denied.
        credentials::set_groups(&[]).at("linux.namespaces")?;
    }
    match fork {
        Fork::Once => joined.join(|_| true)?,
        Fork::IntermediateFirst => {
            // A new user namespace has no rights in the pid namespace, so that one is joined first.
            joined.join(|kind| kind != Kind::Pid || namespaces.creates(Kind::User))?;
            let kinds = [Kind::User, Kind::Ipc, Kind::Uts, Kind::Network, Kind::Mount, Kind::Pid];
            intermediate::fork_init(namespaces.flags_of_new(&kinds) - late, end)?;
        }
        Fork::IntermediateLast => {
            joined.join(|kind| kind != Kind::Pid)?;
            if namespaces.joins(Kind::User) {
                let kinds = [Kind::Ipc, Kind::Uts, Kind::Network, Kind::Mount];
                namespace::unshare(namespaces.flags_of_new(&kinds) - late).at("linux.namespaces")?;
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
    if namespaces.is_own(Kind::User) {
        match (plan.id_mappings.maps(0, 0), &plan.process) {
            ((true, true), process) => become_mapped(host, (0, 0), process.as_ref())?,
            // Without a root it takes somebody else who may own what is made: that change takes no rights away.
            ((uid, gid), Some(process)) => {
                let user = &process.user;
                let ids = (if uid { 0 } else { user.uid() }, if gid { 0 } else { user.gid() });
                become_mapped(host, ids, Some(process))?;
            }
            _ => {}
        }
    }
    if namespaces.is_own(Kind::User) {
        // Both go with a change of user or of his rights, and nothing else has come in between.
        prctl::set_dumpable(seen_by(namespaces, host)).at("init")?;
        intermediate::die_with_parent()?;
    }
    if !late.is_empty() {
        namespace::unshare(late).at("linux.namespaces")?;
    }
    if namespaces.creates(Kind::Cgroup) {
        namespace::unshare(Kind::Cgroup.flag()).at("linux.namespaces")?; // shows the cgroup that we are in
    }
    if namespaces.creates(Kind::Time) {
        namespace::unshare(Kind::Time.flag()).at("linux.namespaces")?;
        if !namespaces.is_own(Kind::User) {
            plan.time_offsets.apply(procfs)?;
        } else if !plan.time_offsets.is_empty() {
            end.ask(&Request::SetTimeOffsets)?;
        }
        if host.kernel < TIME_ENTERED_BY_EXECVE {
            namespace::join_own_time(procfs).at("linux.namespaces")?;
        }
    }
    Ok(())
}

/// An ordinary user has no rights over a process that is not dumpable, his own or not: its memory belongs to the first user
/// namespace, whatever it has become since. His hooks enter its network, and `exec` its namespaces, before its program
/// runs. Nobody else sees it, unless it is in a user or pid namespace that was there before.
pub fn seen_by(namespaces: &Namespaces, host: &Host) -> prctl::Dumpable {
    let is_alone = namespaces.creates(Kind::User) && !namespaces.joins(Kind::Pid);
    if host.caller.is_some() && is_alone { prctl::Dumpable::Yes } else { prctl::Dumpable::No }
}

/// Be this user and group of the user namespace that we are in.
pub fn become_mapped(host: &Host, (uid, gid): (u32, u32), process: Option<&Process>) -> Result<(), Error> {
    let field = "linux.uidMappings";
    if !process.is_some_and(|process| process.user.keeps_groups()) {
        match credentials::set_groups(&[]) {
            // Whoever has mapped himself had to give up the right to it, and keeps his groups.
            Err(error) if error.errno == Errno::EPERM && keeps_groups(host) => {}
            done => done.at(field)?,
        }
    }
    credentials::set_group(gid).at(field)?;
    credentials::set_user(uid).at(field)
}

fn keeps_groups(host: &Host) -> bool {
    host.caller.is_some()
        || host.setgroups_denied
        || credentials::groups().is_ok_and(|groups| groups.is_empty())
}

/// A keyring of its own, so that the container's processes do not use the caller's keys.
pub fn join_keyring(id: &str) -> Result<(), Error> {
    let joined = keyring::join_session_keyring(&format!("_ses.{id}"));
    let permitted = joined.and_then(|keyring| keyring::add_permissions(keyring, keyring::USER_SEARCH));
    match permitted {
        Ok(()) => Ok(()),
        // This kernel has no keyrings.
        Err(sys::Error { errno: Errno::ENOSYS, .. }) => Ok(()),
        // None for us (an outer container's filter): the caller's stays out of reach of a user namespace, and
        // --no-new-keyring says that one knows.
        Err(sys::Error { errno: errno @ (Errno::EPERM | Errno::EACCES), call }) => {
            crate::log::warn(&format!("session keyring: {call}: {errno:?}: the container has the caller's"));
            Ok(())
        }
        Err(error) => Err(error).at("session keyring"),
    }
}
