//! An ordinary user who calls, and the ids that he may give to a user namespace: his own, and those that `subuid(5)` and
//! `subgid(5)` lend him through `newuidmap(1)` and `newgidmap(1)`.

use std::path::{Path, PathBuf};

use crate::sys::file::{self, OFlag};
use crate::sys::{credentials, process};

/// Where the two programs are looked for: as root has installed them, not where `$PATH` leads.
pub const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// See the top of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// Subordinate user ids: the first, and how many.
    pub subordinate_uids: Vec<(u32, u32)>,
    /// Subordinate group ids.
    pub subordinate_gids: Vec<(u32, u32)>,
    /// The directory that has `newuidmap` and `newgidmap`.
    pub programs: Option<PathBuf>,
}

impl Caller {
    /// Read the facts. A file that is not there lends nothing.
    pub fn read() -> Self {
        let (uid, gid) = process::effective_ids();
        let name = credentials::user_name(uid);
        let lent = |path: &str| {
            let text = file::read_text(file::here(), path).unwrap_or_default();
            ranges(&text, name.as_deref(), uid)
        };
        let exists = |path: PathBuf| file::open_path(file::here(), path, OFlag::empty()).is_ok();
        let has_both = |path: &&Path| exists(path.join("newuidmap")) && exists(path.join("newgidmap"));
        Self {
            uid,
            gid,
            subordinate_uids: lent("/etc/subuid"),
            subordinate_gids: lent("/etc/subgid"),
            programs: DIRECTORIES.iter().map(Path::new).find(has_both).map(Path::to_path_buf),
        }
    }
}

/// The lines `user:first:count` of this user, who stands there by name or by number.
fn ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut words = line.trim().split(':');
        let user = words.next()?;
        let range = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let is_his = name == Some(user) || user.parse() == Ok(uid);
        (is_his && range.1 > 0).then_some(range)
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_his_by_name_or_number() {
        let text = "# a comment\nroot:1:5\nann:100000:65536\n1001:300000:10\nann:0:0\nann:x:1\nann:5\n";
        assert_eq!(ranges(text, Some("ann"), 1001), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(ranges(text, None, 7), []);
    }
}
