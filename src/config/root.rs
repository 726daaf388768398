//! `root` — the container's root file system.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#root>

use std::path::{Path, PathBuf};

use oci_spec::runtime as spec;

use crate::error::Problems;

/// The directory that becomes the container's `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// Whether the container's `/` is mounted read-only.
    pub readonly: bool,
}

impl Root {
    /// `bundle` is the absolute path that a relative `root.path` starts from.
    pub fn parse(root: Option<&spec::Root>, bundle: &Path) -> Result<Self, Problems> {
        let Some(root) = root else {
            return Err(Problems::one("root", "is missing"));
        };
        if root.path().as_os_str().is_empty() {
            return Err(Problems::one("root.path", "must not be empty"));
        }
        let path = bundle.join(root.path());
        if super::path::clean(&path) == Path::new("/") {
            return Err(Problems::one("root.path", format!("{:?} is the host's own root", root.path())));
        }
        Ok(Self { path, readonly: root.readonly().unwrap_or(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Root, Problems> {
        Root::parse(Some(&serde_json::from_str(json).unwrap()), Path::new("/b"))
    }

    #[test]
    fn relative_paths_start_from_the_bundle() {
        let root = parse(r#"{"path":"rootfs","readonly":true}"#).unwrap();
        assert_eq!(root, Root { path: "/b/rootfs".into(), readonly: true });
        assert_eq!(parse(r#"{"path":"/r"}"#).unwrap().path, Path::new("/r"));
    }

    #[test]
    fn the_hosts_root_is_refused() {
        for json in [r#"{"path":"/"}"#, r#"{"path":"/x/../"}"#, r#"{"path":".."}"#, r#"{"path":""}"#] {
            assert!(parse(json).is_err(), "{json}");
        }
        assert!(Root::parse(None, Path::new("/b")).is_err());
    }
}
