//! An ordinary user as the caller: the container's root is the user, and nothing of the machine is root's.

use std::fs;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::bundle;
use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::in_force;
use crate::trial::{Trial, did, did_is, is};
use crate::verdict::{Verdict, equal, skipped};

const MAPPINGS: &str = "**`uidMappings`** (array of objects, OPTIONAL) describes the user namespace uid \
    mappings from the host to the container.";
const CONTRACT: &str = "an ordinary user creates, starts, kills and deletes containers of `spec --rootless`";
const ALONE: &str = "crun's contract: a config without a user namespace is given one, since an ordinary user can \
    make no other namespace without, and it is said";
const LOCKED: &str = "what a mount of the host has stays; what asks for the opposite is refused by name";
const NESTED: &str = "root of a user namespace that somebody else has made, as Podman and rootlesskit call";
const RESOURCES: &str = "You can configure a container's cgroups via the `resources` field of the Linux \
    configuration.";
const REFUSED: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// A config that an ordinary user may ask for.
fn ordinary(t: &mut Trial) -> &mut Trial {
    let (uid, gid) = ids();
    t.remove("/linux/cgroupsPath").namespace("user", None);
    t.set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": uid, "size": 1 }]));
    t.set("/linux/gidMappings", json!([{ "containerID": 0, "hostID": gid, "size": 1 }]))
}

fn ids() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [lifecycle(), inside(), alone(), locked(), nested(), cgroups(), refused()]
        .into_iter()
        .flatten()
        .collect();
    for case in &mut cases {
        case.needs.extend([Need::OrdinaryUser, Need::Namespace("user")]);
    }
    cases
}

fn lifecycle() -> Vec<Case> {
    vec![
        case("rootless/spec").runc(CONTRACT).run(|t| {
            let directory = t.bundle().display().to_string();
            t.call(&["spec", "--rootless", "--bundle", &directory])?.succeeded()?;
            t.config = serde_json::from_str(&fs::read_to_string(t.bundle().join("config.json"))?)?;
            t.set("/process/terminal", false);
            let facts = t.probe(&["write:/tmp/x"]).facts()?;
            is(&facts, "/uid", json!([0, 0, 0]))?;
            did_is(&facts, "write:/tmp/x", "ENOENT")
        }),
        case("rootless/lifecycle").runc(CONTRACT).run(|t| {
            ordinary(t).probe(&["hang"]).create()?;
            equal("status", t.status()?, "created")?;
            t.start()?;
            equal("status", t.status()?, "running")?;
            let id = t.id.clone();
            t.call(&["kill", &id, "KILL"])?.succeeded()?;
            equal("exit status", t.wait()?, 137)?;
            equal("status", t.status()?, "stopped")?;
            t.call(&["delete", &id])?.succeeded()?;
            t.call(&["state", &id])?.refused().map(drop)
        }),
        case("rootless/delete-before-start").runc(CONTRACT).run(|t| {
            ordinary(t).probe(&["hang"]).create()?;
            let id = t.id.clone();
            t.call(&["delete", "--force", &id])?.succeeded()?;
            t.nothing_left("after delete --force")
        }),
        case("rootless/run").runc(CONTRACT).run(|t| {
            ordinary(t).probe(&["exit:7"]).write_config()?;
            let (directory, id) = (t.bundle().display().to_string(), t.id.clone());
            equal("exit status", t.call(&["run", "--bundle", &directory, &id])?.code, 7)
        }),
        case("rootless/list").runc(CONTRACT).run(|t| {
            ordinary(t).probe(&["hang"]).create()?;
            let (answer, id) = (t.call(&["list", "--quiet"])?.succeeded()?, t.id.clone());
            equal("list", answer.stdout.trim(), id.as_str())
        }),
        case("rootless/root-of-a-user-namespace")
            .runc(
                "root of a user namespace is a user: the state is in $XDG_RUNTIME_DIR (podman relies on it)",
            )
            .needs(Need::Program("unshare"))
            .run(|t| {
                ordinary(t).set("/linux/uidMappings/0/hostID", 0).set("/linux/gidMappings/0/hostID", 0);
                t.probe(&["hang"]).write_config()?;
                let session = t.work.join("session");
                fs::create_dir(&session)?;
                let mut command = Command::new("unshare");
                command.args(["--user", "--map-root-user", "sh", "-c"]);
                command.arg(
                    "\"$0\" create --bundle \"$1\" \"$2\" >/dev/null || exit
                     ls -d \"$XDG_RUNTIME_DIR\"/*/\"$2\"; \"$0\" delete --force \"$2\"",
                );
                command.arg(t.command(&[]).get_program()).arg(t.bundle()).arg(&t.id);
                command.env("XDG_RUNTIME_DIR", &session).env_remove("USER");
                let answer = t.execute(command)?.succeeded()?;
                ensure!(answer.stdout.trim().ends_with(&t.id), "below $XDG_RUNTIME_DIR: {}", answer.stdout);
                Ok(())
            }),
        case("rootless/exec").runc(CONTRACT).needs(Need::Verb("exec")).run(|t| {
            ordinary(t).running(&[""])?;
            let id = t.id.clone();
            equal("exit status", t.call(&["exec", &id, bundle::PROBE, "exit:5"])?.code, 5)
        }),
    ]
}

