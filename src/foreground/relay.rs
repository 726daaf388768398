//! Between our standard input and output and the container's pty.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::wait_for_any;
use crate::sys::process::{PollFd, PollFlags};
use crate::sys::signal::Waiting;
use crate::sys::{Errno, Result, file, pipe, terminal};

/// As much as a pipe that has room at all takes without letting us wait.
pub(super) const CHUNK: usize = 4096;

/// What may still come out of a pty or a pipe after the process has ended. Others may go on writing for ever.
pub(super) const REST: usize = 256 * 1024;

/// Both directions, and our own terminal.
pub struct Relay {
    master: OwnedFd,
    /// With the other end open here, reading the master is not an error while nobody in the container has it open, as
    /// between two messages of a program that opens /dev/console for each.
    _slave: Option<OwnedFd>,
    /// `None` after its end.
    stdin: Option<OwnedFd>,
    /// `None` when nobody reads us any more; the container does not notice.
    stdout: Option<OwnedFd>,
    /// Read from `stdin`, not yet written to the master.
    typed: Vec<u8>,
    /// Read from the master, not yet written to `stdout`.
    written: Vec<u8>,
    /// Nothing more will come out of the master.
    over: bool,
    ours: Option<OurTerminal>,
}

impl Relay {
    /// Join our standard files to the pty: its size becomes that of our terminal, and our terminal passes everything
    /// on.
    pub fn begin(master: OwnedFd) -> Result<Self> {
        pipe::set_nonblocking(&master)?;
        let relay = Self {
            _slave: terminal::peer(&master).ok(),
            stdin: Some(file::duplicate(std::io::stdin())?),
            stdout: Some(file::duplicate(std::io::stdout())?),
            typed: Vec::new(),
            written: Vec::new(),
            over: false,
            ours: OurTerminal::raw(),
            master,
        };
        relay.fit();
        Ok(relay)
    }

    /// Give the pty the size of our terminal.
    pub fn fit(&self) {
        // consoleSize is better than nothing by nothing.
        if let Some(size) = terminal::size_of_ours() {
            let _it_stays_as_it_was = terminal::set_size(&self.master, size);
        }
    }

    /// After we were stopped: a shell has used our terminal in the meantime.
    pub fn resume(&self) {
        if let Some(ours) = &self.ours {
            ours.make_raw();
        }
        self.fit();
    }

    /// What to wait for.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        let mut wanted = Vec::new();
        if let (Some(stdin), true) = (&self.stdin, self.typed.is_empty()) {
            wanted.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        if let (Some(stdout), false) = (&self.stdout, self.written.is_empty()) {
            wanted.push(PollFd::new(stdout.as_fd(), PollFlags::POLLOUT));
        }
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLIN, self.written.is_empty() && !self.over);
        master.set(PollFlags::POLLOUT, !self.typed.is_empty());
        if !master.is_empty() {
            wanted.push(PollFd::new(self.master.as_fd(), master));
        }
        wanted
    }

    /// Carry on with what is `ready`, without waiting for anything.
    pub fn carry(&mut self, ready: &[RawFd]) -> Result<()> {
        self.read_typed(ready);
        self.pass_typed_on()?;
        self.write_out(ready);
        self.read_written()
    }

    /// The child has ended: carry the rest of what it has written. Any signal that wants us to end is obeyed now.
    pub fn finish(&mut self, signals: &Waiting) -> Result<()> {
        self.stdin = None;
        let mut carried = 0;
        while carried < REST {
            self.read_written()?;
            if self.written.is_empty() {
                break;
            }
            let Some(stdout) = &self.stdout else { break };
            let mut watched = [
                PollFd::new(stdout.as_fd(), PollFlags::POLLOUT),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            let ready = wait_for_any(&mut watched)?;
            if signals.want_an_end()? {
                return Ok(());
            }
            let before = self.written.len();
            self.write_out(&ready);
            carried += before - self.written.len();
        }
        Ok(())
    }

    fn read_typed(&mut self, ready: &[RawFd]) {
        let Some(stdin) = self.stdin.as_ref().filter(|stdin| ready.contains(&stdin.as_raw_fd())) else {
            return;
        };
        let mut buffer = [0; CHUNK];
        match file::read(stdin, &mut buffer, "stdin") {
            Ok(length @ 1..) => self.typed.extend(&buffer[..length]),
            // As when Ctrl-D is typed, for a program that reads lines. One that reads keys would take it for a key.
            Ok(0) | Err(_) => {
                self.stdin = None;
                self.typed.extend(terminal::end_of_file(&self.master).ok().flatten());
            }
        }
    }

    fn pass_typed_on(&mut self) -> Result<()> {
        while !self.typed.is_empty() {
            match pipe::write_some(&self.master, &self.typed, "pty") {
                Ok(length) => drop(self.typed.drain(..length)),
                Err(error) if error.errno == Errno::EAGAIN => return Ok(()),
                // Nobody has the other end.
                Err(error) if error.errno == Errno::EIO => self.typed.clear(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_written(&mut self) -> Result<()> {
        if !self.written.is_empty() || self.over {
            return Ok(());
        }
        let mut buffer = [0; CHUNK];
        match file::read(&self.master, &mut buffer, "pty") {
            Ok(length @ 1..) if self.stdout.is_some() => self.written.extend(&buffer[..length]),
            Ok(1..) => {}
            Err(error) if error.errno == Errno::EAGAIN => {}
            // Linux's way to say that the last slave was closed.
            Err(error) if error.errno == Errno::EIO => self.over = true,
            Ok(0) => self.over = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write_out(&mut self, ready: &[RawFd]) {
        let Some(stdout) = self.stdout.as_ref().filter(|stdout| ready.contains(&stdout.as_raw_fd())) else {
            return;
        };
        match pipe::write_some(stdout, &self.written, "stdout") {
            Ok(length) => drop(self.written.drain(..length)),
            Err(error) if error.errno == Errno::EAGAIN => {}
            Err(_nobody_reads) => {
                self.stdout = None;
                self.written.clear();
            }
        }
    }
}

/// The terminal that we were started from, raw until this is dropped.
struct OurTerminal {
    file: OwnedFd,
    before: terminal::Modes,
}

impl OurTerminal {
    /// Only where what is typed comes to us.
    fn raw() -> Option<Self> {
        let file = file::duplicate(std::io::stdin()).ok()?;
        let before = terminal::modes(&file).ok()?;
        let ours = Self { file, before };
        ours.make_raw();
        Some(ours)
    }

    fn make_raw(&self) {
        let _it_stays_as_it_was = terminal::set_modes(&self.file, &terminal::raw(&self.before));
    }
}

impl Drop for OurTerminal {
    fn drop(&mut self) {
        let _it_is_gone = terminal::set_modes(&self.file, &self.before);
    }
}
