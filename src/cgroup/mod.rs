//! Control groups: where a container's processes are, and what they may use.
//!
//! ```text
//! Layout::new(path, id, resources, host)   pure: a directory in each tree
//!     .survey()?                           what is there already; this goes into state.json
//!     .create(&resources)?                 a guard: directories, limits, device rules
//!     .entrance()?                         what the container's first process enters by
//!     .keep()
//! Cgroup::open(layout)?                    the same from another command
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use crate::config::linux::cgroups_path::{CgroupsPath, FIELD};
use crate::config::linux::resources::pids::Pids;
use crate::config::linux::resources::{Resources, Write};
use crate::error::{At, Error};
use crate::sys::{self, Errno, file};
use cgroupfs::{Made, Root};
use hierarchy::Version;
use layout::{Directory, Layout, Need, Survey};
use systemd::Holder;

pub mod cgroupfs;
mod controllers;
mod dbus;
mod delegate;
mod delete;
pub mod device_filter;
pub mod device_list;
mod device_rules;
mod freezer;
pub mod hierarchy;
pub mod layout;
mod mark;
mod out_of_memory;
mod processes;
mod scope;
pub mod stats;
pub mod sub_cgroups;
mod systemd;
mod update;
mod writes;

pub use out_of_memory::OutOfMemory;
pub use processes::Entrance;
pub use update::Before;

/// A container's cgroup. One that was just made removes itself on drop, unless it is [kept](Cgroup::keep).
#[derive(Debug)]
pub struct Cgroup {
    layout: Layout,
    /// One per directory of the layout.
    places: Vec<Place>,
    on_drop: OnDrop,
    /// What keeps systemd's scope until init is in it, and the limit of tasks that has to wait until it is gone.
    holder: Option<(Holder, Pids)>,
}

/// An open tree and, if it is there, the container's directory in it.
#[derive(Debug)]
struct Place {
    root: Root,
    leaf: Option<OwnedFd>,
    /// The directory was made by this.
    is_new: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum OnDrop {
    Keep,
    Remove,
}

impl Survey {
    /// Make the directories, and put the limits and device rules in force, unless those
    /// [can wait](Cgroup::may_restrict_devices_late). Before that, refuse a cgroup that is in use.
    pub fn create(self, path: &CgroupsPath, resources: &Resources) -> Result<Cgroup, Error> {
        let places = self.roots.into_iter().map(|root| Place { root, leaf: None, is_new: false }).collect();
        // A scope that could not be started may be somebody else's.
        let mut cgroup = Cgroup { layout: self.layout, places, on_drop: OnDrop::Keep, holder: None };
        let resources = match path {
            CgroupsPath::Scope(scope) => cgroup.start_scope(scope, resources)?,
            _ => Cow::Borrowed(resources),
        };
        cgroup.on_drop = OnDrop::Remove;
        let limits = resources.v2();
        for index in 0..cgroup.places.len() {
            match cgroup.make(index, &limits) {
                Err(error) if is_denied(&error) && cgroup.layout.need() == Need::Optional => {
                    crate::log::debug(&format!("going without a cgroup: {error}"));
                }
                Err(error) if is_denied(&error) => return Err(cgroup.denied(index, error, &resources)),
                result => result?,
            }
        }
        cgroup.mark();
        cgroup.apply(&resources)?;
        if !cgroup.may_restrict_devices_late() {
            cgroup.restrict_devices(&resources.devices)?;
        }
        Ok(cgroup)
    }
}

impl Cgroup {
    /// The cgroup that another command has made; directories that are gone are not missed.
    pub fn open(layout: Layout) -> Result<Self, Error> {
        let mut places = Vec::with_capacity(layout.directories().len());
        for directory in layout.directories() {
            let root = Root::open(directory).at(FIELD)?;
            let leaf = match root.open_beneath(layout.levels(directory).path()) {
                Err(error) if error.errno == Errno::ENOENT => None,
                leaf => Some(leaf.at(FIELD)?),
            };
            places.push(Place { root, leaf, is_new: false });
        }
        Ok(Self { layout, places, on_drop: OnDrop::Keep, holder: None })
    }

    /// The same some time after it was made: a directory may have been removed meanwhile, and be another's by now. What
    /// it is below has not changed.
    pub fn again(mut self) -> Result<Self, Error> {
        for (directory, place) in self.layout.directories().iter().zip(&mut self.places) {
            place.leaf = match place.root.open_beneath(self.layout.levels(directory).path()) {
                Err(error) if error.errno == Errno::ENOENT => None,
                leaf => Some(leaf.at(FIELD)?),
            };
        }
        Ok(self)
    }

    /// Where it is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// It is not to be removed on drop.
    pub fn keep(&mut self) {
        self.on_drop = OnDrop::Keep;
    }

