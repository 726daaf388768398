//! Which cgroup directories the host has: v1, hybrid, v2, or none.
//!
//! `cgroups(7)`. Reading them must be cheap, since every command does it: the conventional places below
//! `/sys/fs/cgroup` are tried and verified with `statfs(2)`, and the long `/proc/self/mountinfo` is only read where
//! that fails.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Field, Problems};
use crate::sys::file::{FsType, here, read_piece, statfs_path};
use crate::sys::mountinfo::{self, Mount};

const MOUNT_POINT: &str = "/sys/fs/cgroup";
const OWN_CGROUPS: &str = "/proc/self/cgroup";

/// The two interfaces of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A directory tree per controller.
    V1,
    /// One directory tree for all controllers.
    V2,
}

impl Version {
    /// What `statfs(2)` says of such a file system.
    pub fn magic(self) -> FsType {
        match self {
            Self::V1 => nix::sys::statfs::CGROUP_SUPER_MAGIC,
            Self::V2 => nix::sys::statfs::CGROUP2_SUPER_MAGIC,
        }
    }
}

/// Who makes a container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// We do, as directories.
    #[default]
    Cgroupfs,
    /// systemd does, as a scope (`--systemd-cgroup`).
    Systemd,
}

/// A mounted tree of cgroup directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// v1: the controllers bound to it, or its name as `name=systemd`. v2: those of the root's `cgroup.controllers`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// This process's own cgroup, relative to the mount point; empty is the root. `None` if it is outside of what is
    /// mounted.
    pub own: Option<PathBuf>,
}

impl Tree {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// The cgroup file systems of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// No cgroup file system at all.
    None,
    /// A tree per controller, and no v2 tree with controllers.
    V1(Vec<Tree>),
    /// The same, and a v2 tree with the controllers that are not in v1 (there may be none).
    Hybrid(Vec<Tree>, Tree),
    /// One tree.
    V2(Tree),
}

impl Hierarchy {
    /// Look at the host.
    pub fn read() -> Result<Self, Error> {
        let Ok(magic) = statfs_path(MOUNT_POINT) else {
            return Self::from_mounts();
        };
        if magic == Version::V2.magic() {
            let own = own_lines()?.iter().find(|line| line.is_v2()).map(|line| line.path.clone());
            return Ok(Self::V2(Tree::v2(MOUNT_POINT.into(), own)?));
        }
        match Self::conventional(&own_lines()?)? {
            Some(hierarchy) => Ok(hierarchy),
            None => Self::from_mounts(),
        }
    }

    /// The v1 trees, if any.
    pub fn v1(&self) -> &[Tree] {
        match self {
            Self::V1(trees) | Self::Hybrid(trees, _) => trees,
            Self::None | Self::V2(_) => &[],
        }
    }

    /// The v2 tree, if any.
    pub fn v2(&self) -> Option<&Tree> {
        match self {
            Self::V2(tree) | Self::Hybrid(_, tree) => Some(tree),
            Self::None | Self::V1(_) => None,
        }
    }

    /// The path of this process's own cgroup in the tree that is mounted there.
    pub fn own(&self, mount_point: &Path) -> Option<PathBuf> {
        let tree = self.v1().iter().chain(self.v2()).find(|tree| tree.mount_point == mount_point)?;
        tree.own.as_ref().map(|own| mount_point.join(own))
    }

    /// Which version has this controller, named as in v1 (`blkio` is v2's `io`).
    pub fn version_of(&self, controller: &str) -> Option<Version> {
        let modern = if controller == "blkio" { "io" } else { controller };
        if self.v1().iter().any(|tree| tree.has(controller)) {
            Some(Version::V1)
        } else {
            self.v2().is_some_and(|tree| tree.has(modern)).then_some(Version::V2)
        }
    }

    /// A problem unless the host has the controller that a field needs.
    pub fn require(&self, controller: &str, field: impl Into<Field>) -> Result<(), Problems> {
        if self.version_of(controller).is_some() {
            return Ok(());
        }
        let rule = match self {
            Self::None => "no cgroup file system is mounted on this host".into(),
            _ => format!("this host has no cgroup controller {controller:?}"),
        };
        Err(Problems::one(field, rule))
    }

