//! Limits of cgroups in force, and the commands that work on a cgroup: not what a file says, but what becomes of a
//! process that goes beyond it. Each row is tried with the runtime's own cgroup, with a scope of systemd's, and by an
//! ordinary user in a cgroup that was delegated to it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::events::{heard, listen};
use crate::suite::exec;
use crate::trial::{Trial, did, did_is, is, slowness, until};
use crate::verdict::{Verdict, equal, failed, skipped};

const RESOURCES: &str = "You can configure a container's cgroups via the `resources` field of the Linux \
    configuration.";

/// What is tried, the controller that it needs, and what else.
type Row = (&'static str, &'static str, &'static [Need], fn(&mut Trial) -> Verdict);

const ROWS: &[Row] = &[
    ("memory-kills", "memory", &[], memory_kills),
    ("memory-suffices", "memory", &[], memory_suffices),
    ("cpu-quota-is-the-share", "cpu", &[], quota_is_the_share),
    ("cpuset-is-the-affinity", "cpuset", &[Need::File("/sys/devices/system/cpu/cpu1")], affinity),
    ("pids-stops-a-fork", "pids", &[], pids_stops_a_fork),
    ("update-memory", "memory", &[Need::Verb("update")], update_memory),
    ("update-pids", "pids", &[Need::Verb("update")], update_pids),
    ("update-cpu", "cpu", &[Need::Verb("update")], update_cpu),
    ("pause-and-resume", "cpu", &[], pause_and_resume),
    ("delete-paused", "memory", &[], delete_paused),
    ("kill-all", "pids", &[], kill_all),
    ("ps", "pids", &[Need::Verb("ps")], ps),
    ("events-stats", "memory", &[Need::Verb("events")], events_stats),
    ("events-oom", "memory", &[Need::Verb("events"), Need::Verb("exec")], events_oom),
];

/// Of root alone.
const ROOTS_ROWS: &[Row] = &[
    ("read-rate-of-a-device", "blkio", &[Need::Program("losetup")], read_rate),
    ("huge-pages", "hugetlb", &[], huge_pages),
    ("devices", "devices", &[Need::File("/sys/fs/fuse")], devices),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let rows = || ROWS.iter().chain(ROOTS_ROWS);
    let own = rows().map(|&(name, controller, needs, run)| {
        let draft = case(format!("limits/{name}")).spec(RESOURCES).needs_all(needs);
        draft.needs(Need::Controller(controller)).run(run)
    });
    let systemds = rows().map(|&(name, controller, needs, run)| {
        let draft = case(format!("limits/systemd-{name}")).spec(RESOURCES).needs_all(needs);
        let draft = draft.needs(Need::Controller(controller)).needs(Need::File("/run/systemd/private"));
        draft.run(move |t| run(t.under_systemd()))
    });
    own.chain(systemds).collect()
}

/// The same for an ordinary user, whose container `prepare` describes.
pub fn delegated_cases(prepare: fn(&mut Trial) -> Verdict) -> Vec<Case> {
    let case = |&(name, controller, needs, run): &Row| {
        let draft = case(format!("rootless/delegated-{name}")).spec(RESOURCES).needs_all(needs);
        draft.needs(Need::Delegated(controller)).run(move |t| {
            prepare(t)?;
            run(t)
        })
    };
    ROWS.iter().map(case).collect()
}

fn memory_kills(t: &mut Trial) -> Verdict {
    let limit = 32 << 20;
    t.set("/linux/resources/memory", json!({ "limit": limit, "swap": swap(t, limit) }));
    t.probe(&["allocate:128"]).create()?;
    t.start()?;
    equal("exit status of a process over its limit", t.wait()?, 137)
}

fn memory_suffices(t: &mut Trial) -> Verdict {
    let facts = t.set("/linux/resources/memory/limit", 64 << 20).facts_of(&["allocate:16"])?;
    did_is(&facts, "allocate:16", "ok")
}

/// Memory and swap together: no swap at all, where the kernel accounts it.
fn swap(t: &Trial, limit: i64) -> Option<i64> {
    let v1 =
        t.host.hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == "memory"));
    v1.is_none_or(|v1| v1.mount.join("memory.memsw.limit_in_bytes").exists()).then_some(limit)
}

