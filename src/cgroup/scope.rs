//! A cgroup that is a scope of systemd: what systemd is told, and what is done beside it.
//!
//! systemd gets every value that it has a property for, in the call that makes the scope, so that it writes the same
//! again whenever it is told to reload. The files are written as well: for the rest, and for exact values.

use std::borrow::Cow;
use std::path::Path;

use super::hierarchy::Version;
use super::systemd::{Holder, Unit, unset};
use super::{Cgroup, OnDrop, controllers, refuse_used};
use crate::config::linux::cgroups_path::FIELD;
use crate::config::linux::resources::devices::DeviceRules;
use crate::config::linux::resources::pids::{Pids, PidsLimit};
use crate::config::linux::resources::property::{Property, Value};
use crate::config::linux::resources::{Resources, Write};
use crate::config::linux::scope::Scope;
use crate::error::{At, Error};
use crate::sys::Errno;
use crate::sys::file::{self, Mode, OFlag};

/// Limits of tasks below this are met by the holder before init is there.
const FEW: u64 = 8;

impl Cgroup {
    /// Start the scope. What is to be written to the files is answered: it leaves room for the holder.
    pub(super) fn start_scope<'a>(
        &mut self,
        scope: &Scope,
        resources: &'a Resources,
    ) -> Result<Cow<'a, Resources>, Error> {
        let Some(unit) = self.layout.unit() else { return Ok(Cow::Borrowed(resources)) };
        let (resources, later) = match resources.pids.0 {
            Some(PidsLimit::At(limit)) if limit.get() <= FEW => {
                let pids = Pids(Some(PidsLimit::At(limit.saturating_add(1))));
                (Cow::Owned(Resources { pids, ..resources.clone() }), resources.pids.clone())
            }
            _ => (Cow::Borrowed(resources), Pids(None)),
        };
        self.refuse_used_place()?;
        let holder = Holder::new()?;
        let properties = self.properties(&resources, Some(&resources.devices));
        unit.start(scope, &holder, properties)?;
        self.on_drop = OnDrop::Remove;
        let place = holder.cgroup()?;
        let is_here = self.layout.directories().iter().any(|d| self.layout.levels(d).path() == place);
        if !is_here {
            let wanted = self.layout.levels(&self.layout.directories()[0]);
            let text = if holder.has_ended()? {
                format!("{FIELD}: the process that systemd was to start {} around has ended", unit.name)
            } else {
                format!("{FIELD}: systemd has put {} to {place:?}, not to {:?}", unit.name, wanted.path())
            };
            return Err(Error::message(text));
        }
        self.holder = Some((holder, later));
        Ok(resources)
    }

    /// What systemd makes a scope of, it removes with the scope: it must not be somebody else's before.
    fn refuse_used_place(&self) -> Result<(), Error> {
        let all = self.layout.directories().iter().zip(&self.places);
        for (directory, place) in all.filter(|(directory, _)| directory.is_systemds()) {
            match place.root.open_beneath(self.layout.levels(directory).path()) {
                Ok(leaf) => refuse_used(directory.version, &leaf, None)?,
                Err(error) if error.errno == Errno::ENOENT => {}
                Err(error) => return Err(error).at(FIELD),
            }
        }
        Ok(())
    }

    /// Init is in it: the holder goes, and the limit of tasks gets its value.
    pub fn settle(&mut self) -> Result<(), Error> {
        let Some((holder, later)) = self.holder.take() else { return Ok(()) };
        drop(holder);
        let (Some(_), Some(unit)) = (&later.0, self.layout.unit()) else { return Ok(()) };
        unit.set(&later.systemd())?;
        let writes = later.v2();
        let Some((_, leaf)) = self.with_controller("pids") else { return Ok(()) };
        match super::writes::write_all(leaf, &writes.iter().collect::<Vec<_>>()) {
            // The program has come to its end, and the scope with it.
            Err(Error::Apply { source, .. }) if matches!(source.errno, Errno::ENOENT | Errno::ENODEV) => {
                Ok(())
            }
            result => result,
        }
    }

    /// The directories that systemd has made are there; of v1 it does not make all.
    pub(super) fn make_beside_systemd(&mut self, index: usize, limits: &[Write]) -> Result<(), Error> {
        let directory = &self.layout.directories()[index];
        let mut levels = self.layout.levels(directory);
        let root = &self.places[index].root;
        match directory.version {
            Version::V1 => {
                levels.existing = root.existing(&levels).at(FIELD)?;
                controllers::make_v1(root, directory, &levels).at(FIELD)?;
            }
            Version::V2 => controllers::give_needed(root, directory, &levels, limits)?,
        }
        let leaf = root.open_beneath(levels.path()).at(FIELD)?;
        refuse_used(directory.version, &leaf, self.holder.as_ref().map(|(holder, _)| holder.pid))?;
        self.places[index].leaf = Some(leaf);
        Ok(())
    }

    /// Get the controllers that a change of limits needs, where they were not needed before.
    pub(super) fn need_more(&self, resources: &Resources) -> Result<(), Error> {
        let limits = resources.v2();
        let v2 = self.layout.directories().iter().zip(&self.places).find(|(d, _)| d.version == Version::V2);
        match v2 {
            Some((directory, place)) if self.layout.unit().is_some() && place.leaf.is_some() => {
                let levels = self.layout.levels(directory);
                controllers::give_needed(&place.root, directory, &levels, &limits)
            }
            _ => Ok(()),
        }
    }

    /// Tell systemd what changes. Nothing, if it has not made the cgroup.
    pub(super) fn tell_systemd(
        &self,
        resources: &Resources,
        devices: Option<&DeviceRules>,
    ) -> Result<(), Error> {
        let Some(unit) = self.layout.unit() else { return Ok(()) };
        let mut properties = self.properties(resources, devices);
        // Devices are added to the list; nothing empties it.
        if devices.is_some() {
            properties.insert(0, Property::new("DeviceAllow", Value::Pairs(vec![])));
        }
        unit.set(&properties)
    }

    /// Take back what systemd was told of a change, where `old` is all that was in force before.
    pub(super) fn tell_systemd_of_old(&self, change: &Resources, old: &Resources) -> Result<(), Error> {
        let Some(unit) = self.layout.unit() else { return Ok(()) };
        self.take_back(unit, change, old)
    }

    fn take_back(&self, unit: &Unit, change: &Resources, old: &Resources) -> Result<(), Error> {
        unit.set(&taken_back(&self.properties(change, None), &self.properties(old, None)))
    }

    fn properties(&self, resources: &Resources, devices: Option<&DeviceRules>) -> Vec<Property> {
        let has_v1 = self.layout.directories().iter().any(|d| d.version == Version::V1);
        let mut properties =
            resources.systemd(if has_v1 { Version::V1 } else { Version::V2 }, &is_whole_disk);
        if let Some(devices) = devices {
            let groups = file::read_text(file::here(), "/proc/devices").unwrap_or_default();
            properties.extend(devices.systemd(&groups));
        }
        properties
    }
}

