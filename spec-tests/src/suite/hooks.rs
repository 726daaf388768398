//! config.md: hooks that do well. What happens to bad ones is in `hook_faults.rs`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bundle::PROBE;
use crate::case::{Case, case};
use crate::trial::{Trial, is};
use crate::verdict::{Verdict, equal, failed};

/// One of the six kinds of hook.
pub struct Hook {
    /// The key in config.json.
    pub name: &'static str,
    /// Runs in the container's namespaces.
    pub in_container: bool,
    /// Its path is of the container's file system.
    pub path_in_container: bool,
    /// The command during which it runs.
    pub during: &'static str,
    /// The status that it is told.
    status: &'static str,
}

/// All of them in the order of the lifecycle.
pub const HOOKS: &[Hook] = &[
    Hook {
        name: "prestart",
        in_container: false,
        path_in_container: false,
        during: "create",
        status: "creating",
    },
    Hook {
        name: "createRuntime",
        in_container: false,
        path_in_container: false,
        during: "create",
        status: "creating",
    },
    Hook {
        name: "createContainer",
        in_container: true,
        path_in_container: false,
        during: "create",
        status: "creating",
    },
    Hook {
        name: "startContainer",
        in_container: true,
        path_in_container: true,
        during: "start",
        status: "created",
    },
    Hook {
        name: "poststart",
        in_container: false,
        path_in_container: false,
        during: "start",
        status: "running",
    },
    Hook {
        name: "poststop",
        in_container: false,
        path_in_container: false,
        during: "delete",
        status: "stopped",
    },
];

impl Hook {
    /// The path of a program for this hook.
    pub fn program(&self, t: &Trial) -> String {
        if self.path_in_container { PROBE.to_owned() } else { t.probe.display().to_string() }
    }

    /// A file that this hook can write, as it sees it.
    pub fn file(&self, t: &Trial, name: &str) -> String {
        if self.path_in_container {
            format!("/tmp/{name}")
        } else {
            self.host_file(t, name).display().to_string()
        }
    }

    /// The same file as the host sees it.
    pub fn host_file(&self, t: &Trial, name: &str) -> PathBuf {
        t.rootfs().join("tmp").join(name)
    }

    /// Add a hook of this kind that runs the probe.
    pub fn add(&self, t: &mut Trial, arguments: &[&str]) {
        let all: Vec<&str> = std::iter::once("spec-probe").chain(arguments.iter().copied()).collect();
        let path = self.program(t);
        t.push(&format!("/hooks/{}", self.name), json!({ "path": path, "args": all }));
    }

    /// Add a hook of this kind that saves what it sees.
    fn record(&self, t: &mut Trial) {
        let save = format!("save:{}", self.file(t, &format!("hook-{}", self.name)));
        self.add(t, &["stdin", "quiet", &save]);
    }

    fn recorded(&self, t: &Trial) -> Verdict<Value> {
        let path = self.host_file(t, &format!("hook-{}", self.name));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(error) => failed(format!("the {} hook left no record: {error}", self.name)),
        }
    }

    fn has_run(&self, t: &Trial) -> bool {
        self.host_file(t, &format!("hook-{}", self.name)).exists()
    }
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for hook in HOOKS {
        cases.push(invoked(hook));
        cases.push(namespace(hook));
        cases.push(state(hook));
        cases.push(pid(hook));
        cases.push(listed_order(hook));
        cases.push(arguments_and_environment(hook));
        cases.push(streams(hook));
    }
    cases.extend(others());
    cases
}

/// Record a hook and run a container through its life; what the hook saw, and the container.
fn life(t: &mut Trial, hook: &Hook) -> Verdict<(Value, Value)> {
    hook.record(t);
    let facts = t.running(&["stat:/"])?;
    let id = t.id.clone();
    if hook.during == "delete" {
        t.call(&["kill", &id, "KILL"])?.succeeded()?;
        t.wait()?;
        t.verb("delete")?.succeeded()?;
    }
    Ok((hook.recorded(t)?, facts))
}

