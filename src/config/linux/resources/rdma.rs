//! `linux.resources.rdma` — handles and objects of RDMA devices.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#rdma>

use std::collections::HashMap;

use oci_spec::runtime::LinuxRdma;

use super::Write;
use crate::error::{Field, Problems};
use crate::host::Host;

const FIELD: &str = "linux.resources.rdma";

/// Limits by device, sorted by its name. Whether there is such a device, the kernel says when they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rdma(Vec<(String, LinuxRdma)>);

impl Rdma {
    /// At least one limit for each device.
    pub fn parse(spec: Option<&HashMap<String, LinuxRdma>>, host: &Host) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut devices: Vec<_> =
            spec.into_iter().flatten().map(|(name, limits)| (name.clone(), *limits)).collect();
        devices.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, limits) in &devices {
            if !is_device_name(name) {
                problems.add(FIELD, format!("{name:?} is not the name of an RDMA device"));
            }
            if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
                problems.add(Field::new(FIELD).key(name), "must have hcaHandles or hcaObjects");
            }
        }
        if !devices.is_empty() {
            problems.keep(host.hierarchy.require("rdma", FIELD));
        }
        problems.or(Self(devices))
    }

    /// The same file in both versions.
    pub fn v1(&self) -> Vec<Write> {
        let write = |(name, limits): &(String, LinuxRdma)| {
            let mut value = name.clone();
            if let Some(handles) = limits.hca_handles() {
                value += &format!(" hca_handle={handles}");
            }
            if let Some(objects) = limits.hca_objects() {
                value += &format!(" hca_object={objects}");
            }
            Write::new(Field::new(FIELD).key(name), "rdma", "rdma.max", value)
        };
        self.0.iter().map(write).collect()
    }

    /// The same file in both versions.
    pub fn v2(&self) -> Vec<Write> {
        self.v1()
    }
}

/// Names as `mlx5_1`, within the kernel's `IB_DEVICE_NAME_MAX`.
fn is_device_name(name: &str) -> bool {
    (1..64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str) -> Result<Rdma, String> {
        let spec: HashMap<String, LinuxRdma> = serde_json::from_str(json).unwrap();
        Rdma::parse(Some(&spec), &examples::v2()).map_err(|p| p.to_string())
    }

    #[test]
    fn devices_in_order() {
        let rdma = parse(r#"{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1000}}"#);
        let values: Vec<_> = rdma.unwrap().v2().into_iter().map(|w| w.value).collect();
        assert_eq!(values, ["mlx4_0 hca_object=1000", "mlx5_1 hca_handle=3 hca_object=10000"]);
    }

    #[test]
    fn names_and_limits_are_checked() {
        for json in [r#"{"../x":{"hcaHandles":1}}"#, r#"{"a b":{"hcaHandles":1}}"#, r#"{"mlx":{}}"#] {
            assert!(parse(json).unwrap_err().starts_with("linux.resources.rdma"), "{json}");
        }
    }
}
