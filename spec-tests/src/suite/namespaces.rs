//! config-linux.md: namespaces.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::probe::facts;
use crate::trial::{Trial, did, until};
use crate::verdict::{Verdict, equal, failed};

/// The type's name in config.json, in `/proc/PID/ns`, as an option of unshare(1), and what the case needs.
struct Kind {
    name: &'static str,
    link: &'static str,
    option: &'static str,
    needs: &'static [Need],
}

const KINDS: &[Kind] = &[
    Kind { name: "pid", link: "pid", option: "--pid", needs: &[] },
    Kind { name: "network", link: "net", option: "--net", needs: &[] },
    Kind { name: "mount", link: "mnt", option: "--mount", needs: &[] },
    Kind { name: "ipc", link: "ipc", option: "--ipc", needs: &[] },
    Kind { name: "uts", link: "uts", option: "--uts", needs: &[] },
    Kind { name: "user", link: "user", option: "--user", needs: &[Need::Namespace("user")] },
    Kind { name: "cgroup", link: "cgroup", option: "--cgroup", needs: &[Need::Namespace("cgroup")] },
    Kind {
        name: "time",
        link: "time",
        option: "--time",
        needs: &[Need::Namespace("time"), Need::SpecVersion(1)],
    },
];

const NEW: &str = "If `path` is not specified, the runtime MUST create a new container namespace of type \
    `type`.";
const INHERIT: &str = "If a namespace type is not specified in the `namespaces` array, the container MUST \
    inherit the runtime namespace of that type.";
const JOIN: &str = "The runtime MUST place the container process in the namespace associated with that \
    `path`.";
const WRONG: &str = "The runtime MUST generate an error if `path` is not associated with a namespace of type \
    `type`.";
const TWICE: &str = "If a `namespaces` field contains duplicated namespaces with same `type`, the runtime \
    MUST generate an error.";
const ABSOLUTE: &str = "This value MUST be an absolute path in the runtime mount namespace.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![joined_processes()];
    for kind in KINDS {
        cases.push(new(kind));
        cases.push(twice(kind));
        cases.push(wrong_type(kind));
        cases.push(relative_path(kind));
        // Without a mount namespace the default bundle has no meaning; a user namespace changes the others.
        if kind.name != "mount" && kind.name != "user" {
            cases.push(inherit(kind));
            cases.push(join(kind));
        }
    }
    cases.extend(others());
    cases
}

fn prepare(t: &mut Trial, kind: &Kind) {
    if kind.name == "user" {
        for mapping in ["uidMappings", "gidMappings"] {
            t.set(&format!("/linux/{mapping}"), json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]));
        }
    }
    if kind.name == "uts" {
        t.remove("/hostname");
    }
}

fn new(kind: &'static Kind) -> Case {
    case(format!("namespaces/new-{}", kind.name)).spec(NEW).needs_all(kind.needs).run(move |t| {
        prepare(t, kind);
        let facts = t.namespace(kind.name, None).facts()?;
        let (inside, outside) = (link(&facts, kind), own_link(kind)?);
        ensure!(inside.contains(":["), "the probe sees no namespace: {inside:?}");
        ensure!(inside != outside, "the container is in the runtime's namespace {outside}");
        Ok(())
    })
}

fn inherit(kind: &'static Kind) -> Case {
    case(format!("namespaces/inherit-{}", kind.name)).spec(INHERIT).needs_all(kind.needs).run(move |t| {
        prepare(t, kind);
        let facts = t.drop_namespace(kind.name).facts()?;
        equal("namespace", link(&facts, kind), own_link(kind)?)
    })
}

fn join(kind: &'static Kind) -> Case {
    case(format!("namespaces/join-{}", kind.name)).spec(JOIN).needs_all(kind.needs).run(move |t| {
        prepare(t, kind);
        let mut keeper = keeper(t, &[kind.option])?;
        let result = join_keeper(t, kind, &keeper);
        keeper.kill()?;
        keeper.wait()?;
        result
    })
}