fn invoked(hook: &'static Hook) -> Case {
    let sentence = match hook.name {
        "startContainer" => {
            "The `startContainer` hooks MUST be called before the user-specified process is \
             executed as part of the `start` operation."
        }
        "poststart" => {
            "The `poststart` hooks MUST be called after the user-specified process is executed \
             but before the `start` operation returns."
        }
        "poststop" => {
            "The `poststop` hooks MUST be called after the container is deleted but before the \
             `delete` operation returns."
        }
        _ => {
            "The hooks MUST be called as part of the `create` operation after the runtime \
             environment has been created (according to the configuration in config.json) but \
             before the `pivot_root` or any equivalent operation has been executed."
        }
    };
    case(format!("hooks/{}-during-{}", hook.name, hook.during)).spec(sentence).run(|t| {
        hook.record(t);
        let mut seen = vec![("before create", hook.has_run(t))];
        t.create()?;
        seen.push(("create", hook.has_run(t)));
        t.start()?;
        t.wait()?;
        seen.push(("start", hook.has_run(t)));
        t.verb("delete")?.succeeded()?;
        seen.push(("delete", hook.has_run(t)));
        equal("first seen", seen.iter().find(|(_, ran)| *ran).map(|(when, _)| *when), Some(hook.during))
    })
}

fn namespace(hook: &'static Hook) -> Case {
    let kind = if hook.in_container { "container" } else { "runtime" };
    let sentence = format!("The `{}` hooks MUST be executed in the {kind} namespace.", hook.name);
    case(format!("hooks/{}-namespace", hook.name)).spec(sentence).run(|t| {
        let (seen, facts) = life(t, hook)?;
        let own = crate::probe::facts::namespaces();
        for name in ["mnt", "uts", "ipc"] {
            let want = if hook.in_container { facts["namespaces"][name].clone() } else { json!(own[name]) };
            is(&seen, &format!("/namespaces/{name}"), want)?;
        }
        Ok(())
    })
}

fn state(hook: &'static Hook) -> Case {
    case(format!("hooks/{}-state-on-stdin", hook.name))
        .spec(
            "The state of the container MUST be passed to hooks over stdin so that they may do \
             work appropriate to the current state of the container.",
        )
        .run(|t| {
            t.set("/annotations", json!({ "com.example.key": "value" }));
            let (seen, _) = life(t, hook)?;
            let state: Value = serde_json::from_str(seen["did"]["stdin"].as_str().unwrap_or_default())?;
            is(&state, "/id", t.id.clone())?;
            is(&state, "/bundle", t.bundle().display().to_string())?;
            // "created (after step 2 in the lifecycle)"; runc says creating as long as `create` runs.
            if hook.status == "creating" {
                let status = state["status"].as_str().unwrap_or_default();
                ensure!(["creating", "created"].contains(&status), "status is {status:?}");
            } else {
                is(&state, "/status", hook.status)?;
            }
            is(&state, "/annotations", json!({ "com.example.key": "value" }))?;
            ensure!(state["ociVersion"].is_string(), "no ociVersion: {state}");
            Ok(())
        })
}

fn pid(hook: &'static Hook) -> Case {
    let sentence = if hook.in_container {
        "For hooks executed in the container namespace, it is the pid as seen by the \
         container."
    } else {
        "For hooks executed in the runtime namespace, it is the pid as seen by the runtime."
    };
    case(format!("hooks/{}-pid", hook.name)).spec(sentence).run(|t| {
        let (seen, _) = life(t, hook)?;
        let state: Value = serde_json::from_str(seen["did"]["stdin"].as_str().unwrap_or_default())?;
        let got = state["pid"].as_i64();
        match (hook.during, hook.in_container) {
            ("delete", _) => {
                ensure!(got.unwrap_or(0) == 0, "a stopped container has the pid {got:?}");
                Ok(())
            }
            (_, true) => equal("pid", got, Some(1)),
            (_, false) => equal("pid", got, Some(i64::from(t.pid()?))),
        }
    })
}

fn listed_order(hook: &'static Hook) -> Case {
    case(format!("hooks/{}-listed-order", hook.name)).spec("Hooks MUST be called in the listed order.").run(
        |t| {
            let log = hook.file(t, "log");
            for number in ["1", "2", "3", "4"] {
                hook.add(t, &["quiet", &format!("append:{log}:{number}")]);
            }
            t.facts()?;
            t.verb("delete")?.succeeded()?;
            equal("order", fs::read_to_string(hook.host_file(t, "log"))?.as_str(), "1\n2\n3\n4\n")
        },
    )
}

