//! Memory and huge pages.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Files, Pressure, keyed, number};

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    cache: u64,
    usage: Entry,
    /// Memory and swap together, also on v2, which counts them apart.
    swap: Entry,
    kernel: Entry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Entry,
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// In bytes; a limit of 2^64-1 is none.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Entry {
    limit: u64,
    usage: u64,
    max: u64,
    failcnt: u64,
}

impl Memory {
    pub fn v1(files: &Files) -> Self {
        let entry = |prefix: &str| Entry {
            limit: number(files, &format!("{prefix}.limit_in_bytes")),
            usage: number(files, &format!("{prefix}.usage_in_bytes")),
            max: number(files, &format!("{prefix}.max_usage_in_bytes")),
            failcnt: number(files, &format!("{prefix}.failcnt")),
        };
        let stat = files("memory.stat").unwrap_or_default();
        Self {
            cache: keyed(&stat, "cache"),
            usage: entry("memory"),
            swap: entry("memory.memsw"),
            kernel: entry("memory.kmem"),
            kernel_tcp: entry("memory.kmem.tcp"),
            raw: raw(&stat),
            psi: None,
        }
    }

    pub fn v2(files: &Files) -> Self {
        let limit = |name: &str| match files(name) {
            Some(text) if text.trim() == "max" => u64::MAX,
            Some(text) => text.trim().parse().unwrap_or(0),
            None => u64::MAX,
        };
        let entry = |prefix: &str| Entry {
            limit: limit(&format!("{prefix}.max")),
            usage: number(files, &format!("{prefix}.current")),
            max: number(files, &format!("{prefix}.peak")),
            failcnt: keyed(&files(&format!("{prefix}.events")).unwrap_or_default(), "max"),
        };
        let stat = files("memory.stat").unwrap_or_default();
        let (usage, swap) = (entry("memory"), entry("memory.swap"));
        Self {
            cache: keyed(&stat, "file"),
            swap: Entry {
                limit: usage.limit.saturating_add(swap.limit),
                usage: usage.usage + swap.usage,
                ..swap
            },
            usage,
            kernel: Entry { usage: keyed(&stat, "kernel"), ..Entry::default() },
            kernel_tcp: Entry { usage: keyed(&stat, "sock"), ..Entry::default() },
            raw: raw(&stat),
            psi: files("memory.pressure").and_then(|text| Pressure::parse(&text)),
        }
    }
}

fn raw(stat: &str) -> BTreeMap<String, u64> {
    let pairs = stat.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect()
}

/// In bytes; how often the limit was met.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    usage: u64,
    max: u64,
    failcnt: u64,
}

/// The sizes that there are limits for, by the names of the kernel's files: `hugetlb.2MB.max`.
pub fn page_sizes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let size = |name: &'a str| {
        let size = name.strip_prefix("hugetlb.")?;
        size.strip_suffix(".max").or_else(|| size.strip_suffix(".limit_in_bytes"))
    };
    let mut sizes: Vec<String> =
        names.filter_map(size).filter(|size| !size.contains('.')).map(Into::into).collect();
    sizes.sort();
    sizes
}

impl Hugetlb {
    pub fn v1(sizes: &[String], files: &Files) -> BTreeMap<String, Self> {
        let of = |size: &String| {
            let value = |name: &str| number(files, &format!("hugetlb.{size}.{name}"));
            let (usage, max) = (value("usage_in_bytes"), value("max_usage_in_bytes"));
            (size.clone(), Self { usage, max, failcnt: value("failcnt") })
        };
        sizes.iter().map(of).collect()
    }

    pub fn v2(sizes: &[String], files: &Files) -> BTreeMap<String, Self> {
        let of = |size: &String| {
            let events = files(&format!("hugetlb.{size}.events")).unwrap_or_default();
            let usage = number(files, &format!("hugetlb.{size}.current"));
            (size.clone(), Self { usage, max: 0, failcnt: keyed(&events, "max") })
        };
        sizes.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_as_it_is() {
        let memory = Memory::v1(&|name| {
            Some(match name {
                "memory.limit_in_bytes" => "4096\n".into(),
                "memory.usage_in_bytes" => "1024\n".into(),
                "memory.max_usage_in_bytes" => "2048\n".into(),
                "memory.failcnt" => "3\n".into(),
                "memory.stat" => "cache 512\nrss 256\n".into(),
                _ => return None,
            })
        });
        assert_eq!(memory.usage, Entry { limit: 4096, usage: 1024, max: 2048, failcnt: 3 });
        assert_eq!((memory.cache, memory.raw["rss"]), (512, 256));
        assert_eq!(memory.swap, Entry::default());
    }

    #[test]
    fn v2_counts_swap_with_memory() {
        let memory = Memory::v2(&|name| {
            Some(match name {
                "memory.max" => "4096\n".into(),
                "memory.current" => "1024\n".into(),
                "memory.peak" => "2048\n".into(),
                "memory.events" => "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n".into(),
                "memory.swap.max" => "max\n".into(),
                "memory.swap.current" => "100\n".into(),
                "memory.stat" => "anon 1\nfile 512\nkernel 77\nsock 5\n".into(),
                _ => return None,
            })
        });
        assert_eq!(memory.usage, Entry { limit: 4096, usage: 1024, max: 2048, failcnt: 3 });
        assert_eq!((memory.swap.limit, memory.swap.usage), (u64::MAX, 1124));
        assert_eq!((memory.cache, memory.kernel.usage, memory.kernel_tcp.usage), (512, 77, 5));
    }

    #[test]
    fn huge_pages_of_each_size() {
        let names = ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "hugetlb.1GB.limit_in_bytes", "cgroup.procs"];
        let sizes = page_sizes(names.into_iter());
        assert_eq!(sizes, ["1GB", "2MB"]);
        let v2 = Hugetlb::v2(&sizes[1..], &|name| {
            Some(if name.ends_with("current") { "2097152\n".into() } else { "max 4\n".into() })
        });
        assert_eq!(v2["2MB"], Hugetlb { usage: 2_097_152, max: 0, failcnt: 4 });
    }
}
