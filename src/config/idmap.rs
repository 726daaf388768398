//! `mounts[].uidMappings`, `mounts[].gidMappings` and the options `idmap` and `ridmap` — whose files those of a mount are.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#mounts>
//!
//! An id of the file system (`containerID`) appears on the mount as one of the host (`hostID`), which the container's
//! user namespace then shows as one of its own.

use oci_spec::runtime::{LinuxIdMapping, Mount};

use crate::config::linux::id_mappings::{IdMapping, IdMappings, ranges};
use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::config::mount_options::Options;
use crate::error::{Field, Problems};
use crate::sys::mount::Reach;

/// The id mapping of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idmap {
    /// Where the config asks for it.
    pub field: Field,
    /// From which ids to which.
    pub mapping: Mapping,
    /// `ridmap` goes for all mounts below.
    pub reach: Reach,
}

/// From which ids to which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Those of the user namespace that the container joins.
    Joined,
    /// These.
    Of(IdMappings),
}

/// What a mount's mapping may be relative to.
#[derive(Clone, Copy, Debug)]
pub struct UserNamespace<'a> {
    /// The container's namespaces.
    pub namespaces: &'a Namespaces,
    /// `linux.uidMappings` and `linux.gidMappings`, as they are listed.
    pub mappings: &'a IdMappings,
    /// Whether the runtime may have `CAP_SYS_ADMIN` where file systems belong.
    pub is_privileged: bool,
}

/// The mapping that the mount asks for, if it does. Mappings without an option are taken for `idmap`.
pub fn parse(
    field: &Field,
    mount: &Mount,
    options: &Options,
    users: &UserNamespace,
) -> Result<Option<Idmap>, Problems> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    let listed = !uids.is_empty() || !gids.is_empty();
    let (place, (reach, text)) = match &options.idmap {
        Some((reach, text)) => (field.key("options"), (*reach, text.as_deref())),
        None if listed => (field.key("uidMappings"), (Reach::One, None)),
        None => return Ok(None),
    };
    if !users.is_privileged {
        let rule =
            "an id-mapped mount takes CAP_SYS_ADMIN where its file system belongs, which the caller has not";
        return Err(Problems::one(place, rule));
    }
    let mapping = match (listed, text) {
        (true, Some(_)) => {
            return Err(Problems::one(place, "the mapping is given twice: in the option and as uidMappings"));
        }
        (true, None) => both(field, uids, gids).map(Mapping::Of)?,
        (false, Some(text)) => of_text(&place, text, users).map(Mapping::Of)?,
        (false, None) => of_the_container(&place, users)?,
    };
    Ok(Some(Idmap { field: place, mapping, reach }))
}

/// "If specified, it MUST be specified along with" the other.
fn both(field: &Field, uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<IdMappings, Problems> {
    for (list, missing, given) in [(uids, "uidMappings", "gidMappings"), (gids, "gidMappings", "uidMappings")]
    {
        if list.is_empty() {
            return Err(Problems::one(field.key(missing), format!("is missing, and {given} is given")));
        }
    }
    IdMappings::of((&field.key("uidMappings"), ranges(uids)), (&field.key("gidMappings"), ranges(gids)))
}

/// Without mappings of its own a mount has the container's.
fn of_the_container(place: &Field, users: &UserNamespace) -> Result<Mapping, Problems> {
    match () {
        () if users.namespaces.joins(Kind::User) => Ok(Mapping::Joined),
        () if users.namespaces.creates(Kind::User) => Ok(Mapping::Of(users.mappings.clone())),
        () => Err(Problems::one(
            place.clone(),
            "idmap needs uidMappings and gidMappings, as the container has no user namespace to take them from",
        )),
    }
}

/// crun's form: `uids=0-1000-10#10-2000-5;gids=0-1000-10`, each of them file system's id, host's id, size. With `@` in
/// front the host's id is one of the container's instead.
fn of_text(place: &Field, text: &str, users: &UserNamespace) -> Result<IdMappings, Problems> {
    let mut lists = [Vec::new(), Vec::new()];
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (key, container) = match part.split_once('=') {
            Some(("uids", _)) => (0, users.mappings.uids()),
            Some(("gids", _)) => (1, users.mappings.gids()),
            _ => return Err(Problems::one(place.clone(), format!("{part:?} is neither uids=… nor gids=…"))),
        };
        for word in part[5..].split('#') {
            lists[key].extend(triplet(word, container).map_err(|rule| Problems::one(place.clone(), rule))?);
        }
    }
    let [uids, gids] = lists;
    if uids.is_empty() || gids.is_empty() {
        return Err(Problems::one(place.clone(), format!("{text:?} must have both uids=… and gids=…")));
    }
    IdMappings::of((place, uids), (place, gids))
}

