//! What procfs says of processes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use super::file::{self, Mode, OFlag};
use super::{Errno, Error, Result};

/// The magic number of procfs, `statfs(2)`.
const PROC_SUPER_MAGIC: file::FsType = nix::sys::statfs::PROC_SUPER_MAGIC;
/// The inode of procfs' root directory.
const PROC_ROOT_INO: u64 = 1;

/// A handle on the runtime namespace's `/proc`, taken before the container exists and checked to be procfs itself, so
/// that what is written through it cannot be caught by something mounted over it (CVE-2019-16884, CVE-2025-52881).
pub fn open_procfs() -> Result<OwnedFd> {
    let procfs = file::open_path(file::here(), "/proc", OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?;
    let is_procfs = file::statfs(&procfs)?.filesystem_type() == PROC_SUPER_MAGIC;
    if is_procfs && file::stat(&procfs)?.st_ino == PROC_ROOT_INO {
        Ok(procfs)
    } else {
        Err(Error::new("open(\"/proc\"): it is not the root of a proc file system", Errno::EINVAL))
    }
}

/// Whether a descriptor is on a proc file system.
pub fn is_procfs(file: impl AsFd) -> Result<bool> {
    Ok(file::statfs(file)?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// What tells one process from another that has its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// `R`, `S`, `Z` and so on, `proc_pid_stat(5)`.
    pub state: u8,
    /// Clock ticks after boot.
    pub start_time: u64,
}

/// `/proc/PID/stat` of a process of this pid namespace; `ENOENT` or `ESRCH` if there is none.
pub fn process_stat(pid: i32) -> Result<ProcessStat> {
    let path = format!("/proc/{pid}/stat");
    let stat = file::open(file::here(), &path, OFlag::O_RDONLY, Mode::empty())?;
    let mut line = [0; 1024];
    let length = file::read(&stat, &mut line, &path)?;
    parse_stat(&line[..length]).ok_or_else(|| Error::new(format!("read({path:?})"), Errno::EINVAL))
}

/// The process's name stands in parentheses and may hold any character, parentheses too: the fields that count begin
/// behind the last one.
fn parse_stat(line: &[u8]) -> Option<ProcessStat> {
    let end = line.iter().rposition(|c| *c == b')')?;
    let mut fields = std::str::from_utf8(line.get(end + 2..)?).ok()?.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    // state is field 3 and starttime is field 22
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat { state, start_time })
}

/// What one file of procfs says of the calling process, that many calls would have to ask for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnStatus {
    /// The capabilities of the bounding set, as a bit mask.
    pub bounding: u64,
    /// The same of the ambient set, which is empty before Linux 4.3.
    pub ambient: u64,
    /// The signals that are ignored: bit 0 is signal 1.
    pub ignored_signals: u64,
    /// No seccomp filter is in force.
    pub unfiltered: bool,
}

/// `/proc/self/status`. It is read by whoever has not yet entered a container, so the path is the host's.
pub fn own_status() -> Result<OwnStatus> {
    let path = "/proc/self/status";
    let status = file::read_piece(file::here(), path)?;
    parse_status(&status).ok_or_else(|| Error::new(format!("read({path:?})"), Errno::EINVAL))
}

fn parse_status(status: &str) -> Option<OwnStatus> {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let unfiltered = mask("Seccomp:") == Some(0);
    Some(OwnStatus {
        bounding: mask("CapBnd:")?,
        ambient: mask("CapAmb:").unwrap_or(0),
        ignored_signals: mask("SigIgn:")?,
        unfiltered,
    })
}

/// Whether a process is in another network namespace than this one.
pub fn has_own_network(pid: i32) -> Result<bool> {
    let its = file::readlink(file::here(), format!("/proc/{pid}/ns/net"))?;
    Ok(its != file::readlink(file::here(), "/proc/self/ns/net")?)
}

/// `/proc/PID/net/dev`: the network interfaces that a process sees, and their counters.
pub fn network_devices(pid: i32) -> Result<String> {
    file::read_text(file::here(), format!("/proc/{pid}/net/dev"))
}

/// The identity of this boot of the machine.
pub fn boot_id() -> Result<String> {
    // It does not change while we run.
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let read = file::read_piece(file::here(), "/proc/sys/kernel/random/boot_id")?;
    Ok(KNOWN.get_or_init(|| read.trim().to_owned()).clone())
}

/// Whether this process is in a user namespace other than the initial one, whose map is the identity of all ids.
pub fn in_user_namespace() -> Result<bool> {
    // USER_NS_INIT_INO of linux/nsfs.h: the number that the first one has had since Linux 3.8.
    const FIRST: u64 = 0xefff_fffd;
    if file::stat_at(file::here(), "/proc/self/ns/user").is_ok_and(|namespace| namespace.st_ino == FIRST) {
        return Ok(false);
    }
    let map = match file::read_text(file::here(), "/proc/self/uid_map") {
        // A kernel without user namespaces.
        Err(Error { errno: Errno::ENOENT, .. }) => return Ok(false),
        map => map?,
    };
    Ok(map.split_whitespace().ne(["0", "0", "4294967295"]))
}

/// Whether nobody in our user namespace may call `setgroups(2)`, `user_namespaces(7)`.
pub fn setgroups_denied() -> Result<bool> {
    Ok(file::read_text(file::here(), "/proc/self/setgroups")?.trim() == "deny")
}

/// Major and minor version of the kernel, `uname(2)`.
pub fn kernel_version() -> Result<(u32, u32)> {
    let name = super::named(nix::sys::utsname::uname(), || "uname()".into())?;
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(Error::new(format!("uname(): release {release:?}"), Errno::EINVAL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let line = b"7 (a) R 1 (b)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2";
        assert_eq!(parse_stat(line), Some(ProcessStat { state: b'S', start_time: 4242 }));
        assert_eq!(parse_stat(b"7 (a"), None);
    }

    #[test]
    fn masks_of_the_status() {
        let status = "Name:\tx\nSigIgn:\t0000000000001000\nCapBnd:\t000001fffeffffff\nCapAmb:\t0000000000000020\nSeccomp:\t0\n";
        let ignored_signals = 1 << (libc::SIGPIPE - 1);
        let expected =
            OwnStatus { bounding: 0x1ff_feff_ffff, ambient: 0x20, ignored_signals, unfiltered: true };
        assert_eq!(parse_status(status), Some(expected));
        assert!(!parse_status(&status.replace("Seccomp:\t0", "Seccomp:\t2")).unwrap().unfiltered);
        assert_eq!(parse_status("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_is_alive() {
        let stat = process_stat(std::process::id() as i32).unwrap();
        assert!(stat.start_time > 0 && stat.state != b'Z');
    }
}
