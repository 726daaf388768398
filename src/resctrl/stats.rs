//! What a container's group may use and has used, as `events` prints it, with runc's names.

use std::os::fd::OwnedFd;
use std::path::Path;

use serde::Serialize;

use super::schemata::line_of;
use super::{Group, SCHEMATA};
use crate::sys::file::{self, OFlag};

/// Nothing, for a container that is in no group.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<L3CacheInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

/// What the CPU's caches can be divided into.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct L3CacheInfo {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

/// What the memory bandwidth can be divided into.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct MemBwInfo {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

/// What was moved between a cache and the memory since the group was made, in bytes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bandwidth {
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_local_bytes: Option<u64>,
}

/// What a cache holds of the group's, in bytes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

impl Group {
    /// Read them. What the CPU does not have is left out, and so are the counters of a container without its own.
    pub fn stats(&self) -> Stats {
        let Ok(root) = self.open() else { return Stats::default() };
        let text = |path: &Path| file::read_text(&root, path).ok();
        let number = |path: String| text(Path::new(&path))?.trim().parse().ok();
        let (of_root, own) = (text(Path::new(SCHEMATA)), text(&self.path.join(SCHEMATA)));
        let line = |text: &Option<String>, resource| line_of(text.as_ref()?, resource).map(Into::into);
        let counters = self.monitoring_path().map(|path| counters(&root, &path.join("mon_data")));
        let (mbm_stats, cmt_stats) = counters.unwrap_or_default();
        Stats {
            l3_cache_info: text(Path::new("info/L3/cbm_mask")).map(|mask| L3CacheInfo {
                cbm_mask: mask.trim().into(),
                min_cbm_bits: number("info/L3/min_cbm_bits".into()).unwrap_or_default(),
                num_closids: number("info/L3/num_closids".into()).unwrap_or_default(),
            }),
            l3_cache_schema_root: line(&of_root, "L3"),
            l3_cache_schema: line(&own, "L3"),
            mem_bw_info: number("info/MB/num_closids".into()).map(|num_closids| MemBwInfo {
                bandwidth_gran: number("info/MB/bandwidth_gran".into()).unwrap_or_default(),
                delay_linear: number("info/MB/delay_linear".into()).unwrap_or_default(),
                min_bandwidth: number("info/MB/min_bandwidth".into()).unwrap_or_default(),
                num_closids,
            }),
            mem_bw_schema_root: line(&of_root, "MB"),
            mem_bw_schema: line(&own, "MB"),
            mbm_stats,
            cmt_stats,
        }
    }
}

/// A directory per cache, `mon_L3_00`; what cannot be counted at the moment is `Unavailable`.
fn counters(root: &OwnedFd, mon_data: &Path) -> (Option<Vec<Bandwidth>>, Option<Vec<Occupancy>>) {
    let directory = file::open(root, mon_data, OFlag::O_RDONLY | OFlag::O_DIRECTORY, file::Mode::empty());
    let Ok(mut caches) = directory.and_then(file::list) else { return (None, None) };
    caches.retain(|name| name.to_string_lossy().starts_with("mon_L3_"));
    caches.sort();
    let (mut bandwidth, mut occupancy) = (Vec::new(), Vec::new());
    for cache in caches {
        let number = |name: &str| {
            let text = file::read_text(root, mon_data.join(&cache).join(name)).ok()?;
            text.trim().parse().ok()
        };
        let (mbm_total_bytes, mbm_local_bytes) = (number("mbm_total_bytes"), number("mbm_local_bytes"));
        if mbm_total_bytes.is_some() || mbm_local_bytes.is_some() {
            bandwidth.push(Bandwidth { mbm_total_bytes, mbm_local_bytes });
        }
        occupancy.extend(number("llc_occupancy").map(|llc_occupancy| Occupancy { llc_occupancy }));
    }
    (Some(bandwidth).filter(|list| !list.is_empty()), Some(occupancy).filter(|list| !list.is_empty()))
}
