//! Where a container's cgroup is: a directory in each tree of the hierarchy, and how much of it was there before.
//!
//! A layout is written down before the first directory is made, so that whatever becomes of `create`, another command
//! can remove all of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroupfs::Root;
use super::hierarchy::{Tree, Version};
use super::systemd::{Session, Unit};
use crate::config::linux::cgroups_path::{CgroupsPath, FIELD};
use crate::config::linux::resources::Resources;
use crate::container::id::ContainerId;
use crate::error::{At, Error};
use crate::host::Host;

/// The directories of a container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The path below each directory's base.
    path: PathBuf,
    /// The scope of systemd that it is, if systemd makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    /// What tells it from a cgroup that is made in its place some day.
    #[serde(default)]
    mark: String,
    /// What to do without the permission to make it.
    #[serde(default, skip_serializing_if = "Need::is_required")]
    need: Need,
    /// One per tree.
    directories: Vec<Directory>,
}

/// What to do without the permission to make a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Fail.
    #[default]
    Required,
    /// Go without: the caller is not root, has asked for no place and for no limits.
    Optional,
}

impl Need {
    fn is_required(&self) -> bool {
        *self == Self::Required
    }
}

/// The cgroup's directory in one tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The version of the tree.
    pub version: Version,
    /// What it controls; v2: what the root of the tree offers.
    pub controllers: Vec<String>,
    /// Where the tree is mounted.
    pub mount_point: PathBuf,
    /// What the layout's path is below, relative to the mount point.
    #[serde(default, skip_serializing_if = "is_empty")]
    base: PathBuf,
    /// How many levels of the path, counted from the mount point, were there before `create`.
    #[serde(default)]
    existing: usize,
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Directory {
    fn new(version: Version, tree: &Tree, base: PathBuf) -> Self {
        let Tree { controllers, mount_point, .. } = tree.clone();
        Self { version, controllers, mount_point, base, existing: 0 }
    }

    /// Whether it controls this.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
            || (self.version == Version::V2 && controller == "cgroup")
    }
}

/// The trees of v1 in which systemd makes directories for its units.
const SYSTEMDS: [&str; 7] = ["cpu", "cpuacct", "blkio", "memory", "devices", "pids", "name=systemd"];

impl Directory {
    /// Whether systemd makes it for a scope.
    pub fn is_systemds(&self) -> bool {
        self.version == Version::V2 || SYSTEMDS.iter().any(|controller| self.has(controller))
    }
}

/// The way from a mount point to a container's directory, level by level.
#[derive(Clone, Debug)]
pub struct Levels {
    path: PathBuf,
    /// How many levels were there before `create`.
    pub existing: usize,
}

impl Levels {
    /// The number of levels; the mount point itself is level 0.
    pub fn last(&self) -> usize {
        self.path.components().count()
    }

    /// The path of a level, relative to the mount point.
    pub fn to(&self, level: usize) -> PathBuf {
        self.path.components().take(level).collect()
    }

    /// All of it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Layout {
    /// Where the cgroup of this container is to be.
    ///
    /// All v1 trees are joined, and the v2 tree of a hybrid host only where a limit or systemd needs it: joining it is not
    /// free.
    pub fn new(path: &CgroupsPath, id: &ContainerId, resources: &Resources, host: &Host) -> Self {
        let hierarchy = &host.hierarchy;
        // There systemd looks whether a scope has processes.
        let is_scope = matches!(path, CgroupsPath::Scope(_));
        let v1 = hierarchy.v1().iter().map(|tree| Directory::new(Version::V1, tree, path.base_in_v1(tree)));
        let v2 = hierarchy
            .v2()
            .filter(|_| hierarchy.v1().is_empty() || is_scope || resources.needs_v2_of(hierarchy))
            .map(|tree| Directory::new(Version::V2, tree, path.base_in_v2(tree)));
        let asked = *path != CgroupsPath::Default || resources.has_limits();
        let need = if host.rootless && !asked { Need::Optional } else { Need::Required };
        let mark = format!("{id} {}", crate::time::rfc3339_now());
        let unit = match path {
            CgroupsPath::Scope(scope) => Some(Unit::new(
                scope.unit(id),
                if scope.user.is_some() { Session::User } else { Session::System },
            )),
            _ => None,
        };
        Self { path: path.path(id), unit, mark, need, directories: v1.chain(v2).collect() }
    }

