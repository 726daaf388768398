//! config.json, one file per section, named as the JSON key.
//!
//! [`Plan::new`] is where "no" is said to a config: it is pure, and collects what every section finds.

pub mod annotations;
pub mod exec;
pub mod hooks;
pub mod hostname;
pub mod idmap;
pub mod linux;
pub mod mount_options;
pub mod mounts;
pub mod number_list;
pub mod path;
pub mod process;
pub mod root;
pub mod rootless;

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, Spec};

use crate::cgroup::hierarchy::Driver;
use crate::error::{Field, Problems};
use crate::host::Host;
use crate::host::caller::Caller;
use crate::sys::mount::{self, Attributes, Reach};
use crate::sys::namespace::CloneFlags;
use annotations::{Annotations, Groups};
use hooks::Hooks;
use hostname::Names;
use idmap::UserNamespace;
use linux::cgroups_path::CgroupsPath;
use linux::covered_paths::CoveredPaths;
use linux::devices::Devices;
use linux::id_mappings::IdMappings;
use linux::intel_rdt::IntelRdt;
use linux::memory_policy::MemoryPolicy;
use linux::mount_label::MountLabel;
use linux::namespaces::{Kind, Namespaces};
use linux::net_devices::NetDevices;
use linux::personality::Personality;
use linux::resources::Resources;
use linux::rootfs_propagation::{self, Propagation};
use linux::scope::Scope;
use linux::seccomp::Seccomp;
use linux::sysctl::{OwnNamespaces, Sysctl};
use linux::time_offsets::TimeOffsets;
use mounts::{Mount, What};
use process::Process;
use process::user::Setgroups;
use root::Root;

/// What is to be created: config.json as it is meant. It does not change any more.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The root file system.
    pub root: Root,
    /// How its mounts propagate.
    pub rootfs_propagation: Option<Propagation>,
    /// What is mounted into it, in order.
    pub mounts: Vec<Mount>,
    /// Nodes in `/dev`.
    pub devices: Devices,
    /// What cannot be read.
    pub masked_paths: CoveredPaths,
    /// What cannot be written.
    pub readonly_paths: CoveredPaths,
    /// The label of new file systems; the mounts have it already.
    pub mount_label: MountLabel,
    /// Which views of the system are its own.
    pub namespaces: Namespaces,
    /// Which users of the host it has.
    pub id_mappings: IdMappings,
    /// Which network interfaces of the runtime's it gets.
    pub net_devices: NetDevices,
    /// Its clocks.
    pub time_offsets: TimeOffsets,
    /// Its host and domain name.
    pub names: Names,
    /// Kernel parameters of its namespaces.
    pub sysctl: Sysctl,
    /// Where its control group is.
    pub cgroups_path: CgroupsPath,
    /// What it may use.
    pub resources: Resources,
    /// Which part of the caches and of the memory bandwidth it may use.
    pub intel_rdt: Option<IntelRdt>,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Where its memory comes from.
    pub memory_policy: MemoryPolicy,
    /// Which kernel it believes to see.
    pub personality: Personality,
    /// Programs that run at points of its life.
    pub hooks: Hooks,
    /// What the caller attached to it.
    pub annotations: Annotations,
    /// The process; "REQUIRED when start is called", so that one may create a container without.
    pub process: Option<Process>,
}

