//! The copies of mounts that only the parent can make: where the container's users may not
//! reach the host's paths, where mounts shall propagate to the host, which only copies from its own mount namespace do,
//! and where a mount has an id mapping, which takes a right in the user namespace that its file system belongs to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::config::Plan;
use crate::config::idmap::{Idmap, Mapping};
use crate::config::linux::namespaces::{JoinedNamespaces, Kind};
use crate::config::mounts::{Mount, What};
use crate::config::root::Root;
use crate::create::protocol::{ChildEnd, Request};
use crate::create::user_namespaces::UserNamespaces;
use crate::error::{At, Error};
use crate::host::Host;
use crate::rootfs::attributes;
use crate::rootfs::stage::Stage;
use crate::sys::file::OFlag;
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::namespace::MountNamespace;
use crate::sys::{self, Errno, file, idmap, mountinfo, proc};

/// Detached mounts: of the root, and of each mount's source, or of a new file system. On kernels without such mounts they
/// are handles (`O_PATH`) on the root and on the sources, which init can bind without reaching their paths.
#[derive(Debug, Default)]
pub struct Sources {
    /// The root file system.
    pub root: Option<OwnedFd>,
    /// In the order of `mounts`; init makes itself what is missing.
    pub mounts: Vec<Option<OwnedFd>>,
}

/// Where the parent opens them.
#[derive(Debug)]
pub enum Opened {
    /// In its own mount namespace, before there is another. What it has not opened, init opens.
    Here(Sources),
    /// In the container's, when init asks: `mount_namespaces(7)`, flags of mounts and what they cover are locked in a mount
    /// namespace of another user namespace, and in copies that are made there. A copy from our own could be remounted
    /// without `ro`, `nosuid` and `nodev` by the container.
    WhenAsked,
}

/// What there is to open, and for which config.
struct Opening<'a> {
    plan: &'a Plan,
    joined: &'a JoinedNamespaces,
    /// Mounts propagate to the host, which only copies from our own mount namespace do.
    shared: bool,
    /// Not only what has an id mapping.
    all: bool,
}

impl Sources {
    /// Open them, or find that they are init's to ask for. Nothing is attached, so that nothing on the machine changes.
    pub fn open(plan: &Plan, host: &Host, joined: &JoinedNamespaces) -> Result<Opened, Error> {
        let shared = plan.rootfs_propagation.is_some_and(|p| p.kind == MsFlags::MS_SHARED);
        // Without the right to mount in our own namespace, the new one is where copies are made.
        let may_mount = host.euid == 0 && plan.namespaces.is_own(Kind::Mount);
        let users = plan.namespaces.is_own(Kind::User);
        let all = shared || users;
        let mapped = plan.mounts.iter().find_map(|mount| mount.idmap.as_ref());
        if !may_mount || !(all || mapped.is_some()) {
            return Ok(Opened::Here(Self::default()));
        }
        let detached = mount::can_be_detached();
        if !detached {
            refuse_without_detached_mounts(mapped)?;
        }
        if users && plan.namespaces.creates(Kind::Mount) && (detached || may_come_back()?) {
            return Ok(Opened::WhenAsked);
        }
        if !detached {
            return Ok(Opened::Here(Sources::default()));
        }
        Opening { plan, joined, shared, all }.open().map(Opened::Here)
    }

    /// As the parent, open them in the container's mount namespace. Nothing there propagates to the host.
    pub fn open_in(
        namespace: &MountNamespace,
        procfs: &OwnedFd,
        plan: &Plan,
        joined: &JoinedNamespaces,
    ) -> Result<Self, Error> {
        let opening = Opening { plan, joined, shared: false, all: true };
        namespace.visit(procfs, || opening.open()).at("mounts")?
    }

    /// As init, ask for them.
    pub fn ask(end: &ChildEnd, procfs: &OwnedFd, plan: &Plan) -> Result<Self, Error> {
        let namespace = MountNamespace::own(procfs).at("mounts")?;
        let mut sources = Self { root: None, mounts: plan.mounts.iter().map(|_| None).collect() };
        for (number, source) in end.ask_for_descriptors(&Request::OpenSources(namespace))? {
            match sources.mounts.get_mut(number) {
                Some(place) => *place = Some(source),
                None => sources.root = Some(source),
            }
        }
        Ok(sources)
    }

    /// Each with its place in `mounts`; the root's comes after all of them.
    pub fn numbered(&self) -> Vec<(usize, BorrowedFd<'_>)> {
        let all = self.mounts.iter().chain([&self.root]).enumerate();
        all.filter_map(|(number, source)| source.as_ref().map(|source| (number, source.as_fd()))).collect()
    }
}

