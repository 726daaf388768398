//! runc's events.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, until};
use crate::verdict::{Verdict, equal, failed};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("cli/events-stats-values")
            .runc("events --stats prints one line with the statistics")
            .needs_all(&[Need::Controller("memory"), Need::Controller("pids"), Need::Controller("cpu")])
            .run(|t| {
                t.set(
                    "/linux/resources",
                    json!({ "memory": { "limit": 134_217_728 }, "pids": { "limit": 77 } }),
                );
                t.running(&["stat:/"])?;
                let id = t.id.clone();
                let answer = t.call(&["events", "--stats", &id])?.succeeded()?;
                equal("lines", answer.stdout.lines().count(), 1)?;
                let Ok(event) = serde_json::from_str::<Value>(&answer.stdout) else {
                    return failed(format!("no JSON: {answer}"));
                };
                equal("type", event["type"].as_str(), Some("stats"))?;
                equal("id", event["id"].as_str(), Some(t.id.as_str()))?;
                let data = &event["data"];
                equal("pids.limit", data["pids"]["limit"].as_u64(), Some(77))?;
                equal("memory.usage.limit", data["memory"]["usage"]["limit"].as_u64(), Some(134_217_728))?;
                for pointer in ["/pids/current", "/memory/usage/usage", "/cpu/usage/total"] {
                    let value = data.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
                    ensure!(value > 0, "{pointer} is {value} in {data}");
                }
                Ok(())
            }),
        case("cli/events-stream")
            .runc("events prints statistics again and again, and ends with the container")
            .needs(Need::Controller("memory"))
            .run(|t| {
                t.running(&["stat:/"])?;
                let mut events = listen(t)?;
                until("two lines", || heard(t, "stats") >= 2)?;
                let id = t.id.clone();
                t.call(&["kill", &id, "KILL"])?.succeeded()?;
                t.wait()?;
                // Of runc only once the cgroup is gone.
                t.finish()?;
                until("the end of events", || events.try_wait().is_ok_and(|status| status.is_some()))?;
                equal("exit status", events.wait()?.code(), Some(0))
            }),
        case("cli/events-oom")
            .runc("events tells that the container has no memory left")
            .needs(Need::Controller("memory"))
            .run(|t| {
                t.set("/linux/resources", json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } }));
                t.probe(&["await:/tmp/go", "devour:64"]).create()?;
                t.start()?;
                let mut events = listen(t)?;
                until("a line", || heard(t, "stats") >= 1)?;
                fs::write(t.rootfs().join("tmp/go"), "")?;
                equal("exit status", t.wait()?, 128 + 9)?;
                until("the event", || heard(t, "oom") >= 1)?;
                t.finish()?;
                until("the end of events", || events.try_wait().is_ok_and(|status| status.is_some()))
            }),
        case("cli/events-stopped").runc("events of a stopped container is refused").run(|t| {
            t.facts()?;
            let id = t.id.clone();
            t.call(&["events", "--stats", &id])?.refused_with(&["is not running"]).map(drop)
        }),
        case("cli/events-unknown")
            .runc("events of an unknown container says `does not exist`")
            .run(|t| t.verb("events")?.refused_with(&["does not exist"]).map(drop)),
        case("cli/events-interval-zero").runc("an interval of zero is refused").run(|t| {
            t.running(&["stat:/"])?;
            let id = t.id.clone();
            t.call(&["events", "--interval", "0", &id])?.refused().map(drop)
        }),
    ]
}

/// Listen to the events of the container, ten times a second.
pub(super) fn listen(t: &mut Trial) -> Verdict<Child> {
    let id = t.id.clone();
    let mut command = t.command(&["events", "--interval", "100ms", &id]);
    let stdout = File::create(t.work.join("events"))?;
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn()?;
    t.kept.insert(child.id().cast_signed());
    Ok(child)
}

/// How many events of a kind there were.
pub(super) fn heard(t: &Trial, kind: &str) -> usize {
    let text = fs::read_to_string(t.work.join("events")).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["type"] == kind).count()
}
