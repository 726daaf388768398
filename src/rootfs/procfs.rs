//! A procfs of a pid namespace that we are not in: of the one that the container joins at the very end.
//!
//! The processes in that namespace are strangers, and some of them may be privileged there. Who mounts its procfs by
//! entering it must have nothing that is worth being taken (R32).

use std::convert::Infallible;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sched::CloneFlags;

use crate::sys::clone::{self, Birth, Fork};
use crate::sys::mount::{self, Parameter};
use crate::sys::process::{self, Pid};
use crate::sys::{self, Errno, file, namespace, proc, socket};

/// A detached procfs that shows this pid namespace. Linux 6.17 makes it from the descriptor; before, a child enters the
/// namespace and makes it there.
pub fn showing(
    pid_namespace: &OwnedFd,
    source: &str,
    parameters: &[Parameter],
    attributes: u64,
) -> sys::Result<OwnedFd> {
    let by_descriptor = Some(("pidns", pid_namespace.as_fd()));
    match mount::new_filesystem_of("proc", source, parameters, by_descriptor, attributes) {
        Err(sys::Error { errno: Errno::EINVAL, .. }) => {}
        made => return made,
    }
    let (ours, theirs) = socket::pair()?;
    let procfs = proc::open_procfs()?;
    match clone::clone(&Birth::default())? {
        Fork::Parent(pid, _) => {
            drop(theirs);
            let received = socket::receive(&ours, &mut Vec::new());
            process::wait(Pid::from_raw(pid))?;
            let (_, mut descriptors) = received?;
            descriptors.pop().ok_or_else(|| {
                sys::Error::new(
                    "fsmount(\"proc\"): the process in the pid namespace could not make it",
                    Errno::EPERM,
                )
            })
        }
        Fork::Child => {
            let _told_by_the_closing_end =
                make_inside((procfs, pid_namespace), &theirs, source, parameters, attributes);
            process::exit(1)
        }
    }
}

/// In the child: leave everything behind, enter the namespace by another fork, make the procfs and send it home.
fn make_inside(
    (procfs, pid_namespace): (OwnedFd, &OwnedFd),
    end: &OwnedFd,
    source: &str,
    parameters: &[Parameter],
    attributes: u64,
) -> sys::Result<Infallible> {
    let empty = mount::new_filesystem("tmpfs", "tmpfs", &[("size", Some("0"))], mount::RDONLY)?;
    file::chdir(&empty)?;
    mount::chroot_here()?;
    let (procfs, pid_namespace) = (ManuallyDrop::new(procfs), file::duplicate(pid_namespace)?);
    file::close_all_but(procfs.as_fd(), &[end.as_raw_fd(), pid_namespace.as_raw_fd()])?;
    namespace::join(&pid_namespace, CloneFlags::CLONE_NEWPID, "pid".as_ref())?;
    drop(pid_namespace);
    match clone::clone(&Birth::default())? {
        Fork::Parent(pid, _) => {
            process::wait(Pid::from_raw(pid))?;
            process::exit(0)
        }
        Fork::Child => {
            let procfs = mount::new_filesystem("proc", source, parameters, attributes)?;
            socket::send(end, b"p", &[procfs.as_fd()])?;
            process::exit(0)
        }
    }
}
