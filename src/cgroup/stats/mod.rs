//! Statistics of a cgroup, in the form of runc's `events`.
//!
//! A file per controller: what is told, and a column for each version of cgroups. They take the text of files and change
//! nothing. A file that is missing tells zero: which there are depends on the kernel.

mod cpu;
mod io;
mod memory;

use std::collections::BTreeMap;

use serde::Serialize;

use super::Cgroup;
use super::hierarchy::Version;
use crate::sys::file;

/// The text of a file of the cgroup, by its name; `None` if there is none.
type Files<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// All of them.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    cpu: cpu::Cpu,
    cpuset: cpu::CpuSet,
    memory: memory::Memory,
    pids: Pids,
    blkio: io::Io,
    hugetlb: BTreeMap<String, memory::Hugetlb>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Pids {
    current: u64,
    /// Zero is no limit.
    limit: u64,
}

/// How long tasks have waited for a resource, `Documentation/accounting/psi.rst`.
#[derive(Debug, PartialEq, Serialize)]
struct Pressure {
    #[serde(skip_serializing_if = "Option::is_none")]
    some: Option<Waiting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<Waiting>,
}

/// Percent of the last 10, 60 and 300 seconds, and the total in microseconds.
#[derive(Debug, PartialEq, Serialize)]
struct Waiting {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total: u64,
}

impl Pressure {
    fn parse(text: &str) -> Option<Self> {
        let waiting = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
            let value =
                |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            let average = |key| value(key)?.parse().ok();
            Some(Waiting {
                avg10: average("avg10")?,
                avg60: average("avg60")?,
                avg300: average("avg300")?,
                total: value("total")?.parse().ok()?,
            })
        };
        let pressure = Self { some: waiting("some "), full: waiting("full ") };
        (pressure.some.is_some() || pressure.full.is_some()).then_some(pressure)
    }
}

/// A file that is a number.
fn number(files: &Files, name: &str) -> u64 {
    files(name).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The number behind a key, in a file of keys and numbers.
fn keyed(text: &str, key: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

impl Cgroup {
    /// Read them.
    pub fn stats(&self) -> Stats {
        let files = |name: &str| {
            let controller = name.split('.').next().unwrap_or_default();
            let leaf = self.with_controller(controller).map(|(_, leaf)| leaf).or_else(|| self.v2())?;
            file::read_text(leaf, name).ok()
        };
        let version = |controller| self.with_controller(controller).map(|(directory, _)| directory.version);
        let page_sizes = || {
            let (_, leaf) = self.with_controller("hugetlb")?;
            let names = file::list(leaf).ok()?;
            Some(memory::page_sizes(names.iter().filter_map(|name| name.to_str())))
        };
        let page_sizes = page_sizes().unwrap_or_default();
        let v1 = |controllers: &[&'static str]| controllers.iter().any(|c| version(c) == Some(Version::V1));
        Stats {
            cpu: if v1(&["cpu", "cpuacct"]) { cpu::Cpu::v1(&files) } else { cpu::Cpu::v2(&files) },
            cpuset: if v1(&["cpuset"]) { cpu::CpuSet::v1(&files) } else { cpu::CpuSet::v2(&files) },
            memory: if v1(&["memory"]) { memory::Memory::v1(&files) } else { memory::Memory::v2(&files) },
            pids: Pids { current: number(&files, "pids.current"), limit: number(&files, "pids.max") },
            blkio: if v1(&["blkio"]) { io::Io::v1(&files) } else { io::Io::v2(&files) },
            hugetlb: if v1(&["hugetlb"]) {
                memory::Hugetlb::v1(&page_sizes, &files)
            } else {
                memory::Hugetlb::v2(&page_sizes, &files)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = Pressure::parse(text).unwrap();
        assert_eq!(pressure.some.unwrap().avg10, 1.5);
        assert_eq!(pressure.full.unwrap().total, 7);
        assert_eq!(Pressure::parse(""), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(keyed("a 1\nab 2\n", "ab"), 2);
        assert_eq!(keyed("a 1\n", "b"), 0);
        assert_eq!(number(&|_| Some("max\n".into()), "pids.max"), 0);
        assert_eq!(number(&|_| Some("7\n".into()), "pids.max"), 7);
    }
}
