//! The bundles: what `runc spec` writes, and more.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::seccomp::profile;
use crate::view::View;
use crate::{Attempt, Result};

/// What a container is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// The program goes on until it is killed.
    pub stays: bool,
    /// With a seccomp profile.
    pub seccomp: bool,
    /// So many bind mounts.
    pub binds: usize,
    /// More paths that are masked and read-only, and more device rules.
    pub covers: bool,
    /// Of the paths to cover only those that every machine has, so that system calls are the same everywhere.
    pub everywhere: bool,
    /// `linux.resources.memory.limit`, in KiB.
    pub memory: Option<u64>,
}

/// Where bundles are made, and what they are made of.
#[derive(Debug)]
pub struct Workshop {
    directory: PathBuf,
    view: View,
}

impl Workshop {
    /// Begin with an empty directory and the program that runs in the containers.
    pub fn open(directory: &Path, payload: &Path, view: View) -> Result<Self> {
        let rootfs = directory.join("rootfs");
        for name in ["bin", "proc", "dev", "sys", "mnt", "etc", "tmp"] {
            fs::create_dir_all(rootfs.join(name)).attempt("the root file system")?;
        }
        fs::copy(payload, rootfs.join("bin/true")).attempt(payload.display())?;
        fs::create_dir_all(directory.join("root")).attempt("the runtime root")?;
        Ok(Self { directory: directory.into(), view })
    }

    /// The root file system of all containers.
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// What the floor takes bind mounts from.
    pub fn sources(&self) -> PathBuf {
        self.directory.join("sources")
    }

    /// Where runtimes have their state: a tmpfs, as `/run` is.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// A file that is gone with the view.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Make a bundle.
    pub fn bundle(&self, name: &str, wish: Wish) -> Result<PathBuf> {
        self.bundle_in(name, wish, None)
    }

    /// Make a bundle of a container that is to be in this cgroup, wherever we are.
    pub fn bundle_in(&self, name: &str, wish: Wish, cgroup: Option<&str>) -> Result<PathBuf> {
        let bundle = self.directory.join(name);
        fs::create_dir_all(&bundle).attempt(name)?;
        for i in 0..wish.binds {
            for place in [self.sources().join(i.to_string()), self.rootfs().join(format!("mnt/{i}"))] {
                fs::create_dir_all(&place).attempt(place.display())?;
            }
        }
        let mut config = self.config(wish);
        if let Some(cgroup) = cgroup {
            config["linux"]["cgroupsPath"] = json!(format!("/{cgroup}"));
        }
        let config = config.to_string();
        fs::write(bundle.join("config.json"), config).attempt("config.json")?;
        Ok(bundle)
    }

    fn config(&self, wish: Wish) -> Value {
        let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
        if self.view == View::V2 {
            namespaces.push("cgroup");
        }
        let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": if wish.stays { json!(["/bin/true", "stay"]) } else { json!(["/bin/true"]) },
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
                "cwd": "/",
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
                "noNewPrivileges": true,
            },
            "root": { "path": self.rootfs(), "readonly": true },
            "hostname": "runc",
            "mounts": self.mounts(wish.binds),
            "linux": {
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
                "namespaces": namespaces,
                "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        });
        let linux = &mut config["linux"];
        if wish.everywhere {
            linux["maskedPaths"] =
                json!(["/proc/fs", "/proc/uptime", "/proc/version", "/sys/kernel", "/proc/missing"]);
            linux["readonlyPaths"] = json!(["/proc/sys", "/proc/tty", "/proc/missing"]);
        }
        if wish.seccomp {
            linux["seccomp"] = profile();
        }
        if let Some(limit) = wish.memory {
            linux["resources"]["memory"] = json!({ "limit": limit * 1024 });
        }
        if wish.covers {
            extend(
                &mut linux["maskedPaths"],
                [json!("/proc/interrupts"), json!("/sys/devices/virtual/powercap")],
            );
            let device = |major: u32, minor: u32| json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" });
            let allowed = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200)];
            extend(&mut linux["resources"]["devices"], allowed.map(|(major, minor)| device(major, minor)));
        }
        config
    }

    fn mounts(&self, binds: usize) -> Value {
        let plain = ["nosuid", "noexec", "nodev"];
        let with = |more: &[&'static str]| [&plain[..], more].concat();
        let mut mounts = json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": with(&["mode=1777", "size=65536k"]) },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": plain },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": with(&["ro"]) },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": with(&["relatime", "ro"]) },
        ]);
        let binds = (0..binds).map(|i| {
            json!({ "destination": format!("/mnt/{i}"), "type": "bind", "source": self.sources().join(i.to_string()),
                "options": ["rbind", "rprivate"] })
        });
        extend(&mut mounts, binds);
        mounts
    }
}

fn extend(array: &mut Value, more: impl IntoIterator<Item = Value>) {
    if let Value::Array(array) = array {
        array.extend(more);
    }
}