impl Opening<'_> {
    fn open(&self) -> Result<Sources, Error> {
        if !mount::can_be_detached() {
            return self.open_handles();
        }
        let Self { plan, joined, shared, all } = *self;
        let root = if all { Some(root(&plan.root.path)?) } else { None };
        let mut namespaces = UserNamespaces::default();
        let mounts = plan.mounts.iter().map(|mount| match &mount.idmap {
            _ if !shared && mount.source_below(&plan.root.path).is_some() => Ok(None),
            Some(idmap) => {
                let source = open_any(mount, !shared)?;
                set_idmap(&source, mount, idmap, (joined, &mut namespaces))?;
                Ok(Some(source))
            }
            None if !all => Ok(None),
            None => crate::rootfs::source::open_outside(&Stage::Detached, mount, !shared),
        });
        let mounts = mounts.collect::<Result<_, Error>>()?;
        Ok(Sources { root, mounts })
    }

    fn open_handles(&self) -> Result<Sources, Error> {
        let Root { path, .. } = &self.plan.root;
        let root =
            file::open_path(file::here(), path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).at("root.path")?;
        let mounts = self.plan.mounts.iter().map(|mount| match mount.bind_source() {
            Some((source, _)) if mount.source_below(path).is_none() => {
                let handle = file::open_path(file::here(), source, OFlag::empty());
                handle.at(mount.field.key("source")).map(Some)
            }
            _ => Ok(None),
        });
        let mounts = mounts.collect::<Result<_, Error>>()?;
        Ok(Sources { root: Some(root), mounts })
    }
}

/// As the parent, map the source of a mount that init has found in the container's root.
pub fn map(source: &OwnedFd, mount: &Mount, joined: &JoinedNamespaces) -> Result<(), Error> {
    let idmap = mount.idmap.as_ref();
    idmap.map_or(Ok(()), |idmap| set_idmap(source, mount, idmap, (joined, &mut UserNamespaces::default())))
}

fn set_idmap(
    source: &OwnedFd,
    mount: &Mount,
    idmap: &Idmap,
    (joined, namespaces): (&JoinedNamespaces, &mut UserNamespaces),
) -> Result<(), Error> {
    let users = match &idmap.mapping {
        Mapping::Of(mappings) => namespaces.with(mappings)?,
        Mapping::Joined => joined
            .get(Kind::User)
            .map(AsFd::as_fd)
            .ok_or_else(|| Error::message(format!("{}: there is no user namespace to join", idmap.field)))?,
    };
    idmap::set(source, users, idmap.reach)
        .map_err(|error| explain(error, mount, idmap.reach))
        .at(idmap.field.clone())
}

/// The root of a user namespace without a mount namespace of its own may enter the container's, and not ours again. He
/// reaches no more than the container does.
fn may_come_back() -> Result<bool, Error> {
    let procfs = proc::open_procfs().at("host")?;
    let ours = MountNamespace::own(&procfs).at("mounts")?;
    Ok(ours.visit(&procfs, || ()).is_ok())
}

/// What shall propagate to the host, init binds from the host's own mounts then.
fn refuse_without_detached_mounts(mapped: Option<&Idmap>) -> Result<(), Error> {
    let Some(idmap) = mapped else { return Ok(()) };
    let missing = "open_tree(2) or mount_setattr(2) is missing (Linux 5.12), and without them there are no id-mapped mounts";
    Err(sys::Error::new(missing, Errno::ENOSYS)).at(idmap.field.clone())
}

fn root(path: &Path) -> Result<OwnedFd, Error> {
    let root = mount::clone_tree(file::here(), path, Reach::Tree).at("root.path")?;
    attributes::change(&root, Attributes::default(), MsFlags::MS_SLAVE, Reach::Tree).at("root.path")?;
    Ok(root)
}

/// A copy of a bind mount's source, or the new file system.
fn open_any(mount: &Mount, slave: bool) -> Result<OwnedFd, Error> {
    match crate::rootfs::source::open_outside(&Stage::Detached, mount, slave)? {
        Some(source) => Ok(source),
        None => crate::rootfs::mount::new_filesystem(&Stage::Detached, mount),
    }
}

/// Which file system it was that refused.
fn explain(error: sys::Error, mount: &Mount, reach: Reach) -> sys::Error {
    let kinds = match &mount.what {
        What::Bind(source, _) => mountinfo::kinds_of(source, reach).unwrap_or_default().join(", "),
        What::Filesystem(kind, _) => kind.clone(),
        What::Cgroup | What::Remount => String::new(),
    };
    let reason = match error.errno {
        Errno::EINVAL => format!("this kernel has no id-mapped mounts of a file system like this: {kinds}"),
        Errno::EPERM => format!("the file system is another user namespace's, or mapped already: {kinds}"),
        _ => return error,
    };
    sys::Error::new(format!("{} [{reason}]", error.call), error.errno)
}
