//! runtime.md: the lifecycle, and the operations create and start.

use std::fs;

use serde_json::json;

use crate::case::{Case, case};
use crate::trial::{Trial, did_is};
use crate::verdict::{Verdict, equal};

const START_NOT_CREATED: &str = "Attempting to `start` a container that is not `created` MUST have no effect \
    on the container and MUST generate an error.";
const ERRORS: &str = "Unless otherwise stated, generating an error MUST leave the state of the environment as \
    if the operation were never attempted.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [create(), start(), rest()].into_iter().flatten().collect()
}

fn create() -> Vec<Case> {
    vec![
        case("create/without-id")
            .spec(
                "This operation MUST generate an error if it is not provided a path to the bundle and \
                 the container ID to associate with the container.",
            )
            .run(|t| {
                t.write_config()?;
                let bundle = t.bundle().display().to_string();
                t.call(&["create", "--bundle", &bundle])?.refused().map(drop)
            }),
        case("create/without-bundle")
            .spec(
                "This operation MUST generate an error if it is not provided a path to the bundle and \
                 the container ID to associate with the container.",
            )
            .run(|t| {
                // The directory of the call is no bundle either.
                t.verb("create")?.refused()?;
                t.nothing_left("after the refusal")
            }),
        case("create/config-json-missing")
            .spec(
                "This REQUIRED file MUST reside in the root of the bundle directory and MUST be named \
                 `config.json`.",
            )
            .run(|t| t.refused_as_is().map(drop)),
        case("create/program-does-not-run")
            .spec(
                "While the resources requested in the `config.json` MUST be created, the \
                 user-specified program (from `process`) MUST NOT be run at this time.",
            )
            .run(|t| {
                t.probe(&["create:/ran"]).create()?;
                std::thread::sleep(std::time::Duration::from_millis(100));
                ensure!(!t.rootfs().join("ran").exists(), "the program ran before start");
                equal("status", t.status()?, "created")
            }),
        case("create/same-id-twice")
            .spec(
                "If the ID provided is not unique across all containers within the scope of the \
                 runtime, or is not valid in any other way, the implementation MUST generate an error \
                 and a new container MUST NOT be created.",
            )
            .run(|t| {
                t.probe(&["stat:/"]).create()?;
                let pid = t.pid()?;
                t.try_create()?.refused()?;
                equal("pid of the first container", t.state()?["pid"].as_i64(), Some(i64::from(pid)))?;
                t.start()?;
                equal("exit status of the first container", t.wait()?, 0)
            }),
        case("create/config-changes-later")
            .spec("Any updates to `config.json` after this step MUST NOT affect the container.")
            .run(|t| {
                t.probe(&["stat:/"]).create()?;
                t.set("/process/args", json!(["/spec-probe", "exit:9"]))
                    .set("/process/cwd", "/tmp")
                    .write_config()?;
                t.start()?;
                equal("exit status", t.wait()?, 0)?;
                ensure!(
                    t.stdout().contains("\"cwd\":\"/\""),
                    "the working directory is of the later config.json"
                );
                Ok(())
            }),
        case("create/config-removed-later")
            .spec(
                "Any changes made to the `config.json` file after this operation will not have an \
                 effect on the container.",
            )
            .run(|t| {
                t.create()?;
                fs::remove_file(t.bundle().join("config.json"))?;
                t.start()?;
                equal("exit status", t.wait()?, 0)
            }),
        case("create/error-leaves-nothing").spec(ERRORS).run(|t| {
            t.set(
                "/mounts/-",
                json!({ "destination": "/tmp", "type": "no-such-file-system", "source": "x" }),
            );
            t.refused().map(drop)
        }),
        case("create/property-that-cannot-be-applied")
            .spec(
                "If the runtime cannot apply a property as specified in the configuration, it MUST \
                 generate an error and a new container MUST NOT be created.",
            )
            .run(|t| {
                t.tmpfs("/tmp", &["size=many"]);
                t.refused()?;
                t.verb("state")?.refused().map(drop)
            }),
    ]
}

fn start() -> Vec<Case> {
    vec![
        case("start/without-id")
            .spec("This operation MUST generate an error if it is not provided the container ID.")
            .run(|t| t.call(&["start"])?.refused().map(drop)),
        case("start/runs-the-program")
            .spec("This operation MUST run the user-specified program as specified by `process`.")
            .run(|t| {
                let facts = t.facts_of(&["create:/ran"])?;
                did_is(&facts, "create:/ran", "ok")?;
                ensure!(t.rootfs().join("ran").exists(), "the program did not run in the root file system");
                Ok(())
            }),
        case("start/unknown").spec(START_NOT_CREATED).run(|t| t.verb("start")?.refused().map(drop)),
        case("start/running").spec(START_NOT_CREATED).run(|t| {
            t.running(&["append:/tmp/log:started"])?;
            let pid = t.pid()?;
            t.verb("start")?.refused()?;
            equal("status", t.status()?, "running")?;
            equal("pid", t.state()?["pid"].as_i64(), Some(i64::from(pid)))?;
            equal("starts", fs::read_to_string(t.rootfs().join("tmp/log"))?.as_str(), "started\n")
        }),
        case("start/stopped").spec(START_NOT_CREATED).run(|t| {
            t.facts_of(&["append:/tmp/log:started"])?;
            t.verb("start")?.refused()?;
            equal("status", t.status()?, "stopped")?;
            equal("starts", fs::read_to_string(t.rootfs().join("tmp/log"))?.as_str(), "started\n")
        }),
        case("start/process-not-set")
            .spec("This operation MUST generate an error if `process` was not set.")
            .run(|t| {
                t.remove("/process");
                // A runtime may refuse it at create already.
                if t.try_create()?.code == 0 {
                    t.verb("start")?.refused().map(drop)
                } else {
                    t.nothing_left("after create")
                }
            }),
    ]
}

fn rest() -> Vec<Case> {
    vec![
        case("lifecycle/all-operations")
            .spec(
                "The entity using a runtime to create a container MUST be able to use the operations \
                 defined in this specification against that same container.",
            )
            .run(all_operations),
        case("lifecycle/id-again-after-delete")
            .spec("Once a container is deleted its ID MAY be used by a subsequent container.")
            .run(|t| {
                for _ in 0..2 {
                    t.facts_of(&["stat:/"])?;
                    t.verb("delete")?.succeeded()?;
                }
                Ok(())
            }),
        case("lifecycle/warnings-change-nothing")
            .spec(
                "Unless otherwise stated, logging a warning does not change the flow of the \
                 operation; it MUST continue as if the warning had not been logged.",
            )
            .run(|t| {
                t.push("/process/capabilities/bounding", json!("CAP_NO_SUCH_THING"));
                t.facts()?;
                Ok(())
            }),
    ]
}

fn all_operations(t: &mut Trial) -> Verdict {
    t.probe(&["hang"]).create()?;
    equal("status", t.status()?, "created")?;
    t.start()?;
    equal("status", t.status()?, "running")?;
    let id = t.id.clone();
    t.call(&["kill", &id, "KILL"])?.succeeded()?;
    equal("exit status", t.wait()?, 128 + 9)?;
    equal("status", t.status()?, "stopped")?;
    t.verb("delete")?.succeeded()?;
    t.nothing_left("after delete")
}
