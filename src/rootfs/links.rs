//! The symbolic links that every `/dev` has.
//! <https://github.com/opencontainers/runtime-spec/blob/main/runtime-linux.md#dev-symbolic-links>

use std::path::Path;

use crate::error::{At, Error};
use crate::rootfs::resolve::Tree;
use crate::sys::file::{self, OFlag};
use crate::sys::{self, Errno};

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Make the links where the image has nothing of that name. `/dev/ptmx` is always the container's own.
pub fn make(tree: &Tree) -> Result<(), Error> {
    let dev = tree.directory(Path::new("/dev")).at("mounts")?;
    let link = |name: &str, target: &str| match file::symlink(target, &dev, name) {
        Err(sys::Error { errno: Errno::EEXIST, .. }) => Ok(()),
        made => made.at(format!("/dev/{name}")),
    };
    for (name, target) in LINKS {
        link(name, target)?;
    }
    if tree.open(Path::new("/proc/kcore"), OFlag::empty()).is_ok() {
        link("core", "/proc/kcore")?;
    }
    let ptmx = || file::symlink("pts/ptmx", &dev, "ptmx");
    match ptmx() {
        // The image's own would be the host's, or none.
        Err(sys::Error { errno: Errno::EEXIST, .. }) => {
            file::unlink(&dev, "ptmx").and_then(|()| ptmx()).at("/dev/ptmx")
        }
        made => made.at("/dev/ptmx"),
    }
}
