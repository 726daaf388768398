//! `linux.resources` — what the container may use.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#control-groups>
//!
//! A file per controller: what the field means, and one column of files and values for each version of cgroups. Zero
//! and absent are the same wherever clients send zeros for "not set", which is everywhere but in `pids`.

use std::borrow::Cow;

use oci_spec::runtime::LinuxResources;

use crate::cgroup::hierarchy::{Hierarchy, Version};
use crate::error::{Field, Problems};
use crate::host::Host;

pub mod block_io;
pub mod cpu;
pub mod devices;
pub mod hugepage_limits;
pub mod memory;
pub mod network;
pub mod pids;
pub mod property;
pub mod rdma;
pub mod unified;
pub mod update;

/// A value for a file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The field that asks for it.
    pub field: Field,
    /// The controller that has the file, named as in the version of cgroups that the write is for; `cgroup` is the
    /// core of v2.
    pub controller: Cow<'static, str>,
    /// The file.
    pub file: Cow<'static, str>,
    /// The value, written in one go.
    pub value: String,
    /// What to do where the kernel has no such file.
    pub absent: Absent,
    /// A file with a number that the value must be above, as for `memory.checkBeforeUpdate`.
    pub only_above: Option<&'static str>,
}

/// What to do where the kernel has no such file: it depends on its version and configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Fail: the limit would not be in force.
    Refuse,
    /// Go on: without the file, what is asked for is true already.
    Skip,
    /// Write another value to another file, which must be there.
    Instead {
        /// The other file.
        file: Cow<'static, str>,
        /// The other value.
        value: String,
    },
}

impl Write {
    fn new(
        field: impl Into<Field>,
        controller: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Self {
        Self {
            field: field.into(),
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Refuse,
            only_above: None,
        }
    }

    fn or_skip(self) -> Self {
        Self { absent: Absent::Skip, ..self }
    }

    fn or_instead(self, file: &'static str, value: impl ToString) -> Self {
        Self { absent: Absent::Instead { file: file.into(), value: value.to_string() }, ..self }
    }
}

/// A limit that may be lifted: -1 in config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No limit.
    Unlimited,
    /// This much.
    At(u64),
}

impl Limit {
    /// As v1 files take it.
    fn or_minus_one(self) -> String {
        match self {
            Self::Unlimited => "-1".into(),
            Self::At(limit) => limit.to_string(),
        }
    }

    /// As systemd takes it.
    fn or_infinity(self) -> u64 {
        match self {
            Self::Unlimited => property::INFINITY,
            Self::At(limit) => limit,
        }
    }

    /// As v2 files take it.
    fn or_max(self) -> String {
        match self {
            Self::Unlimited => "max".into(),
            Self::At(limit) => limit.to_string(),
        }
    }
}

/// All of `linux.resources`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// `memory`
    pub memory: memory::Memory,
    /// `cpu`
    pub cpu: cpu::Cpu,
    /// `pids`
    pub pids: pids::Pids,
    /// `blockIO`
    pub block_io: block_io::BlockIo,
    /// `hugepageLimits`
    pub hugepage_limits: hugepage_limits::HugepageLimits,
    /// `network`
    pub network: network::Network,
    /// `rdma`
    pub rdma: rdma::Rdma,
    /// `unified`
    pub unified: unified::Unified,
    /// `devices`, with the default rules behind.
    pub devices: devices::DeviceRules,
}

impl Resources {
    /// What the section means. Without a section there are the default device rules all the same, as with runc.
    pub fn parse(spec: Option<&LinuxResources>, host: &Host) -> Result<Self, Problems> {
        let absent = LinuxResources::default();
        let spec = spec.unwrap_or(&absent);
        let mut problems = Problems::default();
        let memory = problems.keep(memory::Memory::parse(spec.memory().as_ref(), host));
        let cpu = problems.keep(cpu::Cpu::parse(spec.cpu().as_ref(), host));
        let pids = problems.keep(pids::Pids::parse(spec.pids().as_ref(), host));
        let block_io = problems.keep(block_io::BlockIo::parse(spec.block_io().as_ref(), host));
        let hugepage_limits = problems.keep(hugepage_limits::HugepageLimits::parse(
            spec.hugepage_limits().as_deref().unwrap_or(&[]),
            host,
        ));
        let network = problems.keep(network::Network::parse(spec.network().as_ref(), host));
        let rdma = problems.keep(rdma::Rdma::parse(spec.rdma().as_ref(), host));
        let unified = problems.keep(unified::Unified::parse(spec.unified().as_ref(), host));
        let devices =
            problems.keep(devices::DeviceRules::parse(spec.devices().as_deref().unwrap_or(&[]), host));
        let all = (|| {
            Some(Self {
                memory: memory?,
                cpu: cpu?,
                pids: pids?,
                block_io: block_io?,
                hugepage_limits: hugepage_limits?,
                network: network?,
                rdma: rdma?,
                unified: unified?,
                devices: devices?,
            })
        })();
        match all {
            Some(resources) => problems.or(resources),
            None => Err(problems),
        }
    }