/// What makes properties again what they were. Lists by device are emptied first: what is set is added to them.
fn taken_back(changed: &[Property], old: &[Property]) -> Vec<Property> {
    let mut back: Vec<Property> = Vec::new();
    for property in changed {
        if back.iter().any(|other| other.name == property.name) {
            continue;
        }
        let before: Vec<_> = old.iter().filter(|other| other.name == property.name).cloned().collect();
        if before.is_empty() || matches!(property.value, Value::Amounts(_)) {
            back.extend(unset(property));
        }
        back.extend(before);
    }
    back
}

/// Whether systemd would take the device for what it is, and not for the disk that it is a part of or lies on.
fn is_whole_disk(device: &str) -> bool {
    let sysfs = Path::new("/sys/dev/block").join(device);
    let open = |name| file::open(file::here(), sysfs.join(name), OFlag::O_RDONLY, Mode::empty());
    let is_there = file::open_path(file::here(), &sysfs, OFlag::empty()).is_ok();
    let lies_on_others = open("slaves").and_then(file::list).is_ok_and(|below| !below.is_empty());
    is_there && open("partition").is_err() && !lies_on_others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_taken_back() {
        let (number, amount) =
            (Property::number, |device, most| Property::amount("IOReadIOPSMax", device, most));
        let empty = || Property::new("IOReadIOPSMax", Value::Amounts(vec![]));
        for (changed, old, expected) in [
            (vec![number("TasksMax", 7)], vec![number("TasksMax", 5)], vec![number("TasksMax", 5)]),
            (vec![number("TasksMax", 7)], vec![], vec![number("TasksMax", u64::MAX)]),
            (vec![number("MemoryLow", 7)], vec![], vec![number("MemoryLow", 0)]),
            (
                vec![amount("8:0", 1), amount("8:16", 2)],
                vec![amount("8:0", 5), number("TasksMax", 5)],
                vec![empty(), amount("8:0", 5)],
            ),
            (vec![amount("8:0", 1)], vec![], vec![empty()]),
        ] {
            assert_eq!(taken_back(&changed, &old), expected);
        }
    }
}
