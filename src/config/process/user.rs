//! `process.user` — who the container process is.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#user>

use oci_spec::runtime as spec;

use crate::error::{At, Error, Field, Problems};
use crate::sys;

/// The kernel's `NGROUPS_MAX`.
const MAX_GROUPS: usize = 65536;

/// The umask of a config that has none: runc's, which images were made for, rather than the caller's.
const DEFAULT_UMASK: u32 = 0o022;

/// Whether `setgroups(2)` may be called in the container's user namespace: a mapping written without privileges has to
/// deny it first (`user_namespaces(7)`, CVE-2014-8989).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setgroups {
    /// The groups become exactly those of the config.
    Allowed,
    /// The groups stay those of the caller, and the config may not ask for any.
    Denied,
    /// The groups stay those of the caller, as an annotation has it; those of the config are passed over.
    NotCalled,
}

/// A user or group id that names somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u32);

impl Id {
    /// For `setresuid(2)` and its like, the number 4294967295 is "leave as it is": a process that asked for it would
    /// stay root.
    fn parse(number: u32, field: Field) -> Result<Self, Problems> {
        if number == u32::MAX {
            return Err(Problems::one(
                field,
                format!("{number} is not an id: it means \"no change\" to the kernel"),
            ));
        }
        Ok(Self(number))
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The ids, groups and umask of the container process. A username is ignored, as the spec has it for Windows only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: Id,
    gid: Id,
    /// `None` where `setgroups(2)` is denied.
    groups: Option<Vec<Id>>,
    umask: u32,
}

impl User {
    /// Refuses ids that are none, more groups than the kernel takes, groups that cannot be set, and a umask of more than
    /// the nine permission bits.
    pub fn parse(user: &spec::User, setgroups: Setgroups) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let field = Field::new("process.user");
        let uid = problems.keep(Id::parse(user.uid(), field.key("uid")));
        let gid = problems.keep(Id::parse(user.gid(), field.key("gid")));
        let groups = problems.keep(parse_groups(user.additional_gids().as_deref().unwrap_or(&[])));
        let umask = user.umask().unwrap_or(DEFAULT_UMASK);
        if umask > 0o777 {
            problems.add(field.key("umask"), format!("{umask} ({umask:#o}) is more than 511 (0o777)"));
        }
        if setgroups == Setgroups::Denied && groups.as_ref().is_some_and(|groups| !groups.is_empty()) {
            let rule = "cannot be set: setgroups(2) is denied in the container's user namespace";
            problems.add(field.key("additionalGids"), rule);
        }
        match (uid, gid, groups) {
            (Some(uid), Some(gid), Some(groups)) => {
                let groups = (setgroups == Setgroups::Allowed).then_some(groups);
                problems.or(Self { uid, gid, groups, umask })
            }
            _ => Err(problems),
        }
    }

    /// The user id in the container's user namespace.
    pub fn uid(&self) -> u32 {
        self.uid.number()
    }

    /// The group id in the container's user namespace.
    pub fn gid(&self) -> u32 {
        self.gid.number()
    }

    /// The groups beside the first, in the container's user namespace.
    pub fn additional_gids(&self) -> impl Iterator<Item = u32> {
        self.groups.iter().flatten().map(|id| id.number())
    }

    /// Whether it keeps the groups of the caller.
    pub fn keeps_groups(&self) -> bool {
        self.groups.is_none()
    }

    /// Whether the change to this user would take the capabilities away (`capabilities(7)`), so that
    /// [`sys::prctl::keep_capabilities`] has to come before [`User::apply`].
    pub fn loses_capabilities(&self) -> bool {
        self.uid.number() != 0
    }

    /// Set the umask.
    pub fn apply_umask(&self) {
        sys::credentials::set_umask(self.umask);
    }