fn arguments_and_environment(hook: &'static Hook) -> Case {
    case(format!("hooks/{}-args-and-env", hook.name))
        .spec(
            "**`args`** (array of strings, OPTIONAL) with the same semantics as IEEE Std \
             1003.1-2008 `execv`'s *argv*. **`env`** (array of strings, OPTIONAL) with the same \
             semantics as IEEE Std 1003.1-2008's `environ`.",
        )
        .run(|t| {
            let (path, save) =
                (hook.program(t), format!("save:{}", hook.file(t, &format!("hook-{}", hook.name))));
            t.set(
                &format!("/hooks/{}", hook.name),
                json!([{ "path": path, "args": ["other name", "a b", save], "env": ["ONLY=this one"] }]),
            );
            t.facts()?;
            t.verb("delete")?.succeeded()?;
            let seen = hook.recorded(t)?;
            is(&seen, "/argv/0", "other name")?;
            is(&seen, "/argv/1", "a b")?;
            is(&seen, "/env", json!(["ONLY=this one"]))
        })
}

fn streams(hook: &'static Hook) -> Case {
    case(format!("hooks/{}-descriptors", hook.name))
        .security("F21", "a hook has the descriptors 0, 1 and 2, and no signal is blocked")
        .run(|t| {
            let (seen, _) = life(t, hook)?;
            let numbers: Vec<&String> =
                seen["descriptors"].as_object().map(|open| open.keys().collect()).unwrap_or_default();
            if seen["namespaces"].as_object().is_some_and(|all| !all.is_empty()) {
                equal("open descriptors", numbers, vec!["0", "1", "2"])?;
                is(&seen, "/blocked", 0)?;
            }
            Ok(())
        })
}

fn others() -> Vec<Case> {
    vec![
        case("hooks/order-of-kinds")
            .spec("The `prestart` hooks MUST be called before the `createRuntime` hooks. The \
                    `createContainer` hooks MUST be called after the `createRuntime` hooks.")
            .run(|t| {
                // Backwards in the file: the order must come from the lifecycle.
                for hook in HOOKS.iter().rev() {
                    let log = hook.file(t, "log");
                    hook.add(t, &["quiet", &format!("append:{log}:{}", hook.name)]);
                }
                // The program may be faster than poststart: it waits a little.
                t.probe(&["append:/tmp/log:program", "sleep:300"]).facts()?;
                t.verb("delete")?.succeeded()?;
                let log = fs::read_to_string(t.rootfs().join("tmp/log"))?;
                let want = ["prestart", "createRuntime", "createContainer", "startContainer"];
                let words: Vec<&str> = log.lines().collect();
                equal("first", &words[..4.min(words.len())], &want[..])?;
                equal("last", words.last(), Some(&"poststop"))?;
                equal("number", words.len(), 7)
            }),
        case("hooks/createContainer-sees-the-mounts")
            .spec(
                "The definition of `createContainer` hooks is currently underspecified and hooks authors, \
                 should only expect from the runtime that the mount namespace and different mounts will be \
                 setup.",
            )
            .run(|t| {
                let (seen, _) = life(t, &HOOKS[2])?;
                let mounts = seen["mounts"].as_array().cloned().unwrap_or_default();
                let proc = format!("{}/proc", t.rootfs().display());
                let all: Vec<&Value> = mounts.iter().map(|mount| &mount["destination"]).collect();
                ensure!(all.iter().any(|path| **path == proc.as_str()), "{proc} is no mount yet: {all:?}");
                Ok(())
            }),
        case("hooks/createContainer-in-the-root")
            .runc("createContainer hooks run in the container's root, as the host sees it")
            .run(|t| {
                let (seen, _) = life(t, &HOOKS[2])?;
                equal("cwd", &seen["cwd"], &json!(t.rootfs().display().to_string()))
            }),
        case("hooks/createRuntime-namespaces-are-there")
            .spec("The `createRuntime` hooks MUST be called as part of the `create` operation after the \
                    runtime environment has been created.")
            .run(|t| {
                let hook = &HOOKS[1];
                let log = hook.file(t, "log");
                // The hook looks at the container through the pid on its stdin.
                t.namespace("network", None);
                t.push("/hooks/createRuntime", json!({
                    "path": "/bin/sh",
                    "args": ["sh", "-c", format!("pid=$(tr ',' '\\n' | sed -n 's/.*\"pid\": *//p'); readlink /proc/$pid/ns/net > {log}")],
                }));
                let facts = t.facts()?;
                is(&facts, "/namespaces/net", fs::read_to_string(hook.host_file(t, "log"))?.trim_end())
            }),
        case("hooks/empty").spec("**`hooks`** (object, OPTIONAL) MAY contain any of the following properties").run(|t| {
            t.set("/hooks", json!({ "prestart": [], "poststop": null })).facts().map(drop)
        }),
    ]
}
