//! features.md and features-linux.md.

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::Verdict;

fn features(t: &mut Trial) -> Verdict<Value> {
    let mut command = std::process::Command::new(&t.program);
    command.arg("features");
    let answer = t.execute(command)?.silent()?;
    Ok(serde_json::from_str(&answer.stdout)?)
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn version(value: &Value) -> Vec<u32> {
    let text = value.as_str().unwrap_or_default();
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').filter_map(|number| number.parse().ok()).collect()
}

fn has_all(features: &Value, pointer: &str, want: &[&str]) -> Verdict {
    let list = words(features.pointer(pointer).unwrap_or(&Value::Null));
    for word in want {
        ensure!(list.iter().any(|have| have == word), "{pointer} lacks {word}: {list:?}");
    }
    Ok(())
}

/// What a list must have: name, pointer, words.
const LISTS: &[(&str, &str, &[&str])] = &[
    (
        "hooks",
        "/hooks",
        &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
    ),
    ("namespaces", "/linux/namespaces", &["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]),
    (
        "mount-options",
        "/mountOptions",
        &["bind", "rbind", "ro", "rw", "nosuid", "noexec", "nodev", "rprivate", "rslave", "rshared", "rro"],
    ),
    (
        "capabilities",
        "/linux/capabilities",
        &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHECKPOINT_RESTORE"],
    ),
    (
        "seccomp-actions",
        "/linux/seccomp/actions",
        &[
            "SCMP_ACT_ALLOW",
            "SCMP_ACT_ERRNO",
            "SCMP_ACT_KILL",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_LOG",
            "SCMP_ACT_NOTIFY",
        ],
    ),
    ("seccomp-operators", "/linux/seccomp/operators", &["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_MASKED_EQ"]),
    ("seccomp-architectures", "/linux/seccomp/archs", &["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("features/version-range")
            .spec("The value MUST NOT be less than the value of the `ociVersionMin` property.")
            .run(|t| {
                let features = features(t)?;
                let (least, most) =
                    (version(&features["ociVersionMin"]), version(&features["ociVersionMax"]));
                ensure!(least.len() == 3 && most.len() == 3 && least <= most, "from {least:?} to {most:?}");
                Ok(())
            }),
        case("features/versions-are-accepted")
            .spec("The runtime MUST accept this value as the `ociVersion` property of `config.json`.")
            .run(|t| {
                let features = features(t)?;
                for key in ["ociVersionMin", "ociVersionMax"] {
                    t.set("/ociVersion", features[key].clone()).facts()?;
                    t.verb("delete")?.succeeded()?;
                }
                Ok(())
            }),
        case("features/mount-options-are-recognized")
            .spec(
                "The runtime MUST recognize the elements in this array as the `options` of `mounts` \
                 objects in `config.json`.",
            )
            .run(|t| {
                let features = features(t)?;
                for option in words(&features["mountOptions"]) {
                    // These need more than a bind mount of a directory.
                    if ["idmap", "ridmap", "tmpcopyup", "remount", "defaults", "mand", "nomand"]
                        .contains(&option.as_str())
                    {
                        continue;
                    }
                    let source = t.rootfs().join("etc").display().to_string();
                    t.set(
                        "/mounts/3",
                        json!({
                            "destination": "/tmp", "source": source, "options": ["rbind", &option],
                        }),
                    );
                    let answer = t.try_create()?;
                    ensure!(answer.code == 0, "{option}: {answer}");
                    t.verb("delete")?.succeeded()?;
                    t.wait()?;
                }
                Ok(())
            }),
        case("features/no-root-needed")
            .runc("features needs no --root and writes nothing to stderr")
            .run(|t| features(t).map(drop)),
        case("features/idmap-flag")
            .spec(
                "In such cases, runtimes MUST still set this value to `true`, to indicate that the \
                 runtime recognises the `uidMappings` and `gidMappings` properties.",
            )
            .needs(Need::SpecVersion(1))
            .run(|t| {
                let features = features(t)?;
                let claimed = features.pointer("/linux/mountExtensions/idmap/enabled");
                let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
                let source = t.rootfs().join("etc").display().to_string();
                t.set(
                    "/mounts/-",
                    json!({
                        "destination": "/tmp", "source": source, "options": ["bind"],
                        "uidMappings": mapping, "gidMappings": mapping,
                    }),
                );
                // What does not recognise them must not pass over them either.
                if claimed == Some(&json!(true)) { Ok(()) } else { t.refused().map(drop) }
            }),
        case("features/claims")
            .spec(
                "This JSON structure is called \"Features structure\": the content SHOULD be determined on the \
                 compilation time of the runtime.",
            )
            .needs(Need::SpecVersion(3))
            .run(|t| {
                let linux = features(t)?["linux"].clone();
                for (section, keys) in [
                    ("cgroup", &["v1", "v2", "systemd", "systemdUser", "rdma"][..]),
                    ("seccomp", &["enabled"]),
                    ("apparmor", &["enabled"]),
                    ("selinux", &["enabled"]),
                    ("intelRdt", &["enabled", "schemata", "monitoring"]),
                    ("netDevices", &["enabled"]),
                ] {
                    for key in keys {
                        crate::verdict::equal(&format!("{section}.{key}"), &linux[section][key], &json!(true))?;
                    }
                }
                has_all(&linux, "/seccomp/knownFlags", &["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"])?;
                has_all(&linux, "/memoryPolicy/flags", &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"])?;
                let modes = words(&linux["memoryPolicy"]["modes"]);
                crate::verdict::equal("modes of memory policies", modes.len(), 7)?;
                for mode in modes {
                    let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str()) { "" } else { "0" };
                    let policy = json!({ "mode": mode, "nodes": nodes });
                    let answer = t.set("/linux/memoryPolicy", policy).try_create()?;
                    // An older kernel may not have it.
                    ensure!(answer.code == 0 || answer.stderr.contains("set_mempolicy("), "{mode}: {answer}");
                    t.finish()?;
                }
                Ok(())
            }),
        case("features/annotations-are-strings")
            .spec(
                "Annotations MUST be a key-value map that follows the same convention as the Key and \
                 Values of the `annotations` property of `config.json`.",
            )
            .run(|t| {
                let features = features(t)?;
                let all_strings = features["annotations"]
                    .as_object()
                    .is_none_or(|map| map.iter().all(|(key, value)| !key.is_empty() && value.is_string()));
                ensure!(all_strings, "annotations: {}", features["annotations"]);
                Ok(())
            }),
        case("features/namespaces-are-recognized")
            .spec(
                "The runtime MUST recognize the elements in this array as the `type` of \
                 `linux.namespaces` objects in `config.json`.",
            )
            .run(|t| {
                let features = features(t)?;
                for kind in words(&features["linux"]["namespaces"]) {
                    if kind != "user" {
                        t.namespace(&kind, None);
                    }
                }
                t.facts().map(drop)
            }),
        case("features/capabilities-are-recognized")
            .spec(
                "The runtime MUST recognize the elements in this array in the `process.capabilities` \
                 object of `config.json`.",
            )
            // The last one that an outer container takes away.
            .needs(Need::Capability(24, "CAP_SYS_RESOURCE"))
            .run(|t| {
                let features = features(t)?;
                t.set("/process/capabilities/bounding", features["linux"]["capabilities"].clone());
                t.facts().map(drop)
            }),
        case("features/seccomp-architectures-are-recognized")
            .spec(
                "The runtime MUST recognize the elements in this array in the `architectures` \
                 property of the `linux.seccomp` object in `config.json`.",
            )
            .run(|t| {
                let features = features(t)?;
                // One filter has one byte order: this machine's.
                let little = [
                    "X86",
                    "X86_64",
                    "X32",
                    "ARM",
                    "AARCH64",
                    "MIPSEL",
                    "MIPSEL64",
                    "MIPSEL64N32",
                    "PPC64LE",
                    "RISCV64",
                ];
                let mut all = words(&features["linux"]["seccomp"]["archs"]);
                all.retain(|name| name.strip_prefix("SCMP_ARCH_").is_some_and(|name| little.contains(&name)));
                t.set(
                    "/linux/seccomp",
                    json!({
                        "defaultAction": "SCMP_ACT_ALLOW", "architectures": all,
                        "syscalls": [{ "names": ["chroot"], "action": "SCMP_ACT_ERRNO" }],
                    }),
                );
                t.facts().map(drop)
            }),
    ];
    for &(name, pointer, want) in LISTS {
        cases.push(
            case(format!("features/lists-{name}"))
                .runc(format!("{pointer} names what every engine uses"))
                .run(move |t| has_all(&features(t)?, pointer, want)),
        );
    }
    cases
}
