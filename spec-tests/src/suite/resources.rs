//! config-linux.md: resources.

use std::fs;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;

/// A resource: name, its JSON, and what v1 and v2 must show: controller, file, text.
struct Row {
    name: &'static str,
    resources: fn() -> Value,
    v1: (&'static str, &'static str, &'static str),
    v2: (&'static str, &'static str, &'static str),
}

const ROWS: &[Row] = &[
    Row {
        name: "pids-limit",
        resources: || json!({ "pids": { "limit": 123 } }),
        v1: ("pids", "pids.max", "123"),
        v2: ("pids", "pids.max", "123"),
    },
    Row {
        name: "pids-unlimited",
        resources: || json!({ "pids": { "limit": -1 } }),
        v1: ("pids", "pids.max", "max"),
        v2: ("pids", "pids.max", "max"),
    },
    Row {
        name: "memory-limit",
        resources: || json!({ "memory": { "limit": 268_435_456 } }),
        v1: ("memory", "memory.limit_in_bytes", "268435456"),
        v2: ("memory", "memory.max", "268435456"),
    },
    Row {
        name: "memory-reservation",
        resources: || json!({ "memory": { "reservation": 134_217_728 } }),
        v1: ("memory", "memory.soft_limit_in_bytes", "134217728"),
        v2: ("memory", "memory.low", "134217728"),
    },
    Row {
        name: "memory-swap",
        resources: || json!({ "memory": { "limit": 134_217_728, "swap": 268_435_456 } }),
        v1: ("memory", "memory.memsw.limit_in_bytes", "268435456"),
        v2: ("memory", "memory.swap.max", "134217728"),
    },
    Row {
        name: "memory-swappiness",
        resources: || json!({ "memory": { "swappiness": 10 } }),
        v1: ("memory", "memory.swappiness", "10"),
        v2: ("memory", "", ""),
    },
    Row {
        name: "memory-disable-oom-killer",
        resources: || json!({ "memory": { "disableOOMKiller": true } }),
        v1: ("memory", "memory.oom_control", "oom_kill_disable 1"),
        v2: ("memory", "", ""),
    },
    Row {
        name: "cpu-shares",
        resources: || json!({ "cpu": { "shares": 512 } }),
        v1: ("cpu", "cpu.shares", "512"),
        // linear, and since runc 1.3.2 a curve on which the default of v1 is the default of v2
        v2: ("cpu", "cpu.weight", "20|59"),
    },
    Row {
        name: "cpu-quota",
        resources: || json!({ "cpu": { "quota": 50_000, "period": 200_000 } }),
        v1: ("cpu", "cpu.cfs_quota_us", "50000"),
        v2: ("cpu", "cpu.max", "50000 200000"),
    },
    Row {
        name: "cpu-period",
        resources: || json!({ "cpu": { "period": 200_000 } }),
        v1: ("cpu", "cpu.cfs_period_us", "200000"),
        v2: ("cpu", "cpu.max", "max 200000"),
    },
    Row {
        name: "cpuset-cpus",
        resources: || json!({ "cpu": { "cpus": "0" } }),
        v1: ("cpuset", "cpuset.cpus", "0"),
        v2: ("cpuset", "cpuset.cpus", "0"),
    },
    Row {
        name: "cpuset-mems",
        resources: || json!({ "cpu": { "mems": "0" } }),
        v1: ("cpuset", "cpuset.mems", "0"),
        v2: ("cpuset", "cpuset.mems", "0"),
    },
    Row {
        name: "block-io-weight",
        resources: || json!({ "blockIO": { "weight": 500 } }),
        v1: ("blkio", "blkio.weight", "500"),
        v2: ("io", "io.weight", "default 4950"),
    },
    Row {
        name: "block-io-throttle-read",
        resources: || {
            json!({
                "blockIO": { "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 1_048_576 }] },
            })
        },
        v1: ("blkio", "blkio.throttle.read_bps_device", "254:0 1048576"),
        v2: ("io", "io.max", "254:0 rbps=1048576"),
    },
    Row {
        name: "block-io-throttle-write-iops",
        resources: || {
            json!({
                "blockIO": { "throttleWriteIOPSDevice": [{ "major": 254, "minor": 0, "rate": 300 }] },
            })
        },
        v1: ("blkio", "blkio.throttle.write_iops_device", "254:0 300"),
        v2: ("io", "io.max", "wiops=300"),
    },
    Row {
        name: "block-io-throttle-write",
        resources: || {
            json!({
                "blockIO": { "throttleWriteBpsDevice": [{ "major": 254, "minor": 0, "rate": 2_097_152 }] },
            })
        },
        v1: ("blkio", "blkio.throttle.write_bps_device", "254:0 2097152"),
        v2: ("io", "io.max", "wbps=2097152"),
    },
    Row {
        name: "block-io-throttle-read-iops",
        resources: || {
            json!({
                "blockIO": { "throttleReadIOPSDevice": [{ "major": 254, "minor": 0, "rate": 200 }] },
            })
        },
        v1: ("blkio", "blkio.throttle.read_iops_device", "254:0 200"),
        v2: ("io", "io.max", "riops=200"),
    },
    Row {
        name: "cpu-burst",
        resources: || json!({ "cpu": { "quota": 50_000, "period": 200_000, "burst": 20_000 } }),
        v1: ("cpu", "cpu.cfs_burst_us", "20000"),
        v2: ("cpu", "cpu.max.burst", "20000"),
    },
    Row {
        name: "cpu-idle",
        resources: || json!({ "cpu": { "idle": 1 } }),
        v1: ("cpu", "cpu.idle", "1"),
        v2: ("cpu", "cpu.idle", "1"),
    },
    Row {
        name: "network-priorities",
        resources: || json!({ "network": { "priorities": [{ "name": "lo", "priority": 5 }] } }),
        v1: ("net_prio", "net_prio.ifpriomap", "lo 5"),
        v2: ("net_prio", "", ""),
    },
    Row {
        name: "network-class-id",
        resources: || json!({ "network": { "classID": 1_048_577 } }),
        v1: ("net_cls", "net_cls.classid", "1048577"),
        v2: ("net_cls", "", ""),
    },
    Row {
        name: "hugepage-limit",
        resources: || json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
        v1: ("hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"),
        v2: ("hugetlb", "hugetlb.2MB.max", "4194304"),
    },
    Row {
        name: "unified",
        resources: || json!({ "unified": { "memory.high": "134217728" } }),
        v1: ("", "", ""),
        v2: ("memory", "memory.high", "134217728"),
    },
];

/// Files that this kernel may lack; the root cgroup shows whether it does.
const OPTIONAL: &[&str] = &["blkio.weight", "memory.memsw.limit_in_bytes", "cpu.cfs_burst_us", "cpu.idle"];

/// The kernel that has a file of v2 first; the root cgroup has none of them.
const LATE: &[(&str, Need)] =
    &[("cpu.max.burst", Need::Kernel(5, 14, "cpu.max.burst")), ("cpu.idle", Need::Kernel(5, 15, "cpu.idle"))];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for row in ROWS {
        if !row.v1.1.is_empty() {
            let file = Need::CgroupV1File(row.v1.0, row.v1.1);
            let need = if OPTIONAL.contains(&row.v1.1) { file } else { Need::CgroupV1(row.v1.0) };
            cases.push(resource(row, "v1", row.v1, need));
        }
        if !row.v2.1.is_empty() {
            let mut case = resource(row, "v2", row.v2, Need::CgroupV2(row.v2.0));
            case.needs
                .extend(LATE.iter().filter(|(file, _)| *file == row.v2.1).map(|(_, need)| need.clone()));
            cases.push(case);
        }
    }
    [cases, refused()].into_iter().flatten().collect()
}

fn resource(
    row: &'static Row,
    version: &str,
    (controller, file, want): (&'static str, &'static str, &'static str),
    need: Need,
) -> Case {
    case(format!("cgroups/{version}-{}", row.name))
        .spec(format!(
            "You can configure a container's cgroups via the `resources` field of the Linux \
             configuration: {}",
            (row.resources)()
        ))
        .needs(need)
        .run(move |t| {
            t.set("/linux/resources", (row.resources)()).create()?;
            let path = t.cgroup(controller)?.join(file);
            let text = fs::read_to_string(&path)?;
            let is = |line: &str| want.split('|').any(|want| line == want);
            let there = text.lines().any(|line| is(line) || line.contains(want) && want.contains([':', '=']));
            ensure!(there, "{}: {text:?}, want {want:?}", path.display());
            Ok(())
        })
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, pointer, value) in [
        ("memory-negative", "/linux/resources/memory/limit", json!(-5)),
        ("cpus-nonsense", "/linux/resources/cpu/cpus", json!("x")),
        ("cpus-too-many", "/linux/resources/cpu/cpus", json!("4000")),
        ("mems-nonsense", "/linux/resources/cpu/mems", json!("x")),
        ("quota-too-small", "/linux/resources/cpu/quota", json!(1)),
        ("hugepage-size", "/linux/resources/hugepageLimits", json!([{ "pageSize": "../../x", "limit": 1 }])),
        ("device-access", "/linux/resources/devices", json!([{ "allow": true, "access": "xyz" }])),
        ("device-type", "/linux/resources/devices", json!([{ "allow": true, "type": "q", "access": "rwm" }])),
        ("swappiness", "/linux/resources/memory/swappiness", json!(1000)),
    ] {
        cases.push(
            case(format!("cgroups/refused-{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .needs(Need::Controller("memory"))
                .run(move |t| t.set(pointer, value.clone()).refused().map(drop)),
        );
    }
    for (name, key) in
        [("unknown-controller", "nosuch.max"), ("dots", "../../cgroup.procs"), ("slash", "a/../b")]
    {
        cases.push(
            case(format!("cgroups/unified-{name}"))
                .spec(
                    "The runtime MUST generate an error when the configuration refers to a cgroup \
                     controller that is not present or that cannot be enabled.",
                )
                .run(move |t| {
                    t.set(
                        "/linux/resources/unified",
                        Value::Object([(key.to_owned(), json!("1"))].into_iter().collect()),
                    );
                    t.refused().map(drop)
                }),
        );
    }
    cases.push(
        case("cgroups/path-above-the-mount")
            .security("A91", "a cgroupsPath with `..` does not leave the hierarchy")
            .run(|t| {
                let path = format!("../../../../{}", t.id);
                t.set("/linux/cgroupsPath", path).try_create()?;
                ensure!(
                    !fs::exists(format!("/sys/fs/cgroup/{}", t.id))? && !fs::exists(format!("/{}", t.id))?,
                    "a directory beside the hierarchies"
                );
                Ok(())
            }),
    );
    cases.push(
        case("cgroups/intel-rdt-without-resctrl")
            .spec(
                "If no mounted `resctrl` pseudo-filesystem is available in the runtime mount \
                 namespace, the runtime MUST generate an error.",
            )
            .needs(Need::NoFile("/sys/fs/resctrl/schemata"))
            .run(|t| {
                t.set("/linux/intelRdt", json!({ "closID": "group", "memBwSchema": "MB:0=20" }))
                    .refused()
                    .map(drop)
            }),
    );
    cases
}
