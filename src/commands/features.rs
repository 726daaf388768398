//! `features` — what this runtime understands, whatever the host has.
//! <https://github.com/opencontainers/runtime-spec/blob/main/features.md>

use serde_json::{Value, json};

use crate::commands::print;
use crate::config::annotations;
use crate::config::hooks::Kind as Hook;
use crate::config::linux::memory_policy;
use crate::config::linux::namespaces::Kind as Namespace;
use crate::config::linux::seccomp::Words;
use crate::config::mount_options;
use crate::config::process::capabilities;
use crate::container::state::OCI_VERSION;
use crate::error::Error;
use crate::sys::seccomp;

/// `features`
pub fn run() -> Result<(), Error> {
    let text = serde_json::to_string_pretty(&document()).map_err(|e| Error::message(e.to_string()))?;
    print(&format!("{text}\n"))
}

/// Generated from the tables that configs are read by, so that it claims what is built, and nothing else.
fn document() -> Value {
    let words = Words::read();
    let mut mount_options: Vec<&str> = mount_options::words().collect();
    mount_options.sort_unstable();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": Hook::ALL.map(Hook::name),
        "mountOptions": mount_options,
        "linux": {
            "namespaces": Namespace::ALL.map(Namespace::name),
            "capabilities": capabilities::NAMES.as_slice(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": words.actions,
                "operators": words.operators,
                "archs": words.architectures,
                "knownFlags": words.known_flags,
                "supportedFlags": words.supported_flags,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "mountExtensions": { "idmap": { "enabled": true } },
            "memoryPolicy": {
                "modes": memory_policy::MODES.map(|(mode, _)| mode.to_string()),
                "flags": memory_policy::FLAGS.map(|(flag, _)| flag.to_string()),
            },
            "netDevices": { "enabled": true },
        },
        "potentiallyUnsafeConfigAnnotations": annotations::KNOWN.map(|(key, _)| key),
        "annotations": {
            "io.github.seccomp.libseccomp.version": seccomp::library_version(),
            // What engines look for before they offer it.
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;
    use crate::cgroup::hierarchy::{Driver, Hierarchy};
    use crate::config::Plan;
    use crate::host::{Fact, Host};

    fn host() -> Host {
        Host {
            euid: 0,
            in_user_namespace: false,
            setgroups_denied: false,
            caller: None,
            rootless: true,
            kernel: (6, 12),
            bounding: u64::MAX,
            last_capability: crate::host::Fact::Known(40),
            ambient: 0,
            ignored_signals: 0,
            apparmor: Fact::Known(true),
            selinux: Fact::Known(true),
            hierarchy: Hierarchy::None,
            driver: Driver::default(),
            allowed_annotations: vec![],
        }
    }

    /// What a config with this change is answered; nothing, if it is taken.
    fn refusal(pointer: &str, value: Value) -> String {
        let mut config = json!({
            "ociVersion": "1.0.0", "root": { "path": "rootfs" }, "mounts": [{ "destination": "/a", "source": "b", "type": "tmpfs" }],
            "process": { "args": ["sh"], "cwd": "/", "user": {}, "capabilities": {} },
            "linux": {
                "namespaces": [{ "type": "mount" }],
                "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": [
                    { "names": ["getcwd"], "action": "SCMP_ACT_LOG", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] },
                ] },
            },
        });
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = value;
        let mut bundle = match Bundle::pinned("/b".into(), config.to_string().into_bytes()) {
            Ok(bundle) => bundle,
            Err(error) => return error.to_string(),
        };
        let found = std::mem::take(&mut bundle.problems);
        Plan::new(&bundle.spec, &bundle.path, found, &host())
            .map_or_else(|p| p.to_string(), |_| String::new())
    }

    #[test]
    fn what_is_listed_is_taken() {
        let features = document();
        for (list, pointer) in [
            ("/mountOptions", "/mounts/0/options"),
            ("/linux/capabilities", "/process/capabilities/bounding"),
            ("/linux/seccomp/archs", "/linux/seccomp/architectures"),
            ("/linux/seccomp/knownFlags", "/linux/seccomp/flags"),
        ] {
            for word in features.pointer(list).unwrap().as_array().unwrap() {
                // No type of a file system to remount, and no user namespace to map.
                if word != "remount" && word != "idmap" && word != "ridmap" {
                    assert_eq!(refusal(pointer, json!([word])), "", "{list}: {word}");
                }
            }
        }
        let syscall = "/linux/seccomp/syscalls/0";
        for word in features["linux"]["seccomp"]["actions"].as_array().unwrap() {
            assert_eq!(refusal(&format!("{syscall}/action"), word.clone()), "", "{word}");
        }
        for word in features["linux"]["seccomp"]["operators"].as_array().unwrap() {
            let args = json!([{ "index": 0, "value": 1, "op": word }]);
            assert_eq!(refusal(&format!("{syscall}/args"), args), "", "{word}");
        }
        for word in features["linux"]["namespaces"].as_array().unwrap() {
            let refusal = refusal("/linux/namespaces", json!([{ "type": "mount" }, { "type": word }]));
            assert!(!refusal.contains("unknown") && !refusal.contains("variant"), "{word}: {refusal}");
        }
        for mode in features["linux"]["memoryPolicy"]["modes"].as_array().unwrap() {
            let none = ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str().unwrap());
            let nodes = if none { "" } else { "0" };
            assert_eq!(refusal("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes })), "", "{mode}");
        }
        for flag in features["linux"]["memoryPolicy"]["flags"].as_array().unwrap() {
            let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] });
            assert_eq!(refusal("/linux/memoryPolicy", policy), "", "{flag}");
        }
        for word in features["hooks"].as_array().unwrap() {
            let hooks = json!({ word.as_str().unwrap(): [{ "path": "relative" }] });
            assert!(refusal("/hooks", hooks).contains(&format!("hooks.{}[0]", word.as_str().unwrap())));
        }
    }

    #[test]
    fn what_is_not_claimed_is_refused() {
        let features = document();
        let linux = &features["linux"];
        assert_eq!(
            linux["mountExtensions"]["idmap"]["enabled"],
            refusal("/mounts/0/options", json!(["idmap=uids=0-1-1;gids=0-1-1"])).is_empty()
        );
        let rdt = json!({ "closID": "a", "schemata": ["L3:0=f"], "enableMonitoring": true });
        assert_eq!(linux["intelRdt"]["enabled"], refusal("/linux/intelRdt", rdt).is_empty());
        assert_eq!(
            linux["netDevices"]["enabled"],
            !refusal("/linux/netDevices", json!({ "a": {} })).contains("not supported")
        );
        assert_eq!(
            linux.get("memoryPolicy").is_some(),
            refusal("/linux/memoryPolicy", json!({ "mode": "MPOL_LOCAL" })).is_empty()
        );
    }
}