fn pids_stops_a_fork(t: &mut Trial) -> Verdict {
    let facts = t.set("/linux/resources/pids/limit", 6).facts_of(&["spawn:10"])?;
    did_is(&facts, "spawn:10", json!({ "spawned": 5, "error": "EAGAIN" }))
}

fn quota_is_the_share(t: &mut Trial) -> Verdict {
    t.set("/linux/resources/cpu", json!({ "quota": 20_000, "period": 100_000 }));
    spin(t)?;
    share_is(t, 20)
}

fn update_cpu(t: &mut Trial) -> Verdict {
    spin(t)?;
    let id = t.id.clone();
    t.call(&["update", "--cpu-period", "50000", "--cpu-quota", "15000", &id])?.succeeded()?;
    share_is(t, 30)
}

/// A busy loop, for longer than it is looked at.
fn spin(t: &mut Trial) -> Verdict {
    t.probe(&[&format!("spin:{}", 15_000 * slowness())]).create()?;
    t.start()
}

/// The busy loop gets this share of a CPU, in percent, within two points. Where it gets less, and was seldom stopped by its
/// quota, others have had the CPU. So they have where we have been kept waiting for as long as half a period: the kernel
/// counts a period that was missed, and the loop as stopped in it, and gives its quota only once.
fn share_is(t: &Trial, want: u128) -> Verdict {
    let mut most = 0;
    for _ in 0..3 {
        let (begin, before, (times_before, periods_before)) =
            (Instant::now(), nanoseconds(t)?, throttled(t)?);
        let late = longest_wait(begin + Duration::from_secs(3));
        let share = ((nanoseconds(t)? - before) * 1000 / begin.elapsed().as_nanos() + 5) / 10;
        let (times, periods) = throttled(t)?;
        let (times, periods) = (times - times_before, periods - periods_before);
        let story = format!(
            "a busy loop with a quota of {want} % of a CPU has used {share} %, stopped in {times} of {periods} periods"
        );
        ensure!(share <= want + 2, "{story}");
        if share + 2 >= want {
            return Ok(());
        }
        ensure!(times * 10 < periods * 9 || late > Duration::from_millis(50), "{story}");
        most = most.max(share);
    }
    skipped(format!("this machine is too busy to give a process {want} % of a CPU: it got {most} %"))
}

/// Sleep until then, and see how long it takes at most to be woken again.
fn longest_wait(end: Instant) -> Duration {
    let mut longest = Duration::ZERO;
    while Instant::now() < end {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(5));
        longest = longest.max(begin.elapsed());
    }
    longest
}

/// What the container has used of CPUs.
fn nanoseconds(t: &Trial) -> Verdict<u128> {
    let v1 = t.cgroup("cpuacct")?.join("cpuacct.usage");
    if v1.exists() {
        return Ok(fs::read_to_string(v1)?.trim().parse()?);
    }
    let text = fs::read_to_string(t.cgroup("cpu")?.join("cpu.stat"))?;
    Ok(u128::from(number(&text, "usage_usec")) * 1000)
}

/// In how many periods the quota was met, and how many there were.
fn throttled(t: &Trial) -> Verdict<(u64, u64)> {
    let text = fs::read_to_string(t.cgroup("cpu")?.join("cpu.stat"))?;
    Ok((number(&text, "nr_throttled"), number(&text, "nr_periods")))
}

