//! config-linux.md: user namespace mappings.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Child;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::namespaces::keeper;
use crate::trial::{Trial, did, did_is, is};
use crate::verdict::{Verdict, equal, failed};

const MAPPINGS: &str = "**`uidMappings`** (array of objects, OPTIONAL) describes the user namespace uid \
    mappings from the host to the container.";
const SIZE: &str = "**`size`** *(uint32, REQUIRED)* - is the number of ids to be mapped.";
const PODS: &str = "Kubernetes' pods with hostUsers: false";
/// The first of a pod's ids on the host.
const POD: u32 = 2 * 65536;
const LOCKED: &str =
    "what a mount of the host does not allow, no container with a user namespace gives itself";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

fn mapped(t: &mut Trial, mappings: &Value) {
    t.namespace("user", None).namespace("network", None);
    t.set("/linux/uidMappings", mappings.clone()).set("/linux/gidMappings", mappings.clone());
}

/// A process in a user namespace whose ids are the host's from 100000 on.
pub fn mapped_keeper(t: &mut Trial, options: &[&str]) -> Verdict<Child> {
    keeper_of(t, options, 100_000)
}

/// The same with any first id, and in the namespaces of these options of unshare(1), which belong to it.
fn keeper_of(t: &mut Trial, options: &[&str], first: u32) -> Verdict<Child> {
    let options: Vec<&str> = ["--user"].iter().chain(options).copied().collect();
    let keeper = keeper(t, &options)?;
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", keeper.id()), format!("0 {first} 65536"))?;
    }
    Ok(keeper)
}

/// The keeper is not needed any more.
pub fn end(mut keeper: Child) -> Verdict {
    keeper.kill()?;
    Ok(keeper.wait().map(drop)?)
}

fn large() -> Value {
    json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }])
}

/// The map as the kernel prints it, one space between the numbers.
fn squeezed(text: &Value) -> String {
    let lines = text.as_str().unwrap_or_default().lines();
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

/// A mount of a directory on itself, with these flags, in the case's own mount namespace.
fn bind_mount(t: &mut Trial, directory: &Path, flags: MsFlags) -> Verdict {
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(directory), directory, none, bind, none)?;
    mount(none, directory, none, bind | MsFlags::MS_REMOUNT | flags, none)?;
    t.accept_mounts();
    Ok(())
}

/// The flags that a source has on the host are there in the container, and its administrator cannot take them off.
fn stays_locked(t: &mut Trial, options: &[&str], destination: &str) -> Verdict {
    let source = t.work.join("source");
    fs::create_dir(&source)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let made = if destination == "/tmp" { source.clone() } else { source.join("below") };
    if made != source {
        fs::create_dir(&made)?;
    }
    mount(Some("tmpfs"), &made, Some("tmpfs"), flags, None::<&str>)?;
    t.accept_mounts();
    t.bind(&source.display().to_string(), "/tmp", options);
    refuses_remount(t, destination, &["ro", "nosuid", "nodev", "noexec"])
}

fn refuses_remount(t: &mut Trial, destination: &str, flags: &[&str]) -> Verdict {
    for set in ["bounding", "effective", "permitted"] {
        t.set(&format!("/process/capabilities/{set}"), json!(["CAP_SYS_ADMIN"]));
    }
    let remount = format!("remount:{destination}");
    let facts = t.facts_of(&[&remount])?;
    did_is(&facts, &remount, "EPERM")?;
    let mounts = facts["mounts"].as_array().cloned().unwrap_or_default();
    let mount = mounts.into_iter().rfind(|mount| mount["destination"] == destination).unwrap_or_default();
    let words = mount["options"].as_array().cloned().unwrap_or_default();
    let missing = flags.iter().find(|flag| !words.contains(&json!(flag)));
    missing.map_or(Ok(()), |flag| failed(format!("{destination} has lost {flag}: {words:?}")))
}

