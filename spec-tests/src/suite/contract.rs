//! What runc's callers read off a command: its exit status, its words, and silence. A row is an operation on a container
//! in some condition.

use std::fs;

use serde_json::Value;

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

/// What has become of the container before the command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Missing,
    Created,
    Running,
    Paused,
    Stopped,
}
use Condition::{Created, Missing, Paused, Running, Stopped};

/// Words of the command, in which `ID` stands for the container; its exit status; texts, one of which is in the message.
/// No text is silence.
type Row = (Condition, &'static [&'static str], i32, &'static [&'static str]);

const UNKNOWN: &[&str] = &["does not exist"];
const NOT_RUNNING: &[&str] = &["container not running", "is not running"];
const SILENCE: &[&str] = &[];

const ROWS: &[Row] = &[
    (Missing, &["state", "ID"], 1, UNKNOWN),
    (Missing, &["start", "ID"], 1, UNKNOWN),
    (Missing, &["kill", "ID", "9"], 1, UNKNOWN),
    (Missing, &["delete", "ID"], 1, UNKNOWN),
    (Missing, &["delete", "--force", "ID"], 0, SILENCE),
    (Missing, &["exec", "ID", "/spec-probe"], 255, UNKNOWN),
    (Missing, &["pause", "ID"], 1, UNKNOWN),
    (Missing, &["resume", "ID"], 1, UNKNOWN),
    (Missing, &["ps", "ID"], 1, UNKNOWN),
    (Missing, &["update", "--pids-limit", "10", "ID"], 1, UNKNOWN),
    (Missing, &["events", "--stats", "ID"], 1, UNKNOWN),
    (Created, &["create", "--bundle", "BUNDLE", "ID"], 1, &["already exists"]),
    (Created, &["run", "--bundle", "BUNDLE", "ID"], 1, &["already exists"]),
    (Created, &["resume", "ID"], 1, &["container not paused"]),
    (Created, &["start", "ID"], 0, SILENCE),
    (Created, &["kill", "ID", "9"], 0, SILENCE),
    (Created, &["delete", "ID"], 0, SILENCE),
    (Created, &["delete", "--force", "ID"], 0, SILENCE),
    (Running, &["start", "ID"], 1, &["cannot start an already running container"]),
    (Running, &["delete", "ID"], 1, &["that is not stopped: running"]),
    (Running, &["resume", "ID"], 1, &["container not paused"]),
    (Running, &["kill", "ID", "KILLX"], 1, &["unknown signal"]),
    (Running, &["exec", "ID", "nope"], 255, &["executable file not found in $PATH"]),
    (Running, &["exec", "ID", "/nope"], 255, &["no such file or directory"]),
    (Running, &["exec", "ID", "/etc"], 255, &["permission denied"]),
    (Running, &["exec", "--cwd", "/spec-probe", "ID", "/spec-probe"], 255, &["not a directory"]),
    (Running, &["update", "--resources", "/nope", "ID"], 1, &["no such file or directory"]),
    (Running, &["pause", "ID"], 0, SILENCE),
    (Running, &["update", "--pids-limit", "10", "ID"], 0, SILENCE),
    (Running, &["kill", "ID"], 0, SILENCE),
    (Running, &["kill", "--all", "ID", "9"], 0, SILENCE),
    (Running, &["delete", "--force", "ID"], 0, SILENCE),
    (Paused, &["exec", "ID", "/spec-probe"], 255, &["cannot exec in a paused container"]),
    (Paused, &["start", "ID"], 1, &["cannot start"]),
    (Paused, &["delete", "ID"], 1, &["that is not stopped: paused"]),
    (Paused, &["resume", "ID"], 0, SILENCE),
    (Paused, &["kill", "ID", "9"], 0, SILENCE),
    (Paused, &["delete", "--force", "ID"], 0, SILENCE),
    (Stopped, &["start", "ID"], 1, &["cannot start a container that has stopped"]),
    (Stopped, &["kill", "ID", "9"], 1, NOT_RUNNING),
    (Stopped, &["kill", "--all", "ID", "9"], 0, SILENCE),
    (Stopped, &["exec", "ID", "/spec-probe"], 255, &["cannot exec in a stopped container"]),
    (Stopped, &["pause", "ID"], 1, NOT_RUNNING),
    (Stopped, &["resume", "ID"], 1, &["container not paused"]),
    (Stopped, &["update", "--pids-limit", "10", "ID"], 1, NOT_RUNNING),
    (Stopped, &["events", "--stats", "ID"], 1, NOT_RUNNING),
    (Stopped, &["delete", "ID"], 0, SILENCE),
    (Stopped, &["delete", "--force", "ID"], 0, SILENCE),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    ROWS.iter()
        .map(|(condition, words, code, texts)| {
            let name = words.join("-").replace("--", "").replace('/', "path-");
            let name = name.replace("-ID", "").replace("-BUNDLE", "");
            case(format!("contract/{condition:?}-{name}").to_lowercase())
                .runc("callers know the exit status, the words on stderr and in the log, and silence on success")
                .needs(Need::Verb(words[0]))
                .run(move |t| {
                    bring(t, *condition)?;
                    tells(t, words, *code, texts)
                })
        })
        .collect()
}

/// Bring the container into the condition.
fn bring(t: &mut Trial, condition: Condition) -> Verdict {
    match condition {
        Missing => return Ok(()),
        Created => {
            t.probe(&["hang"]).create()?;
        }
        Running | Paused => {
            t.running(&["stat:/"])?;
        }
        Stopped => {
            t.facts()?;
        }
    }
    if condition == Paused {
        t.verb("pause")?.succeeded()?;
    }
    Ok(())
}

/// A refusal is one message, on stderr and as the one object of the log: Podman reads the whole log as one.
fn tells(t: &mut Trial, words: &[&str], code: i32, texts: &[&str]) -> Verdict {
    let (log, id, bundle) = (t.path("log"), t.id.clone(), t.bundle().display().to_string());
    let words = words.iter().map(|word| match *word {
        "ID" => id.as_str(),
        "BUNDLE" => bundle.as_str(),
        word => word,
    });
    let all: Vec<&str> = ["--log", &log, "--log-format", "json"].into_iter().chain(words).collect();
    let answer = t.call(&all)?;
    equal("exit status", answer.code, code)?;
    equal("stdout", answer.stdout.as_str(), "")?;
    let log = fs::read_to_string(&log).unwrap_or_default();
    if texts.is_empty() {
        equal("log", log.as_str(), "")?;
        return answer.silent().map(drop);
    }
    let entry: Value = serde_json::from_str(&log)?;
    let message = entry["msg"].as_str().unwrap_or_default();
    ensure!(texts.iter().any(|text| message.contains(text)), "msg: {message:?} has none of {texts:?}");
    equal("level", entry["level"].as_str(), Some("error"))?;
    answer.refused_with(texts).map(drop)
}
