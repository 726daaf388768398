//! What is measured: the rows of the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use crate::bundle::{Wish, Workshop};
use crate::measure::{Effort, Job, Sample, Spawn, interleaved, pid_in, reap, silently};
use crate::runtime::Runtime;
use crate::view::View;
use crate::{Attempt, Result, count};

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// What the machine looks like.
    pub view: View,
    /// The part of the time that it gets.
    pub weight: u32,
    /// How it is measured.
    pub how: How,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// `run` in the foreground.
    Run(Wish),
    /// The same, and the same without bind mounts: what one of so many takes.
    Bind(usize),
    /// The same with so many more mounts on the host: what they add.
    HostMounts(usize),
    /// So many, some at a time.
    Many(usize, usize),
    /// `create`, `start`, and `delete` when the program has ended.
    Lifecycle,
    /// `exec` in a container that is there.
    Exec,
    /// `state` of a container that is there.
    State,
    /// `--version`
    Version,
    /// The smallest memory limit in KiB with which `run` works three times of three.
    Memory(Wish),
}

const PLAIN: Wish =
    Wish { stays: false, seccomp: false, binds: 0, covers: false, everywhere: false, memory: None };
const FILTERED: Wish = Wish { seccomp: true, ..PLAIN };
const FULL: Wish = Wish { seccomp: true, binds: 20, covers: true, ..PLAIN };

const fn row(name: &'static str, what: &'static str, view: View, weight: u32, how: How) -> Scenario {
    Scenario { name, what, view, weight, how }
}

/// All rows.
pub const SCENARIOS: [Scenario; 16] = [
    row("run", "`run`", View::V2, 3, How::Run(PLAIN)),
    row("run-v1", "`run`, cgroup v1", View::V1, 3, How::Run(PLAIN)),
    row("run-seccomp", "`run` with a seccomp profile", View::V2, 2, How::Run(FILTERED)),
    row("run-full", "`run` with seccomp, 20 binds, masks, device rules", View::V2, 2, How::Run(FULL)),
    row("run-full-v1", "the same, cgroup v1", View::V1, 2, How::Run(FULL)),
    row("lifecycle", "`create` + `start` + `delete`", View::V2, 2, How::Lifecycle),
    row("lifecycle-v1", "the same, cgroup v1", View::V1, 2, How::Lifecycle),
    row("exec", "`exec`", View::V2, 2, How::Exec),
    row("exec-v1", "`exec`, cgroup v1", View::V1, 2, How::Exec),
    row("state", "`state`", View::V2, 1, How::State),
    row("version", "`--version`", View::V2, 1, How::Version),
    row("many", "100 × `run`, 8 at a time", View::V2, 3, How::Many(100, 8)),
    row("binds", "a bind mount, of 500", View::V2, 2, How::Bind(500)),
    row("host-mounts", "what 2000 mounts on the host add to `run`", View::V2, 2, How::HostMounts(2000)),
    row("memory", "smallest memory limit, KiB", View::V1, 0, How::Memory(PLAIN)),
    row("memory-seccomp", "the same with a seccomp profile", View::V1, 0, How::Memory(FILTERED)),
];

/// What came out for one runtime.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The samples; one with all values but `wall` at 0 where only one number is meant.
    pub samples: Vec<Sample>,
    /// System calls, where they were counted.
    pub calls: Option<u64>,
}

/// Where and with what it is measured.
pub struct Bench<'a> {
    /// What is compared.
    pub runtimes: &'a [Runtime],
    /// Measures.
    pub spawn: &'a Spawn,
    /// Makes bundles.
    pub shop: &'a Workshop,
    /// How long a row of weight 1 may take.
    pub time: Duration,
    /// At most so many rounds.
    pub rounds: usize,
}

type Outcomes = BTreeMap<String, Outcome>;

impl Scenario {
    /// Measure it.
    pub fn measure(&self, bench: &Bench) -> Result<Outcomes> {
        let wish = match self.how {
            How::Run(wish) => wish,
            How::Bind(binds) => Wish { binds, ..PLAIN },
            How::Lifecycle | How::HostMounts(_) | How::Many(..) | How::Version | How::Memory(_) => PLAIN,
            How::Exec | How::State => Wish { stays: true, ..PLAIN },
        };
        let bundle = bench.shop.bundle(self.name, wish)?;
        match self.how {
            How::Run(_) => self.runs(bench, &bundle, wish.binds),
            How::Bind(binds) => self.difference(bench, &bundle, binds, binds as f64, || Ok(())),
            How::HostMounts(mounts) => {
                self.difference(bench, &bundle, 0, 1.0, || mount_on_host(bench, mounts))
            }
            How::Many(count, jobs) => Ok(self.many(bench, &bundle, count, jobs)),
            How::Lifecycle => self.lifecycles(bench, &bundle),
            How::Exec | How::State => self.in_a_container(bench, wish),
            How::Version => Ok(self.versions(bench)),
            How::Memory(wish) => self.memory(bench, wish),
        }
    }

