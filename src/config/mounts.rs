//! `mounts` — what is mounted into the container, in order.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#mounts>

use std::path::{Path, PathBuf};

use oci_spec::runtime as spec;

use crate::config::idmap::{self, Idmap, UserNamespace};
use crate::config::linux::namespaces::Kind;
use crate::config::linux::rootfs_propagation::Propagation;
use crate::config::mount_options::{self, Options};
use crate::config::path;
use crate::error::{Field, Problems};
use crate::sys::mount::Reach;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where the config asks for it.
    pub field: Field,
    /// Absolute and clean path in the container.
    pub destination: PathBuf,
    /// What is mounted.
    pub what: What,
    /// How.
    pub options: Options,
    /// Whose files those in it become.
    pub idmap: Option<Idmap>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file or directory of the host, by absolute path.
    Bind(PathBuf, Reach),
    /// The container's view of its control groups.
    Cgroup,
    /// What is mounted at the destination already gets new options.
    Remount,
    /// An instance of a file system: type and source.
    Filesystem(String, String),
}

/// The only files of `/proc` that may be mounted over: what lxcfs and its like provide. Anything else there would let a
/// config forge what the kernel says, or catch what the runtime writes (CVE-2019-16884).
const IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// What paths start from.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// A relative source of a bind mount.
    pub bundle: &'a Path,
    /// A destination, also one that is already written as the path that it has on the host.
    pub root: &'a Path,
}

/// See [`Mount`].
pub fn parse(mounts: &[spec::Mount], base: Base, users: &UserNamespace) -> Result<Vec<Mount>, Problems> {
    let namespaces = users.namespaces;
    let mut problems = Problems::default();
    if !mounts.is_empty() && !namespaces.is_own(Kind::Mount) {
        // They would be the caller's own.
        crate::log::warn("config.json: mounts: are left out, as linux.namespaces has no mount namespace");
    }
    let mut list = Vec::with_capacity(mounts.len());
    for (i, mount) in mounts.iter().enumerate() {
        list.extend(problems.keep(one(Field::new("mounts").index(i), mount, base, users)));
    }
    problems.or(list)
}

fn one(field: Field, mount: &spec::Mount, base: Base, users: &UserNamespace) -> Result<Mount, Problems> {
    let mut problems = Problems::default();
    let words = mount.options().as_deref().unwrap_or_default();
    let typ = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    let options = mount_options::parse(words);
    let what = match options.bind {
        Some(_) if options.remount => What::Remount,
        Some(reach) => {
            if source.as_os_str().is_empty() {
                problems.add(field.key("source"), "a bind mount needs a source");
            }
            // "The filesystemtype and data arguments are ignored", mount(2) says of bind mounts, and other runtimes do.
            for word in &options.parameters {
                crate::log::warn(&format!(
                    "config.json: {field}.options: {word:?} says nothing for a bind mount, ignored"
                ));
            }
            What::Bind(base.bundle.join(source), reach)
        }
        None if options.remount => What::Remount,
        None if typ == "bind" || typ == "rbind" => {
            let hint = "type \"bind\" alone says nothing: add \"bind\" or \"rbind\" to the options";
            problems.add(field.key("type"), hint);
            What::Remount
        }
        None if typ.is_empty() || typ == "none" => {
            problems.add(field.key("type"), "is missing, and the options have neither bind nor rbind");
            What::Remount
        }
        None if matches!(typ, "cgroup" | "cgroup2") => What::Cgroup,
        None => What::Filesystem(typ.into(), source.to_string_lossy().into_owned()),
    };
    if options.copy_up && !matches!(&what, What::Filesystem(kind, _) if kind == "tmpfs") {
        problems.add(field.key("options"), "tmpcopyup is for tmpfs only");
    }
    let idmap = problems.keep(idmap::parse(&field, mount, &options, users)).flatten();
    if idmap.is_some() && !matches!(what, What::Bind(..) | What::Filesystem(..)) {
        problems.add(field.key("options"), "only a bind mount or a new file system can have an id mapping");
    }
    let destination =
        problems.keep(destination(&field, mount.destination(), (&what, base.root))).unwrap_or_default();
    problems.or(Mount { field, destination, what, options, idmap })
}

