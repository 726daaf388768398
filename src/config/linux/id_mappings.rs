//! `linux.uidMappings` and `linux.gidMappings` — which ids of the host the container's user namespace has.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#user-namespace-mappings>

use std::os::fd::AsFd;

use oci_spec::runtime::LinuxIdMapping;

use crate::config::linux::map_program;
use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::error::{At, Error, Field, Problems};
use crate::host::caller::{Caller, DIRECTORIES};
use crate::sys::file;

/// A range of ids: `size` ids from `container` on are the host's from `host` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    /// The first id inside.
    pub container: u32,
    /// The first id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The kernel's limit on the lines of a map since Linux 4.15, `user_namespaces(7)`.
const MOST_LINES: usize = 340;

/// The mappings of a new user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMappings {
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
}

impl IdMappings {
    /// Mappings and a new user namespace go together. With one that is joined they say nothing new and are left out.
    pub fn parse(
        uids: &[LinuxIdMapping],
        gids: &[LinuxIdMapping],
        namespaces: &Namespaces,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut lists = [Vec::new(), Vec::new()];
        for (list, (field, mappings)) in
            lists.iter_mut().zip([("linux.uidMappings", uids), ("linux.gidMappings", gids)])
        {
            if namespaces.creates(Kind::User) && mappings.is_empty() {
                problems.add(field, "a new user namespace needs at least one mapping");
            }
            if !namespaces.is_own(Kind::User) && !mappings.is_empty() {
                problems.add(field, "mappings need a user namespace in linux.namespaces");
            }
            *list = problems.keep(checked(&Field::new(field), ranges(mappings))).unwrap_or_default();
        }
        if !namespaces.creates(Kind::User) {
            lists = Default::default();
        }
        let [uids, gids] = lists;
        problems.or(Self { uids, gids })
    }

    /// The mappings as the config lists them, whatever they are of and whether they are right.
    pub fn listed(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Self {
        Self { uids: ranges(uids), gids: ranges(gids) }
    }

    /// The mappings of something else than the container: each list with its field.
    pub fn of(uids: (&Field, Vec<IdMapping>), gids: (&Field, Vec<IdMapping>)) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let uids = problems.keep(checked(uids.0, uids.1)).unwrap_or_default();
        let gids = problems.keep(checked(gids.0, gids.1)).unwrap_or_default();
        problems.or(Self { uids, gids })
    }

    /// The user ids, in the order of the config.
    pub fn uids(&self) -> &[IdMapping] {
        &self.uids
    }

    /// The group ids, in the order of the config.
    pub fn gids(&self) -> &[IdMapping] {
        &self.gids
    }

    /// The host's uid of a uid of the container; `None` if that is not known, as in a user namespace that is joined.
    pub fn uid_on_host(&self, uid: u32, namespaces: &Namespaces) -> Option<u32> {
        if namespaces.is_own(Kind::User) { host_id(&self.uids, uid) } else { Some(uid) }
    }

    /// Whether these ids exist in the container. Everything does where there are no mappings.
    pub fn maps(&self, uid: u32, gid: u32) -> (bool, bool) {
        let mapped = |list: &[IdMapping], id| list.is_empty() || host_id(list, id).is_some();
        (mapped(&self.uids, uid), mapped(&self.gids, gid))
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Whether this group is the only one.
    pub fn gids_are_only(&self, gid: u32) -> bool {
        is_only(&self.gids, gid)
    }

    /// An ordinary user writes a map of his own id himself; all else takes a program with root's rights.
    pub fn can_be_written_by(&self, caller: &Caller) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for (field, list, own) in
            [("linux.uidMappings", &self.uids, caller.uid), ("linux.gidMappings", &self.gids, caller.gid)]
        {
            if !list.is_empty() && !is_only(list, own) && caller.programs.is_none() {
                let rule =
                    "to map others' ids newuidmap(1) and newgidmap(1) are needed, and they are in none of";
                problems.add(field, format!("{rule} {}", DIRECTORIES.join(", ")));
            }
        }
        problems.or(())
    }

    /// Write the maps of the process, through a procfs in which its number is `pid`. A caller without privilege may only
    /// write the group map after `setgroups` has been denied, `user_namespaces(7)`.
    pub fn write_for(&self, pid: i32, procfs: impl AsFd, caller: Option<&Caller>) -> Result<(), Error> {
        let procfs = procfs.as_fd();
        let uids = ("linux.uidMappings", "uid_map", "newuidmap", &self.uids, caller.map(|caller| caller.uid));
        let gids = ("linux.gidMappings", "gid_map", "newgidmap", &self.gids, caller.map(|caller| caller.gid));
        for (field, name, program, list, own) in [uids, gids] {
            let programs = caller.and_then(|caller| caller.programs.as_ref());
            match (own, programs) {
                (Some(own), Some(directory)) if !is_only(list, own) => {
                    map_program::run(&directory.join(program), pid, list).at(field)?;
                    continue;
                }
                (Some(_), _) if name == "gid_map" => {
                    file::write_value(procfs, format!("{pid}/setgroups"), "deny").at(field)?;
                }
                _ => {}
            }
            file::write_value(procfs, format!("{pid}/{name}"), &lines(list)).at(field)?;
        }
        Ok(())
    }
}

