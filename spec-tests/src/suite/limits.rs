//! Limits in force: not what a file says, but what becomes of a process that goes beyond it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, did, did_is, is};
use crate::verdict::{Verdict, equal};

const RESOURCES: &str = "You can configure a container's cgroups via the `resources` field of the Linux \
    configuration.";
const RLIMITS: &str = "`rlim.rlim_cur` MUST match the configured value. `rlim.rlim_max` MUST match the \
    configured value.";
const APPARMOR: &str = "**`apparmorProfile`** (string, OPTIONAL) specifies the name of the AppArmor profile \
    for the process.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [memory_and_processes(), cpu(), block_io(), rlimits(), apparmor()].into_iter().flatten().collect()
}

fn memory_and_processes() -> Vec<Case> {
    vec![
        case("limits/memory-kills").spec(RESOURCES).needs(Need::Controller("memory")).run(|t| {
            let limit = 32 << 20;
            t.set("/linux/resources/memory", json!({ "limit": limit, "swap": swap(t, limit) }));
            t.probe(&["allocate:128"]).create()?;
            t.start()?;
            equal("exit status of a process over its limit", t.wait()?, 137)
        }),
        case("limits/memory-suffices").spec(RESOURCES).needs(Need::Controller("memory")).run(|t| {
            let facts = t.set("/linux/resources/memory/limit", 64 << 20).facts_of(&["allocate:16"])?;
            did_is(&facts, "allocate:16", "ok")
        }),
        case("limits/pids-stops-a-fork").spec(RESOURCES).needs(Need::Controller("pids")).run(|t| {
            let facts = t.set("/linux/resources/pids/limit", 6).facts_of(&["spawn:10"])?;
            did_is(&facts, "spawn:10", json!({ "spawned": 5, "error": "EAGAIN" }))
        }),
    ]
}

/// Memory and swap together: no swap at all, where the kernel accounts it.
fn swap(t: &Trial, limit: i64) -> Option<i64> {
    let v1 =
        t.host.hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == "memory"));
    v1.is_none_or(|v1| v1.mount.join("memory.memsw.limit_in_bytes").exists()).then_some(limit)
}

fn cpu() -> Vec<Case> {
    vec![
        case("limits/cpu-quota-is-the-share").spec(RESOURCES).needs(Need::Controller("cpu")).run(|t| {
            t.set("/linux/resources/cpu", json!({ "quota": 20_000, "period": 100_000 }));
            t.probe(&["spin:3000"]).create()?;
            let (v1, v2) = (t.cgroup("cpuacct")?.join("cpuacct.usage"), t.cgroup("cpu")?.join("cpu.stat"));
            let used = || if v1.exists() { nanoseconds_v1(&v1) } else { nanoseconds_v2(&v2) };
            let (begin, before) = (Instant::now(), used()?);
            t.start()?;
            t.wait()?;
            let share = (used()? - before) * 100 / begin.elapsed().as_nanos();
            // A busy machine may give it less; a period that has begun may give it a little more.
            ensure!(
                (12..=22).contains(&share),
                "a busy loop with a quota of 20 % of a CPU has used {share} %"
            );
            Ok(())
        }),
        case("limits/cpuset-is-the-affinity")
            .spec(RESOURCES)
            .needs(Need::Controller("cpuset"))
            .needs(Need::File("/sys/devices/system/cpu/cpu1"))
            .run(|t| {
                for cpu in ["0", "1"] {
                    is(&t.set("/linux/resources/cpu/cpus", cpu).facts()?, "/cpus", cpu)?;
                    t.finish()?;
                }
                Ok(())
            }),
    ]
}

fn nanoseconds_v1(file: &Path) -> Verdict<u128> {
    Ok(fs::read_to_string(file)?.trim().parse()?)
}

fn nanoseconds_v2(file: &Path) -> Verdict<u128> {
    let text = fs::read_to_string(file)?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap_or_default();
    Ok(usage.parse::<u128>()? * 1000)
}

/// A loop device of four mebibytes, which goes when it is closed.
struct LoopDevice(String);