/// One mapping; a relative one is cut where the container's mappings are.
fn triplet(word: &str, container: &[IdMapping]) -> Result<Vec<IdMapping>, String> {
    let (numbers, relative) = word.strip_prefix('@').map_or((word, false), |rest| (rest, true));
    let numbers: Vec<Option<u32>> = numbers.split('-').map(|number| number.parse().ok()).collect();
    let [Some(first), Some(second), Some(size)] = numbers[..] else {
        return Err(format!(
            "{word:?} is not a mapping: it is FILESYSTEM-ID, HOST-ID and SIZE, with - between them"
        ));
    };
    if !relative {
        return Ok(vec![IdMapping { container: first, host: second, size }]);
    }
    let mut list = Vec::new();
    let mut done = 0;
    while done < size {
        let found = second.checked_add(done).and_then(|id| {
            let range =
                container.iter().find(|range| id >= range.container && id - range.container < range.size)?;
            Some((id - range.container, range))
        });
        let Some((offset, range)) = found else {
            let rule = "is relative to ids of the container that its user namespace does not map";
            return Err(format!("{word:?} {rule}"));
        };
        let part = (range.size - offset).min(size - done);
        list.push(IdMapping {
            container: first.saturating_add(done),
            host: range.host.saturating_add(offset),
            size: part,
        });
        done += part;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mount_options;

    fn mappings(list: &[[u32; 3]]) -> Vec<IdMapping> {
        list.iter()
            .map(|[container, host, size]| IdMapping { container: *container, host: *host, size: *size })
            .collect()
    }

    fn maps(uids: &[[u32; 3]], gids: &[[u32; 3]]) -> IdMappings {
        let field = Field::new("f");
        IdMappings::of((&field, mappings(uids)), (&field, mappings(gids))).unwrap()
    }

    fn parse_in(kinds: &[Kind], json: serde_json::Value) -> Result<Option<Idmap>, String> {
        let mount: Mount = serde_json::from_value(json).unwrap();
        let options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        let container = maps(&[[0, 100_000, 1000], [1000, 500, 10]], &[[0, 200_000, 1000]]);
        let namespaces = &Namespaces::created(kinds);
        let users = UserNamespace { namespaces, mappings: &container, is_privileged: true };
        parse(&Field::new("mounts[0]"), &mount, &options, &users).map_err(|problems| problems.to_string())
    }

    fn of(json: serde_json::Value) -> Result<Option<IdMappings>, String> {
        Ok(parse_in(&[Kind::User], json)?.map(|idmap| match idmap.mapping {
            Mapping::Of(mappings) => mappings,
            Mapping::Joined => panic!("nothing is joined"),
        }))
    }

    fn option(word: &str) -> serde_json::Value {
        serde_json::json!({ "destination": "/x", "options": [word] })
    }

    #[test]
    fn the_containers_mapping_is_implied() {
        let container = maps(&[[0, 100_000, 1000], [1000, 500, 10]], &[[0, 200_000, 1000]]);
        assert_eq!(of(option("idmap")), Ok(Some(container)));
        assert_eq!(of(option("ro")), Ok(None));
        let refused = parse_in(&[], option("ridmap")).unwrap_err();
        assert!(refused.starts_with("mounts[0].options: idmap needs uidMappings"), "{refused}");
    }

    #[test]
    fn mappings_are_an_option_of_their_own() {
        let list = serde_json::json!([{ "containerID": 0, "hostID": 7, "size": 2 }]);
        let plain = serde_json::json!({ "destination": "/x", "uidMappings": list, "gidMappings": list });
        let idmap = parse_in(&[], plain).unwrap().unwrap();
        assert_eq!(idmap.reach, Reach::One);
        assert_eq!(idmap.mapping, Mapping::Of(maps(&[[0, 7, 2]], &[[0, 7, 2]])));
        let half = serde_json::json!({ "destination": "/x", "uidMappings": list, "options": ["idmap"] });
        assert_eq!(of(half).unwrap_err(), "mounts[0].gidMappings: is missing, and uidMappings is given");
        let twice = serde_json::json!({
            "destination": "/x", "uidMappings": list, "gidMappings": list, "options": ["idmap=uids=0-1-1;gids=0-1-1"],
        });
        assert!(of(twice).unwrap_err().contains("given twice"));
    }

    #[test]
    fn text_is_absolute_or_relative() {
        let absolute = of(option("idmap=uids=0-1-10#10-31-5;gids=0-3-10"));
        assert_eq!(absolute, Ok(Some(maps(&[[0, 1, 10], [10, 31, 5]], &[[0, 3, 10]]))));
        let relative = of(option("idmap=uids=@5-990-15;gids=@0-3-10"));
        assert_eq!(relative, Ok(Some(maps(&[[5, 100_990, 10], [15, 500, 5]], &[[0, 200_003, 10]]))));
    }

    #[test]
    fn text_that_is_none_is_refused() {
        for bad in [
            "uids=0-1-1",
            "x",
            "uids=0-1;gids=0-1-1",
            "uids=a-1-1;gids=0-1-1",
            "uids=@0-2000-1;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "uids=0-1-5#3-50-5;gids=0-1-1",
            "uids=0--1-5;gids=0-1-1",
            "uids=;gids=",
            "",
        ] {
            let refused = of(option(&format!("idmap={bad}"))).unwrap_err();
            assert!(refused.starts_with("mounts[0].options"), "{bad}: {refused}");
        }
    }
}
