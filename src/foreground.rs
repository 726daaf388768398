//! What a foreground `run` or `exec` does while the process lives: it passes signals on, carries what is typed and
//! written where there is a terminal, and reaps.

mod relay;
mod streams;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use self::relay::Relay;
pub use self::streams::{Lent, Streams};
use crate::error::{At, Error};
use crate::sys;
use crate::sys::process::{self, Exit, Pid, PollFd, PollFlags};
use crate::sys::signal::Waiting;

/// Attend to a child until it ends, and reap it; what else we have inherited as a subreaper is reaped as well.
///
/// `signals` were blocked before the child was cloned, so that none was lost in between. With a `master` our standard
/// input and output are joined to the pty and our terminal, if there is one, is in raw mode meanwhile. Without one the
/// child has our standard files itself, but for terminals: in their place it has the pipes of `streams`.
pub fn attend(
    child: Pid,
    pidfd: Option<BorrowedFd>,
    signals: &Waiting,
    master: Option<OwnedFd>,
    streams: Streams,
) -> Result<Exit, Error> {
    let relay = master.map(Relay::begin).transpose().at("process.terminal")?;
    Attendance { child, pidfd, signals, relay, streams }.until_end().at("process")
}

struct Attendance<'a> {
    child: Pid,
    pidfd: Option<BorrowedFd<'a>>,
    signals: &'a Waiting,
    relay: Option<Relay>,
    streams: Streams,
}

impl Attendance<'_> {
    fn until_end(mut self) -> sys::Result<Exit> {
        loop {
            let ready = self.wait_for_something()?;
            // What has come together with the end is for nobody any more.
            if ready.contains(&self.signals.as_fd().as_raw_fd()) && !self.has_ended(&ready) {
                self.pass_signals_on()?;
            }
            if let Some(exit) = self.reap(&ready)? {
                if let Some(relay) = &mut self.relay {
                    relay.finish(self.signals)?;
                }
                self.streams.finish(self.signals)?;
                return Ok(exit);
            }
            if let Some(relay) = &mut self.relay {
                relay.carry(&ready)?;
            }
            self.streams.carry(&ready);
        }
    }

    fn wait_for_something(&self) -> sys::Result<Vec<RawFd>> {
        let mut watched = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        // SIGCHLD tells of the end as well, unless the child was cloned without it.
        watched.extend(self.pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::POLLIN)));
        if let Some(relay) = &self.relay {
            watched.extend(relay.wanted());
        }
        watched.extend(self.streams.wanted());
        wait_for_any(&mut watched)
    }

    fn pass_signals_on(&self) -> sys::Result<()> {
        while let Some(signal) = self.signals.next()? {
            match (signal, &self.relay) {
                (libc::SIGCHLD, _) => {}
                // The kernel sends it to those who use the pty, when its size has changed.
                (libc::SIGWINCH, Some(relay)) => relay.fit(),
                (libc::SIGCONT, Some(relay)) => {
                    relay.resume();
                    self.signal_child(signal);
                }
                _ => self.signal_child(signal),
            }
        }
        Ok(())
    }

    /// By its number: nobody else can get that before we have reaped our child.
    fn signal_child(&self, signal: i32) {
        let _it_may_have_ended = process::kill(self.child, signal);
    }

    fn reap(&self, ready: &[RawFd]) -> sys::Result<Option<Exit>> {
        while let Some((pid, exit)) = process::reap_any()? {
            if pid == self.child {
                return Ok(Some(exit));
            }
        }
        match self.pidfd {
            // It has ended. Whoever traces it hears of that first, and so long it is not ours to reap; if it is not among
            // our children at all, waiting on would be for ever, and this says so.
            Some(_) if self.has_ended(ready) => process::wait(self.child).map(Some),
            _ => Ok(None),
        }
    }

    fn has_ended(&self, ready: &[RawFd]) -> bool {
        self.pidfd.is_some_and(|pidfd| ready.contains(&pidfd.as_raw_fd()))
    }
}

/// Wait for something to happen at one of these; which it was.
fn wait_for_any(watched: &mut [PollFd]) -> sys::Result<Vec<RawFd>> {
    process::poll(watched, None)?;
    let ready = watched.iter().filter(|watched| watched.any() != Some(false));
    Ok(ready.map(|watched| watched.as_fd().as_raw_fd()).collect())
}

#[cfg(test)]
mod tests;
