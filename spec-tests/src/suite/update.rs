//! runc's update.

use std::fs;

use serde_json::json;

use crate::case::{Case, case};
use crate::verdict::equal;

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let rows = [
        ("pids", json!({ "pids": { "limit": 55 } }), "pids", "pids.max", "55"),
        (
            "memory",
            json!({ "memory": { "limit": 134_217_728 } }),
            "memory",
            "memory.limit_in_bytes",
            "134217728",
        ),
        (
            "cpu",
            json!({ "cpu": { "shares": 256, "quota": 40_000, "period": 100_000 } }),
            "cpu",
            "cpu.cfs_quota_us",
            "40000",
        ),
        (
            "zeros-mean-unset",
            json!({
                "memory": { "limit": 0 }, "cpu": { "shares": 0, "quota": 0, "period": 0 },
                "blockIO": { "weight": 0 },
            }),
            "cpu",
            "cpu.cfs_quota_us",
            "-1",
        ),
        (
            "devices-are-left-alone",
            json!({ "devices": [{ "allow": false, "access": "rwm" }], "cpu": { "shares": 256 } }),
            "cpu",
            "cpu.shares",
            "256",
        ),
    ];
    let mut cases: Vec<Case> = rows
        .into_iter()
        .map(|(name, resources, controller, file, want)| {
            case(format!("cli/update-{name}"))
                .runc("update --resources - takes resources from stdin; what is 0 or absent stays")
                .needs(crate::host::Need::CgroupV1(controller))
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    fs::write(t.work.join("resources"), resources.to_string())?;
                    let id = t.id.clone();
                    let streams = crate::call::Streams {
                        stdin: Some(t.work.join("resources")),
                        stdout: t.work.join("update-out"),
                        stderr: t.work.join("update-err"),
                    };
                    t.execute_with(t.command(&["update", "--resources", "-", &id]), &streams)?.succeeded()?;
                    equal(file, fs::read_to_string(t.cgroup(controller)?.join(file))?.trim_end(), want)
                })
        })
        .collect();
    cases.push(
        case("cli/update-by-option")
            .runc("update --pids-limit sets it")
            .needs(crate::host::Need::Controller("pids"))
            .run(|t| {
                t.running(&["stat:/"])?;
                let id = t.id.clone();
                t.call(&["update", "--pids-limit", "33", &id])?.succeeded()?;
                equal("pids.max", fs::read_to_string(t.cgroup("pids")?.join("pids.max"))?.trim_end(), "33")
            }),
    );
    cases.push(case("cli/update-stopped").runc("update of a stopped container is refused").run(|t| {
        t.facts()?;
        let id = t.id.clone();
        t.call(&["update", "--pids-limit", "33", &id])?.refused().map(drop)
    }));
    cases
}
