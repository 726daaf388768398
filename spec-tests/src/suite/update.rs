//! runc's update.

use std::fs;

use serde_json::{Value, json};

use crate::call::{Answer, Streams};
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, did_is};
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [input(), statuses(), refused(), devices()].into_iter().flatten().collect()
}

/// Update from standard input.
pub fn update(t: &mut Trial, flag: &str, resources: Value) -> Verdict<Answer> {
    fs::write(t.work.join("resources"), resources.to_string())?;
    let id = t.id.clone();
    let streams = Streams {
        stdin: Some(t.work.join("resources")),
        stdout: t.work.join("update-out"),
        stderr: t.work.join("update-err"),
    };
    let command = match flag {
        "-" => t.command(&["update", "--resources", "-", &id]),
        flag => t.command(&["update", flag, &id]),
    };
    t.execute_with(command, &streams)
}

/// The files of the container's cgroups have these lines.
pub fn shows(t: &Trial, files: &[(&str, &str, &str)]) -> Verdict {
    for (controller, file, want) in files {
        let path = t.cgroup(controller)?.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.lines().any(|line| line == *want), "{}: {text:?}, want {want:?}", path.display());
    }
    Ok(())
}

const PIDS_33: (&str, &str, &str) = ("pids", "pids.max", "33");

fn input() -> Vec<Case> {
    let limit = || json!({ "pids": { "limit": 33 } });
    let pids = || Need::Controller("pids");
    vec![
        case("cli/update-by-option").runc("update --pids-limit sets it").needs(pids()).run(|t| {
            t.running(&["stat:/"])?;
            let id = t.id.clone();
            t.call(&["update", "--pids-limit", "33", &id])?.silent()?;
            shows(t, &[PIDS_33])
        }),
        case("cli/update-from-a-file")
            .runc("update --resources FILE (podman calls it so)")
            .needs(pids())
            .run(move |t| {
                t.running(&["stat:/"])?;
                let (path, id) = (t.path("resources"), t.id.clone());
                fs::write(&path, limit().to_string())?;
                t.call(&["update", &format!("--resources={path}"), &id])?.silent()?;
                shows(t, &[PIDS_33])
            }),
        case("cli/update-from-stdin-as-one-word")
            .runc("update --resources=- (containerd calls it so)")
            .needs(pids())
            .run(move |t| {
                t.running(&["stat:/"])?;
                update(t, "--resources=-", limit())?.silent()?;
                shows(t, &[PIDS_33])
            }),
        case("cli/update-units")
            .runc("update --memory takes units, and -1 for unlimited")
            .needs(Need::CgroupV1("memory"))
            .run(|t| {
                t.running(&["stat:/"])?;
                let id = t.id.clone();
                t.call(&["update", "--memory", "64m", "--memory-reservation", "32M", &id])?.silent()?;
                let soft = ("memory", "memory.soft_limit_in_bytes", "33554432");
                shows(t, &[("memory", "memory.limit_in_bytes", "67108864"), soft])?;
                t.call(&["update", "--memory", "-1", &id])?.silent()?;
                shows(t, &[("memory", "memory.limit_in_bytes", "9223372036854771712"), soft])
            }),
        case("cli/update-remembers")
            .runc("an update completes what the one before has set")
            .needs(Need::CgroupV1("cpu"))
            .run(|t| {
                t.running(&["stat:/"])?;
                let id = t.id.clone();
                t.call(&["update", "--cpu-quota", "50000", "--cpu-period", "200000", &id])?.silent()?;
                t.call(&["update", "--cpu-quota", "70000", &id])?.silent()?;
                let period = ("cpu", "cpu.cfs_period_us", "200000");
                shows(t, &[("cpu", "cpu.cfs_quota_us", "70000"), period])
            }),
    ]
}

fn statuses() -> Vec<Case> {
    let pids = || Need::Controller("pids");
    let update = |t: &mut Trial| {
        let id = t.id.clone();
        t.call(&["update", "--pids-limit", "33", &id])
    };
    vec![
        case("cli/update-stopped").runc("update of a stopped container is refused").run(move |t| {
            t.facts()?;
            update(t)?.refused_with(&["container not running"]).map(drop)
        }),
        case("cli/update-unknown")
            .runc("update of an unknown container says `does not exist`")
            .run(move |t| update(t)?.refused_with(&["does not exist"]).map(drop)),
        case("cli/update-created").runc("update of a created container").needs(pids()).run(move |t| {
            t.create()?;
            update(t)?.silent()?;
            shows(t, &[PIDS_33])
        }),
        case("cli/update-paused").runc("update of a paused container, which stays paused").needs(pids()).run(
            move |t| {
                t.running(&["stat:/"])?;
                t.verb("pause")?.succeeded()?;
                update(t)?.silent()?;
                shows(t, &[PIDS_33])?;
                equal("status", t.status()?, "paused")
            },
        ),
    ]
}

