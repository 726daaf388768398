//! `linux.mountLabel` — the SELinux context of the container's file systems.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#mount-label>

use crate::config::mounts::{Mount, What};
use crate::error::Problems;
use crate::host::Host;

/// File systems whose files the policy labels, one by one.
const LABELLED_BY_POLICY: [&str; 2] = ["proc", "sysfs"];

/// A label, and the mount option that gives it; without SELinux nobody reads labels, so that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountLabel(Option<(&'static str, String)>);

impl MountLabel {
    /// A host without SELinux leaves the label out, with a warning: that gives nothing away. A label for the process is
    /// another matter.
    pub fn parse(option: &'static str, label: Option<&str>, host: &Host) -> Result<Self, Problems> {
        let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(Self(None)) };
        if label.contains(['"', '\n']) {
            return Err(Problems::one("linux.mountLabel", format!("{label:?} is not a label")));
        }
        if !host.selinux.holds() {
            crate::log::warn("config.json: linux.mountLabel: is left out, as this host has no SELinux");
            return Ok(Self(None));
        }
        Ok(Self(Some((option, label.to_owned()))))
    }

    /// Give it to the new file systems that take one. A container's terminals are in its devpts, and have its label.
    pub fn give_to(&self, mounts: &mut [Mount]) {
        let Some((option, label)) = &self.0 else { return };
        for mount in mounts {
            let What::Filesystem(kind, _) = &mount.what else { continue };
            let parameters = &mut mount.options.parameters;
            match kind.as_str() {
                kind if LABELLED_BY_POLICY.contains(&kind) => {}
                // The kernel has mounted it already, when it made the IPC namespace, and knows no other options for it.
                "mqueue" => mount.options.label = Some(label.clone()),
                _ if parameters.iter().any(|parameter| parameter.starts_with(&format!("{option}="))) => {}
                _ => parameters.push(format!("{option}={label}")),
            }
        }
    }

    /// The option for `mount(2)`, where a comma would end it.
    pub fn quoted(&self) -> Option<String> {
        self.0.as_ref().map(|(option, label)| format!("{option}=\"{label}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::idmap::UserNamespace;
    use crate::config::linux::id_mappings::IdMappings;
    use crate::config::linux::namespaces::{Kind, Namespaces};
    use crate::config::process::plain_host;
    use crate::host::Fact;

    fn mounts() -> Vec<Mount> {
        let list = r#"[{"destination":"/proc","type":"proc"},{"destination":"/t","type":"tmpfs"},
            {"destination":"/q","type":"mqueue"}]"#;
        let list: Vec<oci_spec::runtime::Mount> = serde_json::from_str(list).unwrap();
        let namespaces = &Namespaces::created(&[Kind::Mount]);
        let users = UserNamespace { namespaces, mappings: &IdMappings::default(), is_privileged: true };
        let base = crate::config::mounts::Base { bundle: "/b".as_ref(), root: "/b/rootfs".as_ref() };
        crate::config::mounts::parse(&list, base, &users).unwrap()
    }

    #[test]
    fn only_what_takes_a_label_gets_one() {
        let host = Host { selinux: Fact::Known(true), ..plain_host() };
        let mut mounts = mounts();
        let label = MountLabel::parse("context", Some("a:b:c:s0:c1,c2"), &host).unwrap();
        label.give_to(&mut mounts);
        assert!(mounts[0].options.parameters.is_empty());
        assert_eq!(mounts[1].options.parameters, ["context=a:b:c:s0:c1,c2"]);
        assert!(mounts[2].options.parameters.is_empty());
        assert_eq!(mounts[2].options.label.as_deref(), Some("a:b:c:s0:c1,c2"));
        assert_eq!(label.quoted().as_deref(), Some("context=\"a:b:c:s0:c1,c2\""));
        assert!(MountLabel::parse("context", Some("a\"b"), &host).is_err());
    }

    #[test]
    fn without_selinux_nothing_is_added() {
        let mut mounts = mounts();
        MountLabel::parse("context", Some("a:b:c:s0"), &plain_host()).unwrap().give_to(&mut mounts);
        assert!(mounts[1].options.parameters.is_empty());
    }
}
