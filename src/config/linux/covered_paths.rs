//! `linux.maskedPaths` and `linux.readonlyPaths` — what the container may not read, or not write.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#masked-paths>

use std::path::{Path, PathBuf};

use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::error::{Field, Problems};

/// Paths in the container, absolute and clean, with the field that each comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoveredPaths(Vec<(Field, PathBuf)>);

impl CoveredPaths {
    /// `field` is one of the two. Covering is mounting: without a mount namespace it would cover the host's files.
    pub fn parse(field: &'static str, paths: &[String], namespaces: &Namespaces) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let is_masked = field == "linux.maskedPaths";
        if !paths.is_empty() && !namespaces.is_own(Kind::Mount) {
            problems.add(field, "needs a mount namespace in linux.namespaces");
        }
        let mut covered = Vec::with_capacity(paths.len());
        for (i, path) in paths.iter().enumerate() {
            let field = Field::new(field).index(i);
            let path = Path::new(path);
            if !path.is_absolute() {
                problems.add(field, format!("{path:?} is not absolute"));
            } else if let Some(rule) = crate::config::path::too_long(path) {
                problems.add(field, rule);
            } else {
                covered.push((field, crate::config::path::clean(path)));
            }
        }
        // A mount on top of the root hides nothing from those whose root is below it.
        if let Some((field, _)) = covered.iter().find(|(_, path)| is_masked && path == Path::new("/")) {
            problems.add(field.clone(), "the container's root cannot be masked");
        }
        problems.or(Self(covered))
    }

    /// In the config's order.
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &Path)> {
        self.0.iter().map(|(field, path)| (field, path.as_path()))
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_and_with_a_namespace() {
        let own = Namespaces::created(&[Kind::Mount]);
        let paths = |path: &str| vec![path.to_string()];
        assert!(CoveredPaths::parse("linux.maskedPaths", &paths("proc/kcore"), &own).is_err());
        assert!(
            CoveredPaths::parse("linux.maskedPaths", &paths("/proc/kcore"), &Namespaces::default()).is_err()
        );
        assert!(CoveredPaths::parse("linux.maskedPaths", &paths("/a/.."), &own).is_err());
        assert!(CoveredPaths::parse("linux.readonlyPaths", &paths("/"), &own).is_ok());
        let covered = CoveredPaths::parse("linux.maskedPaths", &paths("/a/../proc/kcore"), &own).unwrap();
        assert_eq!(covered.iter().next().unwrap().1, Path::new("/proc/kcore"));
    }
}