fn inside() -> Vec<Case> {
    vec![
        case("rootless/mappings").spec(MAPPINGS).run(|t| {
            let maps = ["read:/proc/self/uid_map", "read:/proc/self/gid_map", "read:/proc/self/setgroups"];
            let facts = ordinary(t).facts_of(&maps)?;
            let (uid, gid) = ids();
            equal("uid_map", words(did(&facts, maps[0])), ["0", &uid.to_string(), "1"].map(str::to_owned))?;
            equal("gid_map", words(did(&facts, maps[1])), ["0", &gid.to_string(), "1"].map(str::to_owned))?;
            did_is(&facts, maps[2], "deny\n")
        }),
        case("rootless/subordinate-ids")
            .spec(MAPPINGS)
            .needs(Need::Program("newuidmap"))
            .needs(Need::File("/etc/subuid"))
            .run(|t| {
                let Some((first, count)) = subordinate()? else {
                    return skipped("the user has no subordinate ids");
                };
                ordinary(t);
                for (key, own) in [("uidMappings", ids().0), ("gidMappings", ids().1)] {
                    let root = json!({ "containerID": 0, "hostID": own, "size": 1 });
                    let others = json!({ "containerID": 1, "hostID": first, "size": count });
                    t.set(&format!("/linux/{key}"), json!([root, others]));
                }
                // setgroups(2) is not denied to whoever has been lent groups.
                let user = json!({ "uid": 5, "gid": 5, "additionalGids": [7, 9] });
                let facts = t.set("/process/user", user).facts()?;
                is(&facts, "/uid", json!([5, 5, 5]))?;
                is(&facts, "/gid", json!([5, 5, 5]))?;
                is(&facts, "/groups", json!([7, 9]))
            }),
        case("rootless/capabilities").runc("the container's root has the capabilities that it is given").run(
            |t| {
                let facts = ordinary(t).tmpfs("/tmp", &[]).facts_of(&[
                    "sethostname:x",
                    "create:/tmp/x",
                    "chown:/tmp/x:0",
                ])?;
                // CAP_CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, MKNOD
                is(&facts, "/capabilities/effective", 0b1000_0000_0000_0000_0000_1110_0011)?;
                did_is(&facts, "sethostname:x", "EPERM")?;
                did_is(&facts, "chown:/tmp/x:0", "ok")
            },
        ),
        case("rootless/namespaces").runc("the namespaces of the container are its own").run(|t| {
            let facts = ordinary(t).namespace("network", None).facts()?;
            let host = crate::probe::facts::namespaces();
            for kind in ["user", "pid", "mnt", "uts", "ipc", "net"] {
                let own = facts["namespaces"][kind].as_str();
                ensure!(
                    own.is_some() && own != host.get(kind).map(String::as_str),
                    "the host's {kind}: {own:?}"
                );
            }
            is(&facts, "/hostname", "spec-tests")
        }),
        case("rootless/devices").runc("the default devices are there, as the host's").run(|t| {
            let facts =
                ordinary(t).facts_of(&["open:/dev/null:rw", "take:/dev/urandom", "open:/dev/tty:r"])?;
            did_is(&facts, "open:/dev/null:rw", "ok")?;
            did_is(&facts, "take:/dev/urandom", "ok")?;
            did_is(&facts, "open:/dev/tty:r", "ENXIO")
        }),
        case("rootless/bind-mount").runc("a user's directory can be mounted, and read-only").run(|t| {
            fs::create_dir(t.work.join("ours"))?;
            let source = t.path("ours");
            ordinary(t).bind(&source, "/tmp", &["bind"]).bind(&source, "/etc", &["bind", "ro"]);
            let facts = t.facts_of(&["create:/tmp/x", "create:/etc/y"])?;
            did_is(&facts, "create:/tmp/x", "ok")?;
            did_is(&facts, "create:/etc/y", "EROFS")
        }),
    ]
}

