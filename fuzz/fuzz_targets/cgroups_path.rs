//! Any text as a `linux.cgroupsPath`: what comes of it never leads out of the hierarchy.
#![no_main]

use std::path::{Component, Path};
use std::sync::LazyLock;

use crust::cli::Rootless;
use crust::config::linux::cgroups_path::CgroupsPath;
use crust::container::id::ContainerId;
use crust::host::Host;
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<Host> = LazyLock::new(|| Host::read(Rootless::Auto).expect("a host"));

fuzz_target!(|text: &str| {
    let Ok(path) = CgroupsPath::parse(Some(Path::new(text)), &HOST) else { return };
    let id = ContainerId::parse("web").expect("an id");
    assert!(path.path(&id).components().all(|part| part != Component::ParentDir), "{text:?} leads upwards");
});
