//! `linux.namespaces` — which views of the system the container has of its own, joins, or shares with the caller.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#namespaces>

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use crate::error::{At, Error, Field, Problems};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::namespace::{self, CloneFlags};
use crate::sys::{self, Errno};

/// The types of namespaces. In the order in which they are joined: the user namespace first, for it gives the right to
/// join those that belong to it; the pid namespace last, so that nobody in it ever sees a process with a host's directory
/// (R18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// user and group ids, capabilities
    User,
    /// control groups
    Cgroup,
    /// System V IPC and POSIX message queues
    Ipc,
    /// host name
    Uts,
    /// network
    Network,
    /// mounts
    Mount,
    /// boot and monotonic clocks
    Time,
    /// process ids
    Pid,
}

impl Kind {
    /// All, in the order of joining.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Cgroup, Self::Ipc, Self::Uts, Self::Network, Self::Mount, Self::Time, Self::Pid];

    /// The word of config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Time => "time",
            Self::Pid => "pid",
        }
    }

    /// The name of its file in `/proc/PID/ns`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.name(),
        }
    }

    /// The flag of `clone(2)`, `setns(2)` and `unshare(2)`.
    pub fn flag(self) -> CloneFlags {
        match self {
            Self::User => CloneFlags::CLONE_NEWUSER,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Mount => CloneFlags::CLONE_NEWNS,
            Self::Time => CloneFlags::from_bits_retain(0x80),
            Self::Pid => CloneFlags::CLONE_NEWPID,
        }
    }

    fn of(typ: LinuxNamespaceType) -> Self {
        match typ {
            LinuxNamespaceType::User => Self::User,
            LinuxNamespaceType::Cgroup => Self::Cgroup,
            LinuxNamespaceType::Ipc => Self::Ipc,
            LinuxNamespaceType::Uts => Self::Uts,
            LinuxNamespaceType::Network => Self::Network,
            LinuxNamespaceType::Mount => Self::Mount,
            LinuxNamespaceType::Time => Self::Time,
            LinuxNamespaceType::Pid => Self::Pid,
        }
    }
}

/// Where a namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    Create,
    /// The one that this file stands for, and where the config says so.
    Join(PathBuf, Field),
}

/// The container's namespaces; those that are not listed are the runtime's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces([Option<Namespace>; 8]);

/// The forks that the namespaces ask for between the parent and the container's init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// One: init is the parent's child.
    Once,
    /// An intermediate process joins the user namespace (or makes the time namespace) and forks init at once.
    IntermediateFirst,
    /// An intermediate process builds the container's root, then enters the pid namespace by forking init, so that
    /// nobody who is in that namespace already ever sees a process with a host's directory (R18).
    IntermediateLast,
}

impl Namespaces {
    /// A type may stand in the list once; a path must be absolute.
    pub fn parse(list: &[LinuxNamespace]) -> Result<Self, Problems> {
        let mut namespaces = Self::default();
        let mut problems = Problems::default();
        for (i, entry) in list.iter().enumerate() {
            let field = Field::new("linux.namespaces").index(i);
            let kind = Kind::of(entry.typ());
            let namespace = match entry.path() {
                Some(path) if !path.as_os_str().is_empty() => {
                    if !path.is_absolute() {
                        problems.add(field.key("path"), format!("{path:?} is not absolute"));
                    }
                    Namespace::Join(path.clone(), field.key("path"))
                }
                _ => Namespace::Create,
            };
            if namespaces.0[kind as usize].replace(namespace).is_some() {
                problems.add(
                    field.key("type"),
                    format!("{:?} is listed twice: duplicated namespace", kind.name()),
                );
            }
        }
        problems.or(namespaces)
    }

    /// Namespaces of these types to be made, and no others.
    pub fn created(kinds: &[Kind]) -> Self {
        let mut namespaces = Self::default();
        for kind in kinds {
            namespaces.0[*kind as usize] = Some(Namespace::Create);
        }
        namespaces
    }

    /// Where the namespace of this type comes from; `None` is the runtime's own.
    pub fn get(&self, kind: Kind) -> Option<&Namespace> {
        self.0[kind as usize].as_ref()
    }