fn words(text: &Value) -> Vec<String> {
    text.as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// What is in force for a container of the spec's own config, which says nothing of users.
fn plain(t: &mut Trial) -> &mut Trial {
    ordinary(t).drop_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings")
}

fn alone() -> Vec<Case> {
    let maps = ["read:/proc/self/uid_map", "read:/proc/self/gid_map"];
    vec![
        case("rootless/no-user-namespace").runc(ALONE).run(move |t| {
            plain(t).probe(&maps).write_config()?;
            let (bundle, id, log) = (t.bundle().display().to_string(), t.id.clone(), t.path("log"));
            let create = ["--log", &log, "create", "--bundle", &bundle, "--pid-file", &t.path("pid"), &id];
            let (create, streams) = (t.command(&create), t.container_streams());
            let answer = t.execute_with(create, &streams)?.succeeded()?;
            equal("standard error", answer.stderr, "")?;
            let text = fs::read_to_string(&log)?;
            ensure!(text.lines().count() == 1 && text.contains("user namespace"), "it is not said: {text}");
            t.start()?;
            t.wait()?;
            let facts = t.told()?;
            let (uid, gid) = ids();
            is(&facts, "/uid", json!([0, 0, 0]))?;
            equal("uid_map", &words(did(&facts, maps[0]))[..3], ["0", &uid.to_string(), "1"])?;
            equal("gid_map", &words(did(&facts, maps[1]))[..3], ["0", &gid.to_string(), "1"])
        }),
        case("rootless/no-user-namespace-subordinate-ids")
            .runc(ALONE)
            .needs(Need::Program("newuidmap"))
            .needs(Need::File("/etc/subuid"))
            .run(move |t| {
                let Some((first, count)) = subordinate()? else {
                    return skipped("the user has no subordinate ids");
                };
                let user = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] });
                let facts = plain(t).set("/process/user", user).facts_of(&maps)?;
                is(&facts, "/uid", json!([1000, 1000, 1000]))?;
                let want = ["1".to_owned(), first.to_string(), count.to_string()];
                equal("uid_map", &words(did(&facts, maps[0]))[3..], want)
            }),
        case("rootless/no-user-namespace-exec").runc(ALONE).needs(Need::Verb("exec")).run(|t| {
            plain(t).running(&[""])?;
            let id = t.id.clone();
            let answer = t.call(&["exec", &id, bundle::PROBE])?.succeeded()?;
            is(&serde_json::from_str(&answer.stdout)?, "/uid", json!([0, 0, 0]))
        }),
        case("rootless/plain-spec").runc(ALONE).run(|t| {
            let directory = t.bundle().display().to_string();
            t.call(&["spec", "--bundle", &directory])?.succeeded()?;
            t.config = serde_json::from_str(&fs::read_to_string(t.bundle().join("config.json"))?)?;
            let facts = t.set("/process/terminal", false).probe(&[""]).facts()?;
            is(&facts, "/uid", json!([0, 0, 0]))
        }),
        case("rootless/not-rootless").runc("--rootless=false: nothing is added").run(|t| {
            plain(t).write_config()?;
            let (directory, id) = (t.bundle().display().to_string(), t.id.clone());
            let answer = t.call(&["--rootless=false", "create", "--bundle", &directory, &id])?;
            answer.refused().map(drop)
        }),
        case("rootless/default-root").runc("$XDG_RUNTIME_DIR has the state of an ordinary user").run(|t| {
            ordinary(t).write_config()?;
            let (directory, id) = (t.bundle().display().to_string(), t.id.clone());
            let session = t.work.join("session");
            fs::create_dir(&session)?;
            let command = |t: &Trial, words: &[&str]| {
                let mut command = Command::new(&t.program);
                command.args(words).env("XDG_RUNTIME_DIR", &session).current_dir(&t.work);
                command
            };
            let streams = t.container_streams();
            let create = command(t, &["create", "--bundle", &directory, &id]);
            t.execute_with(create, &streams)?.succeeded()?;
            let there = fs::read_dir(&session)?.flatten().any(|root| root.path().join(&id).exists());
            let delete = command(t, &["delete", "--force", &id]);
            t.execute(delete)?.succeeded()?;
            ensure!(there, "no directory of the runtime in {} has {id}", session.display());
            Ok(())
        }),
    ]
}

