//! runtime.md: the operation kill.

use std::fs;

use nix::sys::signal::Signal;

use crate::case::{Case, case};
use crate::trial::{Trial, slowness, until};
use crate::verdict::{Verdict, equal};

const NEITHER: &str = "Attempting to send a signal to a container that is neither `created` nor `running` \
    MUST have no effect on the container and MUST generate an error.";
const SENDS: &str = "This operation MUST send the specified signal to the container process.";

/// Spelling on the command line, and the number that must arrive.
const SPELLINGS: &[(&str, Signal)] = &[
    ("SIGHUP", Signal::SIGHUP),
    ("SIGINT", Signal::SIGINT),
    ("SIGQUIT", Signal::SIGQUIT),
    ("SIGUSR1", Signal::SIGUSR1),
    ("SIGUSR2", Signal::SIGUSR2),
    ("SIGTERM", Signal::SIGTERM),
    ("SIGCONT", Signal::SIGCONT),
    ("SIGWINCH", Signal::SIGWINCH),
    ("HUP", Signal::SIGHUP),
    ("term", Signal::SIGTERM),
    ("sigusr1", Signal::SIGUSR1),
    ("10", Signal::SIGUSR1),
    ("15", Signal::SIGTERM),
];

/// Spellings that are no signal. A real-time name is one, for a runtime that knows it.
const NO_SIGNALS: &[(&str, &str)] = &[
    ("unknown-name", "KILLX"),
    ("negative", "-1"),
    ("too-large", "65"),
    ("much-too-large", "999"),
    ("trailing-letter", "9x"),
    ("empty", ""),
    ("prefix-only", "SIG"),
    ("fraction", "9.0"),
    ("space", " 9"),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [spec(), SPELLINGS.iter().map(|(word, signal)| arrives(word, *signal)).collect(), refused(), runc()]
        .into_iter()
        .flatten()
        .collect()
}

fn spec() -> Vec<Case> {
    vec![
        case("kill/without-id")
            .spec("This operation MUST generate an error if it is not provided the container ID.")
            .run(|t| t.call(&["kill"])?.refused().map(drop)),
        case("kill/unknown").spec(NEITHER).run(|t| kill(t, "KILL", false)),
        case("kill/stopped").spec(NEITHER).run(|t| {
            t.facts()?;
            kill(t, "KILL", false)?;
            equal("status", t.status()?, "stopped")
        }),
        case("kill/created").spec(SENDS).run(|t| {
            t.create()?;
            kill(t, "KILL", true)?;
            equal("exit status", t.wait()?, 128 + 9)?;
            equal("status", t.status()?, "stopped")
        }),
        case("kill/running").spec(SENDS).run(|t| {
            t.running(&["stat:/"])?;
            kill(t, "KILL", true)?;
            equal("exit status", t.wait()?, 128 + 9)?;
            equal("status", t.status()?, "stopped")
        }),
    ]
}

fn kill(t: &mut Trial, signal: &str, succeeds: bool) -> Verdict {
    let id = t.id.clone();
    let answer = t.call(&["kill", &id, signal])?;
    if succeeds { answer.succeeded().map(drop) } else { answer.refused().map(drop) }
}

/// A container that writes down which signals arrive.
fn listening(t: &mut Trial) -> Verdict {
    t.probe(&["signals:/tmp/signals"]).create()?;
    t.start()?;
    until("the probe to listen", || signals(t).starts_with("0\n"))
}

fn signals(t: &Trial) -> String {
    fs::read_to_string(t.rootfs().join("tmp/signals")).unwrap_or_default()
}

fn arrives(word: &'static str, signal: Signal) -> Case {
    case(format!("kill/signal-{word}")).spec(SENDS).run(move |t| {
        listening(t)?;
        kill(t, word, true)?;
        let want = format!("0\n{}\n", signal as i32);
        until("the signal", || signals(t) == want)?;
        equal("status", t.status()?, "running")
    })
}

fn refused() -> Vec<Case> {
    let refuse = |(name, word): &(&str, &'static str)| {
        let word = *word;
        case(format!("kill/no-signal-{name}"))
            .security("E25", "what is no signal is refused, and the container is unaffected")
            .run(move |t| {
                listening(t)?;
                kill(t, word, false)?;
                std::thread::sleep(std::time::Duration::from_millis(30));
                equal("signals", signals(t).as_str(), "0\n")?;
                equal("status", t.status()?, "running")
            })
    };
    NO_SIGNALS.iter().map(refuse).collect()
}

fn runc() -> Vec<Case> {
    vec![
        case("kill/default-is-term").runc("kill without a signal sends SIGTERM (buildah calls it so)").run(
            |t| {
                listening(t)?;
                t.verb("kill")?.succeeded()?;
                until("SIGTERM", || signals(t) == "0\n15\n")
            },
        ),
        case("kill/not-running-text").runc("kill of a stopped container says `container not running`").run(
            |t| {
                t.facts()?;
                let id = t.id.clone();
                t.call(&["kill", &id, "9"])?.refused_with(&["container not running"]).map(drop)
            },
        ),
        case("kill/does-not-exist-text").runc("kill of an unknown container says `does not exist`").run(
            |t| {
                let id = t.id.clone();
                t.call(&["kill", &id, "9"])?.refused_with(&["does not exist"]).map(drop)
            },
        ),
        case("kill/all-of-stopped")
            .runc("kill --all of a stopped container succeeds (the shim calls it so)")
            .run(|t| {
                t.facts()?;
                let id = t.id.clone();
                t.call(&["kill", "--all", &id, "9"])?.succeeded().map(drop)
            }),
        case("kill/all-without-pid-namespace")
            .runc("kill --all reaches every process of a container that shares the pid namespace")
            .run(|t| {
                t.drop_namespace("pid");
                t.probe(&["background:/spec-probe", "hang"]).create()?;
                t.start()?;
                let cgroup = t.cgroup("freezer").or_else(|_| t.cgroup("pids"))?;
                let processes = || fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
                until("two processes", || processes().lines().count() == 2)?;
                let id = t.id.clone();
                t.call(&["kill", "--all", &id, "KILL"])?.succeeded()?;
                equal("exit status", t.wait()?, 128 + 9)?;
                until("an empty cgroup", || processes().trim().is_empty())
            }),
        case("kill/zero").runc("signal 0 asks whether the container runs, and does nothing").run(|t| {
            listening(t)?;
            kill(t, "0", true)?;
            let id = t.id.clone();
            t.call(&["kill", "--all", &id, "0"])?.succeeded()?;
            equal("signals", signals(t).as_str(), "0\n")?;
            equal("status", t.status()?, "running")?;
            kill(t, "KILL", true)?;
            t.wait()?;
            kill(t, "0", false)?;
            t.call(&["kill", "--all", &id, "0"])?.succeeded().map(drop)
        }),
        case("kill/silent").runc("kill writes nothing on success").run(|t| {
            t.running(&["stat:/"])?;
            let id = t.id.clone();
            t.call(&["kill", &id, "KILL"])?.silent().map(drop)
        }),
        case("kill/paused-dies-at-once").security("E23", "KILL ends a paused container within a second").run(
            |t| {
                t.running(&["stat:/"])?;
                t.verb("pause")?.succeeded()?;
                kill(t, "KILL", true)?;
                let begin = std::time::Instant::now();
                equal("exit status", t.wait()?, 128 + 9)?;
                let took = begin.elapsed();
                ensure!(took.as_secs() < slowness().into(), "it took {} ms", took.as_millis());
                Ok(())
            },
        ),
    ]
}
