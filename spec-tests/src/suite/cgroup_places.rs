//! Cgroups where they are not as usual: inside a container, read-only, absent, or the container's user's own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle;
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, did};
use crate::verdict::{Verdict, equal};

const OWNER: &str = "Runtimes MAY, according to the following rules, change (or cause to be changed) the owner of the \
    container's cgroup to the host uid that maps to the value of `process.user.uid` in the container namespace";
const NOT_OWNER: &str = "A runtime SHOULD NOT change the ownership of a container cgroup unless it will also create a \
    new cgroup namespace for the container.";
const ONLY_LISTED: &str = "A runtime that changes the cgroup ownership SHOULD only change the ownership of the \
    container's cgroup directory and files within that directory that are listed in `/sys/kernel/cgroup/delegate`.";
const REFUSED: &str = "If the runtime cannot apply a property as specified in the configuration, it MUST generate an \
    error.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [nested(), missing(), owned()].into_iter().flatten().collect()
}

/// What a runtime needs.
const RIGHTS: [&str; 12] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// A container with many rights, its own cgroup namespace and what the runtime needs to run in it.
fn outer(t: &mut Trial, resources: Value) -> Verdict<String> {
    let sets = ["bounding", "effective", "permitted"].map(|set| (set.to_owned(), json!(RIGHTS)));
    t.set("/process/capabilities", Value::Object(sets.into_iter().collect()));
    t.set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]));
    t.namespace("cgroup", None);
    t.push("/mounts", json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" }));
    for directory in ["/bin", "/sbin", "/lib", "/lib64", "/usr"] {
        if Path::new(directory).exists() {
            t.bind(directory, directory, &["rbind", "ro"]);
        }
    }
    let program = t.program.display().to_string();
    t.bind(&program, "/runtime", &["bind", "ro"]);
    let inner = t.rootfs().join("inner/rootfs");
    for directory in ["proc", "dev"] {
        fs::create_dir_all(inner.join(directory))?;
    }
    fs::copy(&t.probe, inner.join(&bundle::PROBE[1..]))?;
    let mut config = bundle::default_config("/inner");
    bundle::set(&mut config, "/process/args", json!([bundle::PROBE, "spawn:10"]));
    bundle::set(&mut config, "/linux/resources", resources);
    fs::write(t.rootfs().join("inner/config.json"), config.to_string())?;
    Ok("run:/runtime:--root:/tmp/r:run:--bundle:/inner:nested".to_owned())
}

fn nested() -> Vec<Case> {
    vec![
        case("cgroups/nested")
            .runc("the runtime makes containers inside a container with its own cgroup namespace")
            .needs(Need::Namespace("cgroup"))
            .run(|t| {
                let call = outer(t, json!({}))?;
                let facts = t.facts_of(&[&call])?;
                let answer = did(&facts, &call);
                equal("exit status inside", answer["code"].as_i64(), Some(0))
                    .map_err(|stop| said(stop, answer))?;
                let inside: Value = serde_json::from_str(answer["stdout"].as_str().unwrap_or_default())?;
                equal("processes", did(&inside, "spawn:10")["spawned"].as_u64(), Some(10))
            }),
        case("cgroups/nested-limits")
            .runc("limits hold in a container inside a container")
            .needs(Need::Namespace("cgroup"))
            .needs(Need::CgroupV1("pids"))
            .run(|t| {
                let call = outer(t, json!({ "pids": { "limit": 4 } }))?;
                let facts = t.facts_of(&[&call])?;
                let answer = did(&facts, &call);
                equal("exit status inside", answer["code"].as_i64(), Some(0))
                    .map_err(|stop| said(stop, answer))?;
                let inside: Value = serde_json::from_str(answer["stdout"].as_str().unwrap_or_default())?;
                equal("processes", did(&inside, "spawn:10")["spawned"].as_u64(), Some(3))
            }),
        case("cgroups/nested-no-controllers")
            .spec(REFUSED)
            .needs(Need::Namespace("cgroup"))
            .needs(Need::CgroupV2("pids"))
            .run(|t| {
                // The cgroup of the outer container has processes: the kernel lets it give no controllers away.
                let call = outer(t, json!({ "pids": { "limit": 4 } }))?;
                let facts = t.facts_of(&[&call])?;
                let answer = did(&facts, &call);
                let text = answer["stderr"].as_str().unwrap_or_default();
                ensure!(answer["code"] == 1 && text.contains("pids"), "{answer}");
                Ok(())
            }),
    ]
}

/// A failure with what the inner runtime said.
fn said(stop: crate::verdict::Stop, answer: &Value) -> crate::verdict::Stop {
    match stop {
        crate::verdict::Stop::Failed(text) => crate::verdict::Stop::Failed(format!("{text}: {answer}")),
        stop => stop,
    }
}

