//! `linux.mountLabel` — the SELinux context of the container's file systems.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#mount-label>

use crate::config::mounts::{Mount, What};
use crate::error::Problems;
use crate::host::Host;

/// File systems that carry no labels of their own, or get them from the policy.
const UNLABELLED: [&str; 4] = ["proc", "sysfs", "mqueue", "devpts"];

/// Add the label, by a mount option of SELinux, to the mounts that take one. Without SELinux nobody reads labels, so that leaving them out, with a
/// warning, gives nothing away; a label for the process is another matter.
pub fn apply_to(mounts: &mut [Mount], label: Option<(&str, &str)>, host: &Host) -> Result<(), Problems> {
    let Some((option, label)) = label.filter(|(_, label)| !label.is_empty()) else { return Ok(()) };
    if label.contains(['"', '\n']) {
        return Err(Problems::one("linux.mountLabel", format!("{label:?} is not a label")));
    }
    if !host.selinux.holds() {
        crate::log::warn("config.json: linux.mountLabel: is left out, as this host has no SELinux");
        return Ok(());
    }
    for mount in mounts {
        if let What::Filesystem(kind, _) = &mount.what
            && !UNLABELLED.contains(&kind.as_str())
            && !mount.options.parameters.iter().any(|parameter| parameter.starts_with(&format!("{option}=")))
        {
            mount.options.parameters.push(format!("{option}={label}"));
        }
    }
    Ok(())
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
        let list = r#"[{"destination":"/proc","type":"proc"},{"destination":"/t","type":"tmpfs"}]"#;
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
        apply_to(&mut mounts, Some(("context", "a:b:c:s0:c1,c2")), &host).unwrap();
        assert!(mounts[0].options.parameters.is_empty());
        assert_eq!(mounts[1].options.parameters, ["context=a:b:c:s0:c1,c2"]);
        assert!(apply_to(&mut mounts, Some(("context", "a\"b")), &host).is_err());
    }

    #[test]
    fn without_selinux_nothing_is_added() {
        let mut mounts = mounts();
        apply_to(&mut mounts, Some(("context", "a:b:c:s0")), &plain_host()).unwrap();
        assert!(mounts[1].options.parameters.is_empty());
    }
}