    /// Put the limits in force; what is not in `resources` stays as it is. Device rules are not touched.
    pub fn apply(&self, resources: &Resources) -> Result<(), Error> {
        let (v1, v2) = (resources.v1(), resources.v2());
        let has_v1 = self.layout.directories().iter().any(|d| d.version == Version::V1);
        let mut placed = BTreeSet::new();
        for (directory, place) in self.layout.directories().iter().zip(&self.places) {
            let writes = match directory.version {
                Version::V1 => &v1,
                Version::V2 => &v2,
            };
            let writes: Vec<&Write> = writes.iter().filter(|w| directory.has(&w.controller)).collect();
            if let Some(leaf) = &place.leaf {
                placed.extend(writes.iter().map(|write| write.field.to_string()));
                writes::write_all(leaf, &writes)?;
            }
        }
        let asked = if has_v1 { &v1 } else { &v2 };
        match asked.iter().find(|write| !placed.contains(&write.field.to_string())) {
            None => Ok(()),
            Some(write) => Err(Error::message(format!(
                "{}: the container has no cgroup with the controller {:?}",
                write.field, write.controller
            ))),
        }
    }

    /// How many processes the kernel has killed for lack of memory, if it says so.
    pub fn out_of_memory_kills(&self) -> Option<u64> {
        let (directory, leaf) = self.with_controller("memory")?;
        let name = match directory.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = file::read_text(leaf, name).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    fn make(&mut self, index: usize, limits: &[Write]) -> Result<(), Error> {
        if self.layout.unit().is_some() {
            return self.make_beside_systemd(index, limits);
        }
        let directory = &self.layout.directories()[index];
        let levels = self.layout.levels(directory);
        let root = &self.places[index].root;
        let mut attempts = 1..=10;
        let made = loop {
            let made = match directory.version {
                Version::V1 => controllers::make_v1(root, directory, &levels).at(FIELD),
                Version::V2 => controllers::make_v2(root, directory, &levels, limits),
            };
            match made {
                // A level above was there, and is gone: the container that had made it has left in between.
                Err(Error::Apply { source, .. })
                    if source.errno == Errno::ENOENT && attempts.next().is_some() =>
                {
                    for level in 1..=levels.existing {
                        root.make(&levels, level).at(FIELD)?;
                    }
                }
                made => break made?,
            }
        };
        let leaf = root.open_beneath(levels.path()).at(FIELD)?;
        if made == Made::Before {
            let is_ours = levels.existing < levels.last();
            if is_ours {
                self.layout.disown(index);
            }
            refuse_used(self.layout.directories()[index].version, &leaf, None)?;
        }
        let is_new = made == Made::Now;
        self.places[index].leaf = Some(leaf);
        self.places[index].is_new = is_new;
        Ok(())
    }

    /// An error of a directory that could not be made, with the limit that needs it.
    fn denied(&self, index: usize, error: Error, resources: &Resources) -> Error {
        let source = match error {
            Error::Apply { field, source } if field == FIELD.into() => source,
            error => return error,
        };
        let directory = &self.layout.directories()[index];
        let limits = match directory.version {
            Version::V1 => resources.v1(),
            Version::V2 => resources.v2(),
        };
        let path = self.layout.host_path(directory);
        let (field, why) = match limits.iter().find(|l| directory.has(&l.controller)).or(limits.first()) {
            Some(limit) => {
                let why = format!("needs the controller {:?}, and {path:?} cannot be made", limit.controller);
                (limit.field.clone(), why)
            }
            None => (FIELD.into(), format!("{path:?} cannot be made")),
        };
        let source = sys::Error::new(format!("{why}: {}", source.call), source.errno);
        Error::Apply { field, source }
    }

    fn with_controller(&self, controller: &str) -> Option<(&Directory, &OwnedFd)> {
        let all = self.layout.directories().iter().zip(&self.places);
        let mut found = all.filter(|(directory, _)| directory.has(controller));
        found.find_map(|(directory, place)| Some((directory, place.leaf.as_ref()?)))
    }

    fn v2(&self) -> Option<&OwnedFd> {
        self.with_version(Version::V2).next()
    }

    fn v2_is_new(&self) -> bool {
        let all = self.layout.directories().iter().zip(&self.places);
        let mut v2 = all.filter(|(directory, _)| directory.version == Version::V2);
        v2.all(|(_, place)| place.is_new)
    }

    fn with_version(&self, version: Version) -> impl Iterator<Item = &OwnedFd> {
        let all = self.layout.directories().iter().zip(&self.places);
        all.filter(move |(directory, _)| directory.version == version)
            .filter_map(|(_, place)| place.leaf.as_ref())
    }
}

/// A container must be alone in its cgroup, or an operation on it would be one on others.
fn refuse_used(version: Version, leaf: &OwnedFd, holder: Option<i32>) -> Result<(), Error> {
    let processes = processes::below(leaf).at(FIELD)?.into_iter().filter(|&pid| Some(pid) != holder).count();
    if processes != 0 {
        return Err(Error::message(format!(
            "container's cgroup is not empty: {processes} process(es) found"
        )));
    }
    if freezer::is_frozen(version, leaf) {
        return Err(Error::message("container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

fn is_denied(error: &Error) -> bool {
    let Error::Apply { source, .. } = error else { return false };
    matches!(source.errno, Errno::EACCES | Errno::EPERM | Errno::EROFS)
}
