//! `linux.resources.network` — a class and priorities for packets.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#network>

use oci_spec::runtime::LinuxNetwork;

use super::Write;
use crate::cgroup::hierarchy::Hierarchy;
use crate::error::{Field, Problems};
use crate::host::Host;

const FIELD: &str = "linux.resources.network";

/// Settings of the controllers `net_cls` and `net_prio`, which only v1 has. On v2 the section is ignored, as by runc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    class_id: Option<u32>,
    priorities: Vec<(Field, String, u32)>,
}

impl Network {
    /// A class of zero is not set.
    pub fn parse(spec: Option<&LinuxNetwork>, host: &Host) -> Result<Self, Problems> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let field = Field::new(FIELD);
        let mut problems = Problems::default();
        let mut priorities = Vec::new();
        for (i, entry) in spec.priorities().iter().flatten().enumerate() {
            let field = field.key("priorities").index(i);
            if !is_interface_name(entry.name()) {
                let rule = format!("{:?} is not the name of a network interface", entry.name());
                problems.add(field.key("name"), rule);
            }
            priorities.push((field, entry.name().clone(), entry.priority()));
        }
        let network = Self { class_id: spec.class_id().filter(|&id| id != 0), priorities };
        if !matches!(host.hierarchy, Hierarchy::V2(_)) {
            if network.class_id.is_some() {
                problems.keep(host.hierarchy.require("net_cls", field.key("classID")));
            }
            if !network.priorities.is_empty() {
                problems.keep(host.hierarchy.require("net_prio", field.key("priorities")));
            }
        }
        problems.or(network)
    }

    /// The class, then an interface per write.
    pub fn v1(&self) -> Vec<Write> {
        let class_id = self
            .class_id
            .map(|id| Write::new("linux.resources.network.classID", "net_cls", "net_cls.classid", id));
        let priorities = self.priorities.iter().map(|(field, name, priority)| {
            Write::new(field.clone(), "net_prio", "net_prio.ifpriomap", format!("{name} {priority}"))
        });
        class_id.into_iter().chain(priorities).collect()
    }
}

/// As the kernel's `dev_valid_name`.
fn is_interface_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(['/', ':', '\0'])
        && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(json: &str, host: &Host) -> Result<Network, String> {
        let spec: LinuxNetwork = serde_json::from_str(json).unwrap();
        Network::parse(Some(&spec), host).map_err(|p| p.to_string())
    }

    #[test]
    fn only_v1_has_it() {
        let json = r#"{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}"#;
        let writes = parse(json, &examples::v1()).unwrap().v1();
        let files: Vec<_> = writes.iter().map(|w| (&*w.controller, &*w.file, &*w.value)).collect();
        assert_eq!(
            files,
            [("net_cls", "net_cls.classid", "1048577"), ("net_prio", "net_prio.ifpriomap", "eth0 500")]
        );
        assert!(parse(json, &examples::v2()).is_ok());
    }

    #[test]
    fn names_are_checked() {
        let text = parse(r#"{"priorities":[{"name":"a b","priority":1}]}"#, &examples::v1()).unwrap_err();
        assert!(text.starts_with("linux.resources.network.priorities[0].name: "), "{text}");
    }
}
