//! `make bench`: measure, and print the table.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use benches::bundle::Workshop;
use benches::measure::{Sample, Spawn};
use benches::report::{self, Row};
use benches::runtime::Runtime;
use benches::scenario::{Bench, Outcome, SCENARIOS, Scenario};
use benches::view::View;
use benches::{Attempt, Result, machine};
use serde_json::{Value, json};

const USAGE: &str = "usage: bench --programs DIR --runtime NAME=PATH… [--seconds N] [--rounds N] [--page FILE] \
    [--chart FILE] [SCENARIO…]\nDIR holds floor, payload and spawn. The scenarios are:";

/// The command line.
#[derive(Clone, Debug, Default)]
struct Asked {
    programs: PathBuf,
    runtimes: Vec<Runtime>,
    seconds: u64,
    rounds: usize,
    page: Option<PathBuf>,
    chart: Option<PathBuf>,
    /// Set in a process that measures in one view.
    view: Option<View>,
    scenarios: Vec<String>,
}

impl Asked {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut asked = Self { seconds: 200, rounds: 60, ..Self::default() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--programs" => asked.programs = words.next()?.into(),
                "--runtime" => asked.runtimes.push(Runtime::parse(&words.next()?)?),
                "--seconds" => asked.seconds = words.next()?.parse().ok()?,
                "--rounds" => asked.rounds = words.next()?.parse().ok()?,
                "--page" => asked.page = Some(words.next()?.into()),
                "--chart" => asked.chart = Some(words.next()?.into()),
                "--view" => asked.view = Some(View::named(&words.next()?)?),
                option if option.starts_with('-') => return None,
                name => asked.scenarios.push(name.into()),
            }
        }
        (!asked.runtimes.is_empty() && !asked.programs.as_os_str().is_empty()).then_some(asked)
    }

    fn chosen(&self) -> impl Iterator<Item = &'static Scenario> {
        SCENARIOS.iter().filter(|scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name)
        })
    }
}

fn main() -> ExitCode {
    let Some(asked) = Asked::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        SCENARIOS.iter().for_each(|scenario| eprintln!("  {:15} {}", scenario.name, scenario.what));
        return ExitCode::from(2);
    };
    let done = match asked.view {
        Some(view) => measure(&asked, view),
        None => report(&asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Let a process in each view measure, and put together what they say.
fn report(asked: &Asked) -> Result<()> {
    let machine = machine::description();
    let mut outcomes: BTreeMap<&str, BTreeMap<String, Outcome>> = BTreeMap::new();
    for view in [View::V2, View::V1] {
        if !view.is_possible() || !asked.chosen().any(|scenario| scenario.view == view) {
            continue;
        }
        let own = std::env::current_exe().attempt("our own path")?;
        let mut command = Command::new(own);
        command.args(std::env::args().skip(1)).args(["--view", view.name()]).stdout(Stdio::piped());
        let mut worker = command.spawn().attempt("a worker")?;
        for line in worker.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let line: Value = serde_json::from_str(&line.attempt("a worker")?).attempt("a worker")?;
            if let Some(scenario) = asked.chosen().find(|scenario| line["scenario"] == scenario.name) {
                let name = line["runtime"].as_str().unwrap_or_default().to_owned();
                outcomes.entry(scenario.name).or_default().insert(name, outcome(&line));
            }
        }
        worker.wait().attempt("a worker")?;
    }
    let rows: Vec<Row> = asked
        .chosen()
        .filter_map(|scenario| Some(Row { scenario: *scenario, outcomes: outcomes.remove(scenario.name)? }))
        .collect();
    let names: Vec<String> = asked.runtimes.iter().map(|runtime| runtime.name.clone()).collect();
    let table = report::table(&rows, &names, &machine);
    print!("{table}");
    if let Some(page) = &asked.page {
        report::update(page, &table)?;
    }
    match &asked.chart {
        Some(chart) => std::fs::write(chart, report::chart(&rows, &names)).attempt(chart.display()),
        None => Ok(()),
    }
}

/// In the view: measure, and say each result in a line.
fn measure(asked: &Asked, view: View) -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).attempt("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let directory = std::env::temp_dir().join("crust-bench");
    let program = |name: &str| asked.programs.join(name);
    view.enter(&directory)?;
    let shop = Workshop::open(&directory, &program("payload"), view)?;
    let spawn = Spawn { program: program("spawn"), complaints: shop.file("complaints") };
    let weights: u32 = asked.chosen().map(|scenario| scenario.weight).sum();
    let bench = Bench {
        runtimes: &asked.runtimes,
        spawn: &spawn,
        shop: &shop,
        time: Duration::from_secs(asked.seconds) / weights.max(1),
        rounds: asked.rounds,
    };
    // What mounts on the host is last: it stays.
    let mut scenarios: Vec<&Scenario> = asked.chosen().filter(|scenario| scenario.view == view).collect();
    scenarios.sort_by_key(|scenario| scenario.name == "host-mounts");
    for scenario in scenarios {
        eprintln!("# {}", scenario.what);
        match scenario.measure(&bench) {
            Ok(outcomes) => outcomes.iter().for_each(|(name, outcome)| {
                println!("{}", line(scenario.name, name, outcome));
            }),
            Err(why) => eprintln!("# {}: {why}", scenario.name),
        }
    }
    remove_bundles(&directory);
    Ok(())
}

/// The tmpfs is gone with us; the directory below it is not.
fn remove_bundles(directory: &Path) {
    let _still_mounted = nix::mount::umount2(directory, nix::mount::MntFlags::MNT_DETACH);
    let _not_empty = std::fs::remove_dir(directory);
}

fn line(scenario: &str, runtime: &str, outcome: &Outcome) -> Value {
    let sample =
        |s: &Sample| json!([s.wall, s.cpu, s.memory, s.faults, s.switches, f64::from(u8::from(s.quiet))]);
    let samples: Vec<Value> = outcome.samples.iter().map(sample).collect();
    json!({ "scenario": scenario, "runtime": runtime, "samples": samples, "calls": outcome.calls })
}

fn outcome(line: &Value) -> Outcome {
    let sample = |sample: &Value| {
        let number = |i: usize| sample[i].as_f64().unwrap_or_default();
        Sample {
            wall: number(0),
            cpu: number(1),
            memory: number(2),
            faults: number(3),
            switches: number(4),
            quiet: number(5) > 0.0,
        }
    };
    let samples = line["samples"].as_array().into_iter().flatten().map(sample).collect();
    Outcome { samples, calls: line["calls"].as_u64() }
}