    fn effort(&self, bench: &Bench) -> Effort {
        Effort { time: bench.time * self.weight, rounds: bench.rounds }
    }

    fn interleave(&self, bench: &Bench, jobs: Vec<Job>) -> Outcomes {
        let outcome = |samples| Outcome { samples, calls: None };
        let samples = interleaved(jobs, self.effort(bench));
        samples.into_iter().map(|(name, samples)| (name, outcome(samples))).collect()
    }

    fn id(runtime: &Runtime) -> String {
        format!("crust-bench-{}-{}", std::process::id(), runtime.name)
    }

    fn runs(&self, bench: &Bench, bundle: &Path, binds: usize) -> Result<Outcomes> {
        let line = |runtime: &Runtime| runtime.run(bench.shop, self.view, bundle, &Self::id(runtime), binds);
        let jobs = bench.runtimes.iter().map(|runtime| {
            let line = line(runtime);
            (runtime.name.clone(), Box::new(move || bench.spawn.measure(&line)) as Box<dyn FnMut() -> _>)
        });
        let mut outcomes = self.interleave(bench, jobs.collect());
        for runtime in bench.runtimes {
            if let Some(outcome) = outcomes.get_mut(&runtime.name) {
                outcome.calls = fewest_calls(&line(runtime));
            }
        }
        Ok(outcomes)
    }

    /// What `run` takes with something, less what it takes without, divided by a number.
    fn difference(
        &self,
        bench: &Bench,
        bundle: &Path,
        binds: usize,
        divisor: f64,
        prepare: impl FnOnce() -> Result<()>,
    ) -> Result<Outcomes> {
        let without = self.runs(bench, &bench.shop.bundle("without", PLAIN)?, 0)?;
        prepare()?;
        let with = self.runs(bench, bundle, binds)?;
        let outcome = |name: &String, outcome: &Outcome| {
            let base = without.get(name)?;
            let of = |value: fn(&Sample) -> f64| {
                (median(&outcome.samples, value) - median(&base.samples, value)) / divisor
            };
            let sample =
                Sample { wall: of(|s| s.wall), cpu: of(|s| s.cpu), quiet: true, ..Sample::default() };
            Some((name.clone(), Outcome { samples: vec![sample], calls: None }))
        };
        Ok(with.iter().filter_map(|(name, with)| outcome(name, with)).collect())
    }

    fn many(&self, bench: &Bench, bundle: &Path, count: usize, jobs: usize) -> Outcomes {
        let jobs = bench.runtimes.iter().map(|runtime| {
            let id = format!("{}-%", Self::id(runtime));
            let line = runtime.run(bench.shop, self.view, bundle, &id, 0);
            (
                runtime.name.clone(),
                Box::new(move || bench.spawn.several(&line, count, jobs)) as Box<dyn FnMut() -> _>,
            )
        });
        self.interleave(bench, jobs.collect())
    }

    fn lifecycles(&self, bench: &Bench, bundle: &Path) -> Result<Outcomes> {
        let jobs = bench.runtimes.iter().filter(|runtime| !runtime.is_floor()).map(|runtime| {
            let id = Self::id(runtime);
            let job = move || lifecycle(bench, runtime, bundle, &id);
            (runtime.name.clone(), Box::new(job) as Box<dyn FnMut() -> _>)
        });
        let jobs = jobs.collect();
        Ok(self.interleave(bench, jobs))
    }

