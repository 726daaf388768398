//! Putting device rules in force: in the files of v1's `devices` controller, or as a filter at the v2 directory.

use std::os::fd::OwnedFd;

use super::{Cgroup, device_filter, writes};
use crate::config::linux::resources::devices::DeviceRules;
use crate::error::{At, Error, Field};
use crate::sys::{self, Errno, bpf};

impl Cgroup {
    /// Whether the rules may be put in force when there is a process in it already, of ours: what the kernel needs for the
    /// filter of a new v2 directory, a tenth of what a container takes, it can do meanwhile. Nobody who is not to be
    /// restricted may run before they are.
    pub fn may_restrict_devices_late(&self) -> bool {
        self.with_controller("devices").is_none() && self.v2().is_some() && self.v2_is_new()
    }

    /// Fails where the rules cannot be enforced: a container that may use devices it must not is worse than none.
    pub fn restrict_devices(&self, devices: &DeviceRules) -> Result<(), Error> {
        const DEVICES: Field = Field::new("linux.resources.devices");
        if !devices.are_enforced() {
            return Ok(());
        }
        if let Some((_, leaf)) = self.with_controller("devices") {
            return writes::write_list(leaf, &devices.v1());
        }
        let Some(leaf) = self.v2() else {
            return Err(Error::message(format!(
                "{DEVICES}: the container has no cgroup that could enforce it"
            )));
        };
        let filter = if self.v2_is_new() { attach_first_filter } else { attach_filter };
        filter(leaf, devices).at(DEVICES)
    }
}

/// Attach a filter to a directory that was made just now, where none can be.
fn attach_first_filter(leaf: &OwnedFd, devices: &DeviceRules) -> sys::Result<()> {
    if device_filter::allows_everything(devices.rules()) {
        return Ok(());
    }
    bpf::attach_device_filter(leaf, &load(devices)?, &bpf::Place::Beside)
}

fn load(devices: &DeviceRules) -> sys::Result<bpf::Program> {
    let program: Vec<u64> = device_filter::compile(devices.rules()).into_iter().map(|i| i.encode()).collect();
    bpf::load_device_filter(&program)
}

/// Attach a filter in the place of those that are there, and make sure that it is the one.
fn attach_filter(leaf: &OwnedFd, devices: &DeviceRules) -> sys::Result<()> {
    let old = bpf::device_filters(leaf)?;
    if old.is_empty() && device_filter::allows_everything(devices.rules()) {
        return Ok(());
    }
    let program = load(devices)?;
    let old: Vec<bpf::Program> = old.into_iter().map(bpf::program_by_id).collect::<Result<_, _>>()?;
    let replaced = match &old[..] {
        [only] => bpf::attach_device_filter(leaf, &program, &bpf::Place::Of(only)).is_ok(),
        _ => false,
    };
    // Replacing is not known before Linux 5.6. In between both are in force, never none.
    if !replaced {
        bpf::attach_device_filter(leaf, &program, &bpf::Place::Beside)?;
        for old in &old {
            bpf::detach_device_filter(leaf, old)?;
        }
    }
    if bpf::device_filters(leaf)? == [bpf::program_id(&program)?] {
        return Ok(());
    }
    Err(sys::Error::new("bpf(BPF_PROG_QUERY): the device filter is not in force", Errno::EPERM))
}
