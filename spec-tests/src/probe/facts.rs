//! What a process can see of itself and of its namespaces.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{getgroups, getresgid, getresuid};
use serde_json::{Value, json};

use crate::sys;

/// Names and numbers of the resources of `getrlimit(2)`.
pub const LIMITS: &[(&str, u32)] = &[
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

/// Everything.
pub fn all() -> Value {
    let status = status();
    let text = |key: &str| status.get(key).cloned().unwrap_or_default();
    json!({
        "argv": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "cwd": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "pid": std::process::id(),
        "uid": uids(), "gid": gids(), "groups": groups(), "umask": current_umask(),
        "capabilities": {
            "inheritable": hex(&text("CapInh")), "permitted": hex(&text("CapPrm")),
            "effective": hex(&text("CapEff")), "bounding": hex(&text("CapBnd")), "ambient": hex(&text("CapAmb")),
        },
        "no_new_privs": text("NoNewPrivs"), "seccomp": text("Seccomp"), "blocked": hex(&text("SigBlk")),
        "ignored": hex(&text("SigIgn")), "cpus": text("Cpus_allowed_list"),
        "rlimits": LIMITS.iter().map(|(name, number)| (*name, sys::limit(*number))).collect::<BTreeMap<_, _>>(),
        "oom_score_adj": read("/proc/self/oom_score_adj"),
        "hostname": nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        "domainname": sys::domain_name(),
        "namespaces": namespaces(), "mounts": mounts(&read("/proc/self/mountinfo")),
        "cgroup": read("/proc/self/cgroup"), "label": label(),
        "personality": number(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
        "nice": number(libc::SYS_getpriority, [0; 6]).map(|raw| 20 - raw),
        "scheduler": number(libc::SYS_sched_getscheduler, [0; 6]),
        "io_priority": number(libc::SYS_ioprio_get, [1, 0, 0, 0, 0, 0]),
        "session_keyring": sys::session_keyring(), "keyring_label": sys::session_keyring_label(), "descriptors": descriptors(),
        "terminal": [sys::window_size(0), sys::window_size(1), sys::window_size(2)],
        "monotonic": sys::clock_seconds(libc::CLOCK_MONOTONIC), "boottime": sys::clock_seconds(libc::CLOCK_BOOTTIME),
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// What AppArmor or SELinux confines us by; one of them writes a NUL behind it.
fn label() -> String {
    read("/proc/self/attr/current").trim_end_matches('\0').to_owned()
}

fn status() -> BTreeMap<String, String> {
    let text = read("/proc/self/status");
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn number(call: i64, arguments: [u64; 6]) -> Option<i64> {
    sys::call(call, arguments).ok()
}

fn uids() -> Option<[u32; 3]> {
    getresuid().ok().map(|ids| [ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()])
}

fn gids() -> Option<[u32; 3]> {
    getresgid().ok().map(|ids| [ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()])
}

fn groups() -> Vec<u32> {
    let mut groups: Vec<u32> = getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
    groups.sort_unstable();
    groups
}

fn current_umask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}

/// Type and inode of each namespace, in the kernel's spelling `pid:[4026531836]`.
pub fn namespaces() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/proc/self/ns") else { return BTreeMap::new() };
    let links = entries.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), target.display().to_string()))
    });
    links.collect()
}

/// The open descriptors, without the one that reads the directory.
fn descriptors() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let links = entries.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?.display().to_string();
        let itself = target.starts_with("/proc/") && target.ends_with("/fd");
        (!itself).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
    });
    links.collect()
}

/// `/proc/self/mountinfo`, line by line.
pub fn mounts(text: &str) -> Vec<Value> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    Some(json!({
        "device": left.get(2)?, "root": left.get(3)?, "destination": left.get(4)?, "options": words(left.get(5)?),
        "propagation": left.get(6..)?, "type": right.first()?, "source": right.get(1)?,
        "super": words(right.get(2).copied().unwrap_or_default()),
    }))
}
