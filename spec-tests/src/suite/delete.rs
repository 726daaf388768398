//! runtime.md: the operation delete.

use std::fs;

use crate::case::{Case, case};
use crate::host::Need;
use crate::verdict::equal;

const NOT_STOPPED: &str = "Attempting to `delete` a container that is not `stopped` MUST have no effect on \
    the container and MUST generate an error.";
const RESOURCES: &str = "Deleting a container MUST delete the resources that were created during the `create` \
    step.";
const NOT_OURS: &str = "Note that resources associated with the container, but not created by this container, \
    MUST NOT be deleted.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [spec(), runc()].into_iter().flatten().collect()
}

fn spec() -> Vec<Case> {
    vec![
        case("delete/without-id")
            .spec("This operation MUST generate an error if it is not provided the container ID.")
            .run(|t| t.call(&["delete"])?.refused().map(drop)),
        case("delete/running").spec(NOT_STOPPED).run(|t| {
            t.running(&["stat:/"])?;
            t.verb("delete")?.refused()?;
            equal("status", t.status()?, "running")
        }),
        case("delete/paused").spec(NOT_STOPPED).run(|t| {
            t.running(&["stat:/"])?;
            t.verb("pause")?.succeeded()?;
            t.verb("delete")?.refused()?;
            equal("status", t.status()?, "paused")
        }),
        case("delete/unknown").spec(NOT_STOPPED).run(|t| t.verb("delete")?.refused().map(drop)),
        case("delete/resources").spec(RESOURCES).run(|t| {
            t.facts()?;
            t.verb("delete")?.succeeded()?;
            t.nothing_left("after delete")
        }),
        case("delete/twice").spec(NOT_STOPPED).run(|t| {
            t.facts()?;
            t.verb("delete")?.succeeded()?;
            t.verb("delete")?.refused().map(drop)
        }),
        case("delete/rootfs-stays").spec(NOT_OURS).run(|t| {
            t.facts()?;
            t.verb("delete")?.succeeded()?;
            ensure!(t.rootfs().join("spec-probe").exists(), "the root file system is gone");
            ensure!(t.bundle().join("config.json").exists(), "config.json is gone");
            Ok(())
        }),
        case("delete/bind-source-stays").spec(NOT_OURS).run(|t| {
            let source = t.path("volume");
            fs::create_dir(&source)?;
            fs::write(t.work.join("volume/file"), "kept")?;
            t.bind(&source, "/tmp", &["rbind"]).facts()?;
            t.verb("delete")?.succeeded()?;
            equal("file of the volume", fs::read_to_string(t.work.join("volume/file"))?.as_str(), "kept")
        }),
        case("delete/joined-namespace-stays").spec(NOT_OURS).run(|t| {
            let mut keeper = super::namespaces::keeper(t, &["--uts"])?;
            let path = format!("/proc/{}/ns/uts", keeper.id());
            t.remove("/hostname").namespace("uts", Some(&path)).facts()?;
            t.verb("delete")?.succeeded()?;
            let lives = keeper.try_wait()?.is_none() && fs::metadata(&path).is_ok();
            keeper.kill()?;
            keeper.wait()?;
            ensure!(lives, "the joined namespace is gone");
            Ok(())
        }),
    ]
}

fn runc() -> Vec<Case> {
    vec![
        case("delete/created")
            .runc("delete of a created container kills and deletes it (engines rely on it)")
            .run(|t| {
                t.create()?;
                t.verb("delete")?.succeeded()?;
                t.wait()?;
                t.nothing_left("after delete")
            }),
        case("delete/force-running").runc("delete --force kills first").run(|t| {
            t.running(&["stat:/"])?;
            let id = t.id.clone();
            t.call(&["delete", "--force", &id])?.succeeded()?;
            t.nothing_left("after delete --force")
        }),
        case("delete/force-paused")
            .security("E24", "delete --force of a paused container is done within 2 s")
            .run(|t| {
                t.running(&["stat:/"])?;
                t.verb("pause")?.succeeded()?;
                let id = t.id.clone();
                let answer = t.call(&["delete", "--force", &id])?.succeeded()?;
                ensure!(answer.took.as_secs() < 2, "{answer}");
                t.nothing_left("after delete --force")
            }),
        case("delete/force-unknown").runc("delete --force of an unknown id is silent and succeeds").run(
            |t| {
                let id = t.id.clone();
                t.call(&["delete", "--force", &id])?.silent().map(drop)
            },
        ),
        case("delete/does-not-exist-text")
            .runc("delete of an unknown id says `does not exist`")
            .run(|t| t.verb("delete")?.refused_with(&["does not exist"]).map(drop)),
        case("delete/not-stopped-text").runc("delete of a running container says `is not stopped`").run(
            |t| {
                t.running(&["stat:/"])?;
                t.verb("delete")?.refused_with(&["is not stopped", "not stopped"]).map(drop)
            },
        ),
        case("delete/empty-cgroup-that-was-there")
            .runc("a cgroup that exists and is empty can be used")
            .needs(Need::CgroupV1("pids"))
            .run(|t| {
                let path = format!("/{}/{}", crate::cgroup::PREFIX, t.id);
                let pids = t
                    .host
                    .hierarchies
                    .iter()
                    .find(|hierarchy| hierarchy.controllers.contains(&"pids".to_owned()));
                fs::create_dir_all(
                    pids.map(|hierarchy| hierarchy.mount.join(&path[1..])).unwrap_or_default(),
                )?;
                t.facts()?;
                t.verb("delete")?.succeeded()?;
                // It was not made by the container: it may stay, or go as runc lets it.
                crate::cgroup::clear(&crate::cgroup::named(&t.host.hierarchies, &t.id));
                Ok(())
            }),
        case("delete/leftover-state-directory")
            .runc("delete --force removes a state directory without a state")
            .run(|t| {
                fs::create_dir(t.runtime_root().join(&t.id))?;
                let id = t.id.clone();
                t.call(&["delete", "--force", &id])?.succeeded()?;
                t.nothing_left("after delete --force")
            }),
    ]
}