fn queues_belong_to_root(t: &mut Trial) -> Verdict {
    t.namespace("ipc", None);
    t.push("/mounts", json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue" }));
    let facts = t.facts_of(&["stat:/dev/mqueue", "create:/dev/mqueue/new"])?;
    equal("owner", did(&facts, "stat:/dev/mqueue")["uid"].as_u64(), Some(0))?;
    did_is(&facts, "create:/dev/mqueue/new", "ok")
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [spec(), pods(), refused()].into_iter().flatten().collect()
}

fn spec() -> Vec<Case> {
    vec![
        case("user-namespace/mapping").spec(MAPPINGS).run(|t| {
            mapped(t, &large());
            let facts = t.facts_of(&["read:/proc/self/uid_map", "read:/proc/self/gid_map"])?;
            equal("uid_map", squeezed(did(&facts, "read:/proc/self/uid_map")), "0 100000 65536")?;
            equal("gid_map", squeezed(did(&facts, "read:/proc/self/gid_map")), "0 100000 65536")?;
            is(&facts, "/uid", json!([0, 0, 0]))
        }),
        case("user-namespace/several-mappings").spec(MAPPINGS).run(|t| {
            mapped(
                t,
                &json!([
                    { "containerID": 0, "hostID": 100_000, "size": 10 },
                    { "containerID": 1000, "hostID": 0, "size": 1 },
                ]),
            );
            let facts = t.facts_of(&["read:/proc/self/uid_map"])?;
            equal("uid_map", squeezed(did(&facts, "read:/proc/self/uid_map")), "0 100000 10\n1000 0 1")
        }),
        case("user-namespace/time-offsets")
            .spec("**`timeOffsets`** (object, OPTIONAL) sets the offset for Time Namespace.")
            .needs_all(&[Need::Namespace("time"), Need::SpecVersion(1)])
            .run(|t| {
                mapped(t, &large());
                t.namespace("time", None).set("/linux/timeOffsets", json!({ "boottime": { "secs": 86400 } }));
                let facts = t.facts()?;
                let difference = facts["boottime"].as_i64().unwrap_or_default()
                    - crate::sys::clock_seconds(libc::CLOCK_BOOTTIME);
                ensure!((86380..=86400).contains(&difference), "boottime differs by {difference} s");
                Ok(())
            }),
        case("user-namespace/root-is-not-mapped").spec(MAPPINGS).run(|t| {
            mapped(t, &json!([{ "containerID": 1000, "hostID": 100_000, "size": 10 }]));
            t.set("/process/user", json!({ "uid": 1005, "gid": 1005 }));
            // Nobody but an id that is mapped can own what is made in it.
            t.set("/mounts/1/options", json!(["nosuid", "mode=755", "uid=1000", "gid=1000"]));
            t.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "uid=1000", "gid=1000"]));
            is(&t.facts()?, "/uid", json!([1005, 1005, 1005]))
        }),
        case("user-namespace/files-belong-to-the-mapped").spec(MAPPINGS).run(|t| {
            mapped(t, &large());
            chown(t.rootfs().join("tmp"), Some(100_000), Some(100_000))?;
            t.set("/process/user/uid", 5);
            chown(t.rootfs().join("tmp"), Some(100_005), None)?;
            did_is(&t.facts_of(&["create:/tmp/new"])?, "create:/tmp/new", "ok")?;
            equal("owner on the host", fs::metadata(t.rootfs().join("tmp/new"))?.uid(), 100_005)
        }),
        case("user-namespace/user-in-the-container")
            .spec("**`uid`** (int, REQUIRED) specifies the user ID in the container namespace.")
            .run(|t| {
                mapped(t, &large());
                t.set("/process/user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] }));
                let facts = t.facts()?;
                is(&facts, "/uid", json!([1000, 1000, 1000]))?;
                is(&facts, "/gid", json!([1001, 1001, 1001]))
            }),
        case("user-namespace/ownership-is-not-modified")
            .spec(
                "The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the \
                 mapping.",
            )
            .run(|t| {
                mapped(t, &large());
                t.facts()?;
                equal("owner of the root", fs::metadata(t.rootfs())?.uid(), 0)?;
                equal("owner of a file", fs::metadata(t.rootfs().join("spec-probe"))?.uid(), 0)
            }),
        case("user-namespace/default-devices")
            .spec(
                "In addition to any devices configured with this setting, the runtime MUST also \
                 supply `/dev/null`, …",
            )
            .run(|t| {
                mapped(t, &large());
                let facts = t.facts_of(&["stat:/dev/null", "write:/dev/null", "take:/dev/zero"])?;
                equal("type", did(&facts, "stat:/dev/null")["type"].as_str(), Some("char"))?;
                did_is(&facts, "write:/dev/null", "ok")?;
                did_is(&facts, "take:/dev/zero", "ok")
            }),
        case("user-namespace/host-root-is-out-of-reach")
            .spec(
                "**`user`** the container will be able to remap user and group IDs from the host to \
                 local users and groups within the container.",
            )
            .run(|t| {
                mapped(t, &large());
                fs::write(t.rootfs().join("secret"), "of the host's root")?;
                std::os::unix::fs::chown(t.rootfs().join("secret"), Some(0), Some(0))?;
                fs::set_permissions(
                    t.rootfs().join("secret"),
                    std::os::unix::fs::PermissionsExt::from_mode(0o600),
                )?;
                did_is(&t.facts_of(&["read:/secret"])?, "read:/secret", "EACCES")
            }),
        case("user-namespace/capabilities-are-of-the-namespace")
            .runc("all capabilities asked for are there in the user namespace")
            .run(|t| {
                mapped(t, &large());
                let names = json!(["CAP_SYS_ADMIN", "CAP_CHOWN"]);
                t.set(
                    "/process/capabilities",
                    json!({
                        "bounding": names, "effective": names, "permitted": names,
                    }),
                );
                let facts = t.facts_of(&["sethostname:other", "mount:/tmp"])?;
                did_is(&facts, "sethostname:other", "ok")?;
                did_is(&facts, "mount:/tmp", "ok")
            }),
    ]
}

