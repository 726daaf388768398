//! A hook while it runs: its output, its time, its end.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::sys::process::{self, Exit, Pid, PollFd, PollFlags};
use crate::sys::{Errno, Result, file};

/// How much of the output an error quotes: the end, where programs say why.
const EXCERPT: usize = 4096;

/// What a pipe holds. What a hook has written before its end and we have not read is no more than this.
const PIPE: usize = 65_536;

/// How often to look for the end of a hook where there are no pidfds.
const PAUSE: Duration = Duration::from_millis(5);

/// How it ended.
pub enum End {
    /// By itself.
    Exited(Exit),
    /// We killed it, and all of its process group, after its time.
    TimedOut,
}

/// A started hook. If it is dropped before its end it is killed.
pub struct Running {
    pid: Pid,
    reaped: bool,
    pidfd: Option<OwnedFd>,
    /// `None` when every writer is gone.
    output: Option<OwnedFd>,
    tail: VecDeque<u8>,
    shortened: bool,
}

impl Running {
    /// A child that leads its own process group, and the read end of the pipe that it writes to.
    pub fn new(pid: Pid, output: OwnedFd) -> Self {
        // Old kernels have no pidfds and filters of outer containers refuse them; looking again and again does it too.
        let pidfd = process::pidfd_open(pid).ok();
        Self { pid, reaped: false, pidfd, output: Some(output), tail: VecDeque::new(), shortened: false }
    }

    /// Wait until it ends or `timeout` seconds are over, and reap it.
    ///
    /// Only its own end counts: a process that it has left in the background may keep the pipe open for ever.
    pub fn until_end(&mut self, timeout: Option<u32>) -> Result<End> {
        let limit = timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Some(exit) = self.wait_a_while(left)? {
                self.reaped = true;
                self.read(PIPE)?;
                return Ok(End::Exited(exit));
            }
            if left == Some(Duration::ZERO) {
                self.kill()?;
                self.read(PIPE)?;
                return Ok(End::TimedOut);
            }
        }
    }

    /// The end of what it has said, without the last line break.
    pub fn output(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        format!("{}{}", if self.shortened { "…" } else { "" }, text.trim_end())
    }

    /// Read what is there, or wait until something happens; the exit, if that has.
    fn wait_a_while(&mut self, left: Option<Duration>) -> Result<Option<Exit>> {
        let limit = if self.pidfd.is_some() { left } else { Some(left.unwrap_or(PAUSE).min(PAUSE)) };
        let watched = [self.output.as_ref(), self.pidfd.as_ref()];
        let mut watched: Vec<PollFd> =
            watched.into_iter().flatten().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        process::poll(&mut watched, limit)?;
        self.read(1)?;
        process::try_wait(self.pid)
    }

    /// Read until at least `wanted` bytes have come or the pipe is empty for now.
    fn read(&mut self, wanted: usize) -> Result<()> {
        let mut buffer = [0; PIPE / 8];
        let mut total = 0;
        while let (Some(output), true) = (&self.output, total < wanted) {
            match file::read(output, &mut buffer, "output of the hook") {
                Ok(0) => self.output = None,
                Ok(n) => {
                    total += n;
                    self.tail.extend(&buffer[..n]);
                    let surplus = self.tail.len().saturating_sub(EXCERPT);
                    self.shortened |= surplus > 0;
                    self.tail.drain(..surplus);
                }
                Err(error) if error.errno == Errno::EAGAIN => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn forget_pidfd(&mut self) {
        self.pidfd = None;
    }

    /// Kill the whole group and reap the hook.
    fn kill(&mut self) -> Result<()> {
        let _all_of_it_is_gone = process::kill(Pid::from_raw(-self.pid.as_raw()), libc::SIGKILL);
        // It may have moved itself to another group.
        process::kill(self.pid, libc::SIGKILL)?;
        process::wait(self.pid)?;
        self.reaped = true;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _cannot_be_killed = self.kill();
        }
    }
}