    fn in_a_container(&self, bench: &Bench, wish: Wish) -> Result<Outcomes> {
        let mut kept = Vec::new();
        for runtime in bench.runtimes.iter().filter(|runtime| !runtime.is_floor()) {
            let id = Self::id(runtime);
            // Where the floor looks for it.
            let bundle = bench.shop.bundle_in(&id, wish, Some(&id))?;
            match runtime.keep(bench.shop, &bundle, &id) {
                Ok(init) => kept.push((runtime, init)),
                Err(why) => eprintln!("# {}: {why}", runtime.name),
            }
        }
        let mut jobs: Vec<Job> = Vec::new();
        let mut lines = BTreeMap::new();
        let mut add = |runtime: &Runtime, line: Vec<String>| {
            lines.insert(runtime.name.clone(), line.clone());
            jobs.push((runtime.name.clone(), Box::new(move || bench.spawn.measure(&line))));
        };
        for (runtime, init) in &kept {
            let id = Self::id(runtime);
            match self.how {
                How::Exec => add(runtime, runtime.exec(bench.shop, self.view, &id, *init)),
                _ => add(runtime, runtime.of(bench.shop, "state", &id)),
            }
        }
        // The floor enters the container of the first runtime.
        if let (Some(floor), Some((first, init))) =
            (bench.runtimes.iter().find(|runtime| runtime.is_floor()), kept.first())
        {
            match self.how {
                How::Exec => add(floor, floor.exec(bench.shop, self.view, &Self::id(first), *init)),
                _ => add(floor, vec![bench.shop.rootfs().join("bin/true").display().to_string()]),
            }
        }
        let mut outcomes = self.interleave(bench, jobs);
        for (name, outcome) in &mut outcomes {
            outcome.calls = lines.get(name).and_then(|line| fewest_calls(line));
        }
        for (runtime, init) in &kept {
            silently(&runtime.delete(bench.shop, &Self::id(runtime)))?;
            reap(*init);
        }
        Ok(outcomes)
    }

    fn versions(&self, bench: &Bench) -> Outcomes {
        let jobs = bench.runtimes.iter().map(|runtime| {
            let line = match runtime.is_floor() {
                true => vec![bench.shop.rootfs().join("bin/true").display().to_string()],
                false => runtime.version(),
            };
            (runtime.name.clone(), Box::new(move || bench.spawn.measure(&line)) as Box<dyn FnMut() -> _>)
        });
        self.interleave(bench, jobs.collect())
    }

    fn memory(&self, bench: &Bench, wish: Wish) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new();
        for runtime in bench.runtimes {
            let smallest = smallest_limit(|kib| {
                let bundle = bench.shop.bundle(self.name, Wish { memory: Some(kib), ..wish })?;
                let line = runtime.run(bench.shop, self.view, &bundle, &Self::id(runtime), 0);
                Ok((0..3).all(|_| {
                    let works = works(&line, kib);
                    if !works && !runtime.is_floor() {
                        let _nothing_may_be_left = silently(&runtime.delete(bench.shop, &Self::id(runtime)));
                    }
                    works
                }))
            })?;
            if let Some(kib) = smallest {
                let sample = Sample { wall: kib as f64, quiet: true, ..Sample::default() };
                outcomes.insert(runtime.name.clone(), Outcome { samples: vec![sample], calls: None });
            }
        }
        Ok(outcomes)
    }
}

/// The floor is told the limit by its environment.
fn works(line: &[String], kib: u64) -> bool {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).env("MEMORY_LIMIT", (kib * 1024).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Between 64 KiB and 8 MiB, to 8 KiB; `None` if none of these works.
fn smallest_limit(mut works: impl FnMut(u64) -> Result<bool>) -> Result<Option<u64>> {
    let (mut fails, mut enough) = (64, 8192);
    if !works(enough)? {
        return Ok(None);
    }
    while enough - fails > 8 {
        let middle = (enough + fails) / 16 * 8;
        if works(middle)? { enough = middle } else { fails = middle }
    }
    Ok(Some(enough))
}

fn lifecycle(bench: &Bench, runtime: &Runtime, bundle: &Path, id: &str) -> Result<Sample> {
    let pid_file: PathBuf = bench.shop.file(&format!("{id}.pid"));
    let created = bench.spawn.measure(&runtime.create(bench.shop, bundle, id, &pid_file))?;
    let started = bench.spawn.measure(&runtime.of(bench.shop, "start", id))?;
    reap(pid_in(&pid_file)?);
    let mut delete = runtime.delete(bench.shop, id);
    delete.retain(|word| word != "--force");
    Ok(created.and(started).and(bench.spawn.measure(&delete)?))
}

/// The fewest of three counts: what depends on who comes first is not in it.
fn fewest_calls(line: &[String]) -> Option<u64> {
    (0..3).filter_map(|_| count::system_calls(line).ok()).min()
}

fn mount_on_host(bench: &Bench, mounts: usize) -> Result<()> {
    let place = bench.shop.file("host-mounts");
    std::fs::create_dir_all(&place).attempt(place.display())?;
    let bind = MsFlags::MS_BIND;
    for i in 0..mounts {
        let target = place.join(i.to_string());
        std::fs::create_dir(&target).attempt(target.display())?;
        mount(Some(&place), &target, None::<&str>, bind, None::<&str>).attempt(target.display())?;
    }
    Ok(())
}

/// The middle value; 0 of nothing.
pub fn median(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