/// What Kubernetes asks for a pod with `hostUsers: false`: 65536 ids from a multiple of 65536 on, as containerd and CRI-O
/// write it.
fn pod(t: &mut Trial) -> Verdict {
    let ids = json!([{ "containerID": 0, "hostID": POD, "size": 65536 }]);
    t.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    t.namespace("cgroup", None);
    // The snapshot of an image is made with the pod's owners.
    for directory in ["", "dev", "etc", "proc", "sys", "tmp"] {
        chown(t.rootfs().join(directory), Some(POD), Some(POD))?;
    }
    let plain = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    t.push("/mounts", plain("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    t.push("/mounts", plain("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
    t.push("/mounts", plain("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    t.set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/keys", "/sys/firmware"]));
    t.set("/linux/readonlyPaths", json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"]));
    t.set("/process/oomScoreAdj", 1000);
    Ok(())
}

/// A volume that the kubelet maps, in a directory that only the host's root can enter.
fn volume(t: &mut Trial) -> Verdict {
    let ids = json!([{ "containerID": 0, "hostID": POD, "size": 65536 }]);
    let private = t.work.join("kubelet");
    fs::create_dir_all(private.join("volume"))?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700))?;
    fs::write(private.join("volume/file"), "")?;
    chown(private.join("volume/file"), Some(1000), Some(1000))?;
    let source = private.join("volume").display().to_string();
    let mut mount = json!({
        "destination": "/data", "type": "bind", "source": source, "options": ["rbind", "rprivate", "rw"],
    });
    mount["uidMappings"] = ids.clone();
    mount["gidMappings"] = ids;
    t.push("/mounts", mount);
    let name = private.join("hosts").display().to_string();
    fs::write(&name, "127.0.0.1 localhost\n")?;
    t.bind(&name, "/etc/hosts", &["rbind", "rprivate", "ro"]);
    Ok(())
}

