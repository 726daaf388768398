//! What update changes, and what it leaves: each kind of limit, with both drivers.

use std::process::Command;

use serde_json::{Value, json};

use super::update::{shows, update};
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::Verdict;

/// A change: name, the resources at creation, the update, and what v1 and v2 must show then: controller, file, text.
struct Row {
    name: &'static str,
    before: fn() -> Value,
    update: fn() -> Value,
    v1: &'static [(&'static str, &'static str, &'static str)],
    v2: &'static [(&'static str, &'static str, &'static str)],
}

const ROWS: &[Row] = &[
    Row {
        name: "pids",
        before: || json!({}),
        update: || json!({ "pids": { "limit": 55 } }),
        v1: &[("pids", "pids.max", "55")],
        v2: &[("pids", "pids.max", "55")],
    },
    Row {
        name: "memory",
        before: || json!({}),
        update: || json!({ "memory": { "limit": 134_217_728 } }),
        v1: &[("memory", "memory.limit_in_bytes", "134217728")],
        v2: &[("memory", "memory.max", "134217728")],
    },
    Row {
        name: "memory-and-swap-up",
        before: || json!({ "memory": { "limit": 67_108_864, "swap": 67_108_864 } }),
        update: || json!({ "memory": { "limit": 134_217_728, "swap": 268_435_456 } }),
        v1: &[
            ("memory", "memory.limit_in_bytes", "134217728"),
            ("memory", "memory.memsw.limit_in_bytes", "268435456"),
        ],
        v2: &[("memory", "memory.max", "134217728"), ("memory", "memory.swap.max", "134217728")],
    },
    Row {
        name: "memory-and-swap-down",
        before: || json!({ "memory": { "limit": 134_217_728, "swap": 268_435_456 } }),
        update: || json!({ "memory": { "limit": 67_108_864, "swap": 67_108_864 } }),
        v1: &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.memsw.limit_in_bytes", "67108864"),
        ],
        v2: &[("memory", "memory.max", "67108864"), ("memory", "memory.swap.max", "0")],
    },
    Row {
        name: "memory-unlimited",
        before: || json!({ "memory": { "limit": 67_108_864, "swap": 67_108_864 } }),
        update: || json!({ "memory": { "limit": -1 } }),
        v1: &[
            ("memory", "memory.limit_in_bytes", "9223372036854771712"),
            ("memory", "memory.memsw.limit_in_bytes", "9223372036854771712"),
        ],
        v2: &[("memory", "memory.max", "max"), ("memory", "memory.swap.max", "max")],
    },
    Row {
        name: "cpu",
        before: || json!({}),
        update: || json!({ "cpu": { "shares": 256, "quota": 40_000, "period": 100_000 } }),
        v1: &[("cpu", "cpu.cfs_quota_us", "40000"), ("cpu", "cpu.shares", "256")],
        v2: &[("cpu", "cpu.max", "40000 100000")],
    },
    Row {
        name: "quota-keeps-the-period",
        before: || json!({ "cpu": { "quota": 50_000, "period": 200_000 } }),
        update: || json!({ "cpu": { "quota": 80_000 } }),
        v1: &[("cpu", "cpu.cfs_quota_us", "80000"), ("cpu", "cpu.cfs_period_us", "200000")],
        v2: &[("cpu", "cpu.max", "80000 200000")],
    },
    Row {
        name: "period-keeps-the-quota",
        before: || json!({ "cpu": { "quota": 50_000, "period": 200_000 } }),
        update: || json!({ "cpu": { "period": 100_000 } }),
        v1: &[("cpu", "cpu.cfs_quota_us", "50000"), ("cpu", "cpu.cfs_period_us", "100000")],
        v2: &[("cpu", "cpu.max", "50000 100000")],
    },
    Row {
        name: "cpus",
        before: || json!({}),
        update: || json!({ "cpu": { "cpus": "0" } }),
        v1: &[("cpuset", "cpuset.cpus", "0")],
        v2: &[("cpuset", "cpuset.cpus", "0")],
    },
    Row {
        name: "zeros-mean-unset",
        before: || json!({ "cpu": { "quota": 50_000 } }),
        update: || {
            json!({
                "memory": { "limit": 0 }, "cpu": { "shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "" },
                "blockIO": { "weight": 0 },
            })
        },
        v1: &[("cpu", "cpu.cfs_quota_us", "50000"), ("cpu", "cpu.shares", "1024")],
        v2: &[("cpu", "cpu.max", "50000 100000"), ("cpu", "cpu.weight", "100")],
    },
    Row {
        name: "as-docker",
        before: || json!({ "memory": { "limit": 67_108_864, "swap": 134_217_728 }, "cpu": { "quota": 50_000 } }),
        update: || {
            json!({
                "memory": { "limit": 0, "reservation": 33_554_432, "kernel": 0 },
                "cpu": { "shares": 200, "quota": 0, "period": 0, "cpus": "0" },
                "blockIO": { "weight": 0 },
            })
        },
        v1: &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpu", "cpu.shares", "200"),
            ("cpuset", "cpuset.cpus", "0"),
        ],
        v2: &[
            ("memory", "memory.max", "67108864"),
            ("memory", "memory.swap.max", "67108864"),
            ("memory", "memory.low", "33554432"),
            ("cpu", "cpu.max", "50000 100000"),
            ("cpuset", "cpuset.cpus", "0"),
        ],
    },
    Row {
        name: "as-podman",
        before: || json!({ "memory": { "limit": 134_217_728, "swap": 268_435_456 } }),
        update: || {
            json!({
                "memory": { "reservation": 67_108_864 }, "cpu": { "shares": 262_144, "cpus": "0" },
            })
        },
        v1: &[
            ("memory", "memory.limit_in_bytes", "134217728"),
            ("memory", "memory.soft_limit_in_bytes", "67108864"),
            ("cpu", "cpu.shares", "262144"),
            ("cpuset", "cpuset.cpus", "0"),
        ],
        v2: &[
            ("memory", "memory.max", "134217728"),
            ("memory", "memory.low", "67108864"),
            ("cpu", "cpu.weight", "10000"),
            ("cpuset", "cpuset.cpus", "0"),
        ],
    },
    Row {
        name: "huge-pages",
        before: || json!({}),
        update: || json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
        v1: &[("hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304")],
        v2: &[("hugetlb", "hugetlb.2MB.max", "4194304"), ("hugetlb", "hugetlb.2MB.rsvd.max", "4194304")],
    },
    Row {
        name: "devices-are-left-alone",
        before: || json!({}),
        update: || json!({ "devices": [{ "allow": false, "access": "rwm" }], "cpu": { "shares": 262_144 } }),
        v1: &[("cpu", "cpu.shares", "262144"), ("devices", "devices.list", "c 1:3 rwm")],
        v2: &[("cpu", "cpu.weight", "10000")],
    },
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in ROWS {
        let needs = |version: fn(&'static str) -> Need, files: &[(&'static str, &str, &str)]| {
            files.iter().map(|(controller, ..)| version(controller)).collect::<Vec<_>>()
        };
        cases.push(changes("v1", row, row.v1, &needs(Need::CgroupV1, row.v1)));
        cases.push(changes("v2", row, row.v2, &needs(Need::CgroupV2, row.v2)));
        cases.push(changes_a_scope("v1", row, row.v1, &needs(Need::CgroupV1, row.v1)));
        cases.push(changes_a_scope("v2", row, row.v2, &needs(Need::CgroupV2, row.v2)));
    }
    cases
}

