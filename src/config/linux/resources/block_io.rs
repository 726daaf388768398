//! `linux.resources.blockIO` — weights and rates of block devices.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#block-io>

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::Write;
use super::property::{Disks, INFINITY, Property};
use crate::cgroup::hierarchy::Version;
use crate::error::{Field, Problems};
use crate::host::Host;

const FIELD: &str = "linux.resources.blockIO";

/// A weight, 10 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(u16);

/// Which weight a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The siblings of the cgroup.
    Siblings,
    /// The children of the cgroup: `leafWeight`, which only the CFQ scheduler of old kernels knew. v1 only.
    Children,
}

/// A block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    major: u32,
    minor: u32,
}

/// What a rate limits: a row is the field, the file of v1, the key in `io.max` of v2, and the properties of systemd for v1
/// and v2.
type RateRow = (&'static str, &'static str, &'static str, Option<&'static str>, &'static str);

const RATES: [RateRow; 4] = [
    (
        "throttleReadBpsDevice",
        "blkio.throttle.read_bps_device",
        "rbps",
        Some("BlockIOReadBandwidth"),
        "IOReadBandwidthMax",
    ),
    (
        "throttleWriteBpsDevice",
        "blkio.throttle.write_bps_device",
        "wbps",
        Some("BlockIOWriteBandwidth"),
        "IOWriteBandwidthMax",
    ),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", None, "IOReadIOPSMax"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", None, "IOWriteIOPSMax"),
];

/// A rate of a device, in bytes or operations per second; zero lifts the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rate {
    field: Field,
    row: usize,
    device: Device,
    rate: u64,
}

/// Limits of the controller blkio (v1) or io (v2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    weights: Vec<(Field, Against, Option<Device>, Weight)>,
    rates: Vec<Rate>,
}