fn pods() -> Vec<Case> {
    let types = |facts: &Value, destination: &str, want: &[&str]| {
        let mounts = facts["mounts"].as_array().cloned().unwrap_or_default();
        let mount = mounts.into_iter().rfind(|mount| mount["destination"] == destination).unwrap_or_default();
        let kind = mount["type"].as_str().unwrap_or_default();
        ensure!(want.contains(&kind), "{destination} has the type {kind:?}, want {want:?}");
        Ok(())
    };
    let seen = move |facts: &Value| {
        is(facts, "/uid", json!([0, 0, 0]))?;
        equal("uid_map", squeezed(did(facts, "read:/proc/self/uid_map")), format!("0 {POD} 65536"))?;
        types(facts, "/sys", &["sysfs"])?;
        types(facts, "/sys/fs/cgroup", &["cgroup2", "tmpfs"])?;
        types(facts, "/dev/mqueue", &["mqueue"])?;
        did_is(facts, "open:/dev/null:rw", "ok")?;
        types(facts, "/proc/sys", &["proc"])
    };
    let attempts = ["read:/proc/self/uid_map", "open:/dev/null:rw"];
    let volume_seen = |t: &Trial, facts: &Value| {
        equal("owner inside", did(facts, "stat:/data/file")["uid"].as_u64(), Some(1000))?;
        did_is(facts, "create:/data/new", "ok")?;
        did_is(facts, "read:/etc/hosts", "127.0.0.1 localhost\n")?;
        equal("owner outside", fs::metadata(t.work.join("kubelet/volume/new"))?.uid(), 0)
    };
    let in_volume = ["stat:/data/file", "create:/data/new", "read:/etc/hosts"];
    vec![
        case("user-namespace/pod-sandbox").runc(PODS).run(move |t| {
            pod(t)?;
            t.namespace("user", None).namespace("network", None);
            seen(&t.facts_of(&attempts)?)
        }),
        case("user-namespace/pod-container")
            .runc(PODS)
            .needs_all(&[Need::SpecVersion(1), Need::Kernel(5, 12, "mount_setattr")])
            .run(move |t| {
                let keeper = keeper_of(t, &["--net", "--ipc", "--uts"], POD)?;
                for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
                    t.namespace(kind, Some(&format!("/proc/{}/ns/{file}", keeper.id())));
                }
                t.remove("/hostname");
                pod(t)?;
                volume(t)?;
                let all: Vec<&str> = attempts.iter().chain(&in_volume).copied().collect();
                let facts = t.facts_of(&all);
                end(keeper)?;
                let facts = facts?;
                seen(&facts)?;
                volume_seen(t, &facts)
            }),
        case("user-namespace/pod-volume")
            .runc(PODS)
            .needs_all(&[Need::SpecVersion(1), Need::Kernel(5, 12, "mount_setattr")])
            .run(move |t| {
                pod(t)?;
                t.namespace("user", None).namespace("network", None);
                volume(t)?;
                let facts = t.facts_of(&in_volume)?;
                volume_seen(t, &facts)
            }),
        case("user-namespace/pod-exec").runc(PODS).needs(Need::Verb("exec")).run(|t| {
            pod(t)?;
            t.namespace("user", None).namespace("network", None).running(&[""])?;
            let id = t.id.clone();
            let answer = t.call(&["exec", "--user", "7:8", &id, crate::bundle::PROBE])?.succeeded()?;
            let facts: Value = serde_json::from_str(&answer.stdout)?;
            is(&facts, "/uid", json!([7, 7, 7]))?;
            is(&facts, "/gid", json!([8, 8, 8]))
        }),
        case("user-namespace/join-with-a-network-of-others")
            .runc("namespaces that do not belong to the joined user namespace are joined as well")
            .run(|t| {
                let (users, network) = (mapped_keeper(t, &[])?, keeper(t, &["--net"])?);
                let link = |keeper: &Child, file: &str| format!("/proc/{}/ns/{file}", keeper.id());
                let want = fs::read_link(link(&network, "net"))?.display().to_string();
                t.namespace("user", Some(&link(&users, "user")));
                t.namespace("network", Some(&link(&network, "net")));
                let facts = t.facts();
                end(users)?;
                end(network)?;
                let facts = facts?;
                is(&facts, "/uid", json!([0, 0, 0]))?;
                is(&facts, "/namespaces/net", want)
            }),
        case("user-namespace/queues-belong-to-root").runc("/dev/mqueue is the container's root's").run(|t| {
            mapped(t, &large());
            queues_belong_to_root(t)
        }),
        case("user-namespace/queues-belong-to-root-of-a-joined-one")
            .runc("/dev/mqueue is the container's root's")
            .run(|t| {
                let keeper = mapped_keeper(t, &[])?;
                t.namespace("user", Some(&format!("/proc/{}/ns/user", keeper.id())));
                let belong = queues_belong_to_root(t);
                end(keeper)?;
                belong
            }),
        case("user-namespace/source-that-root-cannot-reach")
            .runc("sources of bind mounts are opened by the runtime, whatever the container's users may")
            .run(|t| {
                mapped(t, &large());
                let private = t.work.join("private");
                fs::create_dir_all(private.join("below"))?;
                fs::write(private.join("below/file"), "there")?;
                fs::set_permissions(&private, fs::Permissions::from_mode(0o700))?;
                let source = private.join("below").display().to_string();
                t.bind(&source, "/tmp", &["bind"]);
                did_is(&t.facts_of(&["read:/tmp/file"])?, "read:/tmp/file", "there")
            }),
        case("user-namespace/flags-of-a-source-are-locked").runc(LOCKED).run(|t| {
            mapped(t, &large());
            stays_locked(t, &["bind"], "/tmp")
        }),
        case("user-namespace/flags-of-a-source-are-locked-in-a-joined-one").runc(LOCKED).run(|t| {
            let keeper = mapped_keeper(t, &[])?;
            t.namespace("user", Some(&format!("/proc/{}/ns/user", keeper.id())));
            let stayed = stays_locked(t, &["bind"], "/tmp");
            end(keeper)?;
            stayed
        }),
        case("user-namespace/flags-of-mounts-below-a-source-are-locked").runc(LOCKED).run(|t| {
            mapped(t, &large());
            stays_locked(t, &["rbind"], "/tmp/below")
        }),
        case("user-namespace/flags-of-an-idmapped-source-are-locked")
            .runc(LOCKED)
            .needs_all(&[Need::SpecVersion(1), Need::Kernel(6, 3, "id-mapped tmpfs")])
            .run(|t| {
                mapped(t, &large());
                stays_locked(t, &["bind", "idmap"], "/tmp")
            }),
        case("user-namespace/flags-of-the-root-are-locked").runc(LOCKED).run(|t| {
            mapped(t, &large());
            let rootfs = t.rootfs();
            bind_mount(t, &rootfs, MsFlags::MS_NODEV | MsFlags::MS_NOSUID)?;
            refuses_remount(t, "/", &["nodev", "nosuid"])
        }),
        case("user-namespace/what-a-mount-of-the-host-covers-stays-covered").runc(LOCKED).run(|t| {
            mapped(t, &large());
            let source = t.work.join("source");
            fs::create_dir_all(source.join("below"))?;
            bind_mount(t, &source.join("below"), MsFlags::empty())?;
            let text = t.bind(&source.display().to_string(), "/tmp", &["bind"]).refused()?;
            ensure!(text.contains("EINVAL") || text.contains("invalid argument"), "{text}");
            Ok(())
        }),
        case("user-namespace/many-sources").runc("each bind mount has its source").run(|t| {
            mapped(t, &large());
            let wanted: Vec<String> = (0..50).map(|n| format!("read:/tmp/{n}")).collect();
            t.push("/mounts", json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
            for n in 0..50 {
                let source = t.work.join(format!("source-{n}"));
                fs::write(&source, format!("{n}"))?;
                t.bind(&source.display().to_string(), &format!("/tmp/{n}"), &["bind"]);
            }
            let facts = t.facts_of(&wanted.iter().map(String::as_str).collect::<Vec<_>>())?;
            wanted.iter().enumerate().try_for_each(|(n, read)| did_is(&facts, read, n.to_string()))
        }),
        case("user-namespace/source-in-the-containers-root")
            .runc("a source below the container's root is what the mounts before it have made of it")
            .run(|t| {
                mapped(t, &large());
                fs::create_dir(t.work.join("ours"))?;
                fs::write(t.work.join("ours/file"), "mounted")?;
                fs::set_permissions(t.bundle(), fs::Permissions::from_mode(0o700))?;
                let (ours, inside) = (t.path("ours"), t.rootfs().join("tmp").display().to_string());
                t.bind(&ours, "/tmp", &["bind"]).bind(&inside, "/etc", &["rbind"]);
                did_is(&t.facts_of(&["read:/etc/file"])?, "read:/etc/file", "mounted")
            }),
        case("user-namespace/host-devices-are-bound")
            .runc("devices in a user namespace are the host's nodes, mounted")
            .needs(Need::File("/dev/full"))
            .run(|t| {
                mapped(t, &large());
                let full =
                    json!({ "path": "/dev/full", "type": "c", "major": 1, "minor": 7, "fileMode": 0o666 });
                t.push("/linux/devices", full);
                let facts = t.facts_of(&["stat:/dev/full", "write:/dev/full"])?;
                equal("type", did(&facts, "stat:/dev/full")["type"].as_str(), Some("char"))?;
                did_is(&facts, "write:/dev/full", "ENOSPC")
            }),
    ]
}