fn changes(
    version: &str,
    row: &'static Row,
    files: &'static [(&'static str, &'static str, &'static str)],
    needs: &[Need],
) -> Case {
    case(format!("cli/update-{version}-{}", row.name))
        .runc("update --resources - takes resources from stdin; what is 0 or absent stays")
        .needs_all(needs)
        .run(move |t| changed(t, row).and_then(|()| shows(t, files)))
}

/// The same under systemd, which writes what it knows when it is told to reload.
fn changes_a_scope(
    version: &str,
    row: &'static Row,
    files: &'static [(&'static str, &'static str, &'static str)],
    needs: &[Need],
) -> Case {
    case(format!("cli/update-systemd-{version}-{}", row.name))
        .runc("update --resources - of a scope of systemd's, and a reload changes nothing")
        .needs_all(needs)
        .needs(Need::File("/run/systemd/private"))
        .run(move |t| {
            changed(t.under_systemd(), row)?;
            shows(t, files)?;
            ensure!(Command::new("systemctl").arg("daemon-reload").status()?.success(), "no reload");
            shows(t, files)
        })
}

fn changed(t: &mut Trial, row: &Row) -> Verdict {
    t.set("/linux/resources", (row.before)());
    t.running(&["stat:/"])?;
    update(t, "-", (row.update)())?.silent().map(drop)
}
