//! Who the container process is, taken in the order that leaves no gap.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::config::linux::seccomp::Program;
use crate::config::process::Process;
use crate::config::process::no_new_privileges::LoadFilter;
use crate::create::program;
use crate::create::protocol::{ChildEnd, Request};
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag, ResolveFlag};
use crate::sys::prctl::{self, Dumpable};
use crate::sys::{self, Errno};

/// Magic links are refused: `/proc/self/fd/7` would lead to whatever was left open (CVE-2024-21626).
fn enter(cwd: &Path) -> sys::Result<()> {
    // Whoever has come into the container's root stands in it, and nothing leads there that could lead elsewhere.
    if cwd == Path::new("/") {
        return Ok(());
    }
    let resolve = ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let dir = file::openat2(file::here(), cwd, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty(), resolve)?;
    file::chdir(&dir)?;
    // The kernel's word for a directory that is not below the root.
    let here = file::current_dir()?;
    if here.is_absolute() && !here.starts_with("(unreachable)") {
        Ok(())
    } else {
        Err(sys::Error::new(format!("getcwd(): {here:?} is outside of the container"), Errno::EXDEV))
    }
}

/// Give up what the config does not grant, become the container's user, find the program with his rights, and load the
/// filter: as late as the right to load it lasts, so that it has to allow as little as possible beside the program.
/// `dumpable` is who may look at us meanwhile.
pub fn take(
    (process, dumpable): (&Process, Dumpable),
    filter: Option<Program>,
    variables: &[String],
    end: &ChildEnd,
) -> Result<(PathBuf, Vec<CString>), Error> {
    process.no_new_privileges.apply()?;
    let entered = match enter(&process.cwd) {
        // The container's user may have rights that its root has not.
        Err(sys::Error { errno: Errno::EACCES, .. }) => false,
        entered => entered.map(|()| true).at("process.cwd")?,
    };
    process.capabilities.drop_bounding()?;
    if process.user.loses_capabilities() {
        prctl::keep_capabilities().at("process.capabilities")?;
    }
    process.user.apply()?;
    if dumpable == Dumpable::Yes {
        prctl::set_dumpable(dumpable).at("process.user")?; // the change of user has made it No
    }
    process.user.apply_umask();
    let load_filter = process.no_new_privileges.load_filter();
    match load_filter {
        LoadFilter::BeforeDroppingCapabilities => process.capabilities.lower_effective()?,
        LoadFilter::JustBeforeExec => process.capabilities.apply()?,
    }
    if !entered {
        enter(&process.cwd).at("process.cwd")?;
    }
    let found = program::find(process, variables)?;
    if load_filter == LoadFilter::BeforeDroppingCapabilities {
        if filter.is_some() {
            process.capabilities.raise_effective()?;
        }
        load(filter.as_ref(), end)?;
        process.capabilities.apply()?;
    } else {
        load(filter.as_ref(), end)?;
    }
    Ok(found)
}

fn load(filter: Option<&Program>, end: &ChildEnd) -> Result<(), Error> {
    match filter.map(Program::load).transpose()?.flatten() {
        Some(listener) => end.ask(&Request::ForwardListener(listener.as_raw_fd())),
        None => Ok(()),
    }
}
