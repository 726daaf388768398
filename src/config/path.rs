//! Paths inside the container, as text: made absolute and clean before anything is resolved.

use std::path::{Component, Path, PathBuf};

/// The path without `.`, `..` and doubled slashes, as a walk from `/` would read it: `..` at the top stays at the top.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// What the kernel will refuse whatever the file system: `PATH_MAX` and `NAME_MAX`.
pub fn too_long(path: &Path) -> Option<&'static str> {
    if path.as_os_str().len() >= libc::PATH_MAX as usize {
        return Some("is longer than 4095 bytes");
    }
    path.components().any(|c| c.as_os_str().len() > 255).then_some("has a component of more than 255 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("a", "/a"),
            ("//data///x/.", "/data/x"),
            ("/sys/../../../h/mp", "/h/mp"),
            ("", "/"),
            ("../..", "/"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn lengths() {
        assert!(too_long(Path::new(&"a/".repeat(2500))).is_some());
        assert!(too_long(Path::new(&"a".repeat(300))).is_some());
        assert!(too_long(Path::new("/a/b")).is_none());
    }
}
