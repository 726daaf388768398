//! What a container may leave behind, and how to clear it away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::cgroup::{self, Hierarchy};
use crate::trial::slowness;

/// Parent and one-letter state of a process.
fn parent_and_state(pid: i32) -> Option<(i32, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    let state = words.next()?.chars().next()?;
    Some((words.next()?.parse().ok()?, state))
}

/// The children of this process: as a subreaper it inherits all orphans of the runtime.
pub fn children() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.filter(|pid| parent_and_state(*pid).is_some_and(|(parent, _)| parent == own)).collect()
}

/// Reap the dead children among those that are not `kept`.
pub fn reap(kept: &BTreeSet<i32>) {
    for pid in children() {
        if !kept.contains(&pid) && parent_and_state(pid).is_some_and(|(_, state)| state == 'Z') {
            waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).ok();
        }
    }
}

/// Kill and reap all children that are not `kept`, and then their orphans.
pub fn kill_children(kept: &BTreeSet<i32>) {
    for _ in 0..200 {
        let orphans: Vec<i32> = children().into_iter().filter(|pid| !kept.contains(pid)).collect();
        if orphans.is_empty() {
            return;
        }
        for pid in orphans {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).ok();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The mount table of this process.
pub fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// What is left of container `id`: its state directory, cgroups, processes, mounts.
pub fn of(
    id: &str,
    runtime_root: &Path,
    hierarchies: &[Hierarchy],
    mounts_before: &str,
    kept: &BTreeSet<i32>,
) -> Vec<String> {
    let mut left = Vec::new();
    if runtime_root.join(id).symlink_metadata().is_ok() {
        left.push(format!("the state directory {}", runtime_root.join(id).display()));
    }
    for cgroup in cgroup::named(hierarchies, id) {
        left.push(format!("the cgroup {}", cgroup.display()));
    }
    for pid in children_soon_gone(kept) {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        left.push(format!("the process {pid} ({})", command.replace('\0', " ").trim()));
    }
    for line in mounts().lines().filter(|line| !mounts_before.contains(*line)) {
        left.push(format!("the mount {line}"));
    }
    left
}

/// The living children, after a moment in which the dying may die.
fn children_soon_gone(kept: &BTreeSet<i32>) -> Vec<i32> {
    let end = Instant::now() + Duration::from_millis(500) * slowness();
    loop {
        reap(kept);
        let living: Vec<i32> = children().into_iter().filter(|pid| !kept.contains(pid)).collect();
        if living.is_empty() || Instant::now() > end {
            return living;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
