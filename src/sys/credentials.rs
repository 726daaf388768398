//! User and group ids, session and umask of the calling process.
#![expect(unsafe_code, reason = "getgroups(2) without what nix asks first")]

use nix::unistd::{Gid, Uid};

use super::file::Mode;
use super::{Errno, Result, named};

/// `setgroups(2)`.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    let ids: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    named(nix::unistd::setgroups(&ids), || match groups {
        [] | [_] | [_, _] => format!("setgroups({groups:?})"),
        [first, second, ..] => format!("setgroups([{first}, {second}, …: {} groups])", groups.len()),
    })
}

/// `getgroups(2)`; the kernel gives them sorted.
pub fn groups() -> Result<Vec<u32>> {
    let call = || "getgroups()".to_owned();
    // nix asks a file of procfs for the most that there can be first, which may be the container's.
    let ask = |room: &mut [u32]| {
        let size = i32::try_from(room.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most as many numbers as it is told that there is room for.
        let count = Errno::result(unsafe { libc::getgroups(size, room.as_mut_ptr()) });
        named(count, call).map(|count| usize::try_from(count).unwrap_or(0))
    };
    let mut groups = vec![0; ask(&mut [])?];
    if !groups.is_empty() {
        let count = ask(&mut groups)?;
        groups.truncate(count);
    }
    Ok(groups)
}

/// `setresuid(2)`: real, effective and saved user id.
pub fn set_user(uid: u32) -> Result<()> {
    let id = Uid::from_raw(uid);
    named(nix::unistd::setresuid(id, id, id), || format!("setresuid({uid}, {uid}, {uid})"))
}

/// `setresgid(2)`: real, effective and saved group id.
pub fn set_group(gid: u32) -> Result<()> {
    let id = Gid::from_raw(gid);
    named(nix::unistd::setresgid(id, id, id), || format!("setresgid({gid}, {gid}, {gid})"))
}

/// `getresuid(2)`: real, effective and saved user id.
pub fn user() -> Result<[u32; 3]> {
    let ids = named(nix::unistd::getresuid(), || "getresuid()".into())?;
    Ok([ids.real, ids.effective, ids.saved].map(Uid::as_raw))
}

/// `getresgid(2)`: real, effective and saved group id.
pub fn group() -> Result<[u32; 3]> {
    let ids = named(nix::unistd::getresgid(), || "getresgid()".into())?;
    Ok([ids.real, ids.effective, ids.saved].map(Gid::as_raw))
}

/// `setsid(2)`: a new session without a controlling terminal.
pub fn new_session() -> Result<()> {
    named(nix::unistd::setsid().map(drop), || "setsid()".into())
}

/// `umask(2)`, which cannot fail; returns the one before.
pub fn set_umask(mask: u32) -> u32 {
    nix::sys::stat::umask(Mode::from_bits_truncate(mask)).bits()
}

/// The effective user id that this program was executed with, in its user namespace, `getauxval(3)`: the parent never
/// changes its own.
pub fn effective_user() -> u32 {
    // SAFETY: it reads what the kernel has put onto the first stack.
    (unsafe { libc::getauxval(libc::AT_EUID) }) as u32
}

/// Our pid in our own pid namespace.
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The name of a user of the host: its line in `/etc/passwd`, `passwd(5)`.
pub fn user_name(uid: u32) -> Option<String> {
    let passwd = super::file::read_text(super::file::here(), "/etc/passwd").ok()?;
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(String::from)
}
