//! Freezing: all processes of a cgroup stop where they are, and no new ones come to be.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::Cgroup;
use super::cgroupfs::Root;
use super::hierarchy::Version;
use super::layout::Layout;
use crate::config::linux::cgroups_path::FIELD;
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{self, Errno};

/// How long it may take. A process in an uninterruptible call freezes only after it.
const LIMIT: Duration = Duration::from_secs(10);

const V1_STATE: &str = "freezer.state";
const V2_STATE: &str = "cgroup.freeze";
const V2_EVENTS: &str = "cgroup.events";

impl Cgroup {
    /// Freeze it, and wait until it is frozen; on failure it is thawed again.
    pub fn freeze(&self) -> Result<(), Error> {
        let (version, leaf) = self.freezer()?;
        let result = match version {
            Version::V1 => freeze_v1(leaf),
            Version::V2 => freeze_v2(leaf),
        };
        result.map_err(|error| {
            let thawed = thaw(version, leaf);
            let thawed = thawed.err().map(|error| format!("; {error}")).unwrap_or_default();
            Error::message(format!("cannot freeze the container: {error}{thawed}"))
        })
    }

    /// Let it go on, and wait until it does.
    pub fn thaw(&self) -> Result<(), Error> {
        let (version, leaf) = self.freezer()?;
        thaw(version, leaf).map_err(|error| Error::message(format!("cannot thaw the container: {error}")))
    }

    /// Let processes die that `SIGKILL` was sent to, if they are frozen. v1 holds even those, and nothing here can let
    /// them go when it is a cgroup above that is frozen.
    pub fn let_die(&self) -> Result<(), Error> {
        let Ok((version, leaf)) = self.freezer() else { return Ok(()) };
        let thawed = match version {
            Version::V1 => file::write_value(leaf, V1_STATE, "THAWED"),
            // Without waiting: as long as a cgroup above is frozen, this one is too.
            Version::V2 => file::write_value(leaf, V2_STATE, "0"),
        };
        thawed.map_err(|error| Error::message(format!("cannot thaw the container: {error}")))?;
        let held = version == Version::V1
            && file::read_text(leaf, "freezer.parent_freezing").is_ok_and(|text| text.trim() == "1");
        let pids = if held { self.pids()? } else { vec![] };
        if pids.is_empty() {
            return Ok(());
        }
        let text = format!("the processes {pids:?} cannot die: a cgroup above the container's is frozen");
        Err(Error::message(text))
    }

    /// Whether it is frozen; not where there is nothing to freeze it with.
    pub fn is_frozen(&self) -> bool {
        self.freezer().is_ok_and(|(version, leaf)| is_frozen(version, leaf))
    }

    fn freezer(&self) -> Result<(Version, &OwnedFd), Error> {
        if let Some((directory, leaf)) = self.with_controller("freezer") {
            return Ok((directory.version, leaf));
        }
        let v2 = self.v2().map(|leaf| (Version::V2, leaf));
        v2.ok_or_else(|| Error::message("the container has no cgroup with a freezer"))
    }
}

impl Layout {
    /// Whether the cgroup is frozen; not where it is gone, or has nothing to freeze it with. Of the trees only the one
    /// that tells is looked at: this is asked by almost every command.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        let mut directories = self.directories().iter();
        let freezer = directories.clone().find(|directory| directory.has("freezer"));
        let Some(directory) = freezer.or_else(|| directories.find(|d| d.version == Version::V2)) else {
            return Ok(false);
        };
        match Root::open(directory).at(FIELD)?.open_beneath(self.levels(directory).path()) {
            Err(error) if error.errno == Errno::ENOENT => Ok(false),
            leaf => Ok(is_frozen(directory.version, &leaf.at(FIELD)?)),
        }
    }
}

/// Whether a directory is frozen, or about to be. One that is frozen only since a parent is, is frozen all the same.
pub fn is_frozen(version: Version, leaf: &OwnedFd) -> bool {
    match version {
        Version::V1 => file::read_text(leaf, V1_STATE).is_ok_and(|state| state.trim() != "THAWED"),
        Version::V2 => file::read_piece(leaf, V2_EVENTS).is_ok_and(|text| text.contains("frozen 1")),
    }
}

/// A task that forks or stops just then can keep v1 in `FREEZING` for good; thawing for a moment gets it out.
fn freeze_v1(leaf: &OwnedFd) -> sys::Result<()> {
    let began = Instant::now();
    for round in 1_u32.. {
        file::write_value(leaf, V1_STATE, "FROZEN")?;
        for _ in 0..25 {
            if file::read_text(leaf, V1_STATE)?.trim() == "FROZEN" {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(100 * u64::from(round.min(100))));
        }
        if began.elapsed() > LIMIT {
            break;
        }
        if round % 8 == 0 {
            file::write_value(leaf, V1_STATE, "THAWED")?;
        }
    }
    Err(sys::Error::new(format!("write({V1_STATE:?}, \"FROZEN\"): still freezing"), Errno::ETIMEDOUT))
}

fn freeze_v2(leaf: &OwnedFd) -> sys::Result<()> {
    file::write_value(leaf, V2_STATE, "1")?;
    wait_for(leaf, "frozen 1")
}

fn thaw(version: Version, leaf: &OwnedFd) -> sys::Result<()> {
    match version {
        Version::V1 => file::write_value(leaf, V1_STATE, "THAWED"),
        Version::V2 => {
            file::write_value(leaf, V2_STATE, "0")?;
            wait_for(leaf, "frozen 0")
        }
    }
}

fn wait_for(leaf: &OwnedFd, state: &str) -> sys::Result<()> {
    let began = Instant::now();
    // The kernel tells of a change since the file was last read.
    let events = file::open(leaf, V2_EVENTS, OFlag::O_RDONLY, Mode::empty())?;
    loop {
        if read_again(&events)?.contains(state) {
            return Ok(());
        }
        let left = LIMIT.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(sys::Error::new(format!("read({V2_EVENTS:?}): not {state:?}"), Errno::ETIMEDOUT));
        }
        file::wait_for_change(&events, left.min(Duration::from_millis(100)))?;
    }
}

fn read_again(events: &OwnedFd) -> sys::Result<String> {
    let mut buffer = [0; 256];
    let length = file::read_from_start(events, &mut buffer, V2_EVENTS)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
