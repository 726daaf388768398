//! A cgroup that is a scope of systemd: what systemd is told, and what is done beside it.
//!
//! systemd gets every value that it has a property for, in the call that makes the scope, so that it writes the same
//! again whenever it is told to reload. The files are written as well: for the rest, and for exact values.

use std::borrow::Cow;

use super::hierarchy::Version;
use super::systemd::{Holder, Unit, unset};
use super::{Cgroup, controllers, refuse_used};
use crate::config::linux::cgroups_path::FIELD;
use crate::config::linux::resources::Resources;
use crate::config::linux::resources::devices::DeviceRules;
use crate::config::linux::resources::pids::{Pids, PidsLimit};
use crate::config::linux::resources::property::{Property, Value};
use crate::config::linux::scope::Scope;
use crate::error::{At, Error};
use crate::sys::{Errno, file};

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
        let holder = Holder::new()?;
        let properties = self.properties(&resources, Some(&resources.devices));
        unit.start(scope, &holder, properties)?;
        let place = holder.cgroup()?;
        let is_here = self.layout.directories().iter().any(|d| self.layout.levels(d).path() == place);
        if !is_here {
            let (wanted, unit) = (self.layout.levels(&self.layout.directories()[0]), unit.clone());
            drop(holder);
            let text =
                format!("{FIELD}: systemd has put {} to {place:?}, not to {:?}", unit.name, wanted.path());
            return Err(Error::message(text));
        }
        self.holder = Some((holder, later));
        Ok(resources)
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
    pub(super) fn make_beside_systemd(&mut self, index: usize) -> Result<(), Error> {
        let directory = &self.layout.directories()[index];
        let mut levels = self.layout.levels(directory);
        let root = &self.places[index].root;
        if directory.version == Version::V1 {
            levels.existing = root.existing(&levels).at(FIELD)?;
            controllers::make_v1(root, directory, &levels).at(FIELD)?;
        }
        let leaf = root.open_beneath(levels.path()).at(FIELD)?;
        refuse_used(directory.version, &leaf, self.holder.as_ref().map(|(holder, _)| holder.pid))?;
        self.places[index].leaf = Some(leaf);
        Ok(())
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
        let (changed, old) = (self.properties(change, None), self.properties(old, None));
        let back = |property: &Property| {
            old.iter().find(|other| other.name == property.name).cloned().or_else(|| unset(property))
        };
        unit.set(&changed.iter().filter_map(back).collect::<Vec<_>>())
    }

    fn properties(&self, resources: &Resources, devices: Option<&DeviceRules>) -> Vec<Property> {
        let has_v1 = self.layout.directories().iter().any(|d| d.version == Version::V1);
        let mut properties = resources.systemd(if has_v1 { Version::V1 } else { Version::V2 });
        if let Some(devices) = devices {
            let groups = file::read_text(file::here(), "/proc/devices").unwrap_or_default();
            properties.extend(devices.systemd(&groups));
        }
        properties
    }
}
