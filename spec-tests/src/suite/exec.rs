//! runc's exec: a further process in a container.

use std::fs;

use serde_json::{Value, json};

use crate::call::Answer;
use crate::case::{Case, case};
use crate::trial::{Trial, is};
use crate::verdict::{Verdict, equal, failed};

/// `exec` with options, and the probe with arguments.
pub fn exec(t: &mut Trial, options: &[&str], program: &[&str]) -> Verdict<Answer> {
    let id = t.id.clone();
    let words: Vec<&str> =
        ["exec"].iter().chain(options).chain([&id.as_str()]).chain(program).copied().collect();
    t.call(&words)
}

/// What the probe tells as a further process.
pub fn facts(t: &mut Trial, options: &[&str], arguments: &[&str]) -> Verdict<Value> {
    let program: Vec<&str> = std::iter::once("/spec-probe").chain(arguments.iter().copied()).collect();
    let answer = exec(t, options, &program)?.succeeded()?;
    match serde_json::from_str(&answer.stdout) {
        Ok(facts) => Ok(facts),
        Err(error) => failed(format!("{answer}: no facts on stdout: {error}: {:?}", answer.stdout)),
    }
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [same_place(), options(), codes(), users(), refused()].into_iter().flatten().collect()
}

fn same_place() -> Vec<Case> {
    vec![
        case("exec/same-namespaces").runc("exec joins all namespaces of the container").run(|t| {
            t.namespace("network", None).namespace("cgroup", None);
            let first = t.running(&["stat:/"])?;
            let second = facts(t, &[], &[])?;
            for name in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
                is(&second, &format!("/namespaces/{name}"), first["namespaces"][name].clone())?;
            }
            Ok(())
        }),
        case("exec/same-user-namespace").runc("exec joins the user namespace").run(|t| {
            let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            t.namespace("user", None)
                .set("/linux/uidMappings", mapping.clone())
                .set("/linux/gidMappings", mapping);
            let first = t.running(&["stat:/"])?;
            is(&facts(t, &[], &[])?, "/namespaces/user", first["namespaces"]["user"].clone())
        }),
        case("exec/same-cgroup").runc("exec runs in the container's cgroups").run(|t| {
            let first = t.running(&["stat:/"])?;
            is(&facts(t, &[], &[])?, "/cgroup", first["cgroup"].clone())
        }),
        case("exec/same-filter").runc("exec runs under the container's seccomp filter").run(|t| {
            t.set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99 }],
                }),
            );
            t.running(&["stat:/"])?;
            let call = format!("syscall:{}", libc::SYS_chroot);
            let second = facts(t, &[], &[&call])?;
            is(&second, "/seccomp", "2")?;
            crate::trial::did_is(&second, &call, "EADDRNOTAVAIL")
        }),
        case("exec/same-process-attributes")
            .runc(
                "without options exec has the container's process: user, umask, limits, capabilities, \
                 env, cwd",
            )
            .run(|t| {
                t.set(
                    "/process/user",
                    json!({
                        "uid": 5, "gid": 6, "umask": 0o27, "additionalGids": [9],
                    }),
                )
                .set("/process/cwd", "/tmp");
                t.set(
                    "/process/rlimits",
                    json!([
                        { "type": "RLIMIT_CORE", "soft": 7, "hard": 9 },
                    ]),
                )
                .set("/process/noNewPrivileges", true);
                t.set("/process/oomScoreAdj", 300);
                let first = t.running(&["stat:/"])?;
                let second = facts(t, &[], &[])?;
                for pointer in [
                    "/uid",
                    "/gid",
                    "/umask",
                    "/cwd",
                    "/no_new_privs",
                    "/rlimits/RLIMIT_CORE",
                    "/capabilities/bounding",
                    "/capabilities/effective",
                    "/oom_score_adj",
                ] {
                    is(&second, pointer, first.pointer(pointer).cloned().unwrap_or_default())?;
                }
                Ok(())
            }),
        case("exec/in-created").runc("exec works in a container that is created").run(|t| {
            t.create()?;
            facts(t, &[], &[])?;
            equal("status", t.status()?, "created")
        }),
        case("exec/no-descriptor-leaks").runc("exec passes 0, 1 and 2 only").run(|t| {
            t.running(&["stat:/"])?;
            let second = facts(t, &[], &[])?;
            let numbers: Vec<&String> =
                second["descriptors"].as_object().map(|open| open.keys().collect()).unwrap_or_default();
            equal("open descriptors", numbers, vec!["0", "1", "2"])
        }),
    ]
}