fn join_keeper(t: &mut Trial, kind: &Kind, keeper: &Child) -> Verdict {
    let pid = member(keeper.id(), kind)?;
    let path = format!("/proc/{pid}/ns/{}", kind.link);
    let want = fs::read_link(&path)?.display().to_string();
    ensure!(want != own_link(kind)?, "unshare made no namespace");
    let facts = t.namespace(kind.name, Some(&path)).facts()?;
    equal("namespace", link(&facts, kind), want)?;
    t.finish()
}

fn joined_processes() -> Case {
    case("namespaces/join-pid-shows-its-processes").spec(JOIN).run(|t| {
        let mut keeper = keeper(t, &["--pid"])?;
        let path = format!("/proc/{}/ns/pid", member(keeper.id(), &KINDS[0])?);
        let facts = t.namespace("pid", Some(&path)).facts_of(&["readdir:/proc"]);
        keeper.kill()?;
        keeper.wait()?;
        let names = did(&facts?, "readdir:/proc").as_array().cloned().unwrap_or_default();
        let is_pid = |name: &Value| name.as_str().is_some_and(|name| name.parse::<u32>().is_ok());
        let pids: Vec<_> = names.into_iter().filter(is_pid).collect();
        // The keeper's shell and the probe; runc's procfs may still show its own init for a moment.
        ensure!(pids.contains(&json!("1")) && pids.len() <= 4, "processes in /proc: {pids:?}");
        t.finish()
    })
}

/// unshare(1) makes some namespaces for its child only.
fn member(keeper: u32, kind: &Kind) -> Verdict<u32> {
    if !["pid", "time"].contains(&kind.name) {
        return Ok(keeper);
    }
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"))?;
    match children.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
        Some(pid) => Ok(pid),
        None => failed("unshare has no child"),
    }
}

fn twice(kind: &'static Kind) -> Case {
    case(format!("namespaces/twice-{}", kind.name)).spec(TWICE).needs_all(kind.needs).run(move |t| {
        prepare(t, kind);
        t.namespace(kind.name, None).push("/linux/namespaces", json!({ "type": kind.name }));
        t.refused().map(drop)
    })
}

fn wrong_type(kind: &'static Kind) -> Case {
    case(format!("namespaces/wrong-type-{}", kind.name)).spec(WRONG).needs_all(kind.needs).run(move |t| {
        prepare(t, kind);
        let other = if kind.name == "ipc" { "uts" } else { "ipc" };
        t.namespace(kind.name, Some(&format!("/proc/{}/ns/{other}", std::process::id())));
        if kind.name == "user" {
            t.remove("/linux/uidMappings").remove("/linux/gidMappings");
        }
        t.refused().map(drop)
    })
}

fn relative_path(kind: &'static Kind) -> Case {
    case(format!("namespaces/relative-path-{}", kind.name)).spec(ABSOLUTE).needs_all(kind.needs).run(
        move |t| {
            prepare(t, kind);
            std::os::unix::fs::symlink(
                format!("/proc/{}/ns/{}", std::process::id(), kind.link),
                t.work.join("ns"),
            )?;
            // The directory of the call and the bundle both lead to it.
            std::os::unix::fs::symlink(t.work.join("ns"), t.bundle().join("ns"))?;
            t.namespace(kind.name, Some("ns"));
            if kind.name == "user" {
                t.remove("/linux/uidMappings").remove("/linux/gidMappings");
            }
            t.refused().map(drop)
        },
    )
}

