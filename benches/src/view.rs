//! What a runtime sees of the machine: a private mount namespace with the control groups of one version.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::{Attempt, Result};

/// Which control groups there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A tree per controller, and no v2 tree: crun refuses hosts that have both.
    V1,
    /// One tree.
    V2,
}

const CGROUPS: &str = "/sys/fs/cgroup";

impl View {
    /// As the floor is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// The view of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|view| view.name() == name)
    }

    /// Whether the machine has what the view shows.
    pub fn is_possible(self) -> bool {
        self == Self::V2 || Path::new(CGROUPS).join("memory/tasks").exists()
    }

    /// Move this process into a mount namespace of its own that has this view, and a tmpfs on `directory`, which is
    /// gone with the process.
    pub fn enter(self, directory: &Path) -> Result<()> {
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).attempt("unshare(CLONE_NEWNS)")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(nothing, "/", nothing, private, nothing).attempt("making all mounts private")?;
        let mounts = fs::read_to_string("/proc/self/mounts").attempt("/proc/self/mounts")?;
        let mut shown: Vec<(&str, &str)> = mounts.lines().filter_map(point_and_type).collect();
        shown.retain(|(point, _)| Path::new(point).starts_with(CGROUPS));
        let hidden = |kind: &str| self == Self::V2 || kind == "cgroup2";
        if shown.iter().any(|(_, kind)| *kind == "cgroup") {
            for (point, _) in shown.iter().rev().filter(|(_, kind)| hidden(kind)) {
                umount2(*point, MntFlags::MNT_DETACH).attempt(format!("umount2({point})"))?;
            }
            if self == Self::V2 {
                mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), MsFlags::empty(), nothing)
                    .attempt("mounting cgroup2")?;
            }
        }
        fs::create_dir_all(directory).attempt(directory.display())?;
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=700"))
            .attempt("mounting a tmpfs")
    }
}

fn point_and_type(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ').skip(1);
    Some((words.next()?, words.next()?))
}
