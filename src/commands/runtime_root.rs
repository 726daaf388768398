//! `--root`: where the state directories are.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::container::dir::{Dir, RuntimeRoot};
use crate::container::id::ContainerId;
use crate::error::Error;
use crate::sys::{credentials, proc};

/// The runtime root that was asked for: `--root`, or `/run/crust`, or `$XDG_RUNTIME_DIR/crust` for a user and for what is
/// root in his user namespace only.
pub fn path(global: &Global) -> Result<PathBuf, Error> {
    let path = match &global.root {
        Some(path) if path.as_os_str().is_empty() => return Err(Error::message("--root: must not be empty")),
        Some(path) => path.clone(),
        None => {
            let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            default(session, credentials::effective_user(), is_root_of_a_user)?
        }
    };
    let path =
        std::path::absolute(&path).map_err(|e| Error::message(format!("--root {}: {e}", path.display())))?;
    match crate::config::path::clean(&path) {
        clean if clean == Path::new("/") => Err(Error::message("--root: must not be the root directory")),
        clean => Ok(clean),
    }
}

/// Root's containers are the machine's, whatever session root is in: a variable that differs from call to call (podman
/// sets it, empties it, leaves it out) must not hide them.
fn default(session: Option<PathBuf>, uid: u32, of_a_user: impl Fn() -> bool) -> Result<PathBuf, Error> {
    match session.filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) if uid == 0 && of_a_user() => Ok(dir.join("crust")),
        _ if uid == 0 => Ok("/run/crust".into()),
        Some(dir) => Ok(dir.join("crust")),
        None => Err(Error::message("--root: is needed, as XDG_RUNTIME_DIR is not set")),
    }
}

/// Podman and rootlesskit call from a user namespace that has an ordinary user for its root, who may not write to `/run`.
/// A system container has a `/run` of its own, and says so by its `$USER`, as runc takes it.
fn is_root_of_a_user() -> bool {
    proc::in_user_namespace().unwrap_or(false) && std::env::var_os("USER").is_none_or(|user| user != "root")
}

/// Open the runtime root.
pub fn open(global: &Global) -> Result<RuntimeRoot, Error> {
    RuntimeRoot::open(&path(global)?, credentials::effective_user())
}

/// Open the runtime root if it is there; one that was named must be.
pub fn find(global: &Global) -> Result<Option<RuntimeRoot>, Error> {
    let path = path(global)?;
    match RuntimeRoot::find(&path, credentials::effective_user())? {
        None if global.root.is_some() => {
            Err(Error::message(format!("--root {}: no such file or directory", path.display())))
        }
        found => Ok(found),
    }
}

/// Open the state directory of a container.
pub fn container(global: &Global, id: &str) -> Result<(ContainerId, Dir), Error> {
    let id = ContainerId::parse(id)?;
    let dir = Dir::open(&open(global)?, &id)?;
    Ok((id, dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let default = |session: Option<&str>, uid, of_a_user| {
            super::default(session.map(PathBuf::from), uid, || of_a_user).map_err(|error| error.to_string())
        };
        assert_eq!(default(Some("/run/user/0"), 0, false).unwrap(), Path::new("/run/crust"));
        assert_eq!(default(Some("/run/user/7"), 0, true).unwrap(), Path::new("/run/user/7/crust"));
        assert_eq!(default(Some(""), 0, true).unwrap(), Path::new("/run/crust"));
        assert_eq!(default(Some("/run/user/7"), 7, false).unwrap(), Path::new("/run/user/7/crust"));
        assert!(default(Some(""), 7, true).is_err());
    }
}
