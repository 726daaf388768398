//! `update` — change what a container may use.

use serde_json::{Map, Value, json};

use crate::cgroup::Cgroup;
use crate::cli::{self, Global};
use crate::commands::runtime_root;
use crate::config::linux::intel_rdt::{self, Line};
use crate::config::linux::resources::update::Update;
use crate::container::Container;
use crate::container::status::Operation;
use crate::error::{At, Error};
use crate::host::Host;
use crate::sys::file::{self, Mode, OFlag};

/// More is no set of resources, in bytes.
const LARGEST: usize = 4 << 20;

/// `update`
pub fn run(global: &Global, command: &cli::Update) -> Result<(), Error> {
    let (request, lines) = match &command.resources {
        Some(path) => (read(path)?, vec![]),
        None => (from_flags(command)?, schemata(command)?),
    };
    let (id, dir) = runtime_root::container(global, &command.id)?;
    dir.lock()?;
    let container = Container::load(id, dir)?;
    container.allow(Operation::Update)?;
    let host = Host::read(global.rootless)?;
    let refuse = |problems| Error::message(format!("update: {problems}"));
    let update = Update::parse(&container.resources()?, request, &host).map_err(refuse)?;
    let cgroup = Cgroup::open(container.state.cgroup.clone())?;
    let before = cgroup.change(&update.change, &update.old, update.devices.as_ref())?;
    match &container.state.intel_rdt {
        Some(group) => group.change(&lines)?,
        None if lines.is_empty() => {}
        None => return Err(Error::message("linux.intelRdt: the container is in no group of resctrl")),
    }
    container.save_resources(&update.stored)?;
    before.forget();
    Ok(())
}

fn read(path: &std::path::Path) -> Result<Value, Error> {
    let text = if path.as_os_str() == "-" {
        file::read_all(std::io::stdin(), LARGEST, "standard input").at("--resources")?
    } else {
        let file = file::open(file::here(), path, OFlag::O_RDONLY | OFlag::O_NOCTTY, Mode::empty());
        file::read_all(file.at_file(path)?, LARGEST, "--resources").at_file(path)?
    };
    serde_json::from_slice(&text).map_err(|e| Error::message(format!("--resources {}: {e}", path.display())))
}

/// The flags, as the JSON that they stand for.
fn from_flags(flags: &cli::Update) -> Result<Value, Error> {
    let size = |flag, text: &Option<String>| text.as_deref().map(|text| bytes(flag, text)).transpose();
    for (flag, given) in
        [("kernel-memory", &flags.kernel_memory), ("kernel-memory-tcp", &flags.kernel_memory_tcp)]
    {
        if given.is_some() {
            crate::log::warn(&format!("--{flag}: ignored, the kernel has no such limit any more"));
        }
    }
    let members = [
        ("blockIO", "weight", flags.blkio_weight.map(Value::from)),
        ("cpu", "period", flags.cpu_period.map(Value::from)),
        ("cpu", "quota", flags.cpu_quota.map(Value::from)),
        ("cpu", "burst", flags.cpu_burst.map(Value::from)),
        ("cpu", "shares", flags.cpu_share.map(Value::from)),
        ("cpu", "realtimePeriod", flags.cpu_rt_period.map(Value::from)),
        ("cpu", "realtimeRuntime", flags.cpu_rt_runtime.map(Value::from)),
        ("cpu", "idle", flags.cpu_idle.map(Value::from)),
        ("cpu", "cpus", flags.cpuset_cpus.clone().map(Value::from)),
        ("cpu", "mems", flags.cpuset_mems.clone().map(Value::from)),
        ("memory", "limit", size("memory", &flags.memory)?.map(Value::from)),
        ("memory", "reservation", size("memory-reservation", &flags.memory_reservation)?.map(Value::from)),
        ("memory", "swap", size("memory-swap", &flags.memory_swap)?.map(Value::from)),
        ("pids", "limit", flags.pids_limit.map(Value::from)),
    ];
    let mut resources = Map::new();
    for (section, member, value) in members {
        if let Some(value) = value {
            resources.entry(section).or_insert_with(|| json!({}))[member] = value;
        }
    }
    Ok(Value::Object(resources))
}

/// What is no part of `linux.resources`.
fn schemata(flags: &cli::Update) -> Result<Vec<Line>, Error> {
    let lines = intel_rdt::lines(flags.l3_cache_schema.as_deref(), flags.mem_bw_schema.as_deref());
    lines.map_err(|problems| Error::message(format!("update: {problems}")))
}

/// A size as docker takes it: `100m`, `1.5GiB`, `4096`; units are powers of 1024, with or without `B` or `iB`. Any size
/// below zero is `-1`, which is no limit.
fn bytes(flag: &str, text: &str) -> Result<i64, Error> {
    let refuse = || Error::message(format!("--{flag}: {text:?} is not a size as \"100m\", \"1g\" or \"-1\""));
    if text == "-1" {
        return Ok(-1);
    }
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(refuse()),
    };
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let size = number * 1024_f64.powi(power);
    // Beyond 2^53 a fraction of a byte more or less is not what anybody asks for.
    #[expect(clippy::cast_possible_truncation, reason = "the bound is checked first")]
    if size < 9.0e18 { Ok(size as i64) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("100m", 100 << 20),
            ("1.5g", 3 << 29),
            ("1GiB", 1 << 30),
            ("2 KB", 2048),
            ("7b", 7),
        ] {
            assert_eq!(bytes("memory", text).unwrap(), expected, "{text}");
        }
        for text in ["", "m", "-2", "1x", "1.2.3", "9999999p", "1 0"] {
            assert!(bytes("memory", text).is_err(), "{text}");
        }
    }
}
