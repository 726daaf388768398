//! config-linux.md: cgroupsPath, and the cgroup itself.

use std::fs;

use serde_json::json;

use crate::case::{Case, case};
use crate::cgroup::PREFIX;
use crate::host::Need;
use crate::trial::{Trial, did_is};
use crate::verdict::equal;

const FIT: &str = "A runtime MAY check if the container cgroup is fit for purpose, and MUST generate an error \
    if such a check fails.";
const SAME: &str = "If the value is specified, the runtime MUST consistently attach to the same place in the \
    cgroups hierarchy given the same value of `cgroupsPath`.";
const ABSOLUTE: &str = "In the case of an absolute path (starting with `/`), the runtime MUST take the path \
    to be relative to the cgroups mount point.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("cgroups/absolute-path").spec(ABSOLUTE).run(|t| {
            t.create()?;
            let controller = if t.host.is_unified() { "" } else { "pids" };
            let (cgroup, id) = (t.cgroup(controller)?, t.id.clone());
            let mount = t
                .host
                .hierarchies
                .iter()
                .map(|hierarchy| hierarchy.mount.clone())
                .find(|mount| cgroup.starts_with(mount));
            equal("cgroup", Some(cgroup), mount.map(|mount| mount.join(PREFIX).join(id)))
        }),
        case("cgroups/every-v1-controller")
            .spec(
                "Runtimes MAY attach the container process to additional cgroup controllers beyond \
                 those necessary to fulfill the `resources` settings.",
            )
            .needs(Need::CgroupV1("pids"))
            .run(|t| {
                t.create()?;
                let text = fs::read_to_string(format!("/proc/{}/cgroup", t.pid()?))?;
                for controller in ["memory", "pids", "devices"] {
                    let line = text.lines().find(|line| line.contains(controller)).unwrap_or_default();
                    ensure!(line.contains(&t.id), "{controller}: {line}");
                }
                Ok(())
            }),
        case("cgroups/relative-path-is-the-same-again").spec(SAME).run(|t| {
            let path = format!("{PREFIX}-relative/{}", t.id);
            t.set("/linux/cgroupsPath", path);
            let mut seen = Vec::new();
            for _ in 0..2 {
                t.create()?;
                seen.push(t.cgroup("pids")?);
                t.verb("delete")?.succeeded()?;
                t.wait()?;
            }
            for cgroup in crate::cgroup::named(&t.host.hierarchies, &format!("{PREFIX}-relative")) {
                fs::remove_dir(cgroup).ok();
            }
            equal("cgroup", &seen[0], &seen[1])
        }),
        case("cgroups/path-not-set")
            .spec("If the value is not specified, the runtime MAY define the default cgroups path.")
            .run(|t| {
                t.remove("/linux/cgroupsPath").create()?;
                let cgroup = t.cgroup("pids")?;
                t.verb("delete")?.succeeded()?;
                t.wait()?;
                ensure!(!cgroup.exists() || !cgroup.ends_with(&t.id), "{} is left", cgroup.display());
                Ok(())
            }),
        case("cgroups/deep-path").spec("The cgroups will be created if they don't exist.").run(|t| {
            let path = format!("/{PREFIX}/{}/a/b/c", t.id);
            t.set("/linux/cgroupsPath", path).create()?;
            ensure!(t.cgroup("pids")?.ends_with("a/b/c"), "cgroup is {}", t.cgroup("pids")?.display());
            t.verb("delete")?.succeeded()?;
            t.wait()?;
            // Parents are no resource of one container: other containers may be below them.
            crate::cgroup::clear(&crate::cgroup::named(&t.host.hierarchies, &t.id));
            Ok(())
        }),
        case("cgroups/not-empty").spec(FIT).needs(Need::Controller("pids")).run(|t| {
            let mut keeper = super::namespaces::keeper(t, &["--uts"])?;
            for cgroup in own_cgroups(t) {
                fs::create_dir_all(&cgroup)?;
                // A new cpuset takes no process.
                fs::write(cgroup.join("cgroup.procs"), keeper.id().to_string()).ok();
            }
            let answer = t.try_create()?;
            keeper.kill()?;
            keeper.wait()?;
            for cgroup in own_cgroups(t) {
                fs::remove_dir(cgroup).ok();
            }
            // runc 1.1 only warns.
            ensure!(
                answer.code != 0 || answer.stderr.contains("not empty"),
                "{answer}: the cgroup is not empty"
            );
            Ok(())
        }),
        case("cgroups/frozen").spec(FIT).needs(Need::CgroupV1("freezer")).run(|t| {
            let freezer = t
                .host
                .hierarchies
                .iter()
                .find(|hierarchy| hierarchy.controllers.contains(&"freezer".to_owned()));
            let cgroup =
                freezer.map(|hierarchy| hierarchy.mount.join(PREFIX).join(&t.id)).unwrap_or_default();
            fs::create_dir_all(&cgroup)?;
            fs::write(cgroup.join("freezer.state"), "FROZEN")?;
            let answer = t.try_create()?;
            fs::write(cgroup.join("freezer.state"), "THAWED")?;
            answer.refused()?;
            fs::remove_dir(&cgroup).ok();
            t.nothing_left("after the refusal")
        }),
        case("cgroups/frozen-on-v2").spec(FIT).needs(Need::CgroupV2("")).run(|t| {
            let Some(cgroup) = own_cgroups(t).pop() else { return Ok(()) };
            fs::create_dir_all(&cgroup)?;
            fs::write(cgroup.join("cgroup.freeze"), "1")?;
            let answer = t.try_create()?;
            fs::write(cgroup.join("cgroup.freeze"), "0")?;
            answer.refused()?;
            fs::remove_dir(&cgroup).ok();
            t.nothing_left("after the refusal")
        }),
        case("cgroups/namespace-hides-the-path")
            .spec("**`cgroup`** the container will have an isolated view of the cgroup hierarchy.")
            .needs(Need::Namespace("cgroup"))
            .run(|t| {
                let facts = t.namespace("cgroup", None).facts()?;
                let text = facts["cgroup"].as_str().unwrap_or_default().to_owned();
                ensure!(!text.contains(&t.id), "the container sees the path: {text}");
                Ok(())
            }),
        case("cgroups/pids-limit-is-in-force")
            .spec("**`pids`** (object, OPTIONAL) represents the cgroup subsystem `pids`.")
            .needs(Need::Controller("pids"))
            .run(|t| {
                t.set("/linux/resources", json!({ "pids": { "limit": 1 } }));
                did_is(&t.facts_of(&["background:/spec-probe"])?, "background:/spec-probe", "EAGAIN")
            }),
    ]
}

fn own_cgroups(t: &Trial) -> Vec<std::path::PathBuf> {
    t.host.hierarchies.iter().map(|hierarchy| hierarchy.mount.join(PREFIX).join(&t.id)).collect()
}
