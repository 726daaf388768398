//! A config without a user namespace, brought by an ordinary user: he can make no other namespace without one.

use oci_spec::runtime::{
    Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Spec,
};

use crate::host::caller::Caller;

/// Add the user namespace, and the mappings if there are none, so that the caller is root in it and has his subordinate
/// ids from 1 on. Returns what has been done, in one line; nothing where the config says it all.
pub fn complete(spec: &mut Spec, caller: &Caller) -> Option<String> {
    // The type's own default is a whole container.
    let nothing = || serde_json::from_str("{}").unwrap_or_default();
    let mut linux: Linux = spec.linux().clone().unwrap_or_else(nothing);
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    let unmapped = [linux.uid_mappings(), linux.gid_mappings()]
        .iter()
        .all(|list| list.as_ref().is_none_or(|list| list.is_empty()));
    let own = namespaces.iter().find(|namespace| namespace.typ() == LinuxNamespaceType::User);
    let is_new = own.is_some_and(|user| user.path().as_ref().is_none_or(|path| path.as_os_str().is_empty()));
    if !unmapped || own.is_some() && !is_new {
        return None;
    }
    if own.is_none() {
        let mut user = LinuxNamespace::default();
        user.set_typ(LinuxNamespaceType::User);
        namespaces.push(user);
        linux.set_namespaces(Some(namespaces));
    }
    let lent = caller.programs.is_some()
        && !caller.subordinate_uids.is_empty()
        && !caller.subordinate_gids.is_empty();
    let (uids, gids) =
        if lent { (&caller.subordinate_uids[..], &caller.subordinate_gids[..]) } else { (&[][..], &[][..]) };
    linux.set_uid_mappings(Some(mappings(caller.uid, uids)));
    linux.set_gid_mappings(Some(mappings(caller.gid, gids)));
    let others = match () {
        () if !lent => {
            forget_unmapped_groups(spec);
            "it is the only id, for want of a range in /etc/subuid and /etc/subgid, or of newuidmap".into()
        }
        () => format!("the others are {} of /etc/subuid", count(uids)),
    };
    spec.set_linux(Some(linux));
    Some(format!(
        "config.json: linux.namespaces: a user namespace is added, which an ordinary user needs: its root is uid {}, {others}",
        caller.uid
    ))
}

fn count(ranges: &[(u32, u32)]) -> u64 {
    ranges.iter().map(|(_, count)| u64::from(*count)).sum()
}

fn mappings(own: u32, lent: &[(u32, u32)]) -> Vec<LinuxIdMapping> {
    let mut next = 1_u32;
    let mut list = vec![mapping(0, own, 1)];
    for (first, count) in lent {
        // What does not fit below the last id is not needed by anybody.
        let count = (*count).min(u32::MAX - next);
        list.push(mapping(next, *first, count));
        next += count;
    }
    list.retain(|mapping| mapping.size() > 0);
    list
}

fn mapping(container: u32, host: u32, size: u32) -> LinuxIdMapping {
    let mapping = LinuxIdMappingBuilder::default().container_id(container).host_id(host).size(size).build();
    mapping.unwrap_or_default()
}

/// The terminals' group, tty, which default configs name, is not there.
fn forget_unmapped_groups(spec: &mut Spec) {
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if mount.typ().as_deref() == Some("devpts") {
            let mut words = mount.options().clone().unwrap_or_default();
            words.retain(|word| !word.starts_with("gid=") || word == "gid=0");
            mount.set_options(Some(words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn completed(linux: Value, caller: &Caller) -> (Option<String>, Value) {
        let devpts =
            json!({ "destination": "/dev/pts", "type": "devpts", "options": ["gid=5", "mode=0620"] });
        let spec = json!({ "ociVersion": "1.0.0", "mounts": [devpts], "linux": linux });
        let mut spec: Spec = serde_json::from_value(spec).unwrap();
        let said = complete(&mut spec, caller);
        (said, serde_json::to_value(&spec).unwrap())
    }

    fn ann() -> Caller {
        Caller { uid: 1001, gid: 100, ..Caller::default() }
    }

    #[test]
    fn alone_the_caller_is_the_only_one() {
        let (said, spec) = completed(json!({ "namespaces": [{ "type": "mount" }] }), &ann());
        assert!(said.unwrap().contains("uid 1001"));
        assert_eq!(spec["linux"]["namespaces"], json!([{ "type": "mount" }, { "type": "user" }]));
        assert_eq!(spec["linux"]["uidMappings"], json!([{ "containerID": 0, "hostID": 1001, "size": 1 }]));
        assert_eq!(spec["linux"]["gidMappings"], json!([{ "containerID": 0, "hostID": 100, "size": 1 }]));
        assert_eq!(spec["mounts"][0]["options"], json!(["mode=0620"]));
    }

    #[test]
    fn subordinate_ids_follow() {
        let lent = vec![(100_000, 10), (500, 5)];
        let caller = Caller {
            subordinate_uids: lent.clone(),
            subordinate_gids: lent,
            programs: Some("/usr/bin".into()),
            ..ann()
        };
        let (said, spec) = completed(json!({ "namespaces": [{ "type": "user" }] }), &caller);
        assert!(said.unwrap().contains("15 of /etc/subuid"));
        assert_eq!(spec["linux"]["namespaces"], json!([{ "type": "user" }]));
        assert_eq!(
            spec["linux"]["gidMappings"],
            json!([
                { "containerID": 0, "hostID": 100, "size": 1 },
                { "containerID": 1, "hostID": 100_000, "size": 10 },
                { "containerID": 11, "hostID": 500, "size": 5 },
            ])
        );
        assert_eq!(spec["mounts"][0]["options"], json!(["gid=5", "mode=0620"]));
    }

    #[test]
    fn what_the_config_says_stays() {
        let map = json!([{ "containerID": 0, "hostID": 5, "size": 1 }]);
        for linux in [
            json!({ "namespaces": [{ "type": "user" }], "uidMappings": map }),
            json!({ "namespaces": [{ "type": "user", "path": "/proc/7/ns/user" }] }),
            json!({ "namespaces": [], "gidMappings": map }),
        ] {
            assert_eq!(completed(linux, &ann()).0, None);
        }
    }
}