    /// Whether the container has a namespace of this type that is not simply the runtime's.
    pub fn is_own(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    /// Whether a namespace of this type is to be made.
    pub fn creates(&self, kind: Kind) -> bool {
        self.get(kind) == Some(&Namespace::Create)
    }

    /// Whether an existing namespace of this type is to be joined.
    pub fn joins(&self, kind: Kind) -> bool {
        matches!(self.get(kind), Some(Namespace::Join(..)))
    }

    /// How many forks creation takes.
    pub fn fork(&self) -> Fork {
        if self.creates(Kind::User) && Kind::ALL.iter().any(|kind| self.joins(*kind)) {
            // A new user namespace has no rights in the others: they are joined before it is made.
            Fork::IntermediateFirst
        } else if self.joins(Kind::Pid) {
            Fork::IntermediateLast
        } else if self.joins(Kind::User) {
            Fork::IntermediateFirst
        } else {
            Fork::Once
        }
    }

    /// What `clone3(2)` makes with the first child: everything that is new, but the cgroup namespace (it must be made
    /// after the cgroup is joined, whose root it shows) and the time namespace (its clocks are set before it is
    /// entered). An intermediate that has to join first makes them itself.
    pub fn clone_flags(&self, fork: Fork) -> CloneFlags {
        if fork == Fork::IntermediateFirst || self.joins(Kind::User) {
            return CloneFlags::empty();
        }
        self.flags_of_new(&[Kind::User, Kind::Ipc, Kind::Uts, Kind::Network, Kind::Mount, Kind::Pid])
    }

    /// Of these types, the flags of those that are to be made.
    pub fn flags_of_new(&self, kinds: &[Kind]) -> CloneFlags {
        kinds.iter().filter(|kind| self.creates(**kind)).map(|kind| kind.flag()).collect()
    }

    /// Open every namespace that is to be joined, and check that it is of the type that the config says. Changes
    /// nothing: it is done before anything is made.
    pub fn open(&self) -> Result<JoinedNamespaces, Error> {
        let mut opened = Vec::new();
        for kind in Kind::ALL {
            let Some(Namespace::Join(path, field)) = self.get(kind) else { continue };
            let file = file::open(file::here(), path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())
                .at(field.clone())?;
            match namespace::kind_of(&file) {
                Ok(found) if found == kind.flag() => opened.push((kind, path.clone(), field.clone(), file)),
                Ok(found) => {
                    return Err(wrong_type(
                        field,
                        path,
                        kind,
                        &format!("it is a {} namespace", name_of(found)),
                    ));
                }
                Err(sys::Error { errno: Errno::ENOTTY, .. }) => {
                    return Err(wrong_type(field, path, kind, "it is no namespace"));
                }
                Err(error) => return Err(error).at(field.clone()),
            }
        }
        Ok(JoinedNamespaces(opened))
    }
}

fn wrong_type(field: &Field, path: &Path, kind: Kind, what: &str) -> Error {
    Problems::one(field.clone(), format!("{path:?} is not a {} namespace: {what}", kind.name())).into()
}

fn name_of(flag: CloneFlags) -> &'static str {
    Kind::ALL.iter().find(|kind| kind.flag() == flag).map_or("different", |kind| kind.name())
}

/// The namespaces to be joined, open and of the right types, in the order of joining.
#[derive(Debug, Default)]
pub struct JoinedNamespaces(Vec<(Kind, PathBuf, Field, OwnedFd)>);

impl JoinedNamespaces {
    /// Join those of these types. Joining a pid namespace takes effect for the children only.
    ///
    /// A user namespace gives the right to those that belong to it, and takes the right to all others: these are joined
    /// before it.
    pub fn join(&self, wanted: impl Fn(Kind) -> bool) -> Result<(), Error> {
        let changes_user = wanted(Kind::User) && self.get(Kind::User).is_some();
        let mut later = Vec::new();
        for joined in self.0.iter().filter(|(kind, ..)| wanted(*kind)) {
            let (kind, path, field, file) = joined;
            if changes_user && matches!(kind, Kind::User | Kind::Pid) {
                later.push(joined);
                continue;
            }
            match namespace::join(file, kind.flag(), path) {
                Err(sys::Error { errno: Errno::EPERM, .. }) if changes_user => later.push(joined),
                done => done.at(field.clone())?,
            }
        }
        for (kind, path, field, file) in later {
            namespace::join(file, kind.flag(), path).at(field.clone())?;
        }
        Ok(())
    }

    /// The descriptor of the namespace of this type, if one is joined.
    pub fn get(&self, kind: Kind) -> Option<&OwnedFd> {
        self.0.iter().find(|(k, ..)| *k == kind).map(|(.., file)| file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Namespaces, Problems> {
        Namespaces::parse(&serde_json::from_str::<Vec<LinuxNamespace>>(json).unwrap())
    }

    #[test]
    fn a_type_is_listed_once() {
        let problems = parse(r#"[{"type":"pid"},{"type":"mount"},{"type":"pid"}]"#).unwrap_err();
        assert_eq!(problems.first_field(), Some(&"linux.namespaces[2].type".to_string().into()));
    }

    #[test]
    fn paths_are_absolute() {
        assert!(parse(r#"[{"type":"network","path":"proc/1/ns/net"}]"#).is_err());
        assert!(parse(r#"[{"type":"network","path":""}]"#).unwrap().creates(Kind::Network));
        assert!(parse(r#"[{"type":"network","path":"/x"}]"#).unwrap().joins(Kind::Network));
    }

    #[test]
    fn the_plan_decides_the_number_of_forks() {
        for (json, forks) in [
            (r#"[{"type":"pid"},{"type":"user"},{"type":"time"}]"#, Fork::Once),
            (r#"[{"type":"user","path":"/x"},{"type":"pid"}]"#, Fork::IntermediateFirst),
            (r#"[{"type":"pid","path":"/x"}]"#, Fork::IntermediateLast),
            (r#"[{"type":"pid","path":"/x"},{"type":"user"}]"#, Fork::IntermediateFirst),
            (r#"[{"type":"network","path":"/x"},{"type":"user"}]"#, Fork::IntermediateFirst),
        ] {
            assert_eq!(parse(json).unwrap().fork(), forks, "{json}");
        }
    }

    #[test]
    fn the_cgroup_and_time_namespaces_are_made_later() {
        let all = Namespaces::created(&Kind::ALL).clone_flags(Fork::Once);
        assert!(all.contains(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUSER));
        assert!(!all.contains(CloneFlags::CLONE_NEWCGROUP) && all.bits() & 0x80 == 0);
    }

    #[test]
    fn a_regular_file_is_no_namespace() {
        let error =
            parse(r#"[{"type":"network","path":"/etc/passwd"}]"#).unwrap().open().unwrap_err().to_string();
        assert!(error.contains("linux.namespaces[0].path") && error.contains("no namespace"), "{error}");
        let error = parse(r#"[{"type":"network","path":"/proc/self/ns/uts"}]"#)
            .unwrap()
            .open()
            .unwrap_err()
            .to_string();
        assert!(error.contains("it is a uts namespace"), "{error}");
    }
}