    /// The directories, one per tree.
    pub fn directories(&self) -> &[Directory] {
        &self.directories
    }

    /// The scope of systemd that it is, if systemd makes it.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// What marks its directory.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// What to do without the permission to make it.
    pub fn need(&self) -> Need {
        self.need
    }

    /// The directory's way down from the mount point.
    pub fn levels(&self, directory: &Directory) -> Levels {
        Levels { path: directory.base.join(&self.path), existing: directory.existing }
    }

    /// The directory's path on the host.
    pub fn host_path(&self, directory: &Directory) -> PathBuf {
        directory.mount_point.join(&directory.base).join(&self.path)
    }

    /// Look at what is there, and change nothing.
    pub fn survey(mut self) -> Result<Survey, Error> {
        if let Some(unit) = &mut self.unit {
            unit.find()?;
        }
        let mut roots = Vec::with_capacity(self.directories.len());
        for i in 0..self.directories.len() {
            let directory = &self.directories[i];
            let root = Root::open(directory).at(FIELD)?;
            let levels = self.levels(directory);
            // systemd's slices are its own to remove.
            let existing = if self.unit.is_some() && directory.is_systemds() {
                levels.last().saturating_sub(1)
            } else {
                root.existing(&levels).at(FIELD)?
            };
            self.directories[i].existing = existing;
            roots.push(root);
        }
        Ok(Survey { layout: self, roots })
    }

    /// Leave this directory alone from now on: it is somebody else's.
    pub(super) fn disown(&mut self, index: usize) {
        let last = self.levels(&self.directories[index]).last();
        self.directories[index].existing = last;
    }
}

/// A layout that knows what is there already. Write it down, then [create](Survey::create) the rest.
#[derive(Debug)]
pub struct Survey {
    pub(super) layout: Layout,
    pub(super) roots: Vec<Root>,
}

impl Survey {
    /// What is to be written down.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn layout(path: Option<&str>, host: &Host) -> Layout {
        let path = CgroupsPath::parse(path.map(Path::new), host).unwrap();
        let resources = Resources::parse(None, host).unwrap();
        Layout::new(&path, &ContainerId::parse("web").unwrap(), &resources, host)
    }

    #[test]
    fn a_directory_per_tree() {
        let v1 = layout(Some("/docker/abc"), &examples::v1());
        assert_eq!(v1.directories().len(), examples::v1().hierarchy.v1().len());
        assert_eq!(v1.host_path(&v1.directories()[0]), Path::new("/sys/fs/cgroup/memory/docker/abc"));
        let v2 = layout(None, &examples::v2());
        assert_eq!(v2.host_path(&v2.directories()[0]), Path::new("/sys/fs/cgroup/user.slice/web"));
    }

    #[test]
    fn the_v2_tree_of_a_hybrid_host_only_where_it_is_needed() {
        // This example has no v1 controller for devices, so the filter needs it.
        let host = examples::hybrid();
        assert!(layout(Some("/a"), &host).directories().iter().any(|d| d.version == Version::V2));
        let rootless = Host { euid: 1000, rootless: true, ..host };
        assert!(layout(Some("/a"), &rootless).directories().iter().all(|d| d.version == Version::V1));
    }

    #[test]
    fn only_the_unprivileged_who_ask_for_nothing_can_go_without() {
        let rootless = Host { euid: 1000, rootless: true, ..examples::v2() };
        assert_eq!(layout(None, &rootless).need(), Need::Optional);
        assert_eq!(layout(Some("/a"), &rootless).need(), Need::Required);
        assert_eq!(layout(None, &examples::v2()).need(), Need::Required);
    }

    #[test]
    fn it_survives_being_written_down() {
        let layout = layout(Some("a/b"), &examples::v1());
        let text = serde_json::to_string(&layout).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
        let levels = layout.levels(&layout.directories()[0]);
        assert_eq!((levels.last(), levels.to(2)), (3, "own/a".into()));
    }
}
