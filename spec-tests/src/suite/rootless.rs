//! An ordinary user as the caller: the container's root is the user, and nothing of the machine is root's.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::namespaces::offset;
use crate::bundle;
use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::in_force;
use crate::suite::seccomp_listener;
use crate::trial::{Trial, did, did_is, is};
use crate::verdict::{Verdict, equal, skipped};

const MAPPINGS: &str = "**`uidMappings`** (array of objects, OPTIONAL) describes the user namespace uid \
    mappings from the host to the container.";
const CONTRACT: &str = "an ordinary user creates, starts, kills and deletes containers of `spec --rootless`";
const RESOURCES: &str = "You can configure a container's cgroups via the `resources` field of the Linux \
    configuration.";
const REFUSED: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// A config that an ordinary user may ask for.
pub fn ordinary(t: &mut Trial) -> &mut Trial {
    let (uid, gid) = ids();
    t.remove("/linux/cgroupsPath").namespace("user", None);
    t.set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": uid, "size": 1 }]));
    t.set("/linux/gidMappings", json!([{ "containerID": 0, "hostID": gid, "size": 1 }]))
}

/// The caller.
pub fn ids() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [lifecycle(), inside(), cgroups(), refused()].into_iter().flatten().collect();
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
        case("rootless/exec-in-created").runc(CONTRACT).needs(Need::Verb("exec")).run(|t| {
            ordinary(t).probe(&["hang"]).create()?;
            let id = t.id.clone();
            equal("exit status", t.call(&["exec", &id, bundle::PROBE, "exit:5"])?.code, 5)?;
            equal("status", t.status()?, "created")
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
        case("rootless/time-offsets")
            .spec("**`timeOffsets`** (object, OPTIONAL) sets the offset for Time Namespace.")
            .needs_all(&[Need::Namespace("time"), Need::SpecVersion(1)])
            .run(|t| {
                ordinary(t).namespace("time", None);
                t.set("/linux/timeOffsets", json!({ "boottime": { "secs": 86400 } }));
                offset(&t.running::<&str>(&[])?, "boottime", libc::CLOCK_BOOTTIME, 86400)?;
                offset(&super::exec::facts(t, &[], &[])?, "boottime", libc::CLOCK_BOOTTIME, 86400)
            }),
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
        case("rootless/created-can-be-looked-at")
            .runc("exec, and the hooks' way into the network, work before the program runs")
            .needs(Need::Verb("exec"))
            .run(|t| {
                ordinary(t).namespace("network", None).probe(&["hang"]).create()?;
                let network = fs::read_link(format!("/proc/{}/ns/net", t.pid()?))?.display().to_string();
                ensure!(network.starts_with("net:"), "the network namespace is {network}");
                let id = t.id.clone();
                equal("exit status", t.call(&["exec", &id, bundle::PROBE, "exit:5"])?.code, 5)?;
                equal("status", t.status()?, "created")
            }),
        case("rootless/seccomp-listener")
            .runc("an ordinary user's container can have a listener")
            .needs_all(&[Need::SpecVersion(1), Need::Kernel(5, 6, "pidfd_getfd")])
            .run(|t| {
                let message = seccomp_listener::received(ordinary(t))?;
                equal("descriptors", message.descriptors.len(), 1)
            }),
        case("rootless/default-device-again")
            .runc("a device that every container has may be listed")
            .run(|t| {
                let entry = |path: &str, minor: u32| json!({ "path": path, "type": "c", "major": 5, "minor": minor });
                ordinary(t).set("/linux/devices", json!([entry("/dev/ptmx", 2), entry("/dev/tty", 0)]));
                let facts = t.facts_of(&["stat:/dev/ptmx"])?;
                equal("target", did(&facts, "stat:/dev/ptmx")["target"].as_str(), Some("pts/ptmx"))
            }),
        case("rootless/cgroup-of-the-caller")
            .runc("where no cgroup can be made, the mount shows the one that the container is in")
            .needs(Need::CgroupV1("pids"))
            .run(|t| {
                ordinary(t);
                let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
                t.push(
                    "/mounts",
                    json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options }),
                );
                t.tmpfs("/sys", &[]);
                let last = t.config["mounts"].as_array().map_or(0, Vec::len) - 1;
                if let Some(mounts) = t.config["mounts"].as_array_mut() {
                    mounts.swap(last - 1, last);
                }
                let tasks = "/sys/fs/cgroup/pids/tasks";
                let facts = t.facts_of(&[&format!("stat:{tasks}")])?;
                equal("type", did(&facts, &format!("stat:{tasks}"))["type"].as_str(), Some("file"))?;
                let mounts = facts["mounts"].as_array().cloned().unwrap_or_default();
                let mount = mounts.into_iter().find(|mount| mount["destination"] == "/sys/fs/cgroup/pids");
                // CVE-2023-25809
                equal("first option", &mount.unwrap_or_default()["options"][0], &json!("ro"))
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

/// The words of a text.
pub fn words(text: &Value) -> Vec<String> {
    text.as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// First and number of the user's lines in `/etc/subuid`.
pub fn subordinate() -> Verdict<Option<(u32, u32)>> {
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
    let scopes = [
        ("rootless/systemd-scope", "DBUS_SESSION_BUS_ADDRESS"),
        ("rootless/systemd-scope-through-the-bus", "XDG_RUNTIME_DIR"),
    ];
    let scopes = scopes.map(|(name, unset)| {
        case(name)
            .runc("--systemd-cgroup asks the user's systemd, on its own socket or through the user's bus")
            .needs(Need::Delegated("pids"))
            .run(|t| scope(t, unset))
    });
    rows.chain(in_force::delegated_cases(|t| delegated(t).map(drop))).chain(scopes).collect()
}

/// A scope of the user's systemd, where one of the variables that lead to it is not set.
fn scope(t: &mut Trial, unset: &str) -> Verdict {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none()
    {
        return skipped("the user has no systemd");
    }
    ordinary(t).under_systemd().set("/linux/resources/pids/limit", 17).probe(&["hang"]).write_config()?;
    let (bundle, pid_file, id) = (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
    let mut command = t.command(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &id]);
    command.env_remove(unset);
    t.execute_with(command, &t.container_streams())?.succeeded()?;
    let cgroup = t.cgroup("pids")?;
    let wanted = format!("user@{}.service/crust.slice/crust-tests.slice/spec-{id}.scope", ids().0);
    ensure!(cgroup.ends_with(&wanted), "{} does not end with {wanted}", cgroup.display());
    equal("pids.max", fs::read_to_string(cgroup.join("pids.max"))?.as_str(), "17\n")?;
    t.call(&["update", "--pids-limit", "18", &id])?.succeeded()?;
    equal("pids.max", fs::read_to_string(cgroup.join("pids.max"))?.as_str(), "18\n")
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
