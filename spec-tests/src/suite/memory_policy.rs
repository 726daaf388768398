//! config-linux.md: memory policy. The kernel shows it in `/proc/PID/numa_maps`, for each mapping.

use serde_json::{Value, json};

use super::exec::facts;
use crate::case::{Case, Draft, case};
use crate::host::Need;
use crate::trial::did;
use crate::verdict::{Verdict, equal};

const MODE: &str = "**`mode`** *(string, REQUIRED)* - A valid list of constants is shown below.";
const NODES: &str = "Some modes require that there are no nodes, e.g. `MPOL_DEFAULT` and `MPOL_LOCAL`. Others that there \
    is at least one node, e.g. `MPOL_BIND` and `MPOL_INTERLEAVE`.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, policy, shown) in [
        ("default", json!({ "mode": "MPOL_DEFAULT" }), "default"),
        ("local", json!({ "mode": "MPOL_LOCAL" }), "local"),
        ("bind", json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        ("interleave", json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        ("preferred", json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), "prefer:0"),
        ("preferred-nobody", json!({ "mode": "MPOL_PREFERRED" }), "local"),
        (
            "static-nodes",
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }),
            "bind=static:0",
        ),
        (
            "relative-nodes",
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0-0", "flags": ["MPOL_F_RELATIVE_NODES"] }),
            "interleave=relative:0",
        ),
    ] {
        cases.push(policies(name).spec(MODE).run(move |t| {
            let facts =
                t.set("/linux/memoryPolicy", policy.clone()).facts_of(&["read:/proc/self/numa_maps"])?;
            equal("policy", shown_in(&facts), shown.to_owned())
        }));
    }
    for (name, policy, shown, version) in [
        (
            "preferred-many",
            json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }),
            "prefer (many):0",
            (5, 15),
        ),
        (
            "weighted-interleave",
            json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }),
            "weighted interleave:0",
            (6, 9),
        ),
        (
            "numa-balancing",
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }),
            "bind=balancing:0",
            (6, 12),
        ),
    ] {
        let newer = policies(name).needs(Need::Kernel(version.0, version.1, "this policy"));
        cases.push(newer.spec(MODE).run(move |t| {
            let facts =
                t.set("/linux/memoryPolicy", policy.clone()).facts_of(&["read:/proc/self/numa_maps"])?;
            equal("policy", shown_in(&facts), shown.to_owned())
        }));
    }
    for (name, sentence, policy) in [
        ("default-with-nodes", NODES, json!({ "mode": "MPOL_DEFAULT", "nodes": "0" })),
        ("local-with-nodes", NODES, json!({ "mode": "MPOL_LOCAL", "nodes": "0" })),
        ("bind-without-nodes", NODES, json!({ "mode": "MPOL_BIND" })),
        ("interleave-without-nodes", NODES, json!({ "mode": "MPOL_INTERLEAVE", "nodes": "" })),
        ("node-missing", NODES, json!({ "mode": "MPOL_BIND", "nodes": "1023" })),
        ("node-too-large", NODES, json!({ "mode": "MPOL_BIND", "nodes": "0-9876543210" })),
        ("nodes-no-list", NODES, json!({ "mode": "MPOL_BIND", "nodes": "zero" })),
        ("no-mode", MODE, json!({ "nodes": "0" })),
        ("empty", MODE, json!({})),
        ("unknown-mode", INVALID, json!({ "mode": "INTERLEAVE", "nodes": "0" })),
        ("unknown-flag", INVALID, json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_FOO"] })),
        (
            "two-kinds-of-nodes",
            INVALID,
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
        ),
    ] {
        cases.push(policies(name).spec(sentence).run(move |t| {
            let stderr = t.set("/linux/memoryPolicy", policy.clone()).refused()?;
            ensure!(stderr.contains("linux.memoryPolicy"), "what is wrong? {stderr}");
            Ok(())
        }));
    }
    cases.push(policies("exec").runc("A further process has the container's policy.").run(in_exec));
    cases
}

fn policies(name: &str) -> Draft {
    case(format!("memory-policy/{name}"))
        .needs(Need::SpecVersion(3))
        .needs(Need::File("/proc/self/numa_maps"))
}

fn in_exec(t: &mut crate::trial::Trial) -> Verdict {
    t.set("/linux/memoryPolicy", json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" })).running::<&str>(&[])?;
    let facts = facts(t, &[], &["read:/proc/self/numa_maps"])?;
    equal("policy", shown_in(&facts), "interleave:0".to_owned())
}

/// The second word of the first line; a policy of two words has its second one too.
fn shown_in(facts: &Value) -> String {
    let maps = did(facts, "read:/proc/self/numa_maps").as_str().unwrap_or_default().to_owned();
    let words: Vec<&str> = maps.lines().next().unwrap_or_default().split(' ').skip(1).take(2).collect();
    let two = ["prefer", "weighted"].contains(words.first().unwrap_or(&""));
    words[..words.len().min(if two { 2 } else { 1 })].join(" ")
}
