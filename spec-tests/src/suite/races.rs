//! Several calls at once, and calls that are killed: one winner, and nothing left.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{Case, case};
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

const AT_ONCE: usize = 8;

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
            crate::trial::until("the program", || t.rootfs().join("tmp/log").exists())?;
            equal("starts", std::fs::read_to_string(t.rootfs().join("tmp/log"))?.as_str(), "started\n")
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

/// From 0 to 1.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let number = std::hash::RandomState::new().build_hasher().finish();
    #[expect(clippy::cast_precision_loss, reason = "a moment, not a key")]
    let fraction = (number >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}