fn options() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, options, pointer, want) in [
        ("cwd", &["--cwd", "/tmp"] as &[&str], "/cwd", json!("/tmp")),
        ("user", &["--user", "1000"], "/uid", json!([1000, 1000, 1000])),
        ("user-and-group", &["--user", "1000:1001"], "/gid", json!([1001, 1001, 1001])),
        ("no-new-privileges", &["--no-new-privs"], "/no_new_privs", json!("1")),
    ] {
        cases.push(case(format!("exec/option-{name}")).runc(format!("exec {}", options.join(" "))).run(
            move |t| {
                t.running(&["stat:/"])?;
                is(&facts(t, options, &[])?, pointer, want.clone())
            },
        ));
    }
    cases.push(case("exec/option-env").runc("exec --env adds, and the last one wins").run(|t| {
        t.running(&["stat:/"])?;
        let env = facts(t, &["--env", "A=1", "--env", "B=2", "--env", "A=3"], &[])?["env"].clone();
        let has = |entry: &str| env.as_array().is_some_and(|list| list.contains(&json!(entry)));
        ensure!(has("A=3") && has("B=2") && !has("A=1"), "env: {env}");
        Ok(())
    }));
    cases.push(case("exec/option-additional-gids").runc("exec --additional-gids").run(|t| {
        t.running(&["stat:/"])?;
        let groups = facts(t, &["--additional-gids", "77"], &[])?["groups"].clone();
        ensure!(groups.as_array().is_some_and(|list| list.contains(&json!(77))), "groups: {groups}");
        Ok(())
    }));
    cases.push(case("exec/option-cap").runc("exec --cap adds to bounding, permitted and effective").run(
        |t| {
            t.running(&["stat:/"])?;
            let second = facts(t, &["--cap", "CAP_SYS_ADMIN"], &[])?;
            for set in ["bounding", "permitted", "effective"] {
                let bits = second["capabilities"][set].as_u64().unwrap_or_default();
                ensure!(bits & 1 << 21 != 0, "{set} is {bits:x}");
            }
            is(&second, "/capabilities/inheritable", 0)
        },
    ));
    cases.push(
        case("exec/detached").runc("exec --detach --pid-file returns, and writes the pid on the host").run(
            |t| {
                t.running(&["stat:/"])?;
                let file = t.path("exec-pid");
                let id = t.id.clone();
                let command =
                    t.command(&["exec", "--detach", "--pid-file", &file, &id, "/spec-probe", "hang"]);
                let streams = crate::call::Streams {
                    stdin: None,
                    stdout: t.work.join("exec-out"),
                    stderr: t.work.join("exec-err"),
                };
                t.execute_with(command, &streams)?.succeeded()?;
                let text = fs::read_to_string(&file)?;
                ensure!(text.bytes().all(|byte| byte.is_ascii_digit()), "pid file: {text:?}");
                let root = fs::read_link(format!("/proc/{text}/ns/mnt"))?;
                // As the caller does: until the exec'ed process is reaped, its pid namespace cannot end.
                let pid = text.parse()?;
                std::thread::spawn(move || crate::trial::wait_for(pid));
                equal("mount namespace", root, fs::read_link(format!("/proc/{}/ns/mnt", t.pid()?))?)
            },
        ),
    );
    cases
}

