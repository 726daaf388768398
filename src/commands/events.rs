//! `events` — statistics and events of a container, a line of JSON each.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cgroup::{Cgroup, OutOfMemory};
use crate::cli::{self, Global};
use crate::commands::{print, runtime_root};
use crate::container::Container;
use crate::container::status::Operation;
use crate::error::{At, Error};
use crate::resctrl::Group;
use crate::sys::proc;
use crate::sys::process::{self, Pid, PollFd, PollFlags};

/// `events`
pub fn run(global: &Global, command: &cli::Events) -> Result<(), Error> {
    let interval = duration(&command.interval)?;
    let (id, dir) = runtime_root::container(global, &command.id)?;
    let container = Container::load(id, dir)?;
    container.allow(Operation::Events)?;
    let cgroup = Cgroup::open(container.state.cgroup.clone())?;
    if command.stats { print_stats(&container, &cgroup) } else { watch(&container, &cgroup, interval) }
}

/// Until the container has stopped.
fn watch(container: &Container, cgroup: &Cgroup, interval: Duration) -> Result<(), Error> {
    let init = container.init.as_ref();
    let pidfd = init.and_then(|init| process::pidfd_open(Pid::from_raw(init.pid)).ok());
    let mut watch = cgroup.watch_out_of_memory()?;
    let mut next = Instant::now() + interval;
    loop {
        // Looked at first: what it died of is still told.
        let ended = !init.is_some_and(|init| init.is_alive());
        if watch.as_mut().is_some_and(OutOfMemory::has_happened) {
            print_event("oom", container, &Value::Null)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            print_stats(container, cgroup)?;
            next += interval;
        }
        let mut polled = Vec::new();
        polled.extend(pidfd.as_ref().map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
        polled.extend(watch.as_ref().map(OutOfMemory::polled).map(|(file, flags)| PollFd::new(file, flags)));
        let rest = next.saturating_duration_since(Instant::now());
        // Without a pidfd (before Linux 5.3) its end is noticed a little later.
        let rest = if pidfd.is_some() { rest } else { rest.min(Duration::from_millis(200)) };
        process::poll(&mut polled, Some(rest)).at("events")?;
    }
}

fn print_stats(container: &Container, cgroup: &Cgroup) -> Result<(), Error> {
    let mut stats = serde_json::to_value(cgroup.stats()).map_err(|e| Error::message(e.to_string()))?;
    stats["intel_rdt"] = json!(container.state.intel_rdt.as_ref().map(Group::stats).unwrap_or_default());
    stats["network_interfaces"] = interfaces(container);
    print_event("stats", container, &stats)
}

fn print_event(kind: &str, container: &Container, data: &Value) -> Result<(), Error> {
    let mut event = json!({ "type": kind, "id": container.id.as_str() });
    if !data.is_null() {
        event["data"] = data.clone();
    }
    print(&format!("{event}\n"))
}

/// Those of the container's own network; a network that it shares with us is not its.
fn interfaces(container: &Container) -> Value {
    let own = container.init.as_ref().filter(|init| proc::has_own_network(init.pid).unwrap_or(false));
    let text = own.and_then(|init| proc::network_devices(init.pid).ok());
    text.map_or(Value::Null, |text| text.lines().skip(2).filter_map(interface).collect())
}

/// A line of `/proc/PID/net/dev`, `proc_pid_net(5)`: eight counters of what was received, eight of what was sent.
fn interface(line: &str) -> Option<Value> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> = counters.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    if counters.len() < 12 {
        return None;
    }
    Some(json!({
        "Name": name.trim(),
        "RxBytes": counters[0], "RxPackets": counters[1], "RxErrors": counters[2], "RxDropped": counters[3],
        "TxBytes": counters[8], "TxPackets": counters[9], "TxErrors": counters[10], "TxDropped": counters[11],
    }))
}

/// A duration as Go writes it: `5s`, `1m30s`, `1.5h`, `200ms`.
fn duration(text: &str) -> Result<Duration, Error> {
    let refuse = |why: &str| Error::message(format!("--interval: {text:?} {why}"));
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, behind) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let (unit, behind) =
            behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(refuse("is not a time as \"5s\"")),
        };
        seconds += number.parse::<f64>().map_err(|_| refuse("is not a time as \"5s\""))? * factor;
        rest = behind;
    }
    let interval = Duration::try_from_secs_f64(seconds).map_err(|_| refuse("is too long"))?;
    if interval.is_zero() { Err(refuse("must be greater than 0")) } else { Ok(interval) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [("5s", 5000), ("1m30s", 90_000), ("200ms", 200), ("1.5s", 1500)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for text in ["", "0", "0s", "5", "-5s", "s", "5 s", "1e9h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn interfaces_are_lines() {
        let line = "  eth0: 100 2 0 1 0 0 0 0 200 3 4 5 0 0 0 0";
        let interface = interface(line).unwrap();
        assert_eq!((&interface["Name"], &interface["RxBytes"]), (&json!("eth0"), &json!(100)));
        assert_eq!((&interface["TxBytes"], &interface["TxDropped"]), (&json!(200), &json!(5)));
        assert_eq!(super::interface("Inter-|   Receive"), None);
    }
}
