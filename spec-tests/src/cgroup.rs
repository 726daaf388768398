//! The cgroup hierarchies of the host, and the cgroups that this program may clear away.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::verdict::{Verdict, failed};

/// All cgroups of these tests are below this directory of each hierarchy.
pub const PREFIX: &str = "crust-spec-tests";

/// One mounted hierarchy.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers (of v1), with `name=…` for a named one.
    pub controllers: Vec<String>,
    /// Whether it is the one of v2.
    pub unified: bool,
}

/// The hierarchies, in the order of their mounts.
pub fn hierarchies() -> Vec<Hierarchy> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(mount), [kind @ ("cgroup" | "cgroup2"), _, options, ..]) =
            (left.split(' ').nth(4), right.as_slice())
        else {
            continue;
        };
        let controllers = if *kind == "cgroup" { v1_controllers(options) } else { Vec::new() };
        found.push(Hierarchy { mount: PathBuf::from(mount), controllers, unified: *kind == "cgroup2" });
    }
    found
}

fn v1_controllers(options: &str) -> Vec<String> {
    let others = ["rw", "ro", "xattr", "clone_children", "noprefix"];
    options
        .split(',')
        .filter(|word| !others.contains(word) && !word.contains("release_agent"))
        .map(str::to_owned)
        .collect()
}

/// The directory of a process in the hierarchy of a controller, as the kernel tells it.
pub fn of_process(hierarchies: &[Hierarchy], pid: i32, controller: &str) -> Verdict<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(3, ':').collect()).collect();
    let v1 = hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller));
    let (hierarchy, path) = if let Some(hierarchy) = v1 {
        (hierarchy, lines.iter().find(|line| line[1].split(',').any(|name| name == controller)))
    } else {
        let Some(hierarchy) = hierarchies.iter().find(|hierarchy| hierarchy.unified) else {
            return failed("no cgroup hierarchy");
        };
        (hierarchy, lines.iter().find(|line| line[0] == "0"))
    };
    match path {
        Some(line) => Ok(hierarchy.mount.join(line[2].trim_start_matches('/'))),
        None => failed(format!("process {pid} is in no cgroup of {controller}")),
    }
}

/// Every directory below the hierarchies whose name is `name`, a few levels deep.
pub fn named(hierarchies: &[Hierarchy], name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies {
        search(&hierarchy.mount, name, 4, &mut found);
    }
    found
}

fn search(directory: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
    for child in children(directory) {
        if child.file_name().is_some_and(|file_name| file_name.to_string_lossy().contains(name)) {
            found.push(child);
        } else if depth > 1 {
            search(&child, name, depth - 1, found);
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kill what is in these cgroups, and remove them with all below.
pub fn clear(directories: &[PathBuf]) {
    // The frozen do not die, and the freezer is only one of the hierarchies: all are thawed first.
    for directory in directories {
        thaw(directory);
    }
    for directory in directories {
        remove(directory);
    }
}

fn thaw(directory: &Path) {
    for child in children(directory) {
        thaw(&child);
    }
    for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let path = directory.join(file);
        if path.exists() {
            fs::write(path, value).ok();
        }
    }
}

fn remove(directory: &Path) {
    for child in children(directory) {
        remove(&child);
    }
    for _ in 0..50 {
        let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines().filter_map(|line| line.parse().ok()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