impl BlockIo {
    /// A weight of zero is not set; others beyond 10 to 1000 are refused.
    pub fn parse(spec: Option<&LinuxBlockIo>, host: &Host) -> Result<Self, Problems> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        let mut block_io = Self::default();
        let field = Field::new(FIELD);
        block_io.add_weights(&mut problems, &field, None, spec.weight(), spec.leaf_weight());
        let devices = spec.weight_device().iter().flatten().enumerate();
        for (i, device) in devices {
            block_io.add_device_weights(&mut problems, &field.key("weightDevice").index(i), device);
        }
        let rates = [
            spec.throttle_read_bps_device(),
            spec.throttle_write_bps_device(),
            spec.throttle_read_iops_device(),
            spec.throttle_write_iops_device(),
        ];
        for (row, devices) in rates.into_iter().enumerate() {
            for (i, throttle) in devices.iter().flatten().enumerate() {
                let field = field.key(RATES[row].0).index(i);
                block_io.rates.extend(problems.keep(Rate::parse(field, row, throttle)));
            }
        }
        if !block_io.v1().is_empty() {
            problems.keep(host.hierarchy.require("blkio", FIELD));
        }
        problems.or(block_io)
    }

    fn add_device_weights(&mut self, problems: &mut Problems, field: &Field, spec: &LinuxWeightDevice) {
        if spec.weight().is_none() && spec.leaf_weight().is_none() {
            problems.add(field.clone(), "must have a weight or a leafWeight");
        }
        if let Some(device) = problems.keep(Device::parse(field, spec.major(), spec.minor())) {
            self.add_weights(problems, field, Some(device), spec.weight(), spec.leaf_weight());
        }
    }

    fn add_weights(
        &mut self,
        problems: &mut Problems,
        field: &Field,
        device: Option<Device>,
        weight: Option<u16>,
        leaf_weight: Option<u16>,
    ) {
        let weights = [("weight", Against::Siblings, weight), ("leafWeight", Against::Children, leaf_weight)];
        for (key, against, weight) in weights {
            let Some(weight) = weight.filter(|&weight| weight != 0) else { continue };
            if !(10..=1000).contains(&weight) {
                problems.add(field.key(key), format!("{weight} is not between 10 and 1000"));
            }
            self.weights.push((field.key(key), against, device, Weight(weight)));
        }
    }

    /// Weights are the BFQ scheduler's since Linux 5.0, the CFQ scheduler's before.
    pub fn v1(&self) -> Vec<Write> {
        let mut writes = Vec::new();
        for (field, against, device, weight) in &self.weights {
            let write = |file: &'static str, value: String| Write::new(field.clone(), "blkio", file, value);
            writes.push(match (against, device) {
                (Against::Siblings, None) => {
                    let value = weight.0.to_string();
                    write("blkio.bfq.weight", value.clone()).or_instead("blkio.weight", value)
                }
                (Against::Siblings, Some(device)) => {
                    let value = format!("{device} {}", weight.0);
                    write("blkio.bfq.weight_device", value.clone()).or_instead("blkio.weight_device", value)
                }
                (Against::Children, None) => write("blkio.leaf_weight", weight.0.to_string()),
                (Against::Children, Some(device)) => {
                    write("blkio.leaf_weight_device", format!("{device} {}", weight.0))
                }
            });
        }
        let rate = |rate: &Rate| {
            let value = format!("{} {}", rate.device, rate.rate);
            Write::new(rate.field.clone(), "blkio", RATES[rate.row].1, value)
        };
        writes.extend(self.rates.iter().map(rate));
        writes
    }

    /// What systemd knows of a partition or a mapped device it applies to the whole disk below, so that only of `disks`
    /// it is told. What it does not know it leaves alone.
    pub fn systemd(&self, version: Version, disks: &Disks) -> Vec<Property> {
        let siblings = self.weights.iter().filter(|(_, against, ..)| *against == Against::Siblings);
        let weights = siblings.filter_map(|(_, _, device, weight)| {
            let (all, one, weight) = match version {
                Version::V1 => ("BlockIOWeight", "BlockIODeviceWeight", u64::from(weight.0)),
                Version::V2 => ("IOWeight", "IODeviceWeight", weight.in_io_weight()),
            };
            let device = device.map(|device| device.to_string());
            match device {
                None => Some(Property::number(all, weight)),
                Some(device) if disks(&device) => Some(Property::amount(one, &device, weight)),
                Some(_) => None,
            }
        });
        let rates = self.rates.iter().filter_map(|rate| {
            let (_, _, _, v1, v2) = RATES[rate.row];
            let name = if version == Version::V1 { v1? } else { v2 };
            let (device, most) = (rate.device.to_string(), if rate.rate == 0 { INFINITY } else { rate.rate });
            disks(&device).then(|| Property::amount(name, &device, most))
        });
        weights.chain(rates).collect()
    }

    /// BFQ takes the weight as it is; the cost model's `io.weight` has a range of its own.
    pub fn v2(&self) -> Vec<Write> {
        let siblings = self.weights.iter().filter(|(_, against, ..)| *against == Against::Siblings);
        let weight = siblings.map(|(field, _, device, weight)| {
            let prefix = device.map(|device| format!("{device} ")).unwrap_or_default();
            Write::new(field.clone(), "io", "io.bfq.weight", format!("{prefix}{}", weight.0))
                .or_instead("io.weight", format!("{prefix}{}", weight.in_io_weight()))
        });
        let rate = self.rates.iter().map(|rate| {
            let limit = if rate.rate == 0 { "max".into() } else { rate.rate.to_string() };
            let value = format!("{} {}={limit}", rate.device, RATES[rate.row].2);
            Write::new(rate.field.clone(), "io", "io.max", value)
        });
        weight.chain(rate).collect()
    }
}

/// The properties for a line of `io.max`: `8:0 rbps=1048576 wiops=max`.
pub(super) fn rates_of_line(line: &str, disks: &Disks) -> Vec<Property> {
    let mut words = line.split_whitespace();
    let device = words.next().filter(|device| disks(device)).unwrap_or_default();
    let property = |word: &str| {
        let (key, most) = word.split_once('=')?;
        let (_, _, _, _, name) = RATES.iter().find(|(_, _, v2, ..)| *v2 == key)?;
        let most = if most == "max" { INFINITY } else { most.parse().ok()? };
        Some(Property::amount(*name, device, most))
    };
    if device.is_empty() { vec![] } else { words.filter_map(property).collect() }
}

impl Weight {
    /// 10 to 1000 as 1 to 10000.
    fn in_io_weight(self) -> u64 {
        1 + u64::from(self.0.saturating_sub(10)) * 9999 / 990
    }
}

