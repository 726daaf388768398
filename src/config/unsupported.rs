//! Fields of the spec that this version does not apply. Each is refused where it asks for something: a container that
//! silently lacks what its config says is worse than none.

use oci_spec::runtime::{Linux, Process};

use crate::error::Problems;

/// Refuse what is asked for and not done.
pub fn refuse(process: Option<&Process>, linux: Option<&Linux>) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let fields = process.into_iter().flat_map(of_process).chain(linux.into_iter().flat_map(of_linux));
    for (field, _) in fields.filter(|(_, asked_for)| *asked_for) {
        problems.add(field, "not supported by this version of crust");
    }
    problems.or(())
}

fn of_process(process: &Process) -> [(&'static str, bool); 3] {
    let affinity = process.exec_cpu_affinity().as_ref();
    [
        ("process.scheduler", process.scheduler().is_some()),
        ("process.ioPriority", process.io_priority().is_some()),
        (
            "process.execCPUAffinity",
            affinity.is_some_and(|a| a.initial().is_some() || a.cpu_affinity_final().is_some()),
        ),
    ]
}

fn of_linux(linux: &Linux) -> [(&'static str, bool); 3] {
    [
        ("linux.memoryPolicy", linux.memory_policy().is_some()),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.netDevices", linux.net_devices().as_ref().is_some_and(|links| !links.is_empty())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_is_refused_by_name_and_never_ignored() {
        let process: Process = serde_json::from_value(json!({
            "cwd": "/", "user": {"uid": 0, "gid": 0},
            "scheduler": {"policy": "SCHED_BATCH"},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
            "execCPUAffinity": {"initial": "0"},
        }))
        .unwrap();
        let linux: Linux = serde_json::from_value(json!({
            "memoryPolicy": {"mode": "MPOL_LOCAL"},
            "intelRdt": {"closID": "a"},
            "netDevices": {"eth0": {}},
        }))
        .unwrap();
        let text = refuse(Some(&process), Some(&linux)).unwrap_err().to_string();
        let fields = ["process.scheduler", "process.ioPriority", "process.execCPUAffinity"];
        let fields = fields.iter().chain(&["linux.memoryPolicy", "linux.intelRdt", "linux.netDevices"]);
        let expected: Vec<_> =
            fields.map(|f| format!("{f}: not supported by this version of crust")).collect();
        assert_eq!(text, expected.join("; "));
    }

    #[test]
    fn what_is_absent_or_empty_asks_for_nothing() {
        let linux: Linux = serde_json::from_value(json!({"netDevices": {}, "intelRdt": null})).unwrap();
        assert_eq!(refuse(None, Some(&linux)), Ok(()));
        assert_eq!(refuse(None, None), Ok(()));
    }
}