fn codes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, argument, want) in [
        ("0", "exit:0", 0),
        ("7", "exit:7", 7),
        ("term", "raise:15", 143),
        ("kill", "raise:9", 137),
        ("segv", "raise:11", 139),
    ] {
        cases.push(
            case(format!("exec/exit-{name}"))
                .security("E20", "exec returns the exit status, or 128 and the signal")
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    equal("exit status", exec(t, &[], &["/spec-probe", "quiet", argument])?.code, want)
                }),
        );
    }
    for (name, program, text) in [
        ("missing", "/nope", "no such file or directory"),
        ("missing-in-path", "nope", "executable file not found in $PATH"),
        ("directory", "/tmp", ""),
    ] {
        cases.push(
            case(format!("exec/program-{name}"))
                .runc("exec of what cannot run exits 255 (or 126, 127), with the text that engines look for")
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    let answer = exec(t, &[], &[program])?.refused_with(&[text])?;
                    ensure!([126, 127, 255].contains(&answer.code), "{answer}");
                    equal("status", t.status()?, "running")
                }),
        );
    }
    cases
}

fn users() -> Vec<Case> {
    let refuse = |(name, user): (&str, &'static str)| {
        case(format!("exec/user-{name}"))
            .security("E21", "what is no number and no name is refused, never uid 0")
            .run(move |t| {
                fs::write(t.rootfs().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n1001:x:0:0::/:/bin/sh\n")?;
                t.set("/process/user/uid", 1000).remove("/process/capabilities");
                t.running(&["stat:/"])?;
                exec(t, &["--user", user], &["/spec-probe"])?.refused().map(drop)
            })
    };
    let mut cases: Vec<Case> = [
        ("minus-one", "-1"),
        ("minus-one-unsigned", "4294967295"),
        ("too-large", "4294967296"),
        ("a-letter", "x"),
        ("only-a-group", ":1"),
        ("no-group", "1:"),
        ("hexadecimal", "0x10"),
        ("three-parts", "1:2:3"),
        ("space", " 1"),
    ]
    .into_iter()
    .map(refuse)
    .collect();
    cases.push(
        case("exec/user-named-as-a-number")
            .security("E21", "a number is a uid, although /etc/passwd has such a name with uid 0")
            .run(|t| {
                fs::write(t.rootfs().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n1001:x:0:0::/:/bin/sh\n")?;
                t.running(&["stat:/"])?;
                is(&facts(t, &["--user", "1001"], &[])?, "/uid", json!([1001, 1001, 1001]))
            }),
    );
    cases
}

fn refused() -> Vec<Case> {
    vec![
        case("exec/unknown")
            .runc("exec in an unknown container says `does not exist`")
            .run(|t| exec(t, &[], &["/spec-probe"])?.refused_with(&["does not exist"]).map(drop)),
        case("exec/stopped").runc("exec in a stopped container is refused").run(|t| {
            t.facts()?;
            exec(t, &[], &["/spec-probe"])?.refused_with(&["stopped", "not running"]).map(drop)
        }),
        case("exec/paused").runc("exec in a paused container is refused").run(|t| {
            t.running(&["stat:/"])?;
            t.verb("pause")?.succeeded()?;
            exec(t, &[], &["/spec-probe"])?.refused_with(&["paused"]).map(drop)
        }),
        case("exec/no-program").runc("exec without a program is refused").run(|t| {
            t.running(&["stat:/"])?;
            exec(t, &[], &[])?.refused().map(drop)
        }),
        case("exec/cwd-missing")
            .security("E22", "exec in a directory that is not there never runs outside of the root")
            .run(|t| {
                t.running(&["stat:/"])?;
                let answer = exec(t, &["--cwd", "/proc/self/fd/7/../.."], &["/spec-probe", "readdir:."])?;
                ensure!(
                    !answer.stdout.contains("config.json"),
                    "the program ran in the bundle: {}",
                    answer.stdout
                );
                Ok(())
            }),
        case("exec/uses-the-config-of-create")
            .spec("Any updates to `config.json` after this step MUST NOT affect the container.")
            .run(|t| {
                t.running(&["stat:/"])?;
                t.set("/process/user/uid", 77).set("/process/cwd", "/tmp").write_config()?;
                let second = facts(t, &[], &[])?;
                is(&second, "/uid", json!([0, 0, 0]))?;
                is(&second, "/cwd", "/")
            }),
    ]
}
