//! What init waits at between `create` and `start`: two FIFOs in the state directory.
//!
//! Init reads from `gate`, whose writing end `start` opens; what becomes of `execve(2)` goes back through `report`, which
//! closes by itself when the program runs. FIFOs survive their maker, ask of a seccomp filter nothing but `read` and
//! `write`, and tell without being disturbed whether somebody waits: opening one for writing fails with `ENXIO` if not.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::container::dir::Dir;
use crate::container::status::Gate;
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{self, Errno, process};

const GATE: &str = "gate";
/// The gate's name until `create` has finished: `start` does not find it, and `state` says `creating`.
const UNFINISHED: &str = "gate.new";
const REPORT: &str = "report";

/// Init's ends.
#[derive(Debug)]
pub struct StartGate {
    gate: OwnedFd,
    report: OwnedFd,
}

/// What init tells last, before `execve(2)`: without it, an end of the report means that init has died.
const EXECUTING: u8 = b'x';

impl StartGate {
    /// Make the gate of a container that is being created.
    pub fn create(dir: &Dir) -> Result<Self, Error> {
        let make = |name: &str| -> sys::Result<OwnedFd> {
            file::mkfifo(dir, name, 0o600)?;
            // Both ends, so that opening does not wait for the other side.
            file::open(dir, name, OFlag::O_RDWR | OFlag::O_NOFOLLOW, Mode::empty())
        };
        let gate = make(UNFINISHED).at_file(dir.path().join(UNFINISHED))?;
        let report = make(REPORT).at_file(dir.path().join(REPORT))?;
        Ok(Self { gate, report })
    }

    /// The container is created: let `start` find the gate.
    pub fn put_in_place(dir: &Dir) -> Result<(), Error> {
        file::rename(dir, UNFINISHED, GATE).at_file(dir.path().join(GATE))
    }

    /// The descriptors that init must not close.
    pub fn descriptors(&self) -> [i32; 2] {
        [self.gate.as_raw_fd(), self.report.as_raw_fd()]
    }

    /// Wait, in init, until `start` opens the gate.
    pub fn wait(&self) -> Result<(), Error> {
        match file::read(&self.gate, &mut [0], GATE) {
            Ok(1) => Ok(()),
            Ok(_) => Err(Error::message("start gate: it was closed")),
            Err(error) => Err(error).at_file(GATE),
        }
    }

    /// Say, in init, that the next call is `execve(2)`. The report closes with it.
    pub fn executing(&self) -> Result<(), Error> {
        file::write_all(&self.report, &[EXECUTING], Path::new(REPORT)).at_file(REPORT)
    }

    /// Say, in init, why the program does not run.
    pub fn failed(&self, message: &str) {
        let end = message.floor_char_boundary(3000);
        let _nobody_is_left_to_tell =
            file::write_all(&self.report, &message.as_bytes()[..end], Path::new(REPORT));
    }
}

/// The gate as it is found.
pub fn observe(dir: &Dir) -> Result<Gate, Error> {
    match open_for_writing(dir) {
        Ok(_) => Ok(Gate::Waiting),
        Err(sys::Error { errno: Errno::ENXIO, .. }) => Ok(Gate::Opened),
        Err(sys::Error { errno: Errno::ENOENT, .. }) => match file::lstat(dir, UNFINISHED) {
            Ok(_) => Ok(Gate::NotYet),
            Err(sys::Error { errno: Errno::ENOENT, .. }) => Ok(Gate::Opened),
            Err(error) => Err(error).at_file(dir.path().join(UNFINISHED)),
        },
        Err(error) => Err(error).at_file(dir.path().join(GATE)),
    }
}

fn open_for_writing(dir: &Dir) -> sys::Result<OwnedFd> {
    file::open(dir, GATE, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW, Mode::empty())
}

/// Open the gate and wait until the program runs. The caller holds the directory's lock, so that it is opened once.
pub fn open(dir: &Dir) -> Result<(), Error> {
    let report_path = dir.path().join(REPORT);
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let report = file::open(dir, REPORT, flags, Mode::empty()).at_file(&report_path)?;
    let gate = open_for_writing(dir).at_file(dir.path().join(GATE))?;
    file::write_all(&gate, b"0", Path::new(GATE)).at_file(dir.path().join(GATE))?;
    drop(gate);
    let said = read_report(&report).at_file(&report_path)?;
    for name in [GATE, REPORT] {
        file::unlink(dir, name).at_file(dir.path().join(name))?;
    }
    match said.as_slice() {
        [EXECUTING] => Ok(()),
        [] => Err(Error::message("the container's init died before it could run the program")),
        [EXECUTING, message @ ..] | message => Err(Error::message(String::from_utf8_lossy(message))),
    }
}

/// All that init says until it runs the program or dies.
fn read_report(report: &OwnedFd) -> sys::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match file::read(report, &mut buffer, REPORT) {
            Ok(0) => return Ok(said),
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(sys::Error { errno: Errno::EAGAIN, .. }) => drop(process::wait_readable(report, None)?),
            Err(error) => return Err(error),
        }
    }
}
