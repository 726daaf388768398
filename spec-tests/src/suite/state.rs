//! runtime.md: the state document and the operation state.

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [errors(), properties(), runc()].into_iter().flatten().collect()
}

fn errors() -> Vec<Case> {
    vec![
        case("state/without-id")
            .spec("This operation MUST generate an error if it is not provided the ID of a container.")
            .run(|t| t.call(&["state"])?.refused().map(drop)),
        case("state/unknown")
            .spec("Attempting to query a container that does not exist MUST generate an error.")
            .run(|t| t.verb("state")?.refused().map(drop)),
    ]
}

/// Name, sentence, and what must hold of the state of a created container.
type Property = (&'static str, &'static str, fn(&Trial, &Value) -> Verdict);

const PROPERTIES: &[Property] = &[
    (
        "oci-version",
        "**`ociVersion`** (string, REQUIRED) is version of the Open Container Initiative \
         Runtime Specification with which the state complies.",
        |_, state| {
            let version = state["ociVersion"].as_str().unwrap_or_default();
            ensure!(
                version.split('.').count() >= 3 && version.starts_with("1."),
                "ociVersion is {version:?}"
            );
            Ok(())
        },
    ),
    ("id", "**`id`** (string, REQUIRED) is the container's ID.", |t, state| {
        equal("id", state["id"].as_str(), Some(t.id.as_str()))
    }),
    ("status", "**`status`** (string, REQUIRED) is the runtime state of the container.", |_, state| {
        equal("status", state["status"].as_str(), Some("created"))
    }),
    (
        "pid",
        "**`pid`** (int, REQUIRED when `status` is `created` or `running` on Linux, OPTIONAL \
         on other platforms) is the ID of the container process.",
        |t, state| equal("pid", state["pid"].as_i64(), Some(i64::from(t.pid()?))),
    ),
    (
        "bundle",
        "**`bundle`** (string, REQUIRED) is the absolute path to the container's bundle \
         directory.",
        |t, state| equal("bundle", state["bundle"].as_str(), t.bundle().to_str()),
    ),
    (
        "annotations",
        "**`annotations`** (map, OPTIONAL) contains the list of annotations associated with \
         the container.",
        |_, state| {
            equal(
                "annotations",
                &state["annotations"],
                &json!({ "com.example.key": "value", "com.example.none": "" }),
            )
        },
    ),
];

fn properties() -> Vec<Case> {
    let mut cases: Vec<Case> = PROPERTIES
        .iter()
        .map(|(name, sentence, check)| {
            case(format!("state/{name}")).spec(*sentence).run(|t| {
                t.set("/annotations", json!({ "com.example.key": "value", "com.example.none": "" }))
                    .create()?;
                let state = t.state()?;
                check(t, &state)
            })
        })
        .collect();
    cases.push(
        case("state/running")
            .spec(
                "`running`: the container process has executed the user-specified program but has not \
                 exited",
            )
            .run(|t| {
                t.running(&["stat:/"])?;
                let state = t.state()?;
                equal("status", state["status"].as_str(), Some("running"))?;
                equal("pid", state["pid"].as_i64(), Some(i64::from(t.pid()?)))
            }),
    );
    cases.push(case("state/stopped").spec("`stopped`: the container process has exited").run(|t| {
        t.facts()?;
        equal("status", t.status()?, "stopped")
    }));
    cases.push(case("state/stopped-as-zombie").spec("`stopped`: the container process has exited").run(
        |t| {
            t.create()?;
            t.start()?;
            // Nobody reaps it: it stays a zombie.
            let stat = format!("/proc/{}/stat", t.pid()?);
            crate::trial::until("a zombie", || crate::call::text(stat.as_ref()).contains(") Z "))?;
            equal("status", t.status()?, "stopped")
        },
    ));
    cases.push(
        case("state/bundle-from-relative-path")
            .spec(
                "**`bundle`** (string, REQUIRED) is the absolute path to the container's bundle \
                 directory.",
            )
            .run(|t| {
                t.write_config()?;
                let id = t.id.clone();
                let command = t.command(&["create", "--bundle", "bundle", &id]);
                t.execute_with(command, &t.container_streams())?.succeeded()?;
                equal("bundle", t.state()?["bundle"].as_str(), t.bundle().to_str())
            }),
    );
    cases.push(
        case("state/no-annotations")
            .spec(
                "If no annotations were provided then this property MAY either be absent or an empty \
                 map.",
            )
            .run(|t| {
                t.create()?;
                let annotations = t.state()?["annotations"].clone();
                ensure!(annotations.is_null() || annotations == json!({}), "annotations: {annotations}");
                Ok(())
            }),
    );
    cases
}

fn runc() -> Vec<Case> {
    vec![
        case("state/does-not-exist")
            .runc("state of an unknown id says `does not exist` on stderr")
            .run(|t| t.verb("state")?.refused_with(&["does not exist"]).map(drop)),
        case("state/rootfs")
            .runc("state has `rootfs`, the absolute path of the root file system (buildkit reads it)")
            .run(|t| {
                t.create()?;
                equal("rootfs", t.state()?["rootfs"].as_str(), t.rootfs().to_str())
            }),
        case("state/created-is-rfc3339")
            .runc("state has `created`, a time of RFC 3339 (CRI-O decodes it)")
            .run(|t| {
                t.create()?;
                let created = t.state()?["created"].as_str().unwrap_or_default().to_owned();
                ensure!(is_rfc3339(&created), "created is {created:?}");
                Ok(())
            }),
        case("state/pid-zero-when-stopped").runc("the pid of a stopped container is 0").run(|t| {
            t.facts()?;
            equal("pid", t.state()?["pid"].as_i64(), Some(0))
        }),
        case("state/silent-on-stderr").runc("state writes nothing to stderr on success").run(|t| {
            t.create()?;
            t.verb("state")?.silent().map(drop)
        }),
        case("state/paused").runc("a paused container has the status `paused`").run(|t| {
            t.running(&["stat:/"])?;
            t.verb("pause")?.succeeded()?;
            equal("status", t.status()?, "paused")?;
            t.verb("resume")?.succeeded()?;
            equal("status", t.status()?, "running")
        }),
        case("state/killed-while-created").runc("a container whose init died before start is stopped").run(
            |t| {
                t.create()?;
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(t.pid()?),
                    nix::sys::signal::Signal::SIGKILL,
                )?;
                t.wait()?;
                equal("status", t.status()?, "stopped")?;
                t.verb("start")?.refused().map(drop)
            },
        ),
    ]
}

/// `2026-01-02T03:04:05[.fraction](Z|±hh:mm)`
pub fn is_rfc3339(text: &str) -> bool {
    let shape: String =
        text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('0'));
    ["Z", "+00:00", "-00:00"].contains(&zone)
}
