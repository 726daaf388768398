//! config.md: process, without its tables of limits and capabilities.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{did_is, is};
use crate::verdict::equal;

const CWD: &str = "**`cwd`** (string, REQUIRED) is the working directory that will be set for the \
     executable.";
const ARGS: &str = "This specification extends the IEEE standard in that at least one entry is REQUIRED \
    (non-Windows), and that entry is used with the same semantics as `execvp`'s *file*.";
const ENV: &str = "**`env`** (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's \
    `environ`.";
const OOM: &str = "If `oomScoreAdj` is set, the runtime MUST set `oom_score_adj` to the given value.";
const NO_NEW: &str = "**`noNewPrivileges`** (bool, OPTIONAL) setting `noNewPrivileges` to true prevents the \
    process from gaining additional privileges.";
const SCHEDULER: &str = "**`scheduler`** (object, OPTIONAL) is an object describing the scheduler properties \
    for the process.";
const IO_PRIORITY: &str = "**`ioPriority`** (object, OPTIONAL) configures the I/O priority settings for the \
    container's processes within the process group.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [program(), user(), linux(), scheduling()].into_iter().flatten().collect()
}

fn program() -> Vec<Case> {
    vec![
        case("process/args")
            .spec(
                "**`args`** (array of strings, OPTIONAL) with similar semantics to IEEE Std \
                 1003.1-2008 `execvp`'s *argv*.",
            )
            .run(|t| {
                let facts = t.facts_of(&["unknown one", "", "ü\"'$(id)\n"])?;
                is(&facts, "/argv", json!(["/spec-probe", "unknown one", "", "ü\"'$(id)\n"]))
            }),
        case("process/args-found-in-path").spec(ARGS).run(|t| {
            fs::copy(&t.probe, t.rootfs().join("bin/by-name"))?;
            let facts = t.set("/process/args", json!(["by-name"])).facts()?;
            is(&facts, "/argv/0", "by-name")
        }),
        case("process/args-relative-to-cwd").spec(ARGS).run(|t| {
            fs::copy(&t.probe, t.rootfs().join("tmp/here"))?;
            t.set("/process/cwd", "/tmp").set("/process/args", json!(["./here"])).facts().map(drop)
        }),
        case("process/args-path-order").spec(ARGS).run(|t| {
            // The first of the two cannot be executed: execvp goes on.
            fs::write(t.rootfs().join("tmp/by-name"), "")?;
            fs::copy(&t.probe, t.rootfs().join("bin/by-name"))?;
            t.set("/process/env", json!(["PATH=/tmp:/bin"]))
                .set("/process/args", json!(["by-name"]))
                .facts()
                .map(drop)
        }),
        case("process/args-empty").spec(ARGS).run(|t| t.set("/process/args", json!([])).refused().map(drop)),
        case("process/args-not-set").spec(ARGS).run(|t| t.remove("/process/args").refused().map(drop)),
        case("process/exit-status").runc("run returns the exit status of the program").run(|t| {
            t.probe(&["exit:42"]).write_config()?;
            let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
            equal("exit status", t.call(&["run", "--bundle", &bundle, &id])?.code, 42)
        }),
        case("process/env").spec(ENV).run(|t| {
            let env = json!(["PATH=/bin", "EMPTY=", "EQUALS=a=b", "SPACE=a b", "HOME=/tmp", "UMLAUT=ü"]);
            let facts = t.set("/process/env", env.clone()).facts()?;
            for entry in env.as_array().into_iter().flatten() {
                let there = facts["env"].as_array().is_some_and(|list| list.contains(entry));
                ensure!(there, "{entry} is missing in {}", facts["env"]);
            }
            Ok(())
        }),
        case("process/env-only-what-is-asked").spec(ENV).run(|t| {
            let facts = t.facts()?;
            let names: Vec<&str> = facts["env"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.as_str()?.split('=').next())
                .collect();
            ensure!(names.iter().all(|name| ["PATH", "HOME"].contains(name)), "environment: {names:?}");
            Ok(())
        }),
        case("process/cwd").spec(CWD).run(|t| is(&t.set("/process/cwd", "/tmp").facts()?, "/cwd", "/tmp")),
        case("process/cwd-symlink").spec(CWD).run(|t| {
            symlink("/tmp", t.rootfs().join("link"))?;
            is(&t.set("/process/cwd", "/link").facts()?, "/cwd", "/tmp")
        }),
        case("process/cwd-relative")
            .spec("This value MUST be an absolute path.")
            .run(|t| t.set("/process/cwd", "tmp").refused().map(drop)),
        case("process/cwd-not-set").spec(CWD).run(|t| t.remove("/process/cwd").refused().map(drop)),
        case("process/cwd-of-the-user-only")
            .runc("the working directory is entered as the container's user")
            .run(|t| {
                fs::create_dir(t.rootfs().join("own"))?;
                std::os::unix::fs::chown(t.rootfs().join("own"), Some(1000), Some(1000))?;
                fs::set_permissions(t.rootfs().join("own"), fs::Permissions::from_mode(0o700))?;
                t.set("/process/user/uid", 1000)
                    .set("/process/user/gid", 1000)
                    .remove("/process/capabilities");
                is(&t.set("/process/cwd", "/own").facts()?, "/cwd", "/own")
            }),
    ]
}