    /// The directories that are named as their controllers, as every distribution mounts them.
    fn conventional(lines: &[OwnLine]) -> Result<Option<Self>, Error> {
        let mut trees = Vec::new();
        let mut unified = None;
        for line in lines {
            if line.is_v2() {
                let mount_point = Path::new(MOUNT_POINT).join("unified");
                if statfs_path(&mount_point).is_ok_and(|magic| magic == Version::V2.magic()) {
                    unified = Some(Tree::v2(mount_point, Some(line.path.clone()))?);
                }
            } else if line.is_joined() {
                let Some(mount_point) = line.conventional_mount_point() else { return Ok(None) };
                let Some(own) = below(&mount_point, &line.path) else { return Ok(None) };
                trees.push(Tree { controllers: line.controllers.clone(), mount_point, own: Some(own) });
            }
        }
        Ok(match (trees.is_empty(), unified) {
            (true, None) => None,
            (true, Some(tree)) => Some(Self::V2(tree)),
            (false, None) => Some(Self::V1(trees)),
            (false, Some(tree)) => Some(Self::Hybrid(trees, tree)),
        })
    }

    /// What is mounted, wherever it is: several times in some containers, then the first one counts.
    fn from_mounts() -> Result<Self, Error> {
        let mounts = mountinfo::read().at_file("/proc/self/mountinfo")?;
        let mut trees = Vec::new();
        let mut unified = None;
        for line in own_lines()? {
            let Some(mount) = mounts.iter().find(|mount| line.is_of(mount)) else { continue };
            let own = line.path.strip_prefix(&mount.root).ok().map(Path::to_owned);
            if line.is_v2() {
                unified = Some(Tree { own, ..Tree::v2(mount.mount_point.clone(), None)? });
            } else if line.is_joined() {
                trees.push(Tree {
                    controllers: line.controllers,
                    mount_point: mount.mount_point.clone(),
                    own,
                });
            }
        }
        Ok(match (trees.is_empty(), unified) {
            (true, None) => Self::None,
            (true, Some(tree)) => Self::V2(tree),
            (false, None) => Self::V1(trees),
            (false, Some(tree)) => Self::Hybrid(trees, tree),
        })
    }
}

impl Tree {
    fn v2(mount_point: PathBuf, own: Option<PathBuf>) -> Result<Self, Error> {
        let file = mount_point.join("cgroup.controllers");
        let text = read_piece(here(), &file).at_file(&file)?;
        let controllers = text.split_whitespace().map(Into::into).collect();
        let own = own.and_then(|path| below(&mount_point, &path));
        Ok(Self { controllers, mount_point, own })
    }
}

/// A path from `/proc/self/cgroup`, relative to the mount point, if it is there. In a container without a cgroup
/// namespace it is the host's path, of which only the lower part may be mounted.
fn below(mount_point: &Path, path: &Path) -> Option<PathBuf> {
    let own = path.strip_prefix("/").ok()?;
    if own.as_os_str().is_empty() {
        return Some(own.to_owned());
    }
    let inside = own.components().all(|c| matches!(c, Component::Normal(_)));
    (inside && statfs_path(mount_point.join(own)).is_ok()).then(|| own.to_owned())
}

/// A line of `/proc/self/cgroup`: `4:memory:/a/b`, or `0::/a/b` for v2.
struct OwnLine {
    controllers: Vec<String>,
    path: PathBuf,
}

impl OwnLine {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let controllers = controllers.split(',').filter(|c| !c.is_empty()).map(Into::into).collect();
        Some(Self { controllers, path: path.into() })
    }

    fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether containers join it: every controller, and systemd's own tree. Other named trees are somebody else's.
    fn is_joined(&self) -> bool {
        !self.is_v2() && self.controllers.iter().all(|c| !c.starts_with("name=") || c == "name=systemd")
    }

    fn is_of(&self, mount: &Mount) -> bool {
        let kind = if self.is_v2() { "cgroup2" } else { "cgroup" };
        mount.kind == kind && self.controllers.iter().all(|c| mount.options.contains(c))
    }

    /// `/sys/fs/cgroup/cpu,cpuacct`, or a link to it by the name of a controller alone.
    fn conventional_mount_point(&self) -> Option<PathBuf> {
        let first = self.controllers.first()?;
        let first = first.strip_prefix("name=").unwrap_or(first);
        let names = [self.controllers.join(","), first.to_owned()];
        let is_v1 = |path: &PathBuf| statfs_path(path).is_ok_and(|magic| magic == Version::V1.magic());
        names.iter().map(|name| Path::new(MOUNT_POINT).join(name)).find(is_v1)
    }
}

