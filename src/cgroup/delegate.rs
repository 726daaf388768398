//! Giving a cgroup to the container's user, who may divide it further.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#cgroup-ownership>

use super::Cgroup;
use crate::config::linux::cgroups_path::FIELD;
use crate::error::{At, Error};
use crate::sys::Errno;
use crate::sys::file::{self, OFlag};

/// "If the `/sys/kernel/cgroup/delegate` file does not exist" (before Linux 4.15).
const LISTED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Give the directory of v2, and the files of it that the kernel calls delegatable, to a user of the host. Never on
    /// v1: "Cgroup delegation is not secure in cgroups v1."
    pub fn delegate(&self, uid: u32) -> Result<(), Error> {
        let Some(leaf) = self.v2() else { return Ok(()) };
        let listed = file::read_text(file::here(), "/sys/kernel/cgroup/delegate");
        file::fchown(leaf, uid).at(FIELD)?;
        let listed = listed.unwrap_or_else(|_| LISTED.into());
        for name in listed.lines().filter(|name| !name.contains('/')) {
            // "Runtimes MUST NOT fail" where one does not exist.
            match file::open(leaf, name, OFlag::O_WRONLY | OFlag::O_NOFOLLOW, file::Mode::empty()) {
                Err(error) if error.errno == Errno::ENOENT => {}
                file => file::fchown(file.at(FIELD)?, uid).at(FIELD)?,
            }
        }
        Ok(())
    }
}