fn user() -> Vec<Case> {
    vec![
        case("process/user-uid")
            .spec("**`uid`** (int, REQUIRED) specifies the user ID in the container namespace.")
            .run(|t| is(&t.set("/process/user/uid", 1234).facts()?, "/uid", json!([1234, 1234, 1234]))),
        case("process/user-gid")
            .spec("**`gid`** (int, REQUIRED) specifies the group ID in the container namespace.")
            .run(|t| is(&t.set("/process/user/gid", 4321).facts()?, "/gid", json!([4321, 4321, 4321]))),
        case("process/user-additional-gids")
            .spec(
                "**`additionalGids`** (array of ints, OPTIONAL) specifies additional group IDs in the \
                 container namespace to be added to the process.",
            )
            .run(|t| {
                let groups =
                    t.set("/process/user/additionalGids", json!([10, 20])).facts()?["groups"].clone();
                let has = |number: u64| groups.as_array().is_some_and(|list| list.contains(&json!(number)));
                ensure!(has(10) && has(20), "groups: {groups}");
                Ok(())
            }),
        case("process/user-no-groups-of-the-caller")
            .runc("the caller's supplementary groups are dropped")
            .run(|t| {
                let facts = t.set("/process/user/gid", 7).facts()?;
                let groups = facts["groups"].clone();
                ensure!(groups == json!([]) || groups == json!([7]), "groups: {groups}");
                Ok(())
            }),
        case("process/user-umask")
            .spec("**`umask`** (int, OPTIONAL) specifies the umask of the user.")
            .run(|t| is(&t.set("/process/user/umask", 0o27).facts()?, "/umask", 0o27)),
        case("process/user-umask-zero")
            .spec("**`umask`** (int, OPTIONAL) specifies the umask of the user.")
            .run(|t| is(&t.set("/process/user/umask", 0).facts()?, "/umask", 0)),
        case("process/user-umask-default")
            .runc("the umask is 022 if none is given")
            .run(|t| is(&t.facts()?, "/umask", 0o22)),
    ]
}

