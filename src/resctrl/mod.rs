//! resctrl: groups of tasks with a part of the caches and of the memory bandwidth, and counters of both.
//! `Documentation/filesystems/resctrl.rst`.
//!
//! ```text
//! Group::survey(plan, id)?      what is there already; this goes into state.json
//!     .create(plan)?            a guard: directories and schemata
//!     .keep()
//! Group                         the same from state.json: take a process, change, stats, delete
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::linux::intel_rdt::{Clos, FIELD, IntelRdt, Line, Monitoring, TAKEN};
use crate::container::id::ContainerId;
use crate::error::{At, Error};
use crate::sys::file::{self, OFlag};
use crate::sys::{self, Errno, mountinfo};
use schemata::Schemata;

mod schemata;
pub mod stats;

const MOUNT_POINT: &str = "/sys/fs/resctrl";

/// `RDTGROUP_SUPER_MAGIC`
const MAGIC: i64 = 0x0765_5821;

const TASKS: &str = "tasks";
const SCHEMATA: &str = "schemata";
const MON_GROUPS: &str = "mon_groups";

/// Where in resctrl a container is, and what of that `create` has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    mount_point: PathBuf,
    /// Relative to the mount point; empty is the default class of service.
    path: PathBuf,
    /// Whether the container is the reason that it is there, and takes it along.
    own: bool,
    /// The name of the group with its counters, below `mon_groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitoring: Option<String>,
}

/// A group that a container is to be in, as `create` has found it.
#[derive(Debug)]
pub struct Survey {
    group: Group,
    root: OwnedFd,
    existing: Existing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Group,
    Nothing,
}

/// A group that was made for a container. Dropped, it is undone, unless it is [kept](Made::keep).
#[derive(Debug)]
pub struct Made {
    group: Group,
    root: OwnedFd,
    /// What was made so far, to be removed in reverse.
    made: Vec<PathBuf>,
}

impl Group {
    /// Look for the group, and refuse what cannot be had. Changes nothing.
    pub fn survey(plan: &IntelRdt, id: &ContainerId) -> Result<Survey, Error> {
        let Some((mount_point, root)) = mounted()? else {
            return Err(Error::message(format!(
                "{FIELD}: no resctrl file system is mounted on this host; where the CPU and the kernel have it, \
                 \"mount -t resctrl resctrl {MOUNT_POINT}\" does"
            )));
        };
        Self::survey_in(mount_point, root, plan, id)
    }

    fn survey_in(
        mount_point: PathBuf,
        root: OwnedFd,
        plan: &IntelRdt,
        id: &ContainerId,
    ) -> Result<Survey, Error> {
        let name = match &plan.clos {
            Some(Clos::Default) => "",
            Some(Clos::Named(name)) => name,
            None if TAKEN.contains(&id.as_str()) => {
                let text = format!("{FIELD}: no group can have the name {id}; closID can give another");
                return Err(Error::message(text));
            }
            None => id.as_str(),
        };
        let path = PathBuf::from(name);
        let schemata = match file::read_text(&root, path.join(SCHEMATA)) {
            Err(error) if error.errno == Errno::ENOENT => None,
            text => Some(text.at(FIELD)?),
        };
        match &schemata {
            None if plan.clos.is_some() && plan.checked.is_empty() && plan.schemata.is_empty() => {
                return Err(Error::message(format!(
                    "{FIELD}.closID: {name:?} is not a group in {}, and there is no schema to make it with",
                    mount_point.display()
                )));
            }
            Some(text) => check(&plan.checked, name, text)?,
            None => {}
        }
        let monitoring = (plan.monitoring == Monitoring::On).then(|| id.to_string());
        if let Some(name) = &monitoring {
            let path = path.join(MON_GROUPS).join(name);
            if file::lstat(&root, &path).is_ok() {
                return Err(Error::message(format!(
                    "{FIELD}.enableMonitoring: {} is there already",
                    mount_point.join(path).display()
                )));
            }
        }
        let existing = if schemata.is_some() { Existing::Group } else { Existing::Nothing };
        // "If `closID` is set or the runtime has not created the sub-directory, the runtime MUST NOT remove" it.
        let own = existing == Existing::Nothing && plan.clos.is_none();
        let group = Self { mount_point, path, own, monitoring };
        Ok(Survey { group, root, existing })
    }

    /// Put a process into it; its children will be in it too.
    pub fn take(&self, pid: i32) -> Result<(), Error> {
        let root = self.open()?;
        // The class of service first: only who is in it may be in one of its groups with counters.
        for path in std::iter::once(self.path.clone()).chain(self.monitoring_path()) {
            let written = file::write_value(&root, path.join(TASKS), &pid.to_string());
            written.map_err(|error| explained(&root, error)).at(FIELD)?;
        }
        Ok(())
    }