fn is_only(list: &[IdMapping], id: u32) -> bool {
    matches!(list, [IdMapping { host, size: 1, .. }] if *host == id)
}

/// The mappings as they are listed.
pub fn ranges(mappings: &[LinuxIdMapping]) -> Vec<IdMapping> {
    let range =
        |m: &LinuxIdMapping| IdMapping { container: m.container_id(), host: m.host_id(), size: m.size() };
    mappings.iter().map(range).collect()
}

fn host_id(list: &[IdMapping], id: u32) -> Option<u32> {
    let range = list.iter().find(|m| id >= m.container && id - m.container < m.size)?;
    Some(range.host + (id - range.container))
}

fn lines(list: &[IdMapping]) -> String {
    list.iter().map(|m| format!("{} {} {}\n", m.container, m.host, m.size)).collect()
}

/// The rules of `user_namespaces(7)` that can be told from the numbers.
fn checked(field: &Field, list: Vec<IdMapping>) -> Result<Vec<IdMapping>, Problems> {
    let mut problems = Problems::default();
    if list.len() > MOST_LINES {
        return Err(Problems::one(
            field.clone(),
            format!("has {} mappings, the kernel takes at most {MOST_LINES}", list.len()),
        ));
    }
    for (i, new) in list.iter().enumerate() {
        let field = field.index(i);
        if new.size == 0 {
            problems.add(field.key("size"), "must not be 0");
        }
        // The id 4294967295 is "no id".
        if end(new.container, new.size) > u64::from(u32::MAX) || end(new.host, new.size) > u64::from(u32::MAX)
        {
            problems.add(field, "goes beyond the last id, 4294967294");
            continue;
        }
        let overlaps =
            |a: u32, b: u32, size: u32| u64::from(a) < end(b, size) && u64::from(b) < end(a, new.size);
        if list[..i].iter().any(|old| {
            overlaps(new.container, old.container, old.size) || overlaps(new.host, old.host, old.size)
        }) {
            problems.add(field, "overlaps with a mapping before it");
        }
    }
    problems.or(list)
}

fn end(first: u32, size: u32) -> u64 {
    u64::from(first) + u64::from(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<IdMappings, Problems> {
        let list: Vec<LinuxIdMapping> = serde_json::from_str(json).unwrap();
        IdMappings::parse(&list, &list, &Namespaces::created(&[Kind::User]))
    }

    #[test]
    fn ranges_are_checked() {
        for bad in [
            "[]",
            r#"[{"containerID":0,"hostID":0,"size":0}]"#,
            r#"[{"containerID":0,"hostID":4294967290,"size":10}]"#,
            r#"[{"containerID":0,"hostID":0,"size":10},{"containerID":5,"hostID":100,"size":10}]"#,
            r#"[{"containerID":0,"hostID":0,"size":10},{"containerID":50,"hostID":9,"size":10}]"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let many: Vec<_> =
            (0..341).map(|i| format!(r#"{{"containerID":{i},"hostID":{i},"size":1}}"#)).collect();
        assert!(parse(&format!("[{}]", many.join(","))).is_err());
        assert!(parse(&format!("[{}]", many[..340].join(","))).is_ok());
    }

    #[test]
    fn mappings_need_a_user_namespace() {
        let list: Vec<LinuxIdMapping> =
            serde_json::from_str(r#"[{"containerID":0,"hostID":1,"size":1}]"#).unwrap();
        assert!(IdMappings::parse(&list, &list, &Namespaces::default()).is_err());
        assert!(IdMappings::parse(&[], &[], &Namespaces::default()).unwrap().is_empty());
    }

    #[test]
    fn ids_are_translated() {
        let maps =
            parse(r#"[{"containerID":0,"hostID":100000,"size":10},{"containerID":50,"hostID":7,"size":1}]"#)
                .unwrap();
        assert_eq!(maps.maps(50, 9), (true, true));
        assert_eq!(maps.maps(10, 51), (false, false));
        assert_eq!(lines(&maps.uids), "0 100000 10\n50 7 1\n");
    }
}
