//! `linux.cgroupsPath` — where the container's cgroup is.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#cgroups-path>

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::cgroup::hierarchy::{Hierarchy, Tree};
use crate::config::linux::scope::Scope;
use crate::container::id::ContainerId;
use crate::error::Problems;
use crate::host::Host;

/// The field's name.
pub const FIELD: &str = "linux.cgroupsPath";

/// The longest name of a directory, in bytes.
const NAME_MAX: usize = 255;

/// Where the container's cgroup is, in every tree of the hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupsPath {
    /// Below the mount point. Kept without the leading slash; empty is the root, which no container may have.
    Absolute(PathBuf),
    /// Below where the runtime itself is: its own cgroup on v1; on v2 the parent of that, since a cgroup with processes
    /// cannot give controllers to its children.
    Relative(PathBuf),
    /// Not given: as a relative path that is the container's id.
    Default,
    /// A scope of systemd.
    Scope(Scope),
}

impl CgroupsPath {
    /// What the field means. `.` and doubled slashes are dropped; `..` is refused, as it only ever leads elsewhere than it
    /// seems to.
    pub fn parse(path: Option<&Path>, host: &Host) -> Result<Self, Problems> {
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            return own_is_known(&host.hierarchy).map(|()| Self::Default);
        };
        let mut problems = Problems::default();
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    if let Some(rule) = broken_rule(name) {
                        problems.add(FIELD, format!("{path:?} {rule}"));
                    }
                    clean.push(name);
                }
                Component::ParentDir => problems.add(FIELD, format!("{path:?} must not have \"..\" in it")),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if clean.as_os_str().is_empty() {
            problems.add(FIELD, format!("{path:?} is the root cgroup, which is no container's"));
        }
        if path.is_absolute() {
            return problems.or(Self::Absolute(clean));
        }
        problems.keep(own_is_known(&host.hierarchy));
        problems.or(Self::Relative(clean))
    }

    /// What it is below in a v1 tree, relative to the mount point.
    pub fn base_in_v1(&self, tree: &Tree) -> PathBuf {
        match self {
            Self::Absolute(_) => PathBuf::new(),
            Self::Relative(_) | Self::Default => tree.own.clone().unwrap_or_default(),
            Self::Scope(scope) => scope.base(tree),
        }
    }

    /// What it is below in the v2 tree, relative to the mount point.
    pub fn base_in_v2(&self, tree: &Tree) -> PathBuf {
        let parent = tree.own.as_deref().and_then(Path::parent);
        match self {
            Self::Absolute(_) => PathBuf::new(),
            Self::Relative(_) | Self::Default => parent.unwrap_or(Path::new("")).to_owned(),
            Self::Scope(scope) => scope.base(tree),
        }
    }

    /// The path below that.
    pub fn path(&self, id: &ContainerId) -> PathBuf {
        match self {
            Self::Absolute(path) | Self::Relative(path) => path.clone(),
            Self::Default => id.as_str().into(),
            Self::Scope(scope) => scope.path(id),
        }
    }
}

fn broken_rule(name: &OsStr) -> Option<&'static str> {
    match name.as_bytes() {
        bytes if bytes.len() > NAME_MAX => Some("has a name of more than 255 bytes"),
        bytes if bytes.contains(&0) => Some("has a NUL byte in it"),
        bytes if bytes.contains(&b'\n') => Some("has a newline in it"),
        _ => None,
    }
}

fn own_is_known(hierarchy: &Hierarchy) -> Result<(), Problems> {
    let outside = |tree: &Tree| tree.own.is_none();
    if hierarchy.v1().iter().any(outside) || hierarchy.v2().is_some_and(outside) {
        let rule = "must be absolute: the runtime's own cgroup is outside of what is mounted here";
        return Err(Problems::one(FIELD, rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(path: &str) -> Result<CgroupsPath, String> {
        CgroupsPath::parse(Some(Path::new(path)), &examples::v1()).map_err(|p| p.to_string())
    }

    #[test]
    fn absolute_relative_and_default() {
        assert_eq!(parse("/docker//./abc/"), Ok(CgroupsPath::Absolute("docker/abc".into())));
        assert_eq!(parse("a/b"), Ok(CgroupsPath::Relative("a/b".into())));
        assert_eq!(parse(""), Ok(CgroupsPath::Default));
        assert_eq!(CgroupsPath::parse(None, &examples::v1()), Ok(CgroupsPath::Default));
        assert_eq!(parse(&format!("/{}", "x".repeat(255))).map(drop), Ok(()));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for path in ["../../../../hostsecret/cg", "/x/../../..", "/", ".", "/a\nb", "/a\0b"] {
            assert!(parse(path).unwrap_err().starts_with("linux.cgroupsPath: "), "{path:?}");
        }
        assert!(parse(&"x".repeat(300)).unwrap_err().contains("more than 255 bytes"));
    }

    #[test]
    fn the_trees_differ_in_what_relative_means() {
        let (v1, v2) = (examples::v1(), examples::v2());
        let (v1, v2) = (&v1.hierarchy.v1()[0], v2.hierarchy.v2().unwrap());
        let relative = CgroupsPath::Relative("a".into());
        for path in [&relative, &CgroupsPath::Default] {
            assert_eq!(path.base_in_v1(v1), Path::new("own"));
            assert_eq!(path.base_in_v2(v2), Path::new("user.slice"));
        }
        let id = ContainerId::parse("id").unwrap();
        assert_eq!(CgroupsPath::Default.path(&id), Path::new("id"));
        assert_eq!(relative.path(&id), Path::new("a"));
        assert_eq!(CgroupsPath::Absolute("x/y".into()).base_in_v2(v2), Path::new(""));
    }

    #[test]
    fn an_own_cgroup_outside_needs_an_absolute_path() {
        let mut tree = examples::v1_trees().remove(0);
        tree.own = None;
        let host = examples::host(Hierarchy::V1(vec![tree]));
        assert!(CgroupsPath::parse(None, &host).is_err());
        assert!(CgroupsPath::parse(Some(Path::new("/a")), &host).is_ok());
    }
}
