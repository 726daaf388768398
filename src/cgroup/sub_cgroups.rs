//! `exec --cgroup`: sub-cgroups that the container has made, and that a further process enters instead of its cgroup.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::layout::{Directory, Layout};
use crate::error::Problems;

const FIELD: &str = "--cgroup";

/// Paths below the container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubCgroups {
    /// In every tree the same; v2 has but one.
    Everywhere(PathBuf),
    /// In the trees of these controllers of v1, and the container's own cgroup in all others.
    Of(BTreeMap<String, PathBuf>),
}

impl SubCgroups {
    /// `PATH` once, or `CONTROLLER[,CONTROLLER…]:PATH` as often as is needed. A path is always below the container's
    /// cgroup, with a slash in front or without.
    pub fn parse(values: &[String]) -> Result<Option<Self>, Problems> {
        let refuse = |value: &str, rule: &str| Err(Problems::one(FIELD, format!("{value:?} {rule}")));
        let mut of = BTreeMap::new();
        for value in values {
            let Some((controllers, path)) = value.split_once(':') else {
                return match values {
                    [only] => Ok(Some(Self::Everywhere(below(only)?))),
                    _ => refuse(value, "has no controller, and is not alone"),
                };
            };
            let path = below(path)?;
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    return refuse(value, "has an empty controller");
                }
                if of.insert(controller.to_owned(), path.clone()).is_some() {
                    return refuse(value, "has a controller that was given before");
                }
            }
        }
        Ok((!of.is_empty()).then_some(Self::Of(of)))
    }

    /// The path below the container's directory in a tree.
    pub(super) fn path_in(&self, directory: &Directory) -> Result<&Path, Problems> {
        let of = match self {
            Self::Everywhere(path) => return Ok(path),
            Self::Of(of) => of,
        };
        let mut paths = of.iter().filter(|(controller, _)| directory.has(controller)).map(|(_, path)| path);
        let path = paths.next();
        if paths.any(|other| Some(other) != path) {
            let rule =
                format!("{} have one directory, and cannot be in two", directory.controllers.join(","));
            return Err(Problems::one(FIELD, rule));
        }
        Ok(path.map_or(Path::new(""), PathBuf::as_path))
    }

    /// Refuse a controller that the container has no cgroup of.
    pub(super) fn judge(&self, layout: &Layout) -> Result<(), Problems> {
        let Self::Of(of) = self else { return Ok(()) };
        let mut problems = Problems::default();
        for controller in of.keys() {
            if !layout.directories().iter().any(|directory| directory.has(controller)) {
                problems
                    .add(FIELD, format!("the container has no cgroup with the controller {controller:?}"));
            }
        }
        problems.or(())
    }
}

/// Out of the container's cgroup leads nothing, not even for a moment.
fn below(path: &str) -> Result<PathBuf, Problems> {
    let path = Path::new(path);
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(Problems::one(
            FIELD,
            format!("{} is not a sub cgroup path: it has \"..\"", path.display()),
        ));
    }
    Ok(path.components().filter(|component| matches!(component, Component::Normal(_))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Option<SubCgroups>, String> {
        let values: Vec<String> = values.iter().map(|value| value.to_string()).collect();
        SubCgroups::parse(&values).map_err(|problems| problems.to_string())
    }

    #[test]
    fn one_path_or_one_for_each_controller() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&["/a/./b/"]), Ok(Some(SubCgroups::Everywhere("a/b".into()))));
        assert_eq!(parse(&["/"]), Ok(Some(SubCgroups::Everywhere("".into()))));
        let of = [("cpu", "a"), ("memory", "b"), ("pids", "a")];
        let of = of.map(|(controller, path)| (controller.to_owned(), path.into()));
        assert_eq!(parse(&["cpu,pids:a", "memory:/b"]), Ok(Some(SubCgroups::Of(of.into()))));
    }

    #[test]
    fn what_leads_out_or_says_two_things_is_refused() {
        for bad in
            [&["../x"] as &[&str], &["a/../.."], &["a", "b"], &["cpu:a", "cpu:b"], &[":a"], &["cpu,:a"]]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