impl Plan {
    /// Turn the spec into the plan, or say everything that is wrong with it. `found` is what was wrong already when the
    /// file was read; `bundle` is its absolute path.
    pub fn new(spec: &Spec, bundle: &Path, found: Problems, host: &Host) -> Result<Self, Problems> {
        let mut problems = found;
        problems.keep(oci_version(spec.version()));
        let nothing: Linux = serde_json::from_slice(b"{}").unwrap_or_default();
        let linux = spec.linux().as_ref().unwrap_or(&nothing);

        let list = linux.namespaces().as_deref().unwrap_or_default();
        let namespaces = problems.keep(Namespaces::parse(list)).unwrap_or_default();
        let own = OwnNamespaces::of(&namespaces);
        let strings = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();

        let root = problems.keep(Root::parse(spec.root().as_ref(), bundle));
        let rootfs_propagation =
            problems.keep(rootfs_propagation::parse(linux.rootfs_propagation().as_deref()));
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let (uids, gids) = (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
        let (uids, gids) = (uids.unwrap_or_default(), gids.unwrap_or_default());
        let id_mappings = problems.keep(IdMappings::parse(uids, gids, &namespaces));
        if let (Some(mappings), Some(caller)) = (&id_mappings, &host.caller) {
            problems.keep(mappings.can_be_written_by(caller));
        }
        let listed = IdMappings::listed(uids, gids);
        let users =
            UserNamespace { namespaces: &namespaces, mappings: &listed, is_privileged: host.euid == 0 };
        let base = mounts::Base { bundle, root: root.as_ref().map_or(Path::new(""), |root| &root.path) };
        let mut mounts = problems.keep(mounts::parse(mounts, base, &users));
        let meaning =
            problems.keep(annotations::meaning(spec.annotations().as_ref(), host)).unwrap_or_default();
        let label = linux.mount_label().as_deref();
        let mount_label = problems.keep(MountLabel::parse(meaning.mount_context, label, host));
        if let (Some(mounts), Some(label)) = (&mut mounts, &mount_label) {
            label.give_to(mounts);
        }
        let devices = problems.keep(Devices::parse(linux.devices().as_deref().unwrap_or_default()));
        let masked = strings(linux.masked_paths());
        let masked_paths = problems.keep(CoveredPaths::parse("linux.maskedPaths", &masked, &namespaces));
        let readonly = strings(linux.readonly_paths());
        let readonly_paths =
            problems.keep(CoveredPaths::parse("linux.readonlyPaths", &readonly, &namespaces));
        let net_devices = problems.keep(NetDevices::parse(linux.net_devices().as_ref(), &namespaces, host));
        let offsets = linux.time_offsets().clone().unwrap_or_default();
        let time_offsets = problems.keep(TimeOffsets::parse(&offsets, &namespaces));
        let (hostname, domainname) = (spec.hostname().as_deref(), spec.domainname().as_deref());
        let names = problems.keep(Names::parse(hostname, domainname, &namespaces));
        let sysctl = problems.keep(Sysctl::parse(linux.sysctl().as_ref(), &own));
        let cgroups_path = linux.cgroups_path().as_deref();
        let cgroups_path = problems.keep(match host.driver {
            Driver::Cgroupfs => CgroupsPath::parse(cgroups_path, host),
            Driver::Systemd => {
                Scope::parse(cgroups_path, spec.annotations().as_ref(), host).map(CgroupsPath::Scope)
            }
        });
        let resources = problems.keep(Resources::parse(linux.resources().as_ref(), host));
        let intel_rdt = problems.keep(IntelRdt::parse(linux.intel_rdt().as_ref()));
        let seccomp = problems.keep(Seccomp::parse(linux.seccomp().as_ref(), host));
        let memory_policy = problems.keep(MemoryPolicy::parse(linux.memory_policy().as_ref()));
        let personality = problems.keep(Personality::parse(linux.personality().as_ref()));
        let mut hooks = problems.keep(Hooks::parse(spec.hooks().as_ref()));
        if let Some(hooks) = &mut hooks {
            hooks.output = meaning.hook_output;
        }
        let annotations = problems.keep(annotations::parse(spec.annotations().as_ref()));
        let setgroups = setgroups(&namespaces, id_mappings.as_ref(), host, meaning.groups);
        let process =
            spec.process().as_ref().map(|process| Process::parse(process, &namespaces, setgroups, host));
        let process = process.map(|parsed| problems.keep(parsed));
        if root.as_ref().is_some_and(|root| root.readonly) && !namespaces.is_own(Kind::Mount) {
            problems.add("root.readonly", "needs a mount namespace in linux.namespaces");
        }
        if rootfs_propagation.is_some_and(|p| p.is_some()) && !namespaces.is_own(Kind::Mount) {
            problems.add("linux.rootfsPropagation", "needs a mount namespace in linux.namespaces");
        }
        if let (Some(Some(process)), Some(mappings)) = (&process, &id_mappings) {
            problems.keep(mapped(process, mappings));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let missing = || Problems::one("config.json", "is not complete");
        Ok(Self {
            root: root.ok_or_else(missing)?,
            rootfs_propagation: rootfs_propagation.ok_or_else(missing)?,
            mounts: mounts.ok_or_else(missing)?,
            devices: devices.ok_or_else(missing)?,
            masked_paths: masked_paths.ok_or_else(missing)?,
            readonly_paths: readonly_paths.ok_or_else(missing)?,
            mount_label: mount_label.ok_or_else(missing)?,
            namespaces,
            id_mappings: id_mappings.ok_or_else(missing)?,
            net_devices: net_devices.ok_or_else(missing)?,
            time_offsets: time_offsets.ok_or_else(missing)?,
            names: names.ok_or_else(missing)?,
            sysctl: sysctl.ok_or_else(missing)?,
            cgroups_path: cgroups_path.ok_or_else(missing)?,
            resources: resources.ok_or_else(missing)?,
            intel_rdt: intel_rdt.ok_or_else(missing)?,
            seccomp: seccomp.ok_or_else(missing)?,
            memory_policy: memory_policy.ok_or_else(missing)?,
            personality: personality.ok_or_else(missing)?,
            hooks: hooks.ok_or_else(missing)?,
            annotations: annotations.ok_or_else(missing)?,
            process: process.flatten(),
        })
    }
}

impl Plan {
    /// Who is to own the container's cgroup, as a uid of the host: the container process's user, if it sees nothing but its
    /// own cgroup and that "is to be mounted read/write".
    pub fn cgroup_owner(&self) -> Option<u32> {
        let is_writable = |mount: &Mount| {
            mount.what == What::Cgroup
                && mount.destination == Path::new("/sys/fs/cgroup")
                && mount.options.attributes.set & mount::RDONLY == 0
        };
        let is_its_own = self.namespaces.creates(Kind::Cgroup) && self.mounts.iter().any(is_writable);
        let user = self.process.as_ref().filter(|_| is_its_own)?.user.uid();
        self.id_mappings.uid_on_host(user, &self.namespaces)
    }

    /// The namespaces that are made when init is the container's root already: whoever makes an IPC namespace owns its
    /// `/dev/mqueue`, and no chown(2) reaches a file system whose owner is mapped to nobody.
    pub fn namespaces_of_the_root(&self, euid: u32) -> CloneFlags {
        let is_queues = |mount: &Mount| matches!(&mount.what, What::Filesystem(kind, _) if kind == "mqueue");
        let is_another = self.namespaces.is_own(Kind::User)
            && self.id_mappings.uid_on_host(0, &self.namespaces) != Some(euid);
        let late = is_another && self.mounts.iter().any(is_queues);
        self.namespaces.flags_of_new(if late { &[Kind::Ipc] } else { &[] })
    }

    /// The same with a directory of the host at a place in the container, read-only, and a variable that tells of it.
    pub fn with_directory(mut self, source: PathBuf, destination: &str, variable: &str) -> Self {
        let attributes =
            Attributes { set: mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC, clear: 0 };
        let (bind, reach) = (Some(Reach::One), Reach::One);
        self.mounts.push(Mount {
            field: Field::new("NOTIFY_SOCKET"),
            destination: destination.into(),
            what: What::Bind(source, reach),
            options: mount_options::Options { attributes, bind, ..Default::default() },
            idmap: None,
        });
        if let Some(process) = &mut self.process {
            process.set_variable(variable);
        }
        self
    }
}

/// `--cgroup-manager disabled`: the container is where its caller is, and has no limits.
pub fn forget_cgroup(spec: &mut Spec) {
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(None).set_resources(None);
    }
}

/// "MUST be in SemVer v2.0.0 format". Every 1.x is readable: what a later one has added is an unknown property here.
fn oci_version(version: &str) -> Result<(), Problems> {
    if version.is_empty() {
        return Err(Problems::one("ociVersion", "is missing"));
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u64>).collect();
    match numbers.as_slice() {
        [Ok(1), Ok(minor), Ok(_)] => {
            if *minor > 3 {
                crate::log::warn(&format!(
                    "config.json: ociVersion {version:?} is newer than what crust knows"
                ));
            }
            Ok(())
        }
        [Ok(_), Ok(_), Ok(_)] => {
            Err(Problems::one("ociVersion", format!("{version:?} is not supported: crust reads 1.x")))
        }
        _ => Err(Problems::one("ociVersion", format!("{version:?} is not a version (SemVer 2.0.0)"))),
    }
}

/// Whoever maps his own group without privilege has to deny `setgroups(2)` first, `user_namespaces(7)`; `newgidmap(1)`
/// leaves it to those who are lent more.
fn setgroups(
    namespaces: &Namespaces,
    mappings: Option<&IdMappings>,
    host: &Host,
    groups: Groups,
) -> Setgroups {
    let by_himself = |caller: &Caller| mappings.is_none_or(|mappings| mappings.gids_are_only(caller.gid));
    let maps_himself = namespaces.creates(Kind::User) && host.caller.as_ref().is_some_and(by_himself);
    match groups {
        Groups::OfTheCaller => Setgroups::NotCalled,
        // What is denied in a user namespace is denied in those below it.
        Groups::OfTheConfig if maps_himself || host.setgroups_denied => Setgroups::Denied,
        Groups::OfTheConfig => Setgroups::Allowed,
    }
}

/// The container process can only be somebody who exists in its user namespace.
fn mapped(process: &Process, mappings: &IdMappings) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let (uid, gid) = (process.user.uid(), process.user.gid());
    let (uid_is_mapped, gid_is_mapped) = mappings.maps(uid, gid);
    if !uid_is_mapped {
        problems.add("process.user.uid", format!("{uid} is not mapped by linux.uidMappings"));
    }
    if !gid_is_mapped {
        problems.add("process.user.gid", format!("{gid} is not mapped by linux.gidMappings"));
    }
    for (i, gid) in process.user.additional_gids().enumerate() {
        if !mappings.maps(uid, gid).1 {
            let field = Field::new("process.user.additionalGids").index(i);
            problems.add(field, format!("{gid} is not mapped by linux.gidMappings"));
        }
    }
    problems.or(())
}
