//! runc's --log and --log-format.

use std::fs;

use serde_json::{Value, json};

use super::state::is_rfc3339;
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::{Stop, Verdict, equal};
use crate::without::Without;

/// Call a command that fails, with a log; the log's lines.
fn failing(t: &mut Trial, format: &str) -> Verdict<Vec<String>> {
    let (log, id) = (t.path("log"), t.id.clone());
    t.call(&["--log", &log, "--log-format", format, "state", &id])?.refused()?;
    Ok(fs::read_to_string(&log)?.lines().map(str::to_owned).collect())
}

const WRONG: [&[&str]; 4] = [
    &["state", "--no-such-option", "one"],
    &["create"],
    &["exec", "--preserve-fds", "some", "one", "true"],
    &["no-such-command"],
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("cli/log-json").runc("a failure writes one line of JSON with exactly level, msg and time").run(
            |t| {
                let lines = failing(t, "json")?;
                equal("lines", lines.len(), 1)?;
                let entry: Value = serde_json::from_str(&lines[0])?;
                let keys: Vec<&String> =
                    entry.as_object().map(|object| object.keys().collect()).unwrap_or_default();
                equal("keys", keys, vec!["level", "msg", "time"])?;
                equal("level", entry["level"].as_str(), Some("error"))?;
                ensure!(is_rfc3339(entry["time"].as_str().unwrap_or_default()), "time: {}", entry["time"]);
                ensure!(
                    entry["msg"].as_str().unwrap_or_default().contains("does not exist"),
                    "msg: {}",
                    entry["msg"]
                );
                Ok(())
            },
        ),
        case("cli/log-text").runc("the text log has level=error").run(|t| {
            let lines = failing(t, "text")?;
            ensure!(lines.iter().any(|line| line.contains("level=error")), "log: {lines:?}");
            Ok(())
        }),
        case("cli/log-appends").runc("the log is appended to: all calls of a container share it").run(|t| {
            failing(t, "json")?;
            equal("lines", failing(t, "json")?.len(), 2)
        }),
        case("cli/log-and-stderr").runc("with --log the message is on stderr too").run(|t| {
            let (log, id) = (t.path("log"), t.id.clone());
            t.call(&["--log", &log, "--log-format", "json", "state", &id])?
                .refused_with(&["does not exist"])
                .map(drop)
        }),
        case("cli/log-of-a-wrong-usage")
            .runc("a wrong command line leaves a line of JSON in the log as well: engines show nothing else")
            .run(|t| {
                for (number, words) in WRONG.iter().enumerate() {
                    let log = t.path(&format!("log-{number}"));
                    t.call(&[&["--log", &log, "--log-format=json"], *words].concat())?.refused()?;
                    let text = fs::read_to_string(&log).unwrap_or_default();
                    ensure!(text.lines().count() == 1, "{words:?}: the log is {text:?}");
                    let entry: Value = serde_json::from_str(&text)?;
                    equal("level", entry["level"].as_str(), Some("error"))?;
                    ensure!(entry["msg"].as_str().is_some_and(|text| !text.is_empty()), "{words:?}: {text}");
                }
                Ok(())
            }),
        case("cli/log-of-create")
            .runc("a failed create leaves its message in the log, as JSON on every line")
            .run(|t| {
                t.set("/process/args", json!(["/nope"])).write_config()?;
                let (log, bundle, id) = (t.path("log"), t.bundle().display().to_string(), t.id.clone());
                let command =
                    t.command(&["--log", &log, "--log-format", "json", "create", "--bundle", &bundle, &id]);
                t.execute_with(command, &t.container_streams())?.refused()?;
                let text = fs::read_to_string(&log)?;
                let entries: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
                let last = entries?.pop().unwrap_or_default();
                equal("level", last["level"].as_str(), Some("error"))?;
                ensure!(
                    last["msg"].as_str().unwrap_or_default().contains("no such file"),
                    "msg: {}",
                    last["msg"]
                );
                Ok(())
            }),
        case("cli/log-warning-of-init")
            .runc("what the container's init warns of is in the log of a command that succeeds")
            .needs(Need::File("/proc/keys"))
            .run(|t| {
                let without = Without { list: "keyctl".into(), errno: "EPERM".into() };
                without.begin().map_err(Stop::Failed)?;
                t.write_config()?;
                let (log, bundle, id) = (t.path("log"), t.bundle().display().to_string(), t.id.clone());
                let command = t.command(&["--log", &log, "create", "--bundle", &bundle, &id]);
                t.execute_with(command, &t.container_streams())?.succeeded()?;
                let text = fs::read_to_string(&log)?;
                ensure!(text.contains("level=warn") && text.contains("keyring"), "log: {text:?}");
                Ok(())
            }),
        case("cli/log-format-unknown")
            .runc("an unknown log format is refused")
            .run(|t| t.call(&["--log-format", "xml", "list"])?.refused().map(drop)),
        case("cli/log-in-missing-directory")
            .security("N02", "a log that cannot be opened is refused")
            .run(|t| t.call(&["--log", "/no/such/directory/log", "list"])?.refused().map(drop)),
    ]
}
