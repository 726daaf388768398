//! Several calls at once, and calls that are killed: one winner, and nothing left.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{Case, case};
use crate::host::Need;
use crate::traced::{Victim, kill_at};
use crate::trial::{Trial, slowness, until};
use crate::verdict::{Stop, Verdict, equal, failed};

const AT_ONCE: usize = 8;

const CREATE_KILLED: &str =
    "a create that is killed at one of its system calls leaves nothing that delete --force does not remove";
const CHILD_KILLED: &str =
    "a create whose child is killed at one of its system calls succeeds, or says no and leaves nothing";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("races/create").security("J01", "of many creates of one id exactly one succeeds").run(|t| {
            t.write_config()?;
            let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
            let codes = all_at_once(t, &["create", "--bundle", &bundle, &id])?;
            equal("winners", codes.iter().filter(|code| **code == 0).count(), 1)?;
            equal("status", t.status()?, "created")?;
            t.start()
        }),
        case("races/start").security("J02", "of many starts exactly one succeeds").run(|t| {
            t.probe(&["append:/tmp/log:started", "hang"]).create()?;
            let id = t.id.clone();
            let codes = all_at_once(t, &["start", &id])?;
            equal("winners", codes.iter().filter(|code| **code == 0).count(), 1)?;
            let log = t.rootfs().join("tmp/log");
            until("the program", || std::fs::metadata(&log).is_ok_and(|log| log.len() > 0))?;
            equal("starts", std::fs::read_to_string(&log)?.as_str(), "started\n")
        }),
        case("races/delete").security("J03", "many delete --force of one container all succeed").run(|t| {
            t.running(&["stat:/"])?;
            let id = t.id.clone();
            let codes = all_at_once(t, &["delete", "--force", &id])?;
            ensure!(codes.iter().all(|code| *code == 0), "exit statuses: {codes:?}");
            t.nothing_left("after delete --force")
        }),
        case("races/killed-create")
            .security("J10", "a create that is killed at any time leaves nothing that delete --force does not remove")
            .run(|t| killed_at(t, &["create"])),
        case("races/killed-run")
            .security("J11", "a run --detach that is killed at any time leaves nothing that delete --force does not remove")
            .run(|t| killed_at(t, &["run", "--detach"])),
        case("races/create-killed-at-a-call")
            .security("J10", CREATE_KILLED)
            .run(|t| killed_at_calls(t, Victim::Caller)),
        case("races/create-killed-at-a-call-systemd")
            .security("J10", CREATE_KILLED)
            .needs(Need::File("/run/systemd/private"))
            .run(|t| killed_at_calls(t.under_systemd(), Victim::Caller)),
        case("races/child-killed-at-a-call")
            .security("J10", CHILD_KILLED)
            .run(|t| killed_at_calls(t, Victim::Child)),
        case("races/child-killed-at-a-call-systemd")
            .security("J10", CHILD_KILLED)
            .needs(Need::File("/run/systemd/private"))
            .run(|t| killed_at_calls(t.under_systemd(), Victim::Child)),
    ]
}

fn silent(mut command: Command) -> Verdict<Child> {
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// The exit statuses of the same call, many times at once.
fn all_at_once(t: &Trial, arguments: &[&str]) -> Verdict<Vec<i32>> {
    let mut children = Vec::new();
    for _ in 0..AT_ONCE {
        children.push(silent(t.command(arguments))?);
    }
    let mut codes = Vec::new();
    for mut child in children {
        codes.push(child.wait()?.code().unwrap_or(-1));
    }
    Ok(codes)
}

/// Kill the call at random moments, a little beyond its length.
fn killed_at(t: &mut Trial, verb: &[&str]) -> Verdict {
    t.probe(&["quiet", "hang"]).write_config()?;
    let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
    let arguments: Vec<&str> = verb.iter().copied().chain(["--bundle", &bundle, &id]).collect();
    let begin = Instant::now();
    silent(t.command(&arguments))?.wait()?;
    let whole = begin.elapsed();
    t.finish()?;
    for _ in 0..40 {
        let mut child = silent(t.command(&arguments))?;
        std::thread::sleep(whole.mul_f64(1.2 * random()));
        child.kill()?;
        child.wait()?;
        // What the call had just started may still be on its way out.
        std::thread::sleep(Duration::from_millis(5));
        t.finish()?;
    }
    Ok(())
}

/// The first calls of a child, under systemd those of the process that a scope is started around: always tried.
const ALWAYS: usize = 4;

/// Kill a create, or a child of it, at as many of its system calls as there is time for, in any order. All of them take
/// some minutes: `SPEC_TESTS_SLOWNESS=100`.
fn killed_at_calls(t: &mut Trial, victim: Victim) -> Verdict {
    t.probe(&["quiet", "hang"]).write_config()?;
    let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
    let command = t.command(&["create", "--bundle", &bundle, &id]);
    let stderr = t.work.join("stderr");
    let begin = Instant::now();
    let calls = kill_at(&command, victim, usize::MAX, &stderr)?.calls;
    t.finish()?;
    ensure!(calls > 0, "a create without a system call");
    let mut numbers: Vec<usize> = (1..=calls).collect();
    numbers.sort_by_cached_key(|number| (*number > ALWAYS, (random() * 1e9) as u64));
    for (tried, number) in numbers.into_iter().enumerate() {
        if tried >= ALWAYS && begin.elapsed() > Duration::from_secs(4) * slowness() {
            break;
        }
        let outcome = kill_at(&command, victim, number, &stderr)?;
        let story = format!(
            "killed at call {number} of {calls}, number {:?}, the create has ended with {} ({})",
            outcome.killed_at,
            outcome.code,
            outcome.stderr.trim()
        );
        let ends_well = match victim {
            Victim::Caller => t.finish(),
            Victim::Child if outcome.code == 0 => t.finish(),
            Victim::Child => {
                ensure!(outcome.code < 128 && !outcome.stderr.trim().is_empty(), "{story}");
                t.nothing_left("after the refusal").and_then(|()| t.finish())
            }
        };
        if let Err(Stop::Failed(text)) = ends_well {
            return failed(format!("{story}: {text}"));
        }
    }
    if Path::new("/run/systemd/private").exists() {
        until("the end of the scope", || units(&id).is_ok_and(|units| units.is_empty()))?;
    }
    t.create()
}

/// What systemd still knows of a container.
fn units(id: &str) -> Verdict<String> {
    let output =
        Command::new("systemctl").args(["list-units", "--all", "--plain", "--no-legend"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter(|line| line.contains(id)).collect())
}

/// From 0 to 1.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let number = std::hash::RandomState::new().build_hasher().finish();
    #[expect(clippy::cast_precision_loss, reason = "a moment, not a key")]
    let fraction = (number >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}
