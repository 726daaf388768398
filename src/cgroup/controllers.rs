//! What the directories above a container's need, so that it has its controllers: v2 must be told to give them to the
//! children, and v1's cpuset lets no process into a directory without CPUs.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::cgroupfs::{Made, Root};
use super::layout::{Directory, Levels};
use crate::config::linux::resources::Write;
use crate::error::{At, Error};
use crate::sys::{self, Errno, file};

const SUBTREE: &str = "cgroup.subtree_control";

/// Make the levels of a v1 directory. In cpuset each level begins with what its parent has, as nothing else may enter it.
pub fn make_v1(root: &Root, directory: &Directory, levels: &Levels) -> sys::Result<Made> {
    let mut made = Made::Before;
    for level in levels.existing + 1..=levels.last() {
        made = root.make(levels, level)?;
    }
    if directory.has("cpuset") {
        let mut parent = root.open_beneath(&levels.to(0))?;
        for level in 1..=levels.last() {
            let child = root.open_beneath(&levels.to(level))?;
            let is_new = level > levels.existing;
            for name in ["cpuset.cpus", "cpuset.mems"] {
                if is_new || file::read_text(&child, name)?.trim().is_empty() {
                    let value = file::read_text(&parent, name)?;
                    file::write_value(&child, name, value.trim())?;
                }
            }
            parent = child;
        }
    }
    Ok(made)
}

/// Make the levels of the v2 directory, and let every level above the last give its controllers to the next: all that
/// there are, as the container may want to have them in its own sub-cgroups; a failure counts only for those that a
/// limit needs.
pub fn make_v2(root: &Root, directory: &Directory, levels: &Levels, limits: &[Write]) -> Result<Made, Error> {
    let last = levels.last();
    let field = crate::config::linux::cgroups_path::FIELD;
    // What the last but one gives, all above it give as well: the usual case when the parent is in use.
    let given = if levels.existing + 1 >= last {
        let given = match last - 1 {
            0 => words(root, SUBTREE),
            level => words(root.open_beneath(&levels.to(level)).at(field)?, SUBTREE),
        };
        directory.controllers.iter().all(|c| given.contains(c))
    } else {
        false
    };
    let mut made = Made::Before;
    for level in 1..=last {
        if !given {
            let parent = root.open_beneath(&levels.to(level - 1)).at(field)?;
            let path = directory.mount_point.join(levels.to(level - 1));
            give_all(&parent, &path, limits)?;
        }
        if level > levels.existing {
            made = root.make(levels, level).at(field)?;
        }
    }
    Ok(made)
}

/// Let the levels above a scope of systemd's give the controllers that limits need and systemd does not know (huge pages,
/// RDMA). It leaves these alone.
pub fn give_needed(
    root: &Root,
    directory: &Directory,
    levels: &Levels,
    limits: &[Write],
) -> Result<(), Error> {
    if limits.is_empty() {
        return Ok(());
    }
    let field = crate::config::linux::cgroups_path::FIELD;
    let open = |level| root.open_beneath(&levels.to(level)).at(field);
    let has = words(&open(levels.last())?, "cgroup.controllers");
    let needed: BTreeSet<&str> =
        limits.iter().map(|limit| &*limit.controller).filter(|c| !has.contains(*c)).collect();
    for level in 0..levels.last() {
        let parent = open(level)?;
        let offered = words(&parent, "cgroup.controllers");
        for controller in needed.iter().filter(|controller| offered.contains(**controller)) {
            if let Err(error) = file::write_value(&parent, SUBTREE, &format!("+{controller}")) {
                let path = directory.mount_point.join(levels.to(level));
                refuse_limit(limits, controller, &path, "cannot give it to its children", &error)?;
            }
        }
    }
    Ok(())
}

fn give_all(dir: &OwnedFd, path: &Path, limits: &[Write]) -> Result<(), Error> {
    let given = words(dir, SUBTREE);
    let missing: Vec<String> = words(dir, "cgroup.controllers").difference(&given).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = missing.iter().map(|controller| format!("+{controller}")).collect();
    let Err(error) = file::write_value(dir, SUBTREE, &all.join(" ")) else { return Ok(()) };
    // One by one would make a threaded cgroup of it, which no container could be in.
    if error.errno == Errno::EBUSY {
        let why = "has processes of its own, so that it cannot give controllers to its children";
        return missing.iter().try_for_each(|controller| refuse_limit(limits, controller, path, why, &error));
    }
    for (controller, value) in missing.iter().zip(&all) {
        if let Err(error) = file::write_value(dir, SUBTREE, value) {
            refuse_limit(limits, controller, path, "cannot give it to its children", &error)?;
        }
    }
    Ok(())
}

fn refuse_limit(
    limits: &[Write],
    controller: &str,
    path: &Path,
    why: &str,
    error: &sys::Error,
) -> Result<(), Error> {
    let Some(limit) = limits.iter().find(|limit| limit.controller == controller) else { return Ok(()) };
    let call = format!("needs the controller {controller:?}, but {path:?} {why}: {}", error.call);
    Err(sys::Error::new(call, error.errno)).at(limit.field.clone())
}

/// What cannot be read is empty: the writes that follow say what is wrong.
fn words(dir: impl AsFd, name: &str) -> BTreeSet<String> {
    let text = file::read_piece(dir, name).unwrap_or_default();
    text.split_whitespace().map(Into::into).collect()
}