    /// No limits, and no rules for devices either.
    pub fn nothing() -> Self {
        Self {
            memory: memory::Memory::default(),
            cpu: cpu::Cpu::default(),
            pids: pids::Pids::default(),
            block_io: block_io::BlockIo::default(),
            hugepage_limits: hugepage_limits::HugepageLimits::default(),
            network: network::Network::default(),
            rdma: rdma::Rdma::default(),
            unified: unified::Unified::default(),
            devices: devices::DeviceRules::NotPossible,
        }
    }

    /// What is written in v1 trees.
    pub fn v1(&self) -> Vec<Write> {
        let columns = [
            self.memory.v1(),
            self.cpu.v1(),
            self.pids.v1(),
            self.block_io.v1(),
            self.hugepage_limits.v1(),
            self.network.v1(),
            self.rdma.v1(),
        ];
        columns.into_iter().flatten().collect()
    }

    /// What is written in the v2 tree. `unified` is last, so that it has the last word.
    pub fn v2(&self) -> Vec<Write> {
        let columns = [
            self.memory.v2(),
            self.cpu.v2(),
            self.pids.v2(),
            self.block_io.v2(),
            self.hugepage_limits.v2(),
            self.rdma.v2(),
            self.unified.v2(),
        ];
        columns.into_iter().flatten().collect()
    }

    /// What a scope of systemd is told, so that it has the same values whenever it writes them anew. What has no property
    /// (huge pages, RDMA, classes of packets) systemd leaves alone. `unified` is last.
    pub fn systemd(&self, version: Version, disks: &property::Disks) -> Vec<property::Property> {
        let columns = [
            self.memory.systemd(version),
            self.cpu.systemd(version),
            self.pids.systemd(),
            self.block_io.systemd(version, disks),
            self.unified.systemd(disks),
        ];
        columns.into_iter().flatten().collect()
    }

    /// Whether any limit is asked for. Device rules are none: a runtime without privileges cannot make device nodes.
    pub fn has_limits(&self) -> bool {
        !self.v1().is_empty() || !self.v2().is_empty()
    }

    /// Whether the v2 tree of a hybrid host is needed: for a controller, or since v1 has no `devices`.
    pub fn needs_v2_of(&self, hierarchy: &Hierarchy) -> bool {
        let Hierarchy::Hybrid(_, v2) = hierarchy else { return false };
        let filter = self.devices.are_enforced() && hierarchy.version_of("devices") != Some(Version::V1);
        filter || self.v2().iter().any(|write| v2.controllers.iter().any(|c| *c == write.controller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str, host: &Host) -> Result<Resources, String> {
        let spec: LinuxResources = serde_json::from_str(json).unwrap();
        Resources::parse(Some(&spec), host).map_err(|p| p.to_string())
    }

    #[test]
    fn zeros_of_clients_ask_for_nothing() {
        let docker = r#"{"memory":{"limit":0,"reservation":0,"kernel":0,"disableOOMKiller":false},
            "cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""},"blockIO":{"weight":0}}"#;
        for host in [examples::v1(), examples::v2()] {
            let resources = parse(docker, &host).unwrap();
            assert!(!resources.has_limits(), "{resources:?}");
            assert!(!Resources::parse(None, &host).unwrap().has_limits());
        }
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let json = r#"{"memory":{"limit":-5},"cpu":{"idle":7},"rdma":{"../x":{"hcaHandles":1}},
            "hugepageLimits":[{"pageSize":"../../x","limit":1}],"unified":{"a/../b":"1"}}"#;
        let text = parse(json, &examples::v2()).unwrap_err();
        for field in ["memory.limit", "cpu.idle", "rdma", "hugepageLimits[0].pageSize", "unified"] {
            assert!(text.contains(&format!("linux.resources.{field}")), "{field} in {text}");
        }
    }

    #[test]
    fn a_missing_controller_is_named_with_its_field() {
        let host = examples::host(Hierarchy::V1(vec![]));
        let text = parse(r#"{"memory":{"limit":1048576},"pids":{"limit":5}}"#, &host).unwrap_err();
        assert_eq!(
            text,
            "linux.resources.memory: this host has no cgroup controller \"memory\"; \
             linux.resources.pids: this host has no cgroup controller \"pids\""
        );
    }

    #[test]
    fn a_hybrid_host_takes_what_v1_lacks_from_v2() {
        let host = examples::hybrid();
        let resources = parse(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#, &host).unwrap();
        assert!(resources.needs_v2_of(&host.hierarchy));
    }
}
