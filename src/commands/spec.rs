//! `spec` — write a config.json to begin with: a shell in a terminal, with little that it may do.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{At, Error};
use crate::sys::file::{self, FsType, Mode, OFlag};
use crate::sys::{self, Errno, process};

const NAME: &str = "config.json";

/// Write the default config.json into the bundle, by default the current directory. A file that is there is kept.
pub fn run(bundle: Option<&Path>, rootless: bool) -> Result<(), Error> {
    let caller = rootless.then(process::effective_ids);
    let config = pretty(&default_config(caller, cgroup2()));

    let bundle = bundle.unwrap_or(Path::new("."));
    let path = bundle.join(NAME);
    let dir = file::open(file::here(), bundle, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
    let dir = dir.at_file(bundle)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let new = match file::open(&dir, NAME, flags, Mode::from_bits_truncate(0o666)) {
        Err(error) if error.errno == Errno::EEXIST => {
            return Err(Error::message(format!("File {NAME} exists. Remove it first")));
        }
        new => new.at_file(&path)?,
    };
    file::write_all(&new, &config, &path).at_file(&path).inspect_err(|_| {
        let _half_a_file_stays = file::unlink(&dir, NAME);
    })
}

/// Whether the only cgroup file system is v2's.
fn cgroup2() -> bool {
    let magic = || -> sys::Result<FsType> {
        Ok(file::statfs(file::open_path(file::here(), "/sys/fs/cgroup", OFlag::empty())?)?.filesystem_type())
    };
    magic() == Ok(FsType(libc::CGROUP2_SUPER_MAGIC as _))
}

/// With tabs, as runc writes it: scripts edit the file by line.
fn pretty(config: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, format);
    // Nothing but memory is written to, and every key is a string.
    let _cannot_fail = serde::Serialize::serialize(config, &mut serializer);
    text.push(b'\n');
    text
}

/// The default config. `rootless` are the user and group id that become root of a user namespace; without them the
/// caller is root. `cgroup2`: the host has the hierarchy whose namespace hides the host's part of it.
pub fn default_config(rootless: Option<(u32, u32)>, cgroup2: bool) -> Value {
    let root_only = rootless.is_none();
    let namespaces = [
        ("pid", true),
        // Without a program of the host that lends it an interface, a network of one's own is of no use.
        ("network", root_only),
        ("ipc", true),
        ("uts", true),
        ("mount", true),
        ("cgroup", cgroup2),
        ("user", !root_only),
    ];
    let namespaces: Vec<Value> =
        namespaces.iter().filter(|(_, wanted)| *wanted).map(|(kind, _)| json!({ "type": kind })).collect();
    let mut linux = json!({
        "namespaces": namespaces,
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
            "/sys/devices/virtual/tpm",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    match rootless {
        Some((uid, gid)) => {
            linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
            linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
        }
        None => linux["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] }),
    }
    json!({
        "ociVersion": "1.3.0",
        "process": container_process(),
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "crust",
        "mounts": mounts(root_only),
        "linux": linux,
    })
}

fn container_process() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": { "uid": 0, "gid": 0 },
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts(root_only: bool) -> Value {
    let mut devpts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let sys = if root_only {
        // The group tty, which a mapping of one id does not have.
        devpts.push("gid=5");
        json!({
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        })
    } else {
        // A new sysfs takes a network namespace that belongs to the user namespace.
        json!({
            "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        })
    };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": devpts },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        sys,
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(config: &Value) -> Vec<&str> {
        let list = config["linux"]["namespaces"].as_array().unwrap();
        list.iter().map(|namespace| namespace["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn it_is_a_spec() {
        for config in [default_config(None, true), default_config(Some((1000, 100)), false)] {
            let spec: oci_spec::runtime::Spec = serde_json::from_value(config).unwrap();
            assert_eq!(spec.version(), "1.3.0");
            assert_eq!(spec.process().as_ref().unwrap().terminal(), Some(true));
        }
    }

    #[test]
    fn root_and_rootless_differ() {
        let root = default_config(None, true);
        assert_eq!(namespaces(&root), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        assert!(root.to_string().contains("gid=5"));
        assert!(!root.to_string().contains("uidMappings"));

        let rootless = default_config(Some((1000, 100)), false);
        assert_eq!(namespaces(&rootless), ["pid", "ipc", "uts", "mount", "user"]);
        assert!(!rootless.to_string().contains("gid=5"));
        assert_eq!(rootless["linux"]["resources"], Value::Null);
        assert_eq!(rootless["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(rootless["linux"]["gidMappings"][0]["hostID"], 100);
        assert_eq!(rootless["mounts"][5]["source"], "/sys");
    }

    #[test]
    fn a_file_that_exists_is_kept() {
        let bundle = std::env::temp_dir().join(format!("crust-spec-{}", std::process::id()));
        std::fs::create_dir(&bundle).unwrap();
        run(Some(&bundle), false).unwrap();
        let text = std::fs::read_to_string(bundle.join(NAME)).unwrap();
        assert!(text.starts_with("{\n\t\"") && text.ends_with("}\n"), "{text}");
        assert_eq!(
            run(Some(&bundle), true).unwrap_err().to_string(),
            "File config.json exists. Remove it first"
        );
        assert_eq!(std::fs::read_to_string(bundle.join(NAME)).unwrap(), text);
        std::fs::remove_dir_all(&bundle).unwrap();
        assert!(run(Some(&bundle), false).unwrap_err().to_string().contains("ENOENT"));
    }
}
