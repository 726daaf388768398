//! Pipes in the place of our terminal, for a process that has none. Whoever in the container has ours open could read what is
//! typed there long after the process has ended.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::relay::{CHUNK, REST};
use super::wait_for_any;
use crate::sys::process::{PollFd, PollFlags};
use crate::sys::signal::Waiting;
use crate::sys::{Errno, Result, file, pipe, terminal};

const STDIN: usize = 0;
const STDERR: usize = 2;

/// Our standard streams, of which those that are a terminal are pipes until this is dropped: what is started meanwhile
/// inherits them.
pub struct Lent(Vec<Stream>);

struct Stream {
    place: usize,
    terminal: OwnedFd,
    /// Our end of the pipe.
    ours: OwnedFd,
}

impl Lent {
    /// Replace those that are a terminal.
    pub fn instead_of_terminals() -> Result<Self> {
        let mut lent = Self(Vec::new());
        for (place, standard) in terminal::standard().into_iter().enumerate() {
            // Lines for --debug go there, and nobody would carry them before the process runs.
            let is_log = place == STDERR && crate::log::debugging();
            if is_log || terminal::modes(standard).is_err() {
                continue;
            }
            let (read, write) = pipe::pipe()?;
            let (ours, theirs) = if place == STDIN { (write, read) } else { (read, write) };
            pipe::set_nonblocking(&ours)?;
            pipe::set_blocking(&theirs)?;
            let terminal = file::duplicate(standard)?;
            terminal::replace(standard, &theirs)?;
            lent.0.push(Stream { place, terminal, ours });
        }
        Ok(lent)
    }

    /// Have our own again, and carry between them and the pipes.
    pub fn give_back(mut self) -> Streams {
        self.restore();
        let flow = |stream: Stream| {
            let (terminal, ours) = (Some(stream.terminal), Some(stream.ours));
            let is_input = stream.place == STDIN;
            let (from, to) = if is_input { (terminal, ours) } else { (ours, terminal) };
            Flow { is_input, from, to, bytes: Vec::new() }
        };
        Streams(self.0.drain(..).map(flow).collect())
    }

    fn restore(&self) {
        let standard = terminal::standard();
        for stream in &self.0 {
            let _it_was_there = terminal::replace(standard[stream.place], &stream.terminal);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.restore();
    }
}

/// What is carried while the process lives.
#[derive(Default)]
pub struct Streams(Vec<Flow>);

struct Flow {
    is_input: bool,
    /// `None` after its end.
    from: Option<OwnedFd>,
    /// `None` when nobody reads any more, or after the last byte.
    to: Option<OwnedFd>,
    /// Read and not yet written.
    bytes: Vec<u8>,
}

impl Streams {
    /// What to wait for.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        self.0.iter().filter_map(Flow::wanted).collect()
    }

    /// Carry on with what is `ready`, without waiting for anything.
    pub fn carry(&mut self, ready: &[RawFd]) {
        for flow in &mut self.0 {
            flow.write(ready);
            flow.read(ready);
        }
    }

    /// The process has ended: carry the rest of what it has written. Any signal that wants us to end is obeyed now.
    pub fn finish(&mut self, signals: &Waiting) -> Result<()> {
        self.0.retain(|flow| !flow.is_input);
        for flow in &mut self.0 {
            let mut carried = 0;
            while carried < REST {
                flow.read_some();
                let Some(to) = flow.to.as_ref().filter(|_| !flow.bytes.is_empty()) else { break };
                let mut watched = [
                    PollFd::new(to.as_fd(), PollFlags::POLLOUT),
                    PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                ];
                let ready = wait_for_any(&mut watched)?;
                if signals.want_an_end()? {
                    return Ok(());
                }
                let before = flow.bytes.len();
                flow.write(&ready);
                carried += before - flow.bytes.len();
            }
        }
        Ok(())
    }
}

impl Flow {
    fn wanted(&self) -> Option<PollFd<'_>> {
        match (&self.from, &self.to, self.bytes.is_empty()) {
            (Some(from), Some(_), true) => Some(PollFd::new(from.as_fd(), PollFlags::POLLIN)),
            (_, Some(to), false) => Some(PollFd::new(to.as_fd(), PollFlags::POLLOUT)),
            _ => None,
        }
    }

    fn read(&mut self, ready: &[RawFd]) {
        if self.from.as_ref().is_some_and(|from| ready.contains(&from.as_raw_fd())) {
            self.read_some();
        }
    }

    fn read_some(&mut self) {
        let Some(from) = self.from.as_ref().filter(|_| self.bytes.is_empty()) else { return };
        let mut buffer = [0; CHUNK];
        match file::read(from, &mut buffer, "standard stream") {
            Ok(length @ 1..) => self.bytes.extend(&buffer[..length]),
            Err(error) if error.errno == Errno::EAGAIN => {}
            // All that there was is written: the process sees the end as well.
            Ok(0) | Err(_) => (self.from, self.to) = (None, None),
        }
    }

    fn write(&mut self, ready: &[RawFd]) {
        let Some(to) = self.to.as_ref().filter(|to| ready.contains(&to.as_raw_fd())) else { return };
        match pipe::write_some(to, &self.bytes, "standard stream") {
            Ok(length) => drop(self.bytes.drain(..length)),
            Err(error) if error.errno == Errno::EAGAIN => {}
            Err(_nobody_reads) => {
                (self.from, self.to) = (None, None);
                self.bytes.clear();
            }
        }
    }
}
