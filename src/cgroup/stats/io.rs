//! Block devices.

use serde::Serialize;

use super::{Files, Pressure};

/// Bytes, operations and times by device; most of it only where v1 has a scheduler that counts it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Io {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Entry {
    major: u64,
    minor: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    op: String,
    value: u64,
}

/// The keys of `io.stat`, and what v1 calls it: bytes, then operations.
const BYTES: [(&str, &str); 3] = [("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")];
const OPERATIONS: [(&str, &str); 3] = [("rios", "Read"), ("wios", "Write"), ("dios", "Discard")];

impl Io {
    /// The scheduler BFQ counts most, the old CFQ the same under its own names, and throttling two of them in any case.
    pub fn v1(files: &Files) -> Self {
        let column = |name: &str| {
            let names = ["blkio.bfq.", "blkio.", "blkio.throttle."].map(|prefix| format!("{prefix}{name}"));
            let lists = names.iter().filter_map(|name| files(name)).map(|text| lines(&text));
            lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
        };
        Self {
            io_service_bytes_recursive: column("io_service_bytes_recursive"),
            io_serviced_recursive: column("io_serviced_recursive"),
            io_queue_recursive: column("io_queued_recursive"),
            io_service_time_recursive: column("io_service_time_recursive"),
            io_wait_time_recursive: column("io_wait_time_recursive"),
            io_merged_recursive: column("io_merged_recursive"),
            io_time_recursive: column("time_recursive"),
            sectors_recursive: column("sectors_recursive"),
            psi: None,
        }
    }

    pub fn v2(files: &Files) -> Self {
        let stat = files("io.stat").unwrap_or_default();
        Self {
            io_service_bytes_recursive: of_stat(&stat, &BYTES),
            io_serviced_recursive: of_stat(&stat, &OPERATIONS),
            psi: files("io.pressure").and_then(|text| Pressure::parse(&text)),
            ..Self::default()
        }
    }
}

/// `8:0 Read 4096`, or `8:0 4096`; the line of the total has no device.
fn lines(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (major, minor) = device(words.first()?)?;
        let (op, value) = match words[1..] {
            [value] => ("", value),
            [op, value] => (op, value),
            _ => return None,
        };
        Some(Entry { major, minor, op: op.into(), value: value.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

/// `8:0 rbytes=4096 wbytes=0 …`
fn of_stat(text: &str, keys: &[(&str, &str)]) -> Vec<Entry> {
    let entries = text.lines().flat_map(|line| {
        let mut words = line.split_whitespace();
        let device = words.next().and_then(device);
        let pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let entry = move |(key, op): &(&str, &str)| {
            let (major, minor) = device?;
            let (_, value) = pairs.iter().find(|(name, _)| name == key)?;
            Some(Entry { major, minor, op: (*op).into(), value: value.parse().ok()? })
        };
        keys.iter().filter_map(entry).collect::<Vec<_>>()
    });
    entries.collect()
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(minor: u64, op: &str, value: u64) -> Entry {
        Entry { major: 8, minor, op: op.into(), value }
    }

    #[test]
    fn v1_takes_what_counts() {
        let io = Io::v1(&|name| {
            Some(match name {
                "blkio.bfq.io_service_bytes_recursive" => "Total 0\n".into(),
                "blkio.throttle.io_service_bytes_recursive" => {
                    "8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n".into()
                }
                "blkio.bfq.sectors_recursive" => "8:16 8\n".into(),
                _ => return None,
            })
        });
        assert_eq!(io.io_service_bytes_recursive, [entry(0, "Read", 4096), entry(0, "Total", 4096)]);
        assert_eq!(io.sectors_recursive, [entry(16, "", 8)]);
    }

    #[test]
    fn v2_has_one_line_per_device() {
        let text = "8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n8:16 \n";
        let io = Io::v2(&|name| (name == "io.stat").then(|| text.into()));
        let bytes = [entry(0, "Read", 4096), entry(0, "Write", 1), entry(0, "Discard", 0)];
        assert_eq!(io.io_service_bytes_recursive, bytes);
        assert_eq!(io.io_serviced_recursive[..2], [entry(0, "Read", 2), entry(0, "Write", 3)]);
    }
}