    /// Remove what was made for the container. What is gone already is well.
    pub fn delete(&self) -> Result<(), Error> {
        let root = match file::open_path(file::here(), &self.mount_point, OFlag::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => return Ok(()),
            root => root.at(FIELD)?,
        };
        for path in self.own_directories().iter().rev() {
            match file::rmdir(&root, path) {
                Err(error) if error.errno != Errno::ENOENT => return Err(error).at(FIELD),
                _ => {}
            }
        }
        Ok(())
    }

    /// Write other lines, all or none.
    pub fn change(&self, lines: &[Line]) -> Result<(), Error> {
        let root = self.open()?;
        let path = self.path.join(SCHEMATA);
        let before = file::read_text(&root, &path).at(FIELD)?;
        let changed = lines.iter().try_for_each(|line| write(&root, &self.path, line));
        if changed.is_err() {
            for line in before.lines() {
                if let Err(error) = file::write_value(&root, &path, &format!("{}\n", line.trim())) {
                    crate::log::warn(&format!("{FIELD}: {error}"));
                }
            }
        }
        changed
    }

    fn open(&self) -> Result<OwnedFd, Error> {
        file::open_path(file::here(), &self.mount_point, OFlag::O_DIRECTORY).at(FIELD)
    }

    fn own_directories(&self) -> Vec<PathBuf> {
        let own = self.own.then(|| self.path.clone());
        own.into_iter().chain(self.monitoring_path()).collect()
    }

    fn monitoring_path(&self) -> Option<PathBuf> {
        self.monitoring.as_ref().map(|name| self.path.join(MON_GROUPS).join(name))
    }
}

impl Survey {
    /// What is to be written down before anything is made.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Make the group, and give it its share.
    pub fn create(self, plan: &IntelRdt) -> Result<Made, Error> {
        let mut made = Made { group: self.group, root: self.root, made: Vec::new() };
        let path = made.group.path.clone();
        if self.existing == Existing::Nothing {
            made.mkdir(&path, FIELD)?;
            plan.checked.iter().try_for_each(|line| write(&made.root, &path, line))?;
        }
        plan.schemata.iter().try_for_each(|line| write(&made.root, &path, line))?;
        if let Some(path) = made.group.monitoring_path() {
            made.mkdir(&path, "linux.intelRdt.enableMonitoring")?;
        }
        Ok(made)
    }
}

impl Made {
    /// It is not to be undone on drop.
    pub fn keep(mut self) {
        self.made.clear();
    }

    fn mkdir(&mut self, path: &Path, field: &'static str) -> Result<(), Error> {
        let made = file::mkdir(&self.root, path, 0o755);
        made.map_err(|error| explained(&self.root, error)).at(field)?;
        self.made.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            if let Err(error) = file::rmdir(&self.root, path) {
                crate::log::warn(&format!("{FIELD}: {error}"));
            }
        }
    }
}

/// A group that is there is shared with others: it has to be as it is asked for, and is not changed.
fn check(lines: &[Line], name: &str, found: &str) -> Result<(), Error> {
    let asked = Schemata::parse(lines.iter().map(|line| line.text.as_str()));
    if asked.is_part_of(&Schemata::parse(found.lines())) {
        return Ok(());
    }
    let asked: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let found: Vec<&str> = found.lines().map(str::trim).collect();
    Err(Error::message(format!(
        "{FIELD}: the group {name:?} is there already, with {:?} and not {:?}",
        found.join(" "),
        asked.join(" ")
    )))
}

/// The kernel takes a resource once per write, and "MUST write `l3CacheSchema` first".
fn write(root: &OwnedFd, group: &Path, line: &Line) -> Result<(), Error> {
    let written = file::write_value(root, group.join(SCHEMATA), &format!("{}\n", line.text));
    written.map_err(|error| explained(root, error)).at(line.field.clone())
}

/// An error with what resctrl itself says of it.
fn explained(root: &OwnedFd, error: sys::Error) -> sys::Error {
    match file::read_text(root, "info/last_cmd_status") {
        Ok(text) if !text.trim().is_empty() && text.trim() != "ok" => {
            sys::Error::new(format!("{} ({})", error.call, text.trim()), error.errno)
        }
        _ => error,
    }
}

/// Where it is mounted: at its own place almost always.
fn mounted() -> Result<Option<(PathBuf, OwnedFd)>, Error> {
    let open = |path: &Path| {
        let root = file::open_path(file::here(), path, OFlag::O_DIRECTORY).ok()?;
        let is_resctrl = file::statfs(&root).is_ok_and(|fs| fs.filesystem_type().0 == MAGIC);
        is_resctrl.then(|| (path.to_owned(), root))
    };
    if let Some(found) = open(Path::new(MOUNT_POINT)) {
        return Ok(Some(found));
    }
    let mounts = mountinfo::read().at(FIELD)?;
    let mut whole = mounts.iter().filter(|mount| mount.kind == "resctrl" && mount.root == Path::new("/"));
    Ok(whole.find_map(|mount| open(&mount.mount_point)))
}

#[cfg(test)]
mod tests;