/// A relative destination starts from the container's root, as it always did; runc warns of it as well. One below the root's
/// path on the host is meant to be that place, as it is with runc, not a copy of the whole path in the container.
fn destination(field: &Field, destination: &Path, (what, root): (&What, &Path)) -> Result<PathBuf, Problems> {
    let field = field.key("destination");
    if destination.as_os_str().is_empty() {
        return Err(Problems::one(field, "must not be empty"));
    }
    if let Some(rule) = path::too_long(destination) {
        return Err(Problems::one(field, rule));
    }
    let clean = path::clean(destination);
    let clean = clean.strip_prefix(path::clean(root)).map(path::clean).unwrap_or(clean);
    if clean == Path::new("/") {
        return Err(Problems::one(field, format!("{destination:?} is the container's root itself")));
    }
    let within_proc = clean.starts_with("/proc") && clean != Path::new("/proc");
    if within_proc {
        let allowed = matches!(what, What::Bind(..) | What::Remount)
            && IN_PROC.iter().any(|file| Path::new(file) == clean);
        if !allowed {
            return Err(Problems::one(
                field,
                format!("{clean:?} is inside /proc: only {} may be bound there", IN_PROC.join(", ")),
            ));
        }
    }
    Ok(clean)
}

/// How the host must see the sources: see [`Propagation`].
impl Mount {
    /// The host's path of a bind mount.
    pub fn bind_source(&self) -> Option<(&Path, Reach)> {
        match &self.what {
            What::Bind(source, reach) => Some((source, *reach)),
            _ => None,
        }
    }

    /// The path that a bind mount's source has in the container's root, if it is below: the mounts before it may have made
    /// something else of it.
    pub fn source_below(&self, root: &Path) -> Option<&Path> {
        let (source, _) = self.bind_source()?;
        source.strip_prefix(root).ok().filter(|inside| !inside.as_os_str().is_empty())
    }

    /// The propagation types to give it, in the order of the options.
    pub fn propagation(&self) -> &[Propagation] {
        &self.options.propagation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::linux::id_mappings::IdMappings;
    use crate::config::linux::namespaces::Namespaces;

    fn parse_one(json: &str) -> Result<Mount, Problems> {
        let mount: spec::Mount = serde_json::from_str(json).unwrap();
        let namespaces = &Namespaces::created(&[Kind::Mount]);
        let users = UserNamespace { namespaces, mappings: &IdMappings::default(), is_privileged: true };
        let base = Base { bundle: Path::new("/b"), root: Path::new("/b/./rootfs") };
        parse(&[mount], base, &users).map(|mut list| list.remove(0))
    }

    #[test]
    fn what_is_mounted() {
        let bind =
            parse_one(r#"{"destination":"data//x/.","type":"none","source":"s","options":["rbind","ro"]}"#)
                .unwrap();
        assert_eq!(bind.what, What::Bind("/b/s".into(), Reach::Tree));
        assert_eq!(bind.destination, Path::new("/data/x"));
        let inside = r#"{"destination":"/b/rootfs/data","source":"/b/rootfs/s","options":["bind"]}"#;
        assert_eq!(parse_one(inside).unwrap().destination, Path::new("/data"));
        let beside = r#"{"destination":"/b/rootfs-2/data","source":"s","options":["bind"]}"#;
        assert_eq!(parse_one(beside).unwrap().destination, Path::new("/b/rootfs-2/data"));
        let proc = parse_one(r#"{"destination":"/proc","type":"proc","source":"proc"}"#).unwrap();
        assert_eq!(proc.what, What::Filesystem("proc".into(), "proc".into()));
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            r#"{"destination":"/","type":"tmpfs"}"#,
            r#"{"destination":"","type":"tmpfs"}"#,
            r#"{"destination":"/x"}"#,
            r#"{"destination":"/x","type":"bind","source":"/y"}"#,
            r#"{"destination":"/x","options":["bind"]}"#,
            r#"{"destination":"/proc/self/attr","source":"/y","options":["bind"]}"#,
            r#"{"destination":"/proc/cpuinfo","type":"tmpfs"}"#,
            r#"{"destination":"/b/rootfs","type":"tmpfs"}"#,
            r#"{"destination":"/b/rootfs/proc/self/attr","source":"/y","options":["bind"]}"#,
            r#"{"destination":"/x","type":"proc","options":["tmpcopyup"]}"#,
            r#"{"destination":"/x","source":"/y","options":["bind"],"uidMappings":[{"containerID":0,"hostID":1,"size":1}]}"#,
            r#"{"destination":"/x","type":"cgroup","options":["idmap=uids=0-1-1;gids=0-1-1"]}"#,
        ] {
            assert!(parse_one(bad).is_err(), "{bad}");
        }
        assert!(parse_one(r#"{"destination":"/proc/cpuinfo","source":"/y","options":["bind"]}"#).is_ok());
    }
}