/// The directory of a mount that came from the host: read-only, nosuid, nodev, noatime.
fn from_the_host(t: &Trial) -> Verdict<String> {
    let directory = t.work.join("locked");
    if directory.exists() { Ok(directory.display().to_string()) } else { skipped("no mount to look at") }
}

fn locked() -> Vec<Case> {
    let kept = |options: &'static [&'static str], remount: &'static [&'static str]| {
        move |t: &mut Trial| {
            let source = from_the_host(t)?;
            ordinary(t).bind(&source, "/tmp", options);
            if !remount.is_empty() {
                t.bind("", "/tmp", remount);
            }
            let facts = t.facts()?;
            let mounts = facts["mounts"].as_array().cloned().unwrap_or_default();
            let mount = mounts.into_iter().rfind(|mount| mount["destination"] == "/tmp").unwrap_or_default();
            for word in ["ro", "nosuid", "nodev", "noatime"].iter().chain(remount.last()) {
                let is_there = mount["options"].as_array().is_some_and(|words| words.contains(&json!(word)));
                ensure!(is_there, "{word} is missing: {mount}");
            }
            Ok(())
        }
    };
    let lost = |word: &'static str, named: &'static str| {
        move |t: &mut Trial| {
            let source = from_the_host(t)?;
            let text = ordinary(t).bind(&source, "/tmp", &["bind", word]).refused()?;
            ensure!(text.contains("mounts[3]"), "the mount is not named: {text}");
            ensure!(text.contains(named), "{named} is not named: {text}");
            Ok(())
        }
    };
    vec![
        case("rootless/locked-flags-stay").runc(LOCKED).run(kept(&["bind"], &[])),
        case("rootless/locked-flags-and-more").runc(LOCKED).run(kept(&["rbind", "ro", "nosuid"], &[])),
        case("rootless/locked-flags-and-remount")
            .runc(LOCKED)
            .run(kept(&["bind"], &["remount", "bind", "noexec"])),
        case("rootless/locked-rw").runc(LOCKED).run(lost("rw", ": ro]")),
        case("rootless/locked-suid").runc(LOCKED).run(lost("suid", ": nosuid]")),
        case("rootless/locked-dev").runc(LOCKED).run(lost("dev", ": nodev]")),
        case("rootless/locked-relatime").runc(LOCKED).run(lost("relatime", "access times")),
        case("rootless/locked-mounts-below").runc(LOCKED).run(|t| {
            from_the_host(t)?;
            let work = t.work.display().to_string();
            let text = ordinary(t).bind(&work, "/tmp", &["bind"]).refused()?;
            ensure!(text.contains("rbind"), "the way out is not named: {text}");
            Ok(())
        }),
    ]
}

/// The case becomes root of a user namespace with a mount namespace, as Podman and rootlesskit call: the config has no user
/// namespace, and nothing of the host's cgroups can be written to.
fn become_root_of_a_namespace(t: &mut Trial) -> Verdict {
    let (uid, gid) = ids();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    t.accept_mounts();
    plain(t);
    Ok(())
}

