//! `state.json` — what was true at creation and stays true. It says nothing of what the container is doing.
//!
//! It is written before anything outside the state directory is made, so that whatever happens to `create`, `delete
//! --force` knows what to look for. Init's identity follows in a file of its own when init exists.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::layout::Layout;
use crate::config::annotations::Annotations;
use crate::config::hooks::Hooks;
use crate::container::dir::Dir;
use crate::container::status::Status;
use crate::error::{Error, printable};
use crate::resctrl::Group;
use crate::sys::{self, proc};

/// The version of the runtime-spec that crust follows.
pub const OCI_VERSION: &str = "1.3.0";

/// The form of `state.json`; a later version with another form is refused rather than misread.
const FORM: u32 = 1;

/// The facts of creation.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    form: u32,
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When, as RFC 3339.
    pub created: String,
    /// The uid of who created it.
    pub owner: u32,
    /// As in config.json.
    pub annotations: Annotations,
    /// The hooks that run after `create`.
    pub hooks: Hooks,
    /// The control groups, and which of their directories `create` made.
    pub cgroup: Layout,
    /// Its group in resctrl, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<Group>,
    /// Whether the container has a pid namespace that ends with its init.
    pub own_pid_namespace: bool,
    /// Whether the config has a process to start.
    pub has_process: bool,
    /// `--no-new-keyring`, which counts for further processes too.
    pub no_new_keyring: bool,
}

/// What `create` knows when it writes the state.
#[derive(Debug)]
pub struct Creation<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// The uid of who creates it.
    pub owner: u32,
    /// Its group in resctrl, if it is in one.
    pub intel_rdt: Option<Group>,
    /// Whether the container has a pid namespace that ends with its init.
    pub own_pid_namespace: bool,
    /// Whether the config has a process to start.
    pub has_process: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
}

const FILE: &str = "state.json";
const INIT: &str = "init";

impl State {
    /// The state of a container that is being created.
    pub fn new(creation: Creation, annotations: Annotations, hooks: Hooks, cgroup: Layout) -> Self {
        Self {
            form: FORM,
            id: creation.id.into(),
            bundle: creation.bundle,
            rootfs: creation.rootfs,
            created: crate::time::rfc3339_now(),
            owner: creation.owner,
            annotations,
            hooks,
            cgroup,
            intel_rdt: creation.intel_rdt,
            own_pid_namespace: creation.own_pid_namespace,
            has_process: creation.has_process,
            no_new_keyring: creation.no_new_keyring,
        }
    }

    /// Write it, once.
    pub fn save(&self, dir: &Dir) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::message(format!("{FILE}: {e}")))?;
        dir.write(FILE, &bytes)
    }

    /// Read it; `None` if `create` never came to write it.
    pub fn load(dir: &Dir) -> Result<Option<Self>, Error> {
        let Some(bytes) = dir.read(FILE)? else { return Ok(None) };
        let unreadable = |what: String| {
            Error::message(format!("{}: {}", dir.path().join(FILE).display(), printable(&what)))
        };
        let state: Self = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if state.form != FORM {
            return Err(unreadable(format!(
                "it has form {}, this version of crust reads form {FORM}",
                state.form
            )));
        }
        Ok(Some(state))
    }

    /// The state as the spec has it, for hooks and for `state`.
    /// <https://github.com/opencontainers/runtime-spec/blob/main/runtime.md#state>
    pub fn document(&self, status: Status, pid: i32) -> serde_json::Value {
        document(&self.id, status, pid, &self.bundle, &self.annotations)
    }
}

/// The spec's state document.
pub fn document(
    id: &str,
    status: Status,
    pid: i32,
    bundle: &std::path::Path,
    annotations: &Annotations,
) -> serde_json::Value {
    let mut document = serde_json::json!({
        "ociVersion": OCI_VERSION,
        "id": id,
        "pid": pid,
        "status": status.to_string(),
        "bundle": bundle,
    });
    if !annotations.is_empty() {
        document["annotations"] = serde_json::json!(annotations);
    }
    document
}

/// Which process the container's init is. A number alone would name another process some day; the start time and the
/// boot make it one process for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// In the runtime's pid namespace.
    pub pid: i32,
    start_time: u64,
    boot_id: String,
}

impl Init {
    /// The identity of a process that is alive.
    pub fn of(pid: i32) -> Result<Self, sys::Error> {
        Ok(Self { pid, start_time: proc::process_stat(pid)?.start_time, boot_id: proc::boot_id()? })
    }

    /// Write it, once.
    pub fn save(&self, dir: &Dir) -> Result<(), Error> {
        dir.write(INIT, format!("{} {} {}\n", self.pid, self.start_time, self.boot_id).as_bytes())
    }

    /// Read it; `None` if there never was an init.
    pub fn load(dir: &Dir) -> Result<Option<Self>, Error> {
        let Some(bytes) = dir.read(INIT)? else { return Ok(None) };
        let parsed = Self::parse(&String::from_utf8_lossy(&bytes));
        parsed
            .map(Some)
            .ok_or_else(|| Error::message(format!("{}: is damaged", dir.path().join(INIT).display())))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let init = Self {
            pid: words.next()?.parse().ok()?,
            start_time: words.next()?.parse().ok()?,
            boot_id: words.next()?.into(),
        };
        words.next().is_none().then_some(init)
    }

    /// Whether this process lives. A zombie does not: whoever should have reaped it is late.
    pub fn is_alive(&self) -> bool {
        let same = proc::process_stat(self.pid).is_ok_and(|stat| {
            stat.start_time == self.start_time && !matches!(stat.state, b'Z' | b'X' | b'x')
        });
        same && proc::boot_id().is_ok_and(|boot| boot == self.boot_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_writing() {
        let init = Init::of(std::process::id() as i32).unwrap();
        assert!(init.is_alive());
        let line = format!("{} {} {}\n", init.pid, init.start_time, init.boot_id);
        assert_eq!(Init::parse(&line), Some(init.clone()));
        assert!(!Init { start_time: init.start_time + 1, ..init.clone() }.is_alive());
        assert!(!Init { boot_id: "another".into(), ..init }.is_alive());
    }

    #[test]
    fn damaged_lines() {
        for line in ["", "7", "7 8", "x 8 y", "7 8 y z"] {
            assert_eq!(Init::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_document_is_the_specs() {
        let annotations = Annotations::from([("a.b".into(), "c".into())]);
        let document = document("web", Status::Created, 7, "/b".as_ref(), &annotations);
        let expected = serde_json::json!({"ociVersion": "1.3.0", "id": "web", "status": "created", "pid": 7,
            "bundle": "/b", "annotations": {"a.b": "c"}});
        assert_eq!(document, expected);
    }
}
