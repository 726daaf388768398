//! The end of a container in which something is not as it should be: frozen, moved, left behind, or another's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::case::{Case, case};
use crate::cgroup;
use crate::trial::{Trial, until};
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [left_behind(), frozen(), others()].into_iter().flatten().collect()
}

/// Where the container's processes are looked for: the freezer's directory, or the one of v2.
fn directory(t: &Trial) -> Verdict<PathBuf> {
    t.cgroup("freezer")
}

fn processes(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Without a pid namespace of its own, whose end would be everybody's: init has ended, its child has not.
fn init_gone(t: &mut Trial) -> Verdict<PathBuf> {
    t.drop_namespace("pid");
    t.probe(&["background:/spec-probe", "await:/tmp/go"]).create()?;
    let directory = directory(t)?;
    t.start()?;
    until("two processes", || processes(&directory).len() == 2)?;
    fs::write(t.rootfs().join("tmp/go"), "")?;
    t.wait()?;
    equal("status", t.status()?, "stopped")?;
    equal("processes", processes(&directory).len(), 1)?;
    Ok(directory)
}

fn left_behind() -> Vec<Case> {
    vec![
        case("ends/kill-all-when-init-is-gone")
            .security("E21", "kill --all reaches what init has left behind")
            .run(|t| {
                let directory = init_gone(t)?;
                let id = t.id.clone();
                t.call(&["kill", "--all", &id, "KILL"])?.succeeded()?;
                until("an empty cgroup", || processes(&directory).is_empty())
            }),
        case("ends/delete-when-init-is-gone").security("E21", "delete ends what init has left behind").run(
            |t| {
                init_gone(t)?;
                t.verb("delete")?.succeeded()?;
                t.nothing_left("after delete")
            },
        ),
        case("ends/empty-sub-cgroups")
            .security("E22", "cgroups that were made inside go with the container")
            .run(|t| {
                t.facts_of(&["stat:/"])?;
                t.finish()?;
                t.running(&["stat:/"])?;
                fs::create_dir_all(directory(t)?.join("a/b/c"))?;
                fs::create_dir_all(t.cgroup("pids")?.join("d"))?;
                t.finish()
            }),
        case("ends/processes-in-sub-cgroups")
            .security("E22", "processes in cgroups that were made inside go with the container")
            .run(|t| {
                t.drop_namespace("pid");
                t.probe(&["background:/spec-probe", "hang"]).create()?;
                let directory = directory(t)?;
                t.start()?;
                until("two processes", || processes(&directory).len() == 2)?;
                let init = t.pid()?.to_string();
                let child = processes(&directory).into_iter().find(|pid| *pid != init).unwrap_or_default();
                fs::create_dir(directory.join("inner"))?;
                fs::write(directory.join("inner/cgroup.procs"), child)?;
                t.finish()
            }),
        case("ends/kill-all-paused").security("E23", "kill --all KILL ends a paused container").run(|t| {
            t.running(&["stat:/"])?;
            t.verb("pause")?.succeeded()?;
            let id = t.id.clone();
            t.call(&["kill", "--all", &id, "KILL"])?.succeeded()?;
            equal("exit status", t.wait()?, 128 + 9)
        }),
        case("ends/kill-all-paused-stays-paused")
            .security("E23", "another signal than KILL does not thaw a paused container")
            .run(|t| {
                t.running(&["stat:/"])?;
                t.verb("pause")?.succeeded()?;
                let id = t.id.clone();
                t.call(&["kill", "--all", &id, "CONT"])?.succeeded()?;
                equal("status", t.status()?, "paused")
            }),
    ]
}

fn frozen() -> Vec<Case> {
    vec![
        case("ends/frozen-from-above")
            .security("E24", "a container below a frozen cgroup: a bounded wait and the pids, or its end")
            .run(|t| {
                t.set("/linux/cgroupsPath", format!("/{}/{}/inner", cgroup::PREFIX, t.id));
                t.running(&["stat:/"])?;
                let (own, pid, id) = (directory(t)?, t.pid()?, t.id.clone());
                let above = own.parent().unwrap_or(&own).to_owned();
                freeze(&above, true)?;
                let answer = t.call(&["delete", "--force", &id])?;
                if above.exists() {
                    freeze(&above, false)?;
                }
                ensure!(answer.took.as_secs() < 15, "{answer}");
                if answer.code != 0 {
                    answer.refused_with(&[&pid.to_string()])?;
                }
                t.finish()
            }),
    ]
}

fn freeze(directory: &Path, frozen: bool) -> Verdict {
    let v1 = directory.join("freezer.state");
    if v1.exists() {
        fs::write(v1, if frozen { "FROZEN" } else { "THAWED" })?;
    } else {
        fs::write(directory.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    }
    Ok(())
}

/// A process that is not the container's.
fn stranger(t: &mut Trial) -> Verdict<Child> {
    let child = Command::new("sleep").arg("60").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    t.kept.insert(child.id().cast_signed());
    Ok(child)
}

fn others() -> Vec<Case> {
    vec![
        case("ends/delete-names-who-is-in-the-way")
            .security("E26", "a stranger in the cgroup: delete says who, and ends nobody")
            .run(|t| {
                let mut stranger = stranger(t)?;
                t.running(&["stat:/"])?;
                let directory = directory(t)?;
                fs::write(directory.join("cgroup.procs"), stranger.id().to_string())?;
                let id = t.id.clone();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(t.pid()?), nix::sys::signal::SIGKILL)?;
                t.wait()?;
                let answer = t.call(&["delete", &id])?;
                let lives = stranger.try_wait()?.is_none();
                stranger.kill()?;
                stranger.wait()?;
                answer.refused_with(&[&stranger.id().to_string()])?;
                ensure!(lives, "the stranger was killed");
                Ok(())
            }),
        case("ends/anothers-cgroup")
            .security(
                "R21",
                "what is in a cgroup that was made in the place of the container's is not killed",
            )
            .run(|t| {
                let mut stranger = stranger(t)?;
                t.running(&["stat:/"])?;
                let (id, directory) = (t.id.clone(), directory(t)?);
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(t.pid()?), nix::sys::signal::SIGKILL)?;
                t.wait()?;
                until("the cgroup to be gone", || fs::remove_dir(&directory).is_ok())?;
                fs::create_dir(&directory)?;
                fs::write(directory.join("cgroup.procs"), stranger.id().to_string())?;
                t.call(&["kill", "--all", &id, "KILL"])?;
                t.call(&["delete", "--force", &id])?;
                std::thread::sleep(std::time::Duration::from_millis(20));
                let lives = stranger.try_wait()?.is_none();
                stranger.kill()?;
                stranger.wait()?;
                cgroup::clear(&cgroup::named(&t.host.hierarchies, &t.id));
                ensure!(lives, "the stranger was killed");
                Ok(())
            }),
    ]
}
