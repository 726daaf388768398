//! runc's systemd driver, `--systemd-cgroup`.

use std::process::Command;

use serde_json::{Value, json};

use crate::call::Answer;
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let running = || Need::File("/run/systemd/private");
    vec![
        case("systemd/scope")
            .runc("cgroupsPath slice:prefix:name is the scope prefix-name.scope in the nested slice")
            .needs(running())
            .run(|t| {
                create(t, &format!("crust-tests.slice:spec:{}", t.id), json!({}))?.succeeded()?;
                let unit = format!("spec-{}.scope", t.id);
                let want = format!("/crust.slice/crust-tests.slice/{unit}");
                equal("cgroup", property(&unit, "ControlGroup")?, want)?;
                equal("slice", property(&unit, "Slice")?.as_str(), "crust-tests.slice")?;
                equal("delegated", property(&unit, "Delegate")?.as_str(), "yes")
            }),
        case("systemd/other-commands-need-no-flag")
            .runc("the driver is remembered: podman passes the flag to create only")
            .needs(running())
            .run(|t| {
                create(t, &format!("crust-tests.slice:spec:{}", t.id), json!({}))?.succeeded()?;
                t.start()?;
                for verb in ["pause", "resume"] {
                    t.verb(verb)?.succeeded()?;
                }
                let unit = format!("spec-{}.scope", t.id);
                t.finish()?;
                equal("the unit", property(&unit, "ActiveState")?.as_str(), "inactive")
            }),
        case("systemd/resources")
            .runc("limits are properties of the unit, so that a reload does not take them back")
            .needs_all(&[running(), Need::CgroupV2("memory")])
            .run(|t| {
                let resources = json!({
                    "memory": { "limit": 67_108_864 }, "pids": { "limit": 50 },
                    "cpu": { "quota": 50_000, "period": 200_000, "cpus": "0" },
                    "devices": [{ "allow": false, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }],
                });
                create(t, &format!("crust-tests.slice:spec:{}", t.id), resources)?.succeeded()?;
                let unit = format!("spec-{}.scope", t.id);
                for (name, want) in [
                    ("MemoryMax", "67108864"),
                    ("TasksMax", "50"),
                    ("CPUQuotaPerSecUSec", "250ms"),
                    ("AllowedCPUs", "0"),
                    ("DevicePolicy", "strict"),
                ] {
                    equal(name, property(&unit, name)?.as_str(), want)?;
                }
                let devices = property(&unit, "DeviceAllow")?;
                ensure!(devices.contains("/dev/char/10:229 rw"), "DeviceAllow: {devices}");
                let id = t.id.clone();
                t.call(&["update", "--pids-limit", "60", "--memory", "100m", &id])?.succeeded()?;
                equal("TasksMax", property(&unit, "TasksMax")?.as_str(), "60")?;
                equal("MemoryMax", property(&unit, "MemoryMax")?.as_str(), "104857600")
            }),
        case("systemd/annotation")
            .runc("org.systemd.property.* annotations set properties of the unit")
            .needs(running())
            .run(|t| {
                t.set("/annotations", json!({ "org.systemd.property.TimeoutStopUSec": "uint64 3000000" }));
                create(t, &format!("crust-tests.slice:spec:{}", t.id), json!({}))?.succeeded()?;
                equal("time", property(&format!("spec-{}.scope", t.id), "TimeoutStopUSec")?.as_str(), "3s")
            }),
        case("systemd/no-scope")
            .runc("a path that is not slice:prefix:name is refused")
            .needs(running())
            .run(|t| {
                create(t, "/a/b", json!({}))?.refused_with(&["slice:prefix:name"])?;
                t.nothing_left("after the refusal")
            }),
        case("systemd/absent")
            .runc("without systemd the driver says so")
            .needs(Need::NoFile("/run/systemd"))
            .run(|t| {
                create(t, "a.slice:b:c", json!({}))?.refused_with(&["systemd"])?;
                t.nothing_left("after the refusal")
            }),
    ]
}

fn create(t: &mut Trial, path: &str, resources: Value) -> Verdict<Answer> {
    t.set("/linux/cgroupsPath", path).set("/linux/resources", resources).probe(&["quiet", "hang"]);
    t.write_config()?;
    let (bundle, pid_file, id) = (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
    let arguments = ["--systemd-cgroup", "create", "--bundle", &bundle, "--pid-file", &pid_file, &id];
    let (command, streams) = (t.command(&arguments), t.container_streams());
    t.execute_with(command, &streams)
}

fn property(unit: &str, name: &str) -> Verdict<String> {
    let output = Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
