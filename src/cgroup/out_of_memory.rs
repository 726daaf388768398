//! Being told when a container has no memory left.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::Cgroup;
use super::hierarchy::Version;
use crate::config::linux::cgroups_path::FIELD;
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::process::{self, PollFlags};
use crate::sys::{self, pipe};

/// A watch.
#[derive(Debug)]
pub struct OutOfMemory(Watched);

#[derive(Debug)]
enum Watched {
    /// The kernel adds to the counter, which keeps its registration as long as both are open.
    V1 { counter: OwnedFd, control: OwnedFd },
    /// The kernel marks the file as changed.
    V2 { events: OwnedFd, kills: u64 },
}

/// How long the kernel may take to count the end of a cgroup.
const LAST_COUNT: Duration = Duration::from_millis(100);

const CONTROL: &str = "memory.oom_control";
const EVENTS: &str = "memory.events";

impl Cgroup {
    /// Watch it; `None` where there is no controller for memory.
    pub fn watch_out_of_memory(&self) -> Result<Option<OutOfMemory>, Error> {
        let Some((directory, leaf)) = self.with_controller("memory") else { return Ok(None) };
        let watched = match directory.version {
            Version::V1 => {
                let counter = pipe::event_counter().at(FIELD)?;
                let control = file::open(leaf, CONTROL, OFlag::O_RDONLY, Mode::empty()).at(FIELD)?;
                let registration = format!("{} {}", counter.as_raw_fd(), control.as_raw_fd());
                file::write_value(leaf, "cgroup.event_control", &registration).at(FIELD)?;
                Watched::V1 { counter, control }
            }
            Version::V2 => {
                let events = file::open(leaf, EVENTS, OFlag::O_RDONLY, Mode::empty()).at(FIELD)?;
                let kills = kills(&events).at(FIELD)?;
                Watched::V2 { events, kills }
            }
        };
        Ok(Some(OutOfMemory(watched)))
    }
}

impl OutOfMemory {
    /// What to poll, and for what.
    pub fn polled(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.0 {
            Watched::V1 { counter, .. } => (counter.as_fd(), PollFlags::POLLIN),
            Watched::V2 { events, .. } => (events.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Whether it has happened since this was last asked. The end of the cgroup is none, though v1 counts it as one: under
    /// systemd that follows at once.
    pub fn has_happened(&mut self) -> bool {
        match &mut self.0 {
            Watched::V1 { counter, control } => {
                let counted = counted(counter);
                if counted == 0 || file::read_from_start(control, &mut [0; 64], CONTROL).is_ok() {
                    return counted > 0;
                }
                // It is gone, and its end is among what was counted, or is about to be.
                let more = process::wait_readable(&*counter, Some(LAST_COUNT)).is_ok_and(|readable| readable);
                counted + if more { self::counted(counter) } else { 0 } > 1
            }
            Watched::V2 { events, kills: before } => {
                let now = kills(events).unwrap_or(*before);
                let happened = now > *before;
                *before = now;
                happened
            }
        }
    }
}

/// What an eventfd has counted since it was last read.
fn counted(counter: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match file::read(counter, &mut count, "eventfd") {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

fn kills(events: &OwnedFd) -> sys::Result<u64> {
    let mut text = [0; 512];
    let length = file::read_from_start(events, &mut text, EVENTS)?;
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills.and_then(|kills| kills.parse().ok()).ok_or_else(|| {
        sys::Error::new(format!("read({:?}): no oom_kill", Path::new(EVENTS)), sys::Errno::EINVAL)
    })
}