fn own_lines() -> Result<Vec<OwnLine>, Error> {
    let text = read_piece(here(), OWN_CGROUPS).at_file(OWN_CGROUPS)?;
    Ok(text.lines().filter_map(OwnLine::parse).collect())
}

#[cfg(test)]
pub(crate) mod examples {
    use super::*;
    use crate::host::{Fact, Host};

    fn tree(controllers: &[&str], mount_point: &str, own: &str) -> Tree {
        let controllers = controllers.iter().map(|&c| c.to_owned()).collect();
        Tree { controllers, mount_point: mount_point.into(), own: Some(own.into()) }
    }

    /// A host of root's with these cgroups.
    pub(crate) fn host(hierarchy: Hierarchy) -> Host {
        Host {
            euid: 0,
            in_user_namespace: false,
            setgroups_denied: false,
            caller: None,
            rootless: false,
            kernel: (6, 1),
            bounding: u64::MAX,
            last_capability: crate::host::Fact::Known(40),
            ambient: 0,
            ignored_signals: 0,
            apparmor: Fact::Known(false),
            selinux: Fact::Known(false),
            hierarchy,
            driver: super::Driver::default(),
            allowed_annotations: vec![],
        }
    }

    pub(crate) fn v1() -> Host {
        host(Hierarchy::V1(v1_trees()))
    }

    pub(crate) fn v1_trees() -> Vec<Tree> {
        let names =
            ["memory", "cpuset", "blkio", "pids", "freezer", "devices", "hugetlb", "rdma", "name=systemd"];
        let mut trees: Vec<Tree> = names
            .iter()
            .map(|name| tree(&[name], &format!("/sys/fs/cgroup/{}", name.trim_start_matches("name=")), "own"))
            .collect();
        trees.push(tree(&["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct", "own"));
        trees.push(tree(&["net_cls", "net_prio"], "/sys/fs/cgroup/net_cls,net_prio", "own"));
        trees
    }

    pub(crate) fn v2() -> Host {
        let all = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
        host(Hierarchy::V2(tree(&all, "/sys/fs/cgroup", "user.slice/own")))
    }

    /// hugetlb is on v2, devices on neither.
    pub(crate) fn hybrid() -> Host {
        let trees = v1_trees().into_iter().filter(|t| !t.has("hugetlb") && !t.has("devices")).collect();
        host(Hierarchy::Hybrid(trees, tree(&["hugetlb"], "/sys/fs/cgroup/unified", "")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_lines_are_understood() {
        let line = OwnLine::parse("4:cpu,cpuacct:/a:b/c").unwrap();
        assert_eq!(line.controllers, ["cpu", "cpuacct"]);
        assert_eq!(line.path, Path::new("/a:b/c"));
        assert!(line.is_joined());
        assert!(OwnLine::parse("0::/x").unwrap().is_v2());
        assert!(OwnLine::parse("1:name=systemd:/").unwrap().is_joined());
        assert!(!OwnLine::parse("1:name=elogind:/").unwrap().is_joined());
        assert!(OwnLine::parse("nonsense").is_none());
    }

    #[test]
    fn a_line_has_its_mount() {
        let line = "32 31 0:29 /docker/x /mnt rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct";
        let mount = Mount::parse(line).unwrap();
        assert!(OwnLine::parse("4:cpu,cpuacct:/").unwrap().is_of(&mount));
        assert!(!OwnLine::parse("4:memory:/").unwrap().is_of(&mount));
        assert!(!OwnLine::parse("0::/").unwrap().is_of(&mount));
        let mount = Mount::parse("1 2 0:3 / /c rw - cgroup2 none rw").unwrap();
        assert!(OwnLine::parse("0::/").unwrap().is_of(&mount));
    }

    #[test]
    fn a_controller_is_found_by_its_v1_name() {
        assert_eq!(examples::v2().hierarchy.version_of("blkio"), Some(Version::V2));
        assert_eq!(examples::v1().hierarchy.version_of("blkio"), Some(Version::V1));
        assert_eq!(examples::hybrid().hierarchy.version_of("hugetlb"), Some(Version::V2));
        let problems = Hierarchy::None.require("memory", "linux.resources.memory.limit").unwrap_err();
        assert_eq!(
            problems.to_string(),
            "linux.resources.memory.limit: no cgroup file system is mounted on this host"
        );
    }
}