/// In the mount namespace of this case.
fn mount(arguments: &[&str]) -> Verdict {
    let status = Command::new("mount").args(arguments).status()?;
    ensure!(status.success(), "mount {arguments:?}: {status}");
    Ok(())
}

fn unmount(path: &str) -> Verdict {
    let status = Command::new("umount").arg(path).status()?;
    ensure!(status.success(), "umount {path}: {status}");
    Ok(())
}

fn missing() -> Vec<Case> {
    vec![
        case("cgroups/read-only").spec(REFUSED).needs(Need::Controller("pids")).run(|t| {
            let mounts: Vec<String> =
                t.host.hierarchies.iter().map(|hierarchy| hierarchy.mount.display().to_string()).collect();
            for path in &mounts {
                mount(&["--bind", path, path])?;
                mount(&["-o", "remount,bind,ro", path])?;
            }
            t.set("/linux/resources/pids/limit", 7);
            let answer = t.try_create();
            for path in &mounts {
                unmount(path)?;
            }
            let answer = answer?.refused()?;
            let told = ["EROFS", "ead-only file system"].iter().any(|word| answer.stderr.contains(word));
            ensure!(told, "{answer}");
            t.nothing_left("after the refusal")
        }),
        case("cgroups/none-and-limits").spec(REFUSED).needs(Need::Controller("pids")).run(|t| {
            without_cgroups(t, |t| {
                t.set("/linux/resources/pids/limit", 7);
                let answer = t.try_create()?.refused()?;
                ensure!(answer.stderr.contains("cgroup"), "{answer}");
                Ok(())
            })?;
            t.nothing_left("after the refusal")
        }),
    ]
}

/// Nothing is mounted where cgroups are.
fn without_cgroups(t: &mut Trial, run: impl FnOnce(&mut Trial) -> Verdict) -> Verdict {
    let mounts: Vec<String> =
        t.host.hierarchies.iter().map(|hierarchy| hierarchy.mount.display().to_string()).collect();
    for path in mounts.iter().rev() {
        unmount(path)?;
    }
    mount(&["-t", "tmpfs", "tmpfs", "/sys/fs/cgroup"])?;
    let result = run(t);
    unmount("/sys/fs/cgroup")?;
    t.accept_mounts();
    result
}

/// A container of a user namespace, whose cgroup is mounted in it.
fn own_cgroup(t: &mut Trial, options: &[&str]) -> Verdict {
    // The container's root can make nothing in the rootfs.
    fs::create_dir_all(t.rootfs().join("sys/fs/cgroup"))?;
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
    t.namespace("user", None).namespace("cgroup", None);
    t.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    t.push(
        "/mounts",
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options }),
    );
    t.set("/process/user", json!({ "uid": 5, "gid": 5 }));
    Ok(())
}

fn owner(path: &Path) -> Verdict<u32> {
    Ok(fs::metadata(path)?.uid())
}

fn owned() -> Vec<Case> {
    let needs = [Need::CgroupV2(""), Need::Namespace("user"), Need::Namespace("cgroup")];
    vec![
        case("cgroups/owned-by-the-user").spec(OWNER).needs_all(&needs).run(|t| {
            own_cgroup(t, &["nosuid", "noexec", "nodev"])?;
            let facts = t.running(&["mkdir:/sys/fs/cgroup/sub", "write:/sys/fs/cgroup/pids.max:max"])?;
            equal("a cgroup in it", did(&facts, "mkdir:/sys/fs/cgroup/sub").as_str(), Some("ok"))?;
            equal(
                "its own limit",
                did(&facts, "write:/sys/fs/cgroup/pids.max:max").as_str(),
                Some("EACCES"),
            )?;
            equal("owner", owner(&t.cgroup("")?)?, 100_005)
        }),
        case("cgroups/owned-files").spec(ONLY_LISTED).needs_all(&needs).run(|t| {
            own_cgroup(t, &[])?;
            t.probe(&["hang"]).create()?;
            let directory = t.cgroup("")?;
            let listed = fs::read_to_string("/sys/kernel/cgroup/delegate")?;
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let want = if listed.lines().any(|line| line == name) { 100_005 } else { 0 };
                equal(&name, owner(&entry.path())?, want)?;
            }
            Ok(())
        }),
        case("cgroups/not-owned-if-read-only").spec(NOT_OWNER).needs_all(&needs).run(|t| {
            own_cgroup(t, &["ro"])?;
            t.probe(&["hang"]).create()?;
            equal("owner", owner(&t.cgroup("")?)?, 0)
        }),
    ]
}
