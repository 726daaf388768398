//! Hooks that fail, hang, or do what a hook should not.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::hooks::{HOOKS, Hook};
use crate::case::{Case, case};
use crate::trial::{Trial, slowness, until};
use crate::verdict::{Verdict, equal};

const POSTSTOP: &Hook = &HOOKS[5];
const ABSOLUTE: &str = "This specification extends the IEEE standard in that **`path`** MUST be absolute.";
const TIMEOUT: &str = "If set, `timeout` MUST be greater than zero.";
const WARNING: &str = "If any `poststop` hook fails, the runtime MUST log a warning, but the remaining hooks \
    and lifecycle continue as if the hook had succeeded.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for hook in HOOKS {
        if hook.name != "poststop" {
            cases.push(fails(hook));
            cases.push(path_missing(hook));
            cases.push(runs_out_of_time(hook));
            cases.push(killed(hook));
        }
        cases.push(never_reads(hook));
        for (name, value) in [("zero", 0), ("negative", -1)] {
            cases.push(case(format!("hook-faults/{}-timeout-{name}", hook.name)).spec(TIMEOUT).run(
                move |t| {
                    let path = hook.program(t);
                    t.push(&format!("/hooks/{}", hook.name), json!({ "path": path, "timeout": value }))
                        .refused()
                        .map(drop)
                },
            ));
        }
        cases.push(case(format!("hook-faults/{}-relative-path", hook.name)).spec(ABSOLUTE).run(|t| {
            t.push(&format!("/hooks/{}", hook.name), json!({ "path": "spec-probe" })).refused().map(drop)
        }));
    }
    cases.extend(poststop());
    cases.extend(odd());
    cases
}

fn sentence(hook: &Hook) -> String {
    format!(
        "If any `{}` hook fails, the runtime MUST generate an error, stop the container, and \
         continue the lifecycle at step 12.",
        hook.name
    )
}

/// A bad hook between two good ones of its kind; then the lifecycle, until the failure.
fn fault(t: &mut Trial, hook: &Hook, entry: Value) -> Verdict {
    let log = hook.file(t, "log");
    hook.add(t, &["quiet", &format!("append:{log}:first")]);
    t.push(&format!("/hooks/{}", hook.name), entry);
    hook.add(t, &["quiet", &format!("append:{log}:third")]);
    let stopped = POSTSTOP.file(t, "stopped");
    POSTSTOP.add(t, &["quiet", &format!("append:{stopped}:ran")]);
    t.probe(&["append:/tmp/program:ran", "hang"]);
    if hook.during == "create" {
        t.refused()?;
    } else {
        t.create()?;
        t.verb("start")?.refused()?;
        let end = t.wait()?;
        ensure!(end != 0, "the container process ended well");
    }
    equal("hooks of the kind", fs::read_to_string(hook.host_file(t, "log"))?.as_str(), "first\n")?;
    if hook.name != "poststart" {
        ensure!(!t.rootfs().join("tmp/program").exists(), "the program ran");
    }
    if hook.during == "start" {
        let id = t.id.clone();
        t.call(&["delete", "--force", &id])?.succeeded()?;
    }
    equal("poststop hooks", crate::call::text(&POSTSTOP.host_file(t, "stopped")).as_str(), "ran\n")
}

fn fails(hook: &'static Hook) -> Case {
    case(format!("hook-faults/{}-fails", hook.name)).spec(sentence(hook)).run(|t| {
        let path = hook.program(t);
        fault(t, hook, json!({ "path": path, "args": ["spec-probe", "quiet", "exit:3"] }))
    })
}

fn path_missing(hook: &'static Hook) -> Case {
    case(format!("hook-faults/{}-path-missing", hook.name))
        .spec(sentence(hook))
        .run(|t| fault(t, hook, json!({ "path": "/no/such/hook" })))
}

fn killed(hook: &'static Hook) -> Case {
    case(format!("hook-faults/{}-killed", hook.name)).security("F13", "death by a signal is a failure").run(
        |t| {
            let path = hook.program(t);
            fault(t, hook, json!({ "path": path, "args": ["spec-probe", "quiet", "raise:9"] }))
        },
    )
}

fn runs_out_of_time(hook: &'static Hook) -> Case {
    case(format!("hook-faults/{}-runs-out-of-time", hook.name))
        .spec("**`timeout`** (int, OPTIONAL) is the number of seconds before aborting the hook.")
        .run(|t| {
            let path = hook.program(t);
            let sleep = format!("sleep:{}", 8000 * slowness());
            let begin = Instant::now();
            fault(t, hook, json!({ "path": path, "args": ["spec-probe", "quiet", sleep], "timeout": 1 }))?;
            let took = begin.elapsed();
            ensure!(
                took >= Duration::from_secs(1) && took < Duration::from_secs(4) * slowness(),
                "it took {} ms",
                took.as_millis()
            );
            Ok(())
        })
}

fn never_reads(hook: &'static Hook) -> Case {
    case(format!("hook-faults/{}-never-reads-stdin", hook.name))
        .security("F14", "a hook that never reads its stdin, with a state larger than a pipe, blocks nobody")
        .run(|t| {
            t.set("/annotations", json!({ "com.example.large": "x".repeat(300_000) }));
            hook.add(t, &["quiet"]);
            t.facts()?;
            t.verb("delete")?.succeeded().map(drop)
        })
}