fn others() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, path) in
        [("missing", "/no/such/namespace"), ("regular-file", "/etc/passwd"), ("directory", "/proc")]
    {
        cases.push(
            case(format!("namespaces/path-{name}"))
                .spec(WRONG)
                .run(move |t| t.namespace("network", Some(path)).refused().map(drop)),
        );
    }
    cases.push(
        case("namespaces/unknown-type")
            .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
            .run(|t| t.namespace("foo", None).refused().map(drop)),
    );
    cases.push(case("namespaces/own-pid-1").spec(NEW).run(|t| {
        let facts = t.facts()?;
        equal("pid", facts["pid"].as_i64(), Some(1))
    }));
    cases.push(
        case("namespaces/loopback-is-up").runc("the loopback device of a new network namespace is up").run(
            |t| {
                let facts = t.namespace("network", None).facts_of(&[
                    "read:/proc/net/route",
                    "read:/proc/net/if_inet6",
                    "read:/proc/net/fib_trie",
                ])?;
                let text = facts["did"].to_string();
                ensure!(
                    text.contains("127.0.0.1") || text.contains("00000000000000000000000000000001"),
                    "no address of lo: {text}"
                );
                Ok(())
            },
        ),
    );
    cases.push(
        case("namespaces/time-offsets")
            .spec("**`timeOffsets`** (object, OPTIONAL) sets the offset for Time Namespace.")
            .needs_all(&[Need::Namespace("time"), Need::SpecVersion(1)])
            .run(|t| {
                t.namespace("time", None);
                t.set(
                    "/linux/timeOffsets",
                    json!({ "boottime": { "secs": 86400, "nanosecs": 0 }, "monotonic": { "secs": 7200 } }),
                );
                let facts = t.facts()?;
                offset(&facts, "boottime", libc::CLOCK_BOOTTIME, 86400)?;
                offset(&facts, "monotonic", libc::CLOCK_MONOTONIC, 7200)
            }),
    );
    for (name, offsets, with_namespace) in [
        ("without-namespace", json!({ "boottime": { "secs": 5 } }), false),
        ("unknown-clock", json!({ "realtime": { "secs": 5 } }), true),
        ("too-many-nanoseconds", json!({ "monotonic": { "nanosecs": 1_000_000_000 } }), true),
    ] {
        cases.push(
            case(format!("namespaces/time-offsets-{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .needs_all(&[Need::Namespace("time"), Need::SpecVersion(1)])
                .run(move |t| {
                    if with_namespace {
                        t.namespace("time", None);
                    }
                    t.set("/linux/timeOffsets", offsets.clone()).refused().map(drop)
                }),
        );
    }
    cases.push(
        case("namespaces/time-offsets-in-user-namespace")
            .spec("**`timeOffsets`** (object, OPTIONAL) sets the offset for Time Namespace.")
            .needs_all(&[Need::Namespace("time"), Need::Namespace("user"), Need::SpecVersion(1)])
            .run(|t| {
                for mapping in ["uidMappings", "gidMappings"] {
                    let all = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
                    t.set(&format!("/linux/{mapping}"), all);
                }
                t.namespace("user", None).namespace("time", None);
                t.set("/linux/timeOffsets", json!({ "boottime": { "secs": 86400 } }));
                offset(&t.running::<&str>(&[])?, "boottime", libc::CLOCK_BOOTTIME, 86400)?;
                offset(&super::exec::facts(t, &[], &[])?, "boottime", libc::CLOCK_BOOTTIME, 86400)
            }),
    );
    cases
}

/// A clock of the container is ahead of ours by as much, in seconds.
pub fn offset(facts: &Value, name: &str, clock: i32, want: i64) -> Verdict {
    let difference = facts[name].as_i64().unwrap_or_default() - crate::sys::clock_seconds(clock);
    ensure!((want - 20..=want).contains(&difference), "{name} differs by {difference} s, want {want} s");
    Ok(())
}

fn link(facts: &Value, kind: &Kind) -> String {
    facts["namespaces"][kind.link].as_str().unwrap_or_default().to_owned()
}

fn own_link(kind: &Kind) -> Verdict<String> {
    match facts::namespaces().get(kind.link) {
        Some(link) => Ok(link.clone()),
        None => failed(format!("no {} namespace", kind.link)),
    }
}

/// A process in namespaces of its own, as options of unshare(1). The caller ends it.
pub fn keeper(t: &mut Trial, options: &[&str]) -> Verdict<Child> {
    let mut command = Command::new("unshare");
    command.args(options);
    if options.contains(&"--pid") || options.contains(&"--time") {
        command.args(["--fork", "--kill-child"]);
    }
    let ready = t.work.join("keeper");
    fs::remove_file(&ready).ok(); // of another one
    command.arg("sh").arg("-c").arg("echo ready > \"$0\"; exec sleep 60").arg(&ready);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    t.kept.insert(child.id().cast_signed());
    until("the keeper of the namespaces", || fs::read_to_string(&ready).is_ok_and(|text| text == "ready\n"))?;
    Ok(child)
}
