//! runc's exec --process.

use std::fs;

use serde_json::{Value, json};

use super::exec::exec;
use crate::call::Answer;
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, is};
use crate::verdict::{Verdict, equal};

/// `exec --process`, with the container's process changed at one place.
fn with_process(t: &mut Trial, pointer: &str, value: Value) -> Verdict<Answer> {
    let mut process = t.config["process"].clone();
    process["args"] = json!(["/spec-probe"]);
    crate::bundle::set(&mut process, pointer, value);
    let path = t.path("process.json");
    fs::write(&path, process.to_string())?;
    exec(t, &["--process", &path], &[])
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, pointer, value, fact, want, since) in [
        ("uid", "/user/uid", json!(42), "/uid", json!([42, 42, 42]), 0),
        ("cwd", "/cwd", json!("/tmp"), "/cwd", json!("/tmp"), 0),
        ("oom-score", "/oomScoreAdj", json!(700), "/oom_score_adj", json!("700"), 0),
        ("scheduler", "/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 7 }), "/scheduler", json!(3), 2),
        (
            "io-priority",
            "/ioPriority",
            json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }),
            "/io_priority",
            json!(3 << 13),
            1,
        ),
        ("cpu-affinity", "/execCPUAffinity", json!({ "final": "0" }), "/cpus", json!("0"), 3),
        (
            "rlimits",
            "/rlimits",
            json!([{ "type": "RLIMIT_CORE", "soft": 3, "hard": 4 }]),
            "/rlimits/RLIMIT_CORE",
            json!([3, 4]),
            0,
        ),
        ("no-new-privileges", "/noNewPrivileges", json!(true), "/no_new_privs", json!("1"), 0),
        (
            "capabilities",
            "/capabilities",
            json!({ "bounding": ["CAP_KILL"] }),
            "/capabilities/bounding",
            json!(32),
            0,
        ),
        ("umask", "/user/umask", json!(0o77), "/umask", json!(0o77), 0),
    ] {
        cases.push(
            case(format!("exec/process-{name}"))
                .runc(format!("exec --process applies {pointer}"))
                .needs(Need::SpecVersion(since))
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    let answer = with_process(t, pointer, value.clone())?.succeeded()?;
                    is(&serde_json::from_str(&answer.stdout)?, fact, want.clone())
                }),
        );
    }
    for (name, pointer, value) in [
        ("relative-cwd", "/cwd", json!("tmp")),
        ("no-args", "/args", json!([])),
        ("env-without-equals", "/env", json!(["NONSENSE"])),
        ("uid-negative", "/user/uid", json!(-1)),
        ("rlimit-unknown", "/rlimits", json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }])),
    ] {
        cases.push(
            case(format!("exec/process-refused-{name}"))
                .security("E22", "a bad process is refused, and the container goes on")
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    with_process(t, pointer, value.clone())?.refused()?;
                    equal("status", t.status()?, "running")
                }),
        );
    }
    for (name, text) in [("truncated", "{\"args\": ["), ("empty-object", "{}"), ("empty-file", "")] {
        cases.push(
            case(format!("exec/process-file-{name}")).security("E22", "a bad process file is refused").run(
                move |t| {
                    t.running(&["stat:/"])?;
                    let path = t.path("process.json");
                    fs::write(&path, text)?;
                    exec(t, &["--process", &path], &[])?.refused().map(drop)
                },
            ),
        );
    }
    cases
}