    /// Become this user. Groups go first: they can be changed only by whoever still is privileged.
    pub fn apply(&self) -> Result<(), Error> {
        if let Some(groups) = &self.groups {
            let numbers: Vec<u32> = groups.iter().map(|id| id.number()).collect();
            let mut wanted = numbers.clone();
            wanted.sort_unstable();
            take(
                "process.user.additionalGids",
                (&wanted, numbers.is_empty()),
                || sys::credentials::groups().map(|mut real| (real.sort_unstable(), real).1),
                || match sys::credentials::set_groups(&numbers) {
                    // A user namespace that is joined may deny it to everybody: what is so already is well.
                    Err(error) if error.errno == sys::Errno::EPERM && numbers.is_empty() => Ok(()),
                    done => done,
                },
            )?;
        }
        let (uid, gid) = (self.uid(), self.gid());
        let [all_uids, all_gids] = [uid, gid].map(|id| [id; 3]);
        let set_group = || sys::credentials::set_group(gid);
        take("process.user.gid", (&all_gids, gid == 0), sys::credentials::group, set_group)?;
        let set_user = || sys::credentials::set_user(uid);
        take("process.user.uid", (&all_uids, uid == 0), sys::credentials::user, set_user)
    }
}

/// Set an id, or the groups, and ask the kernel whether that came true, since a container process that stayed somebody
/// else (CVE-2026-30892 in crun) is the worst that this section can do. Where it is `likely` so already, as for root's,
/// the question comes first, and an answer that fits leaves nothing to do.
fn take<T: AsRef<[u32]>>(
    field: &'static str,
    (wanted, likely): (&T, bool),
    read: impl Fn() -> sys::Result<T>,
    set: impl Fn() -> sys::Result<()>,
) -> Result<(), Error> {
    let wanted = wanted.as_ref();
    if likely && read().at(field)?.as_ref() == wanted {
        return Ok(());
    }
    set().at(field)?;
    must_be(field, wanted, read().at(field)?.as_ref())
}

fn parse_groups(groups: &[u32]) -> Result<Vec<Id>, Problems> {
    let field = Field::new("process.user.additionalGids");
    if groups.len() > MAX_GROUPS {
        return Err(Problems::one(field, format!("{} groups are more than {MAX_GROUPS}", groups.len())));
    }
    let mut problems = Problems::default();
    let ids = groups.iter().enumerate();
    let ids = ids.filter_map(|(i, &gid)| problems.keep(Id::parse(gid, field.index(i)))).collect();
    problems.or(ids)
}

fn must_be(field: &str, wanted: &[u32], real: &[u32]) -> Result<(), Error> {
    if wanted == real {
        return Ok(());
    }
    Err(Error::message(format!("{field}: the kernel has {real:?} where {wanted:?} was set")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value, setgroups: Setgroups) -> Result<User, String> {
        let user: spec::User = serde_json::from_value(json).unwrap();
        User::parse(&user, setgroups).map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_is_absent_has_a_meaning() {
        let user = parse(serde_json::json!({"uid": 0, "gid": 0}), Setgroups::Allowed).unwrap();
        assert_eq!(user, User { uid: Id(0), gid: Id(0), groups: Some(vec![]), umask: 0o022 });
        assert!(!user.loses_capabilities());
    }

    #[test]
    fn groups_keep_their_order_and_repetitions() {
        let json = serde_json::json!({"uid": 7, "gid": 8, "umask": 63, "additionalGids": [4, 2, 4]});
        let user = parse(json, Setgroups::Allowed).unwrap();
        assert_eq!(user.additional_gids().collect::<Vec<_>>(), [4, 2, 4]);
        assert_eq!((user.uid(), user.gid(), user.umask), (7, 8, 63));
        assert!(user.loses_capabilities());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let none = u32::MAX;
        let json =
            serde_json::json!({"uid": none, "gid": none, "umask": 2_097_151, "additionalGids": [5, none]});
        let text = parse(json, Setgroups::Allowed).unwrap_err();
        for field in [
            "user.uid: 4294967295",
            "user.gid: 4294967295",
            "additionalGids[1]: ",
            "umask: 2097151 (0o7777777)",
        ] {
            assert!(text.contains(field), "{field} in {text}");
        }
    }

    #[test]
    fn groups_have_limits() {
        let many = serde_json::json!({"uid": 1, "gid": 1, "additionalGids": vec![1; 70_000]});
        let text = parse(many, Setgroups::Allowed).unwrap_err();
        assert_eq!(text, "process.user.additionalGids: 70000 groups are more than 65536");
        let denied = serde_json::json!({"uid": 1, "gid": 1, "additionalGids": [3]});
        assert!(parse(denied, Setgroups::Denied).unwrap_err().contains("setgroups(2) is denied"));
        let none = serde_json::json!({"uid": 1, "gid": 1, "additionalGids": []});
        assert_eq!(parse(none, Setgroups::Denied).unwrap().groups, None);
    }
}