impl LoopDevice {
    fn new(t: &Trial) -> Verdict<Self> {
        let file = t.path("disk");
        fs::write(&file, vec![0; 4 << 20])?;
        let output = Command::new("losetup").args(["--find", "--show", &file]).output()?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self(path))
    }

    fn minor(&self) -> i64 {
        self.0.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(-1)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        Command::new("losetup").args(["--detach", &self.0]).status().ok();
    }
}

fn block_io() -> Vec<Case> {
    vec![
        case("limits/read-rate-of-a-device")
            .spec(RESOURCES)
            .needs(Need::Controller("blkio"))
            .needs(Need::Program("losetup"))
            .run(|t| {
                let disk = LoopDevice::new(t)?;
                let minor = disk.minor();
                let node = json!({ "type": "b", "path": "/dev/disk", "major": 7, "minor": minor });
                t.push("/linux/devices", node);
                let rule = json!({ "allow": true, "type": "b", "major": 7, "minor": minor, "access": "r" });
                t.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }, rule]));
                let rate = json!([{ "major": 7, "minor": minor, "rate": 1 << 20 }]);
                t.set("/linux/resources/blockIO", json!({ "throttleReadBpsDevice": rate }));
                let facts = t.facts_of(&["read-direct:/dev/disk:3072"])?;
                let took = did(&facts, "read-direct:/dev/disk:3072");
                let slow = took.as_u64().is_some_and(|ms| (2000..6000).contains(&ms));
                ensure!(slow, "three mebibytes at one per second: {took} ms");
                Ok(())
            }),
    ]
}

fn rlimits() -> Vec<Case> {
    let names = [("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE), ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING)];
    let above = |(name, number): (&'static str, u32)| {
        case(format!("limits/{name}-above-the-callers"))
            .spec(RLIMITS)
            .needs(Need::Capability(24, "CAP_SYS_RESOURCE"))
            .run(move |t| {
                let hard = crate::sys::limit(number).map_or(0, |(_, hard)| hard) * 2;
                let entry = json!({ "type": name, "soft": hard - 1, "hard": hard });
                let facts = t.set("/process/rlimits", json!([entry])).facts()?;
                is(&facts, &format!("/rlimits/{name}"), json!([hard - 1, hard]))
            })
    };
    names.map(above).into()
}

/// A profile that denies one file, loaded into the kernel until it goes out of scope.
struct Profile {
    name: String,
    file: String,
}

impl Profile {
    fn load(t: &Trial) -> Verdict<Self> {
        let (name, file) = (format!("spec-tests-{}", std::process::id()), t.path("profile"));
        let rules = "file, capability, network, signal, ptrace, unix, mount, deny /tmp/denied rw,";
        let text = format!("profile {name} flags=(attach_disconnected) {{ {rules} }}\n");
        fs::write(&file, text)?;
        let output = Command::new("apparmor_parser").args(["--add", "--skip-cache", &file]).output()?;
        ensure!(output.status.success(), "apparmor_parser: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self { name, file })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        Command::new("apparmor_parser").args(["--remove", &self.file]).status().ok();
    }
}

fn apparmor() -> Vec<Case> {
    let needs = [Need::File("/sys/kernel/security/apparmor"), Need::Program("apparmor_parser")];
    vec![
        case("limits/apparmor-profile-denies").spec(APPARMOR).needs_all(&needs).run(|t| {
            let profile = Profile::load(t)?;
            fs::write(t.rootfs().join("tmp/denied"), "")?;
            fs::write(t.rootfs().join("tmp/allowed"), "")?;
            t.set("/process/apparmorProfile", profile.name.as_str());
            let facts = t.facts_of(&["write:/tmp/allowed", "write:/tmp/denied"])?;
            is(&facts, "/apparmor", format!("{} (enforce)", profile.name))?;
            did_is(&facts, "write:/tmp/allowed", "ok")?;
            did_is(&facts, "write:/tmp/denied", "EACCES")
        }),
        case("limits/apparmor-profile-missing")
            .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
            .needs_all(&needs)
            .run(|t| t.set("/process/apparmorProfile", "spec-tests-no-such-profile").refused().map(drop)),
    ]
}