fn row(container: i64, host: i64, size: i64) -> Value {
    json!({ "containerID": container, "hostID": host, "size": size })
}

fn refused() -> Vec<Case> {
    let lists = [
        ("none", json!([]), INVALID),
        ("size-zero", json!([row(0, 100_000, 0)]), SIZE),
        ("size-missing", json!([{ "containerID": 0, "hostID": 100_000 }]), SIZE),
        ("negative-host-id", json!([row(0, -1, 1)]), INVALID),
        ("too-large-host-id", json!([row(0, 1 << 32, 1)]), INVALID),
        ("overlap-in-the-container", json!([row(0, 100_000, 10), row(5, 200_000, 10)]), INVALID),
        ("overlap-on-the-host", json!([row(0, 100_000, 10), row(100, 100_005, 10)]), INVALID),
        ("id-that-is-none", json!([row(0, u32::MAX.into(), 1)]), INVALID),
        ("wraps-around", json!([row(0, 4_294_967_290, 100)]), INVALID),
        (
            "341-lines",
            json!((0..341).map(|n| row(n, 100_000 + n, 1)).collect::<Vec<_>>()),
            "Note that the number of mapping entries MAY be limited by the kernel.",
        ),
    ];
    let mut cases: Vec<Case> = lists
        .into_iter()
        .map(|(name, mappings, sentence)| {
            case(format!("user-namespace/mapping-{name}")).spec(sentence).run(move |t| {
                mapped(t, &mappings);
                t.refused().map(drop)
            })
        })
        .collect();
    cases.push(
        case("user-namespace/mappings-without-namespace")
            .security("A75", "mappings without a user namespace are refused")
            .run(|t| {
                t.set("/linux/uidMappings", large()).set("/linux/gidMappings", large()).refused().map(drop)
            }),
    );
    cases.push(
        case("user-namespace/user-not-mapped").security("A75", "a user that is not mapped is refused").run(
            |t| {
                mapped(t, &json!([row(0, 100_000, 10)]));
                t.set("/process/user/uid", 50).refused().map(drop)
            },
        ),
    );
    cases
}
