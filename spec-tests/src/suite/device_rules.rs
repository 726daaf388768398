//! config-linux.md: the allowed device list.

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::did;
use crate::verdict::equal;

const DEVICES: &str = "**`devices`** (array of objects, OPTIONAL) configures the allowed device list. The \
    runtime MUST apply entries in the listed order.";

/// Name, rules, and what must happen to reads and writes of /dev/full and to a node 10:229.
type Rules = (&'static str, fn() -> Value, &'static [(&'static str, &'static str)]);

const RULES: &[Rules] = &[
    (
        "deny-all-keeps-the-defaults",
        || json!([{ "allow": false, "access": "rwm" }]),
        &[("open:/dev/full:rw", "ok"), ("take:/dev/urandom", "ok")],
    ),
    (
        "not-listed-is-denied",
        || json!([{ "allow": false, "access": "rwm" }]),
        &[("open:/dev/listed:r", "EPERM")],
    ),
    (
        "allow-read-only",
        || {
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "r" },
            ])
        },
        &[("open:/dev/listed:r", "ok"), ("open:/dev/listed:w", "EPERM")],
    ),
    (
        "allow-write-only",
        || {
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "w" },
            ])
        },
        &[("open:/dev/listed:w", "ok"), ("open:/dev/listed:r", "EPERM")],
    ),
    (
        "later-rule-wins",
        || {
            json!([
                { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" },
                { "allow": false, "access": "rwm" },
            ])
        },
        &[("open:/dev/listed:r", "EPERM")],
    ),
    (
        "any-minor",
        || {
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 10, "access": "rw" },
            ])
        },
        &[("open:/dev/listed:rw", "ok")],
    ),
    (
        "other-type",
        || {
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "b", "major": 10, "minor": 229, "access": "rw" },
            ])
        },
        &[("open:/dev/listed:r", "EPERM")],
    ),
    (
        "allow-all",
        || json!([{ "allow": true, "type": "a", "access": "rwm" }]),
        &[("open:/dev/listed:rw", "ok")],
    ),
    (
        "mknod-is-allowed",
        || json!([{ "allow": false, "access": "rwm" }]),
        &[("mknod:/dev/new:c:10:229", "ok"), ("open:/dev/new:r", "EPERM")],
    ),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let rules = |&(name, rules, outcomes): &Rules| {
        case(format!("cgroups/devices-{name}"))
            .spec(DEVICES)
            .needs(Need::Controller("devices"))
            .needs(Need::File("/sys/fs/fuse"))
            .run(move |t| {
                // 10:229 is /dev/fuse: it opens for everybody, and is not among the default devices.
                t.push(
                    "/linux/devices",
                    json!({
                        "type": "c", "path": "/dev/listed", "major": 10, "minor": 229, "fileMode": 0o666,
                    }),
                );
                t.set("/linux/resources/devices", rules());
                let arguments: Vec<&str> = outcomes.iter().map(|(argument, _)| *argument).collect();
                let facts = t.facts_of(&arguments)?;
                for (argument, want) in outcomes {
                    equal(argument, did(&facts, argument).as_str(), Some(*want))?;
                }
                Ok(())
            })
    };
    RULES.iter().map(rules).collect()
}
