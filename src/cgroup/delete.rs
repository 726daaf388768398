//! Removing a cgroup: what `create` has made, and what the container has made below it.

use std::time::{Duration, Instant};

use super::{Cgroup, OnDrop, processes};
use crate::error::Error;
use crate::sys::Errno;

/// How long a directory may be busy after its last process is gone.
const BUSY: Duration = Duration::from_secs(5);

/// The same for a `create` that failed: its caller waits.
const BUSY_ON_FAILURE: Duration = Duration::from_secs(1);

impl Cgroup {
    /// Remove it, with all sub-cgroups that the container has made, and what `create` has made above it as far as
    /// nothing else is in it. What was there before stays. A failure in one tree does not keep the others.
    ///
    /// Nothing follows for whoever deletes a container but his own end, which closes the trees.
    pub fn delete(self) -> Result<(), Error> {
        std::mem::ManuallyDrop::new(self).remove(BUSY)
    }

    fn remove(&self, limit: Duration) -> Result<(), Error> {
        if let Some(unit) = self.layout.unit()
            && let Err(error) = unit.stop()
        {
            crate::log::warn(&error.to_string());
        }
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        let mut busy: Vec<usize> = (0..self.places.len()).collect();
        let mut failures = Vec::new();
        loop {
            let mut still = Vec::new();
            for &index in &busy {
                let directory = &self.layout.directories()[index];
                match self.places[index].root.remove(&self.layout.levels(directory)) {
                    Ok(()) => {}
                    Err(error) if error.errno == Errno::EBUSY && began.elapsed() < limit => still.push(index),
                    Err(error) => {
                        let left = self.left(index);
                        failures
                            .push(format!("{}: {error}{left}", self.layout.host_path(directory).display()));
                    }
                }
            }
            if still.is_empty() {
                break;
            }
            busy = still;
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(256));
        }
        match &failures[..] {
            [] => Ok(()),
            [first] => Err(Error::message(format!("cannot remove the cgroup {first}"))),
            [first, more @ ..] => {
                more.iter().for_each(|failure| crate::log::debug(failure));
                let text = format!("cannot remove the cgroup {first}; and {} more", more.len());
                Err(Error::message(text))
            }
        }
    }

    /// Who is in the way of removing a directory, for a person to look at.
    fn left(&self, index: usize) -> String {
        let levels = self.layout.levels(&self.layout.directories()[index]);
        let leaf = self.places[index].root.open_beneath(levels.path());
        match leaf.and_then(|leaf| processes::below(&leaf)) {
            Ok(pids) if !pids.is_empty() => format!(": it has the processes {pids:?}"),
            _ => String::new(),
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.holder = None;
        if self.on_drop == OnDrop::Remove
            && let Err(error) = self.remove(BUSY_ON_FAILURE)
        {
            crate::log::warn(&error.to_string());
        }
    }
}
