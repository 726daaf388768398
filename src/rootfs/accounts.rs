//! Users and groups that only the container knows by name: its `/etc/passwd` and `/etc/group`, which are the image's to
//! write, and so may be anything.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{At, Error};
use crate::rootfs::resolve::Tree;
use crate::sys::file::{self, OFlag, SFlag};
use crate::sys::{self, Errno};

/// More than this of such a file is not read, in bytes.
const LARGEST: usize = 1 << 20;

/// The file systems of a container, from outside.
pub struct Accounts(Tree);

impl Accounts {
    /// Below this root directory.
    pub fn new(root: OwnedFd) -> Self {
        Self(Tree::new(root))
    }

    /// The user and group id of a user.
    pub fn user(&self, name: &str) -> Result<(u32, u32), Error> {
        let passwd = self.read("/etc/passwd")?;
        let found = find(&passwd, name).and_then(|fields| Some((id(fields.first()?)?, id(fields.get(1)?)?)));
        found.ok_or_else(|| {
            Error::message(format!("--user: {name:?} is no user in the container's /etc/passwd"))
        })
    }

    /// The id of a group.
    pub fn group(&self, name: &str) -> Result<u32, Error> {
        let group = self.read("/etc/group")?;
        let found = find(&group, name).and_then(|fields| id(fields.first()?));
        found.ok_or_else(|| {
            Error::message(format!("--user: {name:?} is no group in the container's /etc/group"))
        })
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let field = "--user";
        let open = || -> sys::Result<OwnedFd> {
            // Without waiting for the writer of a FIFO, and never a terminal.
            self.0.open_for_reading(Path::new(path), OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        };
        let file = open().at(field)?;
        if file::kind(&file::stat(&file).at(field)?) != SFlag::S_IFREG {
            return Err(sys::Error::new(format!("open({path:?}): it is not a regular file"), Errno::EINVAL))
                .at(field);
        }
        file::read_all(&file, LARGEST, path).at(field)
    }
}

/// The fields behind name and password of the first line with this name.
fn find<'a>(text: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    text.split(|c| *c == b'\n').find_map(|line| {
        let mut fields = line.split(|c| *c == b':');
        let found = fields.next() == Some(name.as_bytes()) && fields.next().is_some();
        found.then(|| fields.collect())
    })
}

fn id(field: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(field).ok()?;
    let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    // 4294967295 means "no change" to the kernel.
    digits.parse().ok().filter(|id| plain && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name() {
        let passwd =
            b"root:x:0:0:root:/:/bin/sh\nbad\nweb:x:33:34::/:\nnone:x:4294967295:1::/:\nempty:x::1:\n";
        let ids =
            |name| find(passwd, name).and_then(|fields| Some((id(fields.first()?)?, id(fields.get(1)?)?)));
        assert_eq!(ids("web"), Some((33, 34)));
        assert_eq!(ids("root"), Some((0, 0)));
        for name in ["bad", "none", "empty", "we", ""] {
            assert_eq!(ids(name), None, "{name}");
        }
        assert_eq!(id(b"+1"), None);
        assert_eq!(id(b"0x1"), None);
    }
}
