//! Changing a cgroup that is in use: all of the change is made, or none of it.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use super::hierarchy::Version;
use super::{Cgroup, Directory};
use crate::config::linux::resources::devices::DeviceRules;
use crate::config::linux::resources::{Absent, Resources, Write};
use crate::error::Error;
use crate::sys::{Errno, file};

/// What a cgroup held before a change. Dropped, it writes that back, unless it is [forgotten](Before::forget).
#[derive(Debug)]
pub struct Before<'a> {
    cgroup: &'a Cgroup,
    /// Per directory: files and values.
    values: Vec<Vec<(Cow<'static, str>, String)>>,
    devices: Option<DeviceRules>,
    /// What systemd was told, and all that was in force before.
    told: Option<(Resources, Resources)>,
}

impl Cgroup {
    /// Put limits and rules for devices in force, in place of those that are. What is not in `resources` stays as it is;
    /// `old` is all that is in force.
    pub fn change(
        &self,
        resources: &Resources,
        old: &Resources,
        devices: Option<&(DeviceRules, DeviceRules)>,
    ) -> Result<Before<'_>, Error> {
        self.need_more(resources)?;
        let mut before = self.remember(resources);
        self.tell_systemd(resources, devices.map(|(_, new)| new))?;
        before.told = Some((resources.clone(), old.clone()));
        self.apply(resources)?;
        if let Some((old, new)) = devices {
            before.devices = Some(old.clone());
            self.change_devices(new)?;
        }
        Ok(before)
    }

    fn remember(&self, resources: &Resources) -> Before<'_> {
        let (v1, v2) = (resources.v1(), resources.v2());
        let all = self.layout.directories().iter().zip(&self.places);
        let values = all.map(|(directory, place)| {
            let writes = if directory.version == Version::V1 { &v1 } else { &v2 };
            place.leaf.as_ref().map_or(vec![], |leaf| remember(directory, leaf, writes))
        });
        Before { cgroup: self, values: values.collect(), devices: None, told: None }
    }

    /// v1 takes a list rule by rule, and begins with none: nobody shall see that.
    fn change_devices(&self, devices: &DeviceRules) -> Result<(), Error> {
        let thaw = self.with_controller("devices").is_some() && !self.is_frozen();
        if thaw {
            self.freeze()?;
        }
        let changed = self.restrict_devices(devices);
        if thaw {
            self.thaw()?;
        }
        changed
    }
}

fn remember(directory: &Directory, leaf: &OwnedFd, writes: &[Write]) -> Vec<(Cow<'static, str>, String)> {
    let mut values = Vec::new();
    for write in writes.iter().filter(|write| directory.has(&write.controller)) {
        let (file, value) = match (&write.absent, file::open_path(leaf, &*write.file, file::OFlag::empty())) {
            (Absent::Instead { file, value }, Err(error)) if error.errno == Errno::ENOENT => (file, value),
            _ => (&write.file, &write.value),
        };
        let text = file::read_text(leaf, &**file).unwrap_or_default();
        values.extend(old_value(file, value, &text).map(|old| (file.clone(), old)));
    }
    values
}

/// What to write to a file that holds `text`, so that what `written` changes is as before.
fn old_value(file: &str, written: &str, text: &str) -> Option<String> {
    let line = |key: &str| text.lines().find(|line| line.split_whitespace().next() == Some(key));
    if file == "memory.oom_control" {
        return line("oom_kill_disable")?.split_whitespace().nth(1).map(Into::into);
    }
    if let Some((key, _)) = written.split_once(' ')
        && file != "cpu.max"
    {
        // A line per device; what is not listed has no limit.
        let none = || match file {
            "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            "io.weight" => format!("{key} default"),
            "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
            _ => format!("{key} 0"),
        };
        return Some(line(key).map_or_else(none, Into::into));
    }
    match line("default") {
        Some(default) => Some(default.into()),
        None => text.lines().next().filter(|_| text.lines().count() == 1).map(Into::into),
    }
}

impl Before<'_> {
    /// The change is to stay.
    pub fn forget(mut self) {
        self.values.clear();
        self.devices = None;
        self.told = None;
    }
}

impl Drop for Before<'_> {
    fn drop(&mut self) {
        for (place, values) in self.cgroup.places.iter().zip(&self.values) {
            let Some(leaf) = &place.leaf else { continue };
            let mut todo: Vec<_> = values.iter().rev().collect();
            // The kernel checks some values against each other: what it refuses at first is tried again after the rest.
            for _ in 0..2 {
                todo.retain(|(file, value)| file::write_value(leaf, &**file, value).is_err());
            }
            for (file, value) in todo {
                crate::log::warn(&format!("{file}: {value:?} could not be written back"));
            }
        }
        let told = self.told.as_ref().map(|(new, old)| self.cgroup.tell_systemd_of_old(new, old));
        let told = told.unwrap_or(Ok(())).and_then(|()| match &self.devices {
            Some(devices) => self.cgroup.tell_systemd(&Resources::nothing(), Some(devices)),
            None => Ok(()),
        });
        if let Err(error) = told {
            crate::log::warn(&error.to_string());
        }
        if let Some(devices) = &self.devices
            && let Err(error) = self.cgroup.change_devices(devices)
        {
            crate::log::warn(&error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_kernel_shows_them_become_values_as_it_takes_them() {
        for (file, written, text, expected) in [
            ("memory.limit_in_bytes", "4096", "9223372036854771712\n", Some("9223372036854771712")),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", Some("0")),
            ("cpu.max", "1000 2000", "max 100000\n", Some("max 100000")),
            ("io.weight", "4950", "default 100\n8:0 7\n", Some("default 100")),
            ("io.weight", "8:0 5", "default 100\n8:0 7\n", Some("8:0 7")),
            ("io.weight", "8:16 5", "default 100\n8:0 7\n", Some("8:16 default")),
            ("io.max", "8:0 rbps=1", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            (
                "io.max",
                "8:0 rbps=1",
                "8:0 rbps=5 wbps=max riops=max wiops=max\n",
                Some("8:0 rbps=5 wbps=max riops=max wiops=max"),
            ),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:16 9\n", Some("8:0 0")),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:0 9\n", Some("8:0 9")),
            ("rdma.max", "mlx5_0 hca_handle=1", "", Some("mlx5_0 hca_handle=max hca_object=max")),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 2\n", Some("eth0 2")),
            ("memory.stat", "x", "a 1\nb 2\n", None),
            ("memory.high", "1", "", None),
        ] {
            assert_eq!(old_value(file, written, text).as_deref(), expected, "{file} {written}");
        }
    }
}
