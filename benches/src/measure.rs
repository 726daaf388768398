//! Samples, interleaved: every round runs each job once, in another order, and what disturbs one disturbs all.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::machine;
use crate::{Attempt, Result};

/// What a command took; of several, their sum, and the largest memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Microseconds on the clock.
    pub wall: f64,
    /// Microseconds of the processors, of the command and all that it waited for.
    pub cpu: f64,
    /// KiB of the largest process.
    pub memory: f64,
    /// Page faults that needed no disk.
    pub faults: f64,
    /// Context switches.
    pub switches: f64,
    /// Nobody else was running.
    pub quiet: bool,
}

impl Sample {
    /// This, and then that.
    pub fn and(self, then: Self) -> Self {
        Self {
            wall: self.wall + then.wall,
            cpu: self.cpu + then.cpu,
            memory: self.memory.max(then.memory),
            faults: self.faults + then.faults,
            switches: self.switches + then.switches,
            quiet: self.quiet && then.quiet,
        }
    }
}

/// The program that runs and measures others.
#[derive(Clone, Debug)]
pub struct Spawn {
    /// Its path.
    pub program: PathBuf,
    /// Where the others complain: a file, for a container would keep a pipe open.
    pub complaints: PathBuf,
}

impl Spawn {
    /// Run a command once and measure it.
    pub fn measure(&self, line: &[String]) -> Result<Sample> {
        self.several(line, 1, 1)
    }

    /// Run it so many times, so many of them at once. `%` in an argument is the number of the run.
    pub fn several(&self, line: &[String], count: usize, jobs: usize) -> Result<Sample> {
        let mut command = Command::new(&self.program);
        command.args(["-n", &count.to_string(), "-j", &jobs.to_string()]).args(line).stdin(Stdio::null());
        command.stderr(File::create(&self.complaints).attempt(self.complaints.display())?);
        let output = command.output().attempt("spawn")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let said = || std::fs::read_to_string(&self.complaints).unwrap_or_default();
        let [nanoseconds, cpu, memory, faults, switches, failures] = numbers[..] else {
            return Err(format!("{line:?}: {}: {}", output.status, said()));
        };
        if failures > 0.0 {
            return Err(format!("{line:?}: {}", said()));
        }
        let quiet = machine::is_quiet();
        Ok(Sample { wall: nanoseconds / 1000.0, cpu, memory, faults, switches, quiet })
    }
}

/// Run a command that must succeed.
pub fn silently(line: &[String]) -> Result<()> {
    let mut command = Command::new(&line[0]);
    // A container inherits the streams, and would keep a pipe open.
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status().attempt(&line[0])? {
        status if status.success() => Ok(()),
        status => Err(format!("{line:?}: {status}")),
    }
}

/// The pid that a runtime has written.
pub fn pid_in(file: &Path) -> Result<i32> {
    let text = std::fs::read_to_string(file).attempt(file.display())?;
    text.trim().parse().attempt(file.display())
}

/// Wait for an orphan that became our child, and for all others that end before.
pub fn reap(pid: i32) {
    while let Ok(status) = waitpid(None::<Pid>, None) {
        let ended = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
        if ended && status.pid() == Some(Pid::from_raw(pid)) {
            return;
        }
    }
}

/// Something to measure, under a name.
pub type Job<'a> = (String, Box<dyn FnMut() -> Result<Sample> + 'a>);

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// At most so long, but never less than `FEWEST` rounds.
    pub time: Duration,
    /// At most so many rounds.
    pub rounds: usize,
}

impl Effort {
    /// Rounds that a median needs.
    const FEWEST: usize = 5;
    /// How long to wait for a quiet machine before a sample.
    const PATIENCE: Duration = Duration::from_millis(150);
}

/// The samples of each job. One that fails is left out from then on, and said.
pub fn interleaved(mut jobs: Vec<Job>, effort: Effort) -> BTreeMap<String, Vec<Sample>> {
    let mut samples: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    let began = Instant::now();
    let mut order = 1;
    for round in 0..=effort.rounds {
        if round > Effort::FEWEST && began.elapsed() > effort.time {
            break;
        }
        let mut failed = Vec::new();
        for place in 0..jobs.len() {
            order = next(order);
            let other = place + order as usize % (jobs.len() - place);
            jobs.swap(place, other);
            let quiet = machine::wait_until_quiet(Effort::PATIENCE);
            let (name, job) = &mut jobs[place];
            match job() {
                // The first round is the warm-up.
                Ok(_) if round == 0 => {}
                Ok(sample) => {
                    let sample = Sample { quiet: quiet && sample.quiet, ..sample };
                    samples.entry(name.clone()).or_default().push(sample);
                }
                Err(why) => {
                    eprintln!("# {name}: {why}");
                    failed.push(name.clone());
                }
            }
        }
        jobs.retain(|(name, _)| !failed.contains(name));
    }
    samples
}

/// A sequence that looks like none: xorshift.
fn next(mut state: u32) -> u32 {
    state ^= state << 13;
    state ^= state >> 17;
    state ^ state << 5
}