fn number(text: &str, key: &str) -> u64 {
    let lines = || text.lines().filter_map(|line| line.split_once(' '));
    lines().find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

fn affinity(t: &mut Trial) -> Verdict {
    for cpu in ["0", "1"] {
        is(&t.set("/linux/resources/cpu/cpus", cpu).running(&["stat:/"])?, "/cpus", cpu)?;
        is(&exec::facts(t, &[], &[])?, "/cpus", cpu)?;
        t.finish()?;
    }
    Ok(())
}

fn update_memory(t: &mut Trial) -> Verdict {
    t.probe(&["await:/tmp/go", "allocate:128"]).create()?;
    t.start()?;
    let limit = 32 << 20;
    let change = t.work.join("change");
    fs::write(&change, json!({ "memory": { "limit": limit, "swap": swap(t, limit) } }).to_string())?;
    let (id, change) = (t.id.clone(), change.display().to_string());
    t.call(&["update", "--resources", &change, &id])?.succeeded()?;
    fs::write(t.rootfs().join("tmp/go"), "")?;
    equal("exit status of a process over its new limit", t.wait()?, 137)
}

fn update_pids(t: &mut Trial) -> Verdict {
    t.set("/linux/resources/pids/limit", 60).probe(&["await:/tmp/go", "spawn:10"]).create()?;
    t.start()?;
    let id = t.id.clone();
    t.call(&["update", "--pids-limit", "6", &id])?.succeeded()?;
    fs::write(t.rootfs().join("tmp/go"), "")?;
    t.wait()?;
    did_is(&t.told()?, "spawn:10", json!({ "spawned": 5, "error": "EAGAIN" }))
}

fn pause_and_resume(t: &mut Trial) -> Verdict {
    spin(t)?;
    let advance = |t: &Trial| {
        let before = nanoseconds(t)?;
        std::thread::sleep(Duration::from_millis(300) * slowness());
        Ok::<_, crate::verdict::Stop>(nanoseconds(t)? - before)
    };
    ensure!(advance(t)? > 1_000_000, "a busy loop does nothing");
    t.verb("pause")?.succeeded()?;
    equal("status", t.status()?, "paused")?;
    // The kernel says frozen a moment before the last task has left its CPU.
    until("a paused container to use no time", || advance(t).is_ok_and(|used| used == 0))?;
    t.verb("resume")?.succeeded()?;
    equal("status", t.status()?, "running")?;
    ensure!(advance(t)? > 1_000_000, "a busy loop does nothing after resume");
    Ok(())
}

fn delete_paused(t: &mut Trial) -> Verdict {
    t.running(&["stat:/"])?;
    t.verb("pause")?.succeeded()?;
    t.finish()
}

/// The signal is one that init, which has not asked for it, does not get from outside of its pid namespace.
fn kill_all(t: &mut Trial) -> Verdict {
    t.probe(&["background:/spec-probe", "hang"]).create()?;
    t.start()?;
    until("two processes", || processes(t).is_ok_and(|pids| pids.len() == 2))?;
    let init = t.pid()?;
    let Some(other) = processes(t)?.into_iter().find(|&pid| pid != init) else {
        return failed("one process");
    };
    let id = t.id.clone();
    t.call(&["kill", "--all", &id, "TERM"])?.succeeded()?;
    until("the end of the other", || {
        let stat = fs::read_to_string(format!("/proc/{other}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    })?;
    equal("status", t.status()?, "running")
}

fn processes(t: &Trial) -> Verdict<BTreeSet<i32>> {
    let text = fs::read_to_string(t.cgroup("pids")?.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn ps(t: &mut Trial) -> Verdict {
    t.probe(&["background:/spec-probe", "hang"]).create()?;
    t.start()?;
    until("two processes", || processes(t).is_ok_and(|pids| pids.len() == 2))?;
    let id = t.id.clone();
    let answer = t.call(&["ps", "--format", "json", &id])?.succeeded()?;
    let listed: BTreeSet<i32> = serde_json::from_str(&answer.stdout).unwrap_or_default();
    equal("processes", listed, processes(t)?)
}

fn events_stats(t: &mut Trial) -> Verdict {
    t.set("/linux/resources/memory/limit", 128 << 20);
    t.running(&["allocate:1"])?;
    let id = t.id.clone();
    let answer = t.call(&["events", "--stats", &id])?.succeeded()?;
    let event: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let data = &event["data"];
    equal("memory.usage.limit", data["memory"]["usage"]["limit"].as_u64(), Some(128 << 20))?;
    equal("pids.current", data["pids"]["current"].as_u64(), Some(1))?;
    for pointer in ["/memory/usage/usage", "/cpu/usage/total"] {
        let value = data.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        ensure!(value > 0, "{pointer} is {value} in {data}");
    }
    Ok(())
}

fn events_oom(t: &mut Trial) -> Verdict {
    let limit = 32 << 20;
    t.set("/linux/resources/memory", json!({ "limit": limit, "swap": swap(t, limit) }));
    t.running(&["stat:/"])?;
    let mut events = listen(t)?;
    until("a line", || heard(t, "stats") >= 1)?;
    // Not of init: with it systemd removes the cgroup, and v2 tells nobody any more what has happened there.
    equal("exit status", exec::exec(t, &[], &["/spec-probe", "allocate:128"])?.code, 137)?;
    until("the event", || heard(t, "oom") >= 1)?;
    // Of runc only once the cgroup is gone.
    t.finish()?;
    until("the end of events", || events.try_wait().is_ok_and(|status| status.is_some()))
}

/// A loop device of four mebibytes, which goes when it is closed.
pub(super) struct LoopDevice(String);

impl LoopDevice {
    pub(super) fn new(t: &Trial) -> Verdict<Self> {
        let file = t.path("disk");
        fs::write(&file, vec![0; 4 << 20])?;
        let output = Command::new("losetup").args(["--find", "--show", &file]).output()?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self(path))
    }

    /// Its number.
    pub(super) fn minor(&self) -> i64 {
        self.0.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(-1)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        Command::new("losetup").args(["--detach", &self.0]).status().ok();
    }
}

/// On v1, when its first unit begins to use blkio and when the last one ends, systemd moves all processes of the machine there
/// to cgroups of its own. Then it is tried again.
fn read_rate(t: &mut Trial) -> Verdict {
    let disk = LoopDevice::new(t)?;
    let minor = disk.minor();
    let node = json!({ "type": "b", "path": "/dev/disk", "major": 7, "minor": minor });
    t.push("/linux/devices", node);
    let rule = json!({ "allow": true, "type": "b", "major": 7, "minor": minor, "access": "r" });
    t.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }, rule]));
    let rate = json!([{ "major": 7, "minor": minor, "rate": 1 << 20 }]);
    t.set("/linux/resources/blockIO", json!({ "throttleReadBpsDevice": rate }));
    for _ in 0..3 {
        let facts = t.running(&["read-direct:/dev/disk:3072"])?;
        let took = did(&facts, "read-direct:/dev/disk:3072");
        let most = 6000 * u64::from(slowness());
        if took.as_u64().is_some_and(|ms| (2000..most).contains(&ms)) {
            return Ok(());
        }
        let cgroup = t.cgroup("blkio")?;
        let is_in_it = cgroup.to_string_lossy().contains(&t.id);
        ensure!(!is_in_it, "three mebibytes at one per second: {took} ms, in {}", cgroup.display());
        t.finish()?;
    }
    failed("three times the process was not in its cgroup of the controller blkio")
}

/// Depending on the kernel, the limit is met when pages are reserved or when they are written to.
fn huge_pages(t: &mut Trial) -> Verdict {
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() || free_huge_pages() < 4 {
        return skipped("this machine has no four free huge pages (sysctl vm.nr_hugepages)");
    }
    t.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }]));
    did_is(&t.facts_of(&["huge:2"])?, "huge:2", "ok")?;
    t.finish()?;
    t.probe(&["huge:3"]).create()?;
    t.start()?;
    match t.wait()? {
        status if status == 128 + libc::SIGBUS => Ok(()),
        _ => did_is(&t.told()?, "huge:3", "ENOMEM"),
    }
}

fn free_huge_pages() -> u64 {
    let text = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    text.unwrap_or_default().trim().parse().unwrap_or(0)
}

/// 10:229 is /dev/fuse and 10:237 /dev/loop-control: they are not among the default devices.
fn devices(t: &mut Trial) -> Verdict {
    for (path, minor) in [("/dev/listed", 229), ("/dev/other", 237)] {
        let node = json!({ "type": "c", "path": path, "major": 10, "minor": minor, "fileMode": 0o666 });
        t.push("/linux/devices", node);
    }
    let rule = json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "r" });
    t.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }, rule]));
    let outcomes = [
        ("open:/dev/listed:r", "ok"),
        ("open:/dev/listed:w", "EPERM"),
        ("open:/dev/other:r", "EPERM"),
        ("open:/dev/full:rw", "ok"),
        ("mknod:/dev/new:c:10:229", "ok"),
    ];
    let facts = t.facts_of(&outcomes.map(|(argument, _)| argument))?;
    outcomes.iter().try_for_each(|(argument, want)| did_is(&facts, argument, *want))
}
