//! The runtime's own binary, kept out of the container's reach.
//!
//! Until its `execve(2)` a process of ours is in the container with our binary as its `/proc/PID/exe`, and root in the
//! container could open that for writing: the next call of the runtime would be his (CVE-2019-5736). So what enters a
//! container is run from a file that nobody can write to. Whether it is one is asked of the kernel and of nobody else:
//! an environment variable could say anything.

use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::error::{At, Error};
use crate::sys::binary;
use crate::sys::file::{self, OFlag};
use crate::sys::mount::{self, Attributes, MsFlags, Reach};
use crate::sys::{self, prctl, start};

const EXE: &str = "/proc/self/exe";
/// What `ps` shows: the kernel would show the number of a descriptor.
const NAME: &str = "crust";
/// Where a copy without a name may lie: the first that is writable, and not mounted `noexec`.
const PLACES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

/// Run on from a binary that cannot be written to. Comes back if this one cannot, which [`sys::start`] has seen
/// to already, unless something was in the way.
///
/// Nothing may be open yet that is not the caller's, and nothing done: `main` begins again with these arguments.
pub fn protect(argv: &[OsString]) -> Result<(), Error> {
    let field = "protecting our own binary";
    let is_readonly = || file::mount_flags(EXE).map(|flags| flags.contains(file::FsFlags::ST_RDONLY));
    if start::has_kept_its_name() {
        return Ok(());
    }
    if start::is_protected() || is_readonly().at(field)? {
        let _only_for_ps = prctl::set_name(NAME);
        return Ok(());
    }
    let own = file::open(file::here(), EXE, OFlag::O_RDONLY, file::Mode::empty()).at(field)?;
    if is_protected(&own).at(field)? {
        let _only_for_ps = prctl::set_name(NAME);
        return Ok(());
    }
    // One that is not protected would begin again for ever.
    if let Ok(clone) = readonly_clone()
        && is_on_readonly_mount(&clone).at(field)?
    {
        let _a_policy_may_forbid_what_has_no_path = execute(&clone, argv);
    }
    // Before Linux 5.12, without the right to mount, or deleted by an upgrade.
    let memory = binary::sealed_copy(&own).map(|copy| execute(&copy, argv));
    // Without memory files, or where they may not be executed (`vm.memfd_noexec`).
    // One that can be written to all the same would begin again for ever.
    for place in PLACES.iter().filter(|_| !binary::is_unnamed(&own)) {
        if let Ok(copy) = binary::unnamed_copy(&own, place) {
            let _the_next_may_be_executed = execute(&copy, argv);
        }
    }
    let places = PLACES.join(", ");
    Err(memory.unwrap_or_else(|error| error))
        .at(field)
        .map_err(|error| Error::message(format!("{error}; nor can a copy be executed in one of {places}")))
}

/// Whether nobody can open it for writing, and make it writable neither.
fn is_protected(own: &OwnedFd) -> sys::Result<bool> {
    Ok(is_on_readonly_mount(own)?
        || binary::is_sealed(own)
        || binary::is_immutable(own)
        || binary::is_unnamed(own) && binary::is_busy(own))
}

fn is_on_readonly_mount(file: &OwnedFd) -> sys::Result<bool> {
    Ok(file::statfs(file)?.flags().contains(file::FsFlags::ST_RDONLY))
}

/// A mount of the binary alone, read-only, in no mount namespace: with the descriptor goes the last way to change it.
fn readonly_clone() -> sys::Result<OwnedFd> {
    let clone = mount::clone_tree(file::here(), Path::new(EXE), Reach::One)?;
    let readonly = Attributes { set: mount::RDONLY, clear: 0 };
    mount::set_attributes(&clone, readonly, MsFlags::empty(), Reach::One)?;
    Ok(clone)
}

/// Comes back only with an error.
fn execute(binary: &OwnedFd, argv: &[OsString]) -> sys::Error {
    let args: Vec<CString> = argv.iter().cloned().filter_map(c_string).collect();
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let mut entry = name;
            entry.push("=");
            entry.push(value);
            c_string(entry)
        })
        .collect();
    binary::execute(binary, &args, &env)
}

/// What the kernel has given us has no NUL byte.
fn c_string(text: OsString) -> Option<CString> {
    CString::new(text.into_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_is_protected_and_a_file_is_not() {
        let own = file::open(file::here(), EXE, OFlag::O_RDONLY, file::Mode::empty()).unwrap();
        assert!(is_protected(&binary::sealed_copy(&own).unwrap()).unwrap());
        let path = std::env::temp_dir().join(format!("crust-own-binary-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let file = file::open(file::here(), &path, OFlag::O_RDONLY, file::Mode::empty()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_protected(&file).unwrap());
    }

    #[test]
    fn a_readonly_clone_is_protected() {
        // Only who may mount can make one.
        if let Ok(clone) = readonly_clone() {
            assert!(is_on_readonly_mount(&clone).unwrap());
        }
    }
}