impl Rate {
    fn parse(field: Field, row: usize, spec: &LinuxThrottleDevice) -> Result<Self, Problems> {
        let device = Device::parse(&field, spec.major(), spec.minor())?;
        Ok(Self { field, row, device, rate: spec.rate() })
    }
}

impl Device {
    fn parse(field: &Field, major: i64, minor: i64) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut number = |key, value: i64| {
            let rule = || Problems::one(field.key(key), format!("{value} is not a device number"));
            problems.keep(u32::try_from(value).map_err(|_| rule())).unwrap_or_default()
        };
        let device = Self { major: number("major", major), minor: number("minor", minor) };
        problems.or(device)
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str) -> Result<BlockIo, String> {
        let spec: LinuxBlockIo = serde_json::from_str(json).unwrap();
        BlockIo::parse(Some(&spec), &examples::v1()).map_err(|p| p.to_string())
    }

    fn files(writes: &[Write]) -> Vec<(&str, &str)> {
        writes.iter().map(|w| (&*w.file, &*w.value)).collect()
    }

    #[test]
    fn weights_have_two_schedulers() {
        let block_io = parse(
            r#"{"weight":500,"leafWeight":300,"weightDevice":[{"major":8,"minor":0,"weight":1000,"leafWeight":20}]}"#,
        )
        .unwrap();
        assert_eq!(
            files(&block_io.v1()),
            [
                ("blkio.bfq.weight", "500"),
                ("blkio.leaf_weight", "300"),
                ("blkio.bfq.weight_device", "8:0 1000"),
                ("blkio.leaf_weight_device", "8:0 20")
            ]
        );
        let [weight, device] = &block_io.v2()[..] else { panic!() };
        let field = Field::new(FIELD).key("weight");
        assert_eq!(*weight, Write::new(field, "io", "io.bfq.weight", "500").or_instead("io.weight", "4950"));
        assert_eq!(
            device.absent,
            super::super::Absent::Instead { file: "io.weight".into(), value: "8:0 10000".into() }
        );
        assert_eq!(Weight(10).in_io_weight(), 1);
    }

    #[test]
    fn rates() {
        let block_io = parse(
            r#"{"weight":0,"throttleReadBpsDevice":[{"major":254,"minor":0,"rate":1048576}],
                "throttleWriteIOPSDevice":[{"major":254,"minor":1,"rate":0}]}"#,
        )
        .unwrap();
        assert_eq!(
            files(&block_io.v1()),
            [
                ("blkio.throttle.read_bps_device", "254:0 1048576"),
                ("blkio.throttle.write_iops_device", "254:1 0")
            ]
        );
        assert_eq!(files(&block_io.v2()), [("io.max", "254:0 rbps=1048576"), ("io.max", "254:1 wiops=max")]);
    }

    #[test]
    fn properties_of_whole_disks() {
        let block_io = parse(
            r#"{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":1000},{"major":8,"minor":1,"weight":10}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1048576},{"major":8,"minor":1,"rate":1}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}"#,
        )
        .unwrap();
        let disks: &Disks = &|device| device == "8:0";
        let expected = [
            Property::number("IOWeight", 4950),
            Property::amount("IODeviceWeight", "8:0", 10_000),
            Property::amount("IOReadBandwidthMax", "8:0", 1 << 20),
            Property::amount("IOWriteIOPSMax", "8:0", INFINITY),
        ];
        assert_eq!(block_io.systemd(Version::V2, disks), expected);
        let expected = [
            Property::number("BlockIOWeight", 500),
            Property::amount("BlockIODeviceWeight", "8:0", 1000),
            Property::amount("BlockIOReadBandwidth", "8:0", 1 << 20),
        ];
        assert_eq!(block_io.systemd(Version::V1, disks), expected);
    }

    #[test]
    fn problems_name_the_element() {
        for (json, field) in [
            (r#"{"weight":5}"#, "weight"),
            (r#"{"weightDevice":[{"major":8,"minor":0}]}"#, "weightDevice[0]"),
            (r#"{"weightDevice":[{"major":8,"minor":0,"weight":2000}]}"#, "weightDevice[0].weight"),
            (
                r#"{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}"#,
                "throttleReadBpsDevice[0].major",
            ),
        ] {
            let text = parse(json).unwrap_err();
            assert!(text.starts_with(&format!("linux.resources.blockIO.{field}: ")), "{text}");
        }
    }
}
