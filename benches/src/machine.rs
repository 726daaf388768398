//! The machine: whether it is quiet, and what it is.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The fields of `/proc/stat` that count.
fn running() -> u32 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let running = stat.lines().find_map(|line| line.strip_prefix("procs_running "));
    running.and_then(|text| text.trim().parse().ok()).unwrap_or(u32::MAX)
}

/// Wait until nobody else has been running for four milliseconds, but not for ever. Whether it came to that.
pub fn wait_until_quiet(patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut quiet = 0;
    while Instant::now() < deadline {
        quiet = if running() <= 1 { quiet + 1 } else { 0 };
        if quiet == 4 {
            return true;
        }
        sleep(Duration::from_millis(1));
    }
    false
}

/// Whether others run now, beside us and what has just ended.
pub fn is_quiet() -> bool {
    running() <= 2
}

/// Kernel and processors, in a line.
pub fn description() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!(
        "Linux {}, {count} × {}, load {}",
        release.trim(),
        model.map_or("?", |(_, name)| name),
        load.join(" ")
    )
}
