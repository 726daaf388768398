//! runc's systemd driver, `--systemd-cgroup`.

use std::fs;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::call::Answer;
use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::in_force::LoopDevice;
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
        case("systemd/rates-and-idle")
            .runc("rates of devices and idle are properties as well, and a reload changes nothing")
            .needs_all(&[running(), Need::CgroupV2("io"), Need::CgroupV2("cpu"), Need::Program("losetup")])
            .needs(Need::Kernel(5, 15, "cpu.idle"))
            .run(|t| {
                let disk = LoopDevice::new(t)?;
                let rate = |rate: i64| json!([{ "major": 7, "minor": disk.minor(), "rate": rate }]);
                let resources = json!({
                    "blockIO": { "throttleReadBpsDevice": rate(1 << 20), "throttleWriteIOPSDevice": rate(50) },
                    "cpu": { "idle": 1, "quota": 33_333, "period": 100_000 }, "pids": { "limit": 50 },
                    "unified": { "memory.high": "50331648", "memory.min": "1048576" },
                });
                create(t, &format!("crust-tests.slice:spec:{}", t.id), resources)?.succeeded()?;
                let (unit, device) = (format!("spec-{}.scope", t.id), format!("/dev/block/7:{}", disk.minor()));
                for (name, want) in [
                    ("IOReadBandwidthMax", format!("{device} 1048576")),
                    ("IOWriteIOPSMax", format!("{device} 50")),
                    ("CPUWeight", "idle".to_owned()),
                    ("MemoryHigh", "50331648".to_owned()),
                    ("MemoryMin", "1048576".to_owned()),
                ] {
                    equal(name, property(&unit, name)?, want)?;
                }
                let before = limits(t)?;
                for (file, want) in [("cpu.idle", "1"), ("cpu.max", "33333 100000"), ("pids.max", "50")] {
                    equal(file, before[file].as_str(), Some(want))?;
                }
                let rates = before["io.max"].as_str().unwrap_or_default();
                ensure!(rates.contains("rbps=1048576") && rates.contains("wiops=50"), "io.max: {rates}");
                ensure!(Command::new("systemctl").arg("daemon-reload").status()?.success(), "no reload");
                let mut after = limits(t)?;
                // systemd counts in whole percents.
                if after["cpu.max"] == "34000 100000" {
                    after["cpu.max"] = before["cpu.max"].clone();
                }
                equal("the files after a reload", after, before.clone())
            }),
        case("systemd/annotation")
            .runc("org.systemd.property.* annotations set properties of the unit")
            .needs(running())
            .run(|t| {
                t.set("/annotations", json!({ "org.systemd.property.TimeoutStopUSec": "uint64 3000000" }));
                create(t, &format!("crust-tests.slice:spec:{}", t.id), json!({}))?.succeeded()?;
                equal("time", property(&format!("spec-{}.scope", t.id), "TimeoutStopUSec")?.as_str(), "3s")
            }),
        case("systemd/through-the-bus")
            .runc("where systemd's own socket is not to be had, the bus is asked")
            .needs_all(&[running(), Need::File("/run/dbus/system_bus_socket"), Need::Controller("pids")])
            .run(|t| {
                let none = None::<&str>;
                mount(none, "/run/systemd", Some("tmpfs"), MsFlags::empty(), none)?;
                t.accept_mounts();
                t.under_systemd().set("/linux/resources/pids/limit", 17).running(&["stat:/"])?;
                equal("pids.max", fs::read_to_string(t.cgroup("pids")?.join("pids.max"))?.as_str(), "17\n")?;
                let id = t.id.clone();
                t.call(&["update", "--pids-limit", "18", &id])?.succeeded()?;
                equal("pids.max", fs::read_to_string(t.cgroup("pids")?.join("pids.max"))?.as_str(), "18\n")
            }),
        case("systemd/scope-of-another")
            .runc("a scope that another container has is refused, and the other container lives on")
            .needs(running())
            .run(|t| {
                let path = format!("crust-tests.slice:spec:{}", t.id);
                create(t, &path, json!({}))?.succeeded()?;
                t.start()?;
                let (bundle, second) = (t.bundle().display().to_string(), format!("{}-second", t.id));
                let command = t.command(&["--systemd-cgroup", "create", "--bundle", &bundle, &second]);
                t.execute_with(command, &t.container_streams())?.refused()?;
                let unit = format!("spec-{}.scope", t.id);
                equal("the unit", property(&unit, "ActiveState")?.as_str(), "active")?;
                equal("status", t.state()?["status"].as_str(), Some("running"))
            }),
        case("systemd/frozen-place")
            .runc("a cgroup that is frozen before is refused, and stays as it is")
            .needs_all(&[running(), Need::CgroupV2("")])
            .run(|t| {
                let unit = format!("spec-{}.scope", t.id);
                let place = format!("/sys/fs/cgroup/crust.slice/crust-tests.slice/{unit}");
                fs::create_dir_all(&place)?;
                fs::write(format!("{place}/cgroup.freeze"), "1")?;
                let answer = create(t, &format!("crust-tests.slice:spec:{}", t.id), json!({}))?;
                let frozen = fs::read_to_string(format!("{place}/cgroup.freeze"));
                fs::remove_dir(&place).ok();
                answer.refused_with(&["frozen"])?;
                equal("frozen", frozen?.as_str(), "1\n")
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

/// What stands in the files of the container's cgroup.
fn limits(t: &Trial) -> Verdict<Value> {
    let directory = t.cgroup("cpu")?;
    let files = ["cpu.idle", "cpu.max", "cpu.weight", "pids.max", "io.max", "memory.high", "memory.min"];
    let text = |file: &str| fs::read_to_string(directory.join(file)).map(|text| text.trim().to_owned());
    files.iter().map(|file| Ok(((*file).to_owned(), json!(text(file)?)))).collect()
}

fn property(unit: &str, name: &str) -> Verdict<String> {
    let output = Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
