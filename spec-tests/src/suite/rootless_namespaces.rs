//! An ordinary user as the caller, and what his user namespace changes: configs without one, mounts of the host's, and a
//! runtime that is in one already.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::bundle;
use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::rootless::{ids, ordinary, subordinate, words};
use crate::trial::{Trial, did, did_is, is};
use crate::verdict::{Verdict, equal, skipped};

const NESTED: &str = "root of a user namespace that somebody else has made, as Podman and rootlesskit call";
const LOCKED: &str = "what a mount of the host has stays; what asks for the opposite is refused by name";
const ALONE: &str = "crun's contract: a config without a user namespace is given one, since an ordinary user can \
    make no other namespace without, and it is said";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [alone(), locked(), nested()].into_iter().flatten().collect();
    for case in &mut cases {
        case.needs.extend([Need::OrdinaryUser, Need::Namespace("user")]);
    }
    cases
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
        case("rootless/newuidmap-is-roots")
            .security(
                "R30",
                "programs with root's rights are called by the paths of the host, with an empty environment",
            )
            .needs(Need::Program("newuidmap"))
            .needs(Need::File("/etc/subuid"))
            .run(|t| {
                if subordinate()?.is_none() {
                    return skipped("the user has no subordinate ids");
                }
                plain(t).write_config()?;
                let (bundle, id, told) = (t.bundle().display().to_string(), t.id.clone(), t.path("told"));
                let trap = t.work.join("trap");
                fs::create_dir(&trap)?;
                for name in ["newuidmap", "newgidmap"] {
                    fs::write(trap.join(name), format!("#!/bin/sh\necho $0 >> {told}\n"))?;
                    fs::set_permissions(trap.join(name), fs::Permissions::from_mode(0o755))?;
                }
                let mut create =
                    t.command(&["create", "--bundle", &bundle, "--pid-file", &t.path("pid"), &id]);
                create.env("PATH", format!("{}:/usr/bin:/bin", trap.display()));
                let streams = t.container_streams();
                t.execute_with(create, &streams)?.succeeded()?;
                ensure!(!t.work.join("told").exists(), "a program of the caller's $PATH was called");
                Ok(())
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