fn poststop() -> Vec<Case> {
    vec![
        case("hook-faults/poststop-fails")
            .spec(WARNING)
            .run(|t| poststop_fault(t, |path| json!({ "path": path, "args": ["p", "quiet", "exit:3"] }))),
        case("hook-faults/poststop-path-missing")
            .spec(WARNING)
            .run(|t| poststop_fault(t, |_| json!({ "path": "/no/such/hook" }))),
        case("hook-faults/poststop-runs-out-of-time").spec(WARNING).run(|t| {
            poststop_fault(
                t,
                |path| json!({ "path": path, "args": ["p", "quiet", "sleep:8000"], "timeout": 1 }),
            )
        }),
    ]
}

fn poststop_fault(t: &mut Trial, entry: fn(&str) -> Value) -> Verdict {
    let (log, path) = (POSTSTOP.file(t, "log"), POSTSTOP.program(t));
    POSTSTOP.add(t, &["quiet", &format!("append:{log}:first")]);
    t.push("/hooks/poststop", entry(&path));
    POSTSTOP.add(t, &["quiet", &format!("append:{log}:third")]);
    t.facts()?;
    t.verb("delete")?.succeeded()?;
    equal("poststop hooks", fs::read_to_string(POSTSTOP.host_file(t, "log"))?.as_str(), "first\nthird\n")?;
    t.nothing_left("after delete")
}

fn odd() -> Vec<Case> {
    vec![
        case("hook-faults/background-child")
            .security(
                "F16",
                "a hook that ends well and leaves a child with its streams does not hold the runtime \
                 up",
            )
            .run(|t| {
                HOOKS[1].add(t, &["quiet", &format!("background:{}", t.probe.display())]);
                let answer = t.try_create()?.succeeded()?;
                ensure!(answer.took < Duration::from_secs(3) * slowness(), "{answer}");
                t.start()?;
                t.wait()?;
                // The background process is the hook's, not the container's.
                crate::leftovers::kill_children(&t.kept);
                Ok(())
            }),
        case("hook-faults/much-output")
            .security("F17", "a mebibyte on stderr before a failure makes a bounded message")
            .run(|t| {
                HOOKS[1].add(t, &["flood", "quiet", "exit:1"]);
                let stderr = t.refused()?;
                ensure!(stderr.len() <= 16384, "stderr has {} bytes", stderr.len());
                Ok(())
            }),
        case("hook-faults/directory")
            .security("F01b", "a directory as a hook is refused")
            .run(|t| t.push("/hooks/createRuntime", json!({ "path": "/tmp" })).refused().map(drop)),
        case("hook-faults/not-executable").security("F01b", "a file that cannot be executed is refused").run(
            |t| {
                let path = t.path("file");
                fs::write(&path, "")?;
                t.push("/hooks/createRuntime", json!({ "path": path })).refused().map(drop)
            },
        ),
        case("hook-faults/asks-for-the-state")
            .security("F22", "a hook may ask the runtime for the state of its container")
            .run(|t| {
                let (log, root, id) =
                    (HOOKS[4].file(t, "log"), t.runtime_root().display().to_string(), t.id.clone());
                let line = format!("{} --root {root} state {id} > {log}", t.program.display());
                t.push(
                    "/hooks/poststart",
                    json!({
                        "path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/bin:/usr/bin"],
                        "timeout": 5,
                    }),
                );
                t.running(&["stat:/"])?;
                let text = fs::read_to_string(HOOKS[4].host_file(t, "log"))?;
                ensure!(text.contains("\"status\""), "the hook got {text:?}");
                Ok(())
            }),
        case("hook-faults/kills-init")
            .security("F23", "a createRuntime hook that kills the init makes create fail, clean")
            .run(|t| {
                let line = "pid=$(tr ',' '\\n' | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); kill -9 $pid";
                t.push(
                    "/hooks/createRuntime",
                    json!({
                        "path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/bin:/usr/bin"],
                    }),
                );
                t.refused().map(drop)
            }),
        case("hook-faults/message-names-the-hook")
            .runc("the error of a failed hook has its kind and its stderr")
            .run(|t| {
                t.push(
                    "/hooks/createRuntime",
                    json!({
                        "path": "/bin/sh", "args": ["sh", "-c", "echo what went wrong >&2; exit 1"],
                    }),
                );
                let stderr = t.refused()?;
                ensure!(stderr.contains("what went wrong"), "the hook's stderr is missing: {stderr}");
                ensure!(stderr.to_lowercase().contains("createruntime"), "the kind is missing: {stderr}");
                Ok(())
            }),
        case("hook-faults/ignores-term").security("F18", "at the timeout the hook is killed, with KILL").run(
            |t| {
                let log = t.path("pid-of-hook");
                let line = format!("trap '' TERM; echo $$ > {log}; exec sleep 8");
                t.push(
                    "/hooks/createRuntime",
                    json!({
                        "path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/bin:/usr/bin"],
                        "timeout": 1,
                    }),
                );
                t.refused()?;
                let pid = fs::read_to_string(&log)?.trim().to_owned();
                until("the end of the hook", || !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
            },
        ),
    ]
}