fn refused() -> Vec<Case> {
    let wrong = [
        ("no-json", "{"),
        ("wrong-type", r#"{"memory":{"limit":"much"}}"#),
        ("swap-without-memory", r#"{"memory":{"swap":1048576}}"#),
        ("cpus-nonsense", r#"{"cpu":{"cpus":"x"}}"#),
    ];
    let mut cases: Vec<Case> = wrong
        .into_iter()
        .map(|(name, text)| {
            case(format!("cli/update-refused-{name}"))
                .runc("resources that cannot be set are refused")
                .needs(Need::Controller("memory"))
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    let (path, id) = (t.path("resources"), t.id.clone());
                    fs::write(&path, text)?;
                    t.call(&["update", "--resources", &path, &id])?.refused().map(drop)
                })
        })
        .collect();
    cases.push(
        case("cli/update-memory-below-the-usage")
            .spec(
                "If enabled (`true`), runtime MAY check if a new memory limit is lower than the current usage, and \
                 MUST reject the new limit.",
            )
            .needs(Need::Controller("memory"))
            .run(|t| {
                t.running(&["stat:/"])?;
                update(t, "-", json!({ "memory": { "limit": 4096, "checkBeforeUpdate": true } }))?.refused()?;
                equal("status", t.status()?, "running")
            }),
    );
    cases.push(
        case("cli/update-failed-is-undone")
            .runc("when a value cannot be set, the others are as they were")
            .needs_all(&[Need::Controller("pids"), Need::Controller("cpuset")])
            .run(|t| {
                t.set("/linux/resources", json!({ "pids": { "limit": 44 } }));
                t.running(&["stat:/"])?;
                let resources = json!({ "pids": { "limit": 55 }, "cpu": { "cpus": "4000" } });
                update(t, "-", resources)?.refused()?;
                shows(t, &[("pids", "pids.max", "44")])?;
                // And nothing of it was remembered.
                update(t, "-", json!({ "cpu": { "cpus": "0" } }))?.succeeded()?;
                shows(t, &[("pids", "pids.max", "44")])
            }),
    );
    cases
}

/// A container that tries to use a device (10:229, /dev/fuse, which opens for everybody) and /dev/zero after the update.
fn tries_after(t: &mut Trial, resources: &Value) -> Verdict<Value> {
    t.push("/linux/devices", json!({ "path": "/dev/listed", "type": "c", "major": 10, "minor": 229 }));
    t.probe(&["await:/tmp/go", "open:/dev/listed:r", "take:/dev/zero"]).create()?;
    t.start()?;
    update(t, "-", resources.clone())?.silent()?;
    fs::write(t.rootfs().join("tmp/go"), "")?;
    t.wait()?;
    Ok(serde_json::from_str(&t.stdout()).unwrap_or_default())
}

fn devices() -> Vec<Case> {
    let rule = |allow: bool| json!({ "allow": allow, "type": "c", "major": 10, "minor": 229, "access": "r" });
    let list = move |rules: &[Value]| {
        let all = [json!({ "allow": false, "access": "rwm" })].into_iter().chain(rules.iter().cloned());
        json!(all.collect::<Vec<_>>())
    };
    let needs = || Need::File("/sys/fs/fuse");
    vec![
        case("cli/update-devices-allow")
            .spec("`devices` configures the allowed device list; here by an update, which runc cannot")
            .needs(needs())
            .run(move |t| {
                t.set("/linux/resources/devices", list(&[]));
                let facts = tries_after(t, &json!({ "devices": list(&[rule(true)]) }))?;
                did_is(&facts, "open:/dev/listed:r", "ok")?;
                did_is(&facts, "take:/dev/zero", "ok")
            }),
        case("cli/update-devices-deny")
            .spec("`devices` configures the allowed device list; here by an update, which runc cannot")
            .needs(needs())
            .run(move |t| {
                t.set("/linux/resources/devices", list(&[rule(true)]));
                let facts = tries_after(t, &json!({ "devices": list(&[rule(true), rule(false)]) }))?;
                did_is(&facts, "open:/dev/listed:r", "EPERM")?;
                did_is(&facts, "take:/dev/zero", "ok")
            }),
        case("cli/update-without-devices")
            .runc("an update without devices, and CRI's `deny all` alone, keep what is allowed")
            .needs_all(&[needs(), Need::Controller("pids")])
            .run(move |t| {
                t.set("/linux/resources/devices", list(&[rule(true)]));
                let facts = tries_after(t, &json!({ "devices": list(&[]), "pids": { "limit": 33 } }))?;
                did_is(&facts, "open:/dev/listed:r", "ok")?;
                did_is(&facts, "take:/dev/zero", "ok")
            }),
    ]
}