fn nested() -> Vec<Case> {
    vec![
        case("rootless/nested-lifecycle").runc(NESTED).run(|t| {
            become_root_of_a_namespace(t)?;
            t.probe(&["hang"]).create()?;
            t.start()?;
            equal("status", t.status()?, "running")?;
            let id = t.id.clone();
            equal("exec", t.call(&["exec", &id, bundle::PROBE, "exit:5"])?.code, 5)?;
            t.call(&["kill", &id, "KILL"])?.succeeded()?;
            equal("exit status", t.wait()?, 137)
        }),
        case("rootless/nested-view").runc(NESTED).run(|t| {
            become_root_of_a_namespace(t)?;
            let facts = t.namespace("network", None).facts_of(&["open:/dev/null:rw", "take:/dev/urandom"])?;
            is(&facts, "/uid", json!([0, 0, 0]))?;
            did_is(&facts, "open:/dev/null:rw", "ok")?;
            did_is(&facts, "take:/dev/urandom", "ok")?;
            equal(
                "user namespace",
                &facts["namespaces"]["user"],
                &json!(crate::probe::facts::namespaces()["user"]),
            )
        }),
        case("rootless/nested-user-namespace").runc(NESTED).run(|t| {
            become_root_of_a_namespace(t)?;
            t.namespace("user", None);
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            t.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
            is(&t.facts()?, "/uid", json!([0, 0, 0]))
        }),
        case("rootless/nested-locked-flags").runc(LOCKED).run(|t| {
            let source = from_the_host(t)?;
            become_root_of_a_namespace(t)?;
            t.bind(&source, "/tmp", &["bind", "rprivate", "nosuid"]);
            did_is(&t.facts_of(&["create:/tmp/x"])?, "create:/tmp/x", "EROFS")
        }),
        case("rootless/nested-idmap").runc(NESTED).needs(Need::SpecVersion(1)).run(|t| {
            become_root_of_a_namespace(t)?;
            fs::create_dir(t.work.join("ours"))?;
            let source = t.path("ours");
            let text = t.bind(&source, "/tmp", &["bind", "idmap=uids=0-0-1;gids=0-0-1"]).refused()?;
            ensure!(text.contains("mounts[3].options"), "the mount is not named: {text}");
            Ok(())
        }),
        case("rootless/nested-default-root").runc(NESTED).run(|t| {
            let session = t.work.join("session");
            fs::create_dir(&session)?;
            become_root_of_a_namespace(t)?;
            let mut list = Command::new(&t.program);
            list.args(["list", "--quiet"]).env("XDG_RUNTIME_DIR", &session).env_remove("USER");
            equal("list", t.execute(list)?.succeeded()?.stdout, "")
        }),
    ]
}

/// First and number of the user's lines in `/etc/subuid`.
fn subordinate() -> Verdict<Option<(u32, u32)>> {
    let (user, uid) = (std::env::var("USER").unwrap_or_default(), ids().0.to_string());
    let text = fs::read_to_string("/etc/subuid")?;
    Ok(text.lines().find_map(|line| {
        let mut words = line.split(':');
        let name = words.next()?;
        (name == user || name == uid).then_some(())?;
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    }))
}

/// A cgroup beside our own, in what has been delegated.
fn delegated(t: &mut Trial) -> Verdict<&mut Trial> {
    let Some(parent) = t.host.delegated() else { return skipped("no cgroup is delegated") };
    let mount =
        t.host.hierarchies.iter().find(|hierarchy| hierarchy.unified).map(|unified| unified.mount.clone());
    let path = parent.strip_prefix(mount.unwrap_or_default())?.join(&t.id);
    let path = format!("/{}", path.display());
    Ok(ordinary(t).set("/linux/cgroupsPath", path))
}

fn cgroups() -> Vec<Case> {
    let rows = [
        ("memory", json!({ "memory": { "limit": 67_108_864 } }), "memory.max", "67108864\n"),
        ("pids", json!({ "pids": { "limit": 17 } }), "pids.max", "17\n"),
        ("cpu", json!({ "cpu": { "quota": 20_000, "period": 100_000 } }), "cpu.max", "20000 100000\n"),
        ("cpuset", json!({ "cpu": { "cpus": "0" } }), "cpuset.cpus", "0\n"),
    ];
    let rows = rows.into_iter().map(|(controller, resources, file, want)| {
        case(format!("rootless/delegated-{controller}"))
            .spec(RESOURCES)
            .needs(Need::Delegated(controller))
            .run(move |t| {
                delegated(t)?.set("/linux/resources", resources.clone()).probe(&["hang"]).create()?;
                equal(file, fs::read_to_string(t.cgroup(controller)?.join(file))?, want)
            })
    });
    rows.chain(in_force::delegated_cases(|t| delegated(t).map(drop))).collect()
}

fn refused() -> Vec<Case> {
    vec![
        case("rootless/limits-in-a-cgroup-of-roots").spec(REFUSED).needs(Need::Controller("pids")).run(|t| {
            let path = format!("/{}", t.id);
            ordinary(t).set("/linux/cgroupsPath", path).set("/linux/resources/pids/limit", 7);
            let text = t.refused()?;
            ensure!(text.contains("pids") && text.to_lowercase().contains("permission denied"), "{text}");
            Ok(())
        }),
        case("rootless/ids-of-others")
            .spec(REFUSED)
            .run(|t| ordinary(t).set("/linux/uidMappings/0/hostID", 0).refused().map(drop)),
        case("rootless/additional-groups")
            .spec(REFUSED)
            .run(|t| ordinary(t).set("/process/user/additionalGids", json!([5])).refused().map(drop)),
    ]
}
