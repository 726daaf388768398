//! config-linux.md: the allowed device list.

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, did};
use crate::verdict::{Verdict, equal};

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
    let mut cases: Vec<Case> = RULES.iter().map(rules).collect();
    let each = |(name, lists): (&str, Lists)| {
        let draft = case(format!("cgroups/devices-{name}")).spec(DEVICES).needs(Need::Controller("devices"));
        draft.run(move |t| lists().iter().try_for_each(|list| decided(t, list)))
    };
    let two_halves = || vec![vec![("c", Some(241), None, "r", true), ("c", None, Some(229), "w", true)]];
    cases.extend([("any-list", any_lists as Lists), ("two-rules-for-one-open", two_halves)].map(each));
    cases
}

/// Type, major, minor, access, and whether it is allowed.
type Rule = (&'static str, Option<i64>, Option<i64>, &'static str, bool);

type Lists = fn() -> Vec<Vec<Rule>>;

/// Devices that no driver has: who may open them is told so (`ENXIO`).
const NODES: [(&str, i64, i64); 6] =
    [("c", 241, 3), ("c", 241, 229), ("c", 242, 3), ("c", 242, 229), ("b", 241, 3), ("b", 242, 229)];

/// Lists of a few rules about a few devices, always the same.
fn any_lists() -> Vec<Vec<Rule>> {
    let mut state = 11_u64;
    let mut pick = |from: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % from).unwrap_or(0)
    };
    let mut rule = || {
        let access = ["r", "w", "rw", "rwm"][pick(4)];
        let numbers = ([None, Some(241), Some(242)][pick(3)], [None, Some(3), Some(229)][pick(3)]);
        (["a", "b", "c"][pick(3)], numbers.0, numbers.1, access, pick(2) == 0)
    };
    (0..16).map(|_| (0..4).map(|_| rule()).collect()).collect()
}

/// Every way to open a device is decided by the last rules that match it. v1 cannot hold every list: such a one may be
/// refused.
fn decided(t: &mut Trial, list: &[Rule]) -> Verdict {
    let rules: Vec<Value> = list
        .iter()
        .map(|(kind, major, minor, access, allow)| {
            json!({ "allow": allow, "type": kind, "major": major.unwrap_or(-1), "minor": minor.unwrap_or(-1),
                "access": access })
        })
        .collect();
    let path = |(kind, major, minor): (&str, i64, i64)| format!("/dev/{kind}-{major}-{minor}");
    let nodes: Vec<Value> = NODES
        .iter()
        .map(|&(kind, major, minor)| {
            json!({ "type": kind, "path": path((kind, major, minor)), "major": major, "minor": minor })
        })
        .collect();
    t.set("/linux/devices", json!(nodes)).set("/linux/resources/devices", json!(rules));
    let opened = NODES.into_iter().flat_map(|node| ["r", "w", "rw"].map(|mode| (node, mode)));
    let opened: Vec<_> =
        opened.map(|(node, mode)| (node, mode, format!("open:{}:{mode}", path(node)))).collect();
    let arguments: Vec<&str> = opened.iter().map(|(_, _, argument)| argument.as_str()).collect();
    t.probe(&arguments);
    let answer = t.try_create()?;
    if !t.host.is_unified() && answer.stderr.contains("cannot") {
        return answer.refused().map(drop);
    }
    answer.succeeded()?;
    t.start()?;
    t.wait()?;
    let facts = t.told()?;
    for ((kind, major, minor), mode, argument) in &opened {
        let matches = |rule: &&Rule, letter| {
            ["a", kind].contains(&rule.0)
                && rule.1.is_none_or(|number| number == *major)
                && rule.2.is_none_or(|number| number == *minor)
                && rule.3.contains(letter)
        };
        let allowed = mode
            .chars()
            .all(|letter| list.iter().rfind(|rule| matches(rule, letter)).is_some_and(|rule| rule.4));
        let want = if allowed { "ENXIO" } else { "EPERM" };
        equal(&format!("{argument} with {list:?}"), did(&facts, argument).as_str(), Some(want))?;
    }
    t.finish()
}