fn linux() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value, want) in
        [("true", json!(true), "1"), ("false", json!(false), "0"), ("not-set", json!(null), "0")]
    {
        cases.push(case(format!("process/no-new-privileges-{name}")).spec(NO_NEW).run(move |t| {
            if !value.is_null() {
                t.set("/process/noNewPrivileges", value.clone());
            }
            is(&t.facts()?, "/no_new_privs", want)
        }));
    }
    for value in [0, 1, 500, 1000] {
        cases.push(case(format!("process/oom-score-adj-{value}")).spec(OOM).run(move |t| {
            is(&t.set("/process/oomScoreAdj", value).facts()?, "/oom_score_adj", value.to_string())
        }));
    }
    cases.push(
        case("process/oom-score-adj-negative")
            .spec(OOM)
            .needs(Need::Capability(24, "CAP_SYS_RESOURCE"))
            .run(|t| is(&t.set("/process/oomScoreAdj", -500).facts()?, "/oom_score_adj", "-500")),
    );
    cases.push(
        case("process/oom-score-adj-not-set")
            .spec(
                "If `oomScoreAdj` is not set, the runtime MUST NOT change the value of \
                 `oom_score_adj`.",
            )
            .run(|t| {
                fs::write("/proc/self/oom_score_adj", "77")?;
                is(&t.facts()?, "/oom_score_adj", "77")
            }),
    );
    cases.push(
        case("process/signal-mask").runc("no signal is blocked or ignored in the container process").run(
            |t| {
                let facts = t.facts_of(&["stat:/"])?;
                is(&facts, "/blocked", 0)?;
                // The probe's own run-time ignores SIGPIPE (13); 32 and 33 belong to the C library.
                let ignored = facts["ignored"].as_u64().unwrap_or_default() & !(1 << 12 | 0b11 << 31);
                equal("ignored signals", ignored, 0)
            },
        ),
    );
    cases.push(
        case("process/descriptors")
            .spec(
                "By default, only the `stdin`, `stdout` and `stderr` file descriptors are kept open \
                 for the application by the runtime.",
            )
            .run(|t| {
                let facts = t.facts()?;
                let numbers: Vec<&String> =
                    facts["descriptors"].as_object().map(|open| open.keys().collect()).unwrap_or_default();
                equal("open descriptors", numbers, vec!["0", "1", "2"])
            }),
    );
    cases.push(
        case("process/hostname")
            .spec(
                "**`hostname`** (string, OPTIONAL) specifies the container's hostname as seen by \
                 processes running inside the container.",
            )
            .run(|t| is(&t.set("/hostname", "mrsdalloway").facts()?, "/hostname", "mrsdalloway")),
    );
    cases.push(
        case("process/domainname")
            .spec(
                "**`domainname`** (string, OPTIONAL) specifies the container's domainname as seen by \
                 processes running inside the container.",
            )
            .needs(Need::SpecVersion(1))
            .run(|t| is(&t.set("/domainname", "foobarbaz.test").facts()?, "/domainname", "foobarbaz.test")),
    );
    cases.push(
        case("process/unknown-property")
            .spec("Runtimes MAY log unknown properties but MUST otherwise ignore them.")
            .run(|t| {
                t.set("/noSuchThing", json!({ "a": [1] }))
                    .set("/process/noSuchThing", 1)
                    .set("/linux/noSuchThing", "x");
                t.set("/mounts/0/noSuchThing", true).facts().map(drop)
            }),
    );
    cases.push(
        case("process/unknown-annotation")
            .spec("Runtimes MUST handle unknown annotation keys like any other unknown property.")
            .run(|t| {
                t.set(
                    "/annotations",
                    json!({ "com.example.unknown": "x", "org.opencontainers.unknown": "y" }),
                )
                .facts()
                .map(drop)
            }),
    );
    cases.push(
        case("process/cpus-are-not-the-callers")
            .runc("a container is not held to the CPUs of whoever called the runtime")
            .needs(Need::SpecVersion(3))
            .needs(Need::File("/sys/devices/system/cpu/cpu1"))
            .run(|t| {
                let own = t.facts()?["cpus"].clone();
                t.finish()?;
                let mut first = nix::sched::CpuSet::new();
                first.set(0)?;
                nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &first)?;
                is(&t.running::<&str>(&[])?, "/cpus", own.clone())?;
                is(&super::exec::facts(t, &[], &[])?, "/cpus", own)
            }),
    );
    for (name, affinity, want) in [
        ("final", json!({ "final": "1" }), "1"),
        ("initial-and-final", json!({ "initial": "1", "final": "0" }), "0"),
        ("list", json!({ "initial": "", "final": "0-1" }), "0-1"),
    ] {
        cases.push(
            case(format!("process/exec-cpu-affinity-{name}"))
                .spec("**`final`** (string, OPTIONAL) is a list of CPUs the process will be run on after the transition to container's cgroup.")
                .needs(Need::SpecVersion(3))
                .needs(Need::Verb("exec"))
                .needs(Need::File("/sys/devices/system/cpu/cpu1"))
                .run(move |t| {
                    let own = t.facts()?["cpus"].clone();
                    t.finish()?;
                    let first = t.set("/process/execCPUAffinity", affinity.clone()).running::<&str>(&[])?;
                    // "This setting is not applicable to the container's init process."
                    is(&first, "/cpus", own)?;
                    is(&super::exec::facts(t, &[], &[])?, "/cpus", want)
                }),
        );
    }
    for (name, list) in [("backwards", "1-0"), ("no-list", "all"), ("no-such-cpu", "8192")] {
        cases.push(
            case(format!("process/exec-cpu-affinity-{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .needs(Need::SpecVersion(3))
                .run(move |t| {
                    t.set("/process/execCPUAffinity", json!({ "final": list })).refused().map(drop)
                }),
        );
    }
    cases.push(
        case("process/io-priority-missing-class")
            .spec("**`class`** (string, REQUIRED) specifies the I/O scheduling class.")
            .needs(Need::SpecVersion(1))
            .run(|t| t.set("/process/ioPriority", json!({ "priority": 1 })).refused().map(drop)),
    );
    cases.push(case("process/session-keyring").runc("the container has a session keyring of its own").run(
        |t| {
            let ring = t.facts()?["session_keyring"].as_str().unwrap_or_default().to_owned();
            ensure!(ring.contains(&t.id) || ring.contains("_ses"), "session keyring: {ring:?}");
            ensure!(
                Some(&ring) != crate::sys::session_keyring().as_ref(),
                "it is the keyring of the caller: {ring:?}"
            );
            Ok(())
        },
    ));
    cases.push(case("process/stdin-is-passed").runc("create passes its stdin on").run(|t| {
        t.probe(&["stdin"]).write_config()?;
        fs::write(t.work.join("input"), "some words")?;
        let mut streams = t.container_streams();
        streams.stdin = Some(t.work.join("input"));
        let (bundle, pid_file, id) = (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
        let command = t.command(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &id]);
        t.execute_with(command, &streams)?.succeeded()?;
        t.start()?;
        t.wait()?;
        let told = serde_json::from_str(&t.stdout())?;
        did_is(&told, "stdin", "some words")
    }));
    cases
}

fn scheduling() -> Vec<Case> {
    let mut cases = Vec::new();
    for (policy, number, fields) in [
        ("SCHED_OTHER", 0, json!({ "nice": 5 })),
        ("SCHED_BATCH", 3, json!({ "nice": 7 })),
        ("SCHED_IDLE", 5, json!({})),
        ("SCHED_FIFO", 1, json!({ "priority": 3 })),
        ("SCHED_RR", 2, json!({ "priority": 9 })),
    ] {
        // Kernels with CONFIG_RT_GROUP_SCHED give a new cgroup no time for these.
        let mut needs = vec![Need::SpecVersion(2)];
        if number == 1 || number == 2 {
            needs.push(Need::NoFile("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"));
        }
        cases.push(case(format!("process/scheduler-{policy}")).spec(SCHEDULER).needs_all(&needs).run(
            move |t| {
                let mut scheduler = fields.clone();
                scheduler["policy"] = json!(policy);
                let facts = t.set("/process/scheduler", scheduler).facts()?;
                is(&facts, "/scheduler", number)?;
                if let Some(nice) = fields["nice"].as_i64() { is(&facts, "/nice", nice) } else { Ok(()) }
            },
        ));
    }
    for (class, number, priority) in
        [("IOPRIO_CLASS_BE", 2, 5), ("IOPRIO_CLASS_IDLE", 3, 0), ("IOPRIO_CLASS_RT", 1, 2)]
    {
        cases.push(
            case(format!("process/io-priority-{class}")).spec(IO_PRIORITY).needs(Need::SpecVersion(1)).run(
                move |t| {
                    let facts = t
                        .set("/process/ioPriority", json!({ "class": class, "priority": priority }))
                        .facts()?;
                    is(&facts, "/io_priority", (number << 13) | priority)
                },
            ),
        );
    }
    for (name, pointer, value) in [
        ("scheduler-unknown-policy", "/process/scheduler", json!({ "policy": "SCHED_SOMETIMES" })),
        (
            "scheduler-unknown-flag",
            "/process/scheduler",
            json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NO"] }),
        ),
        (
            "io-priority-unknown-class",
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_X", "priority": 1 }),
        ),
        (
            "io-priority-out-of-range",
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
        ),
    ] {
        cases.push(
            case(format!("process/{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .needs(Need::SpecVersion(2))
                .run(move |t| t.set(pointer, value.clone()).refused().map(drop)),
        );
    }
    cases
}
