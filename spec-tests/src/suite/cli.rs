//! The command line of runc, as its callers use it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::until;
use crate::verdict::equal;

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [pid_file(), other_commands()].into_iter().flatten().collect()
}

fn pid_file() -> Vec<Case> {
    vec![
        case("cli/pid-file-has-no-newline").runc("the pid file is the decimal pid, without a newline").run(
            |t| {
                t.create()?;
                let text = fs::read_to_string(t.work.join("pid"))?;
                ensure!(text.bytes().all(|byte| byte.is_ascii_digit()), "pid file: {text:?}");
                equal("pid", t.state()?["pid"].as_i64(), text.parse().ok())
            },
        ),
        case("cli/pid-file-in-missing-directory")
            .runc("a pid file that cannot be written makes create fail, clean")
            .run(|t| {
                t.write_config()?;
                let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                let command =
                    t.command(&["create", "--bundle", &bundle, "--pid-file", "/no/such/directory/pid", &id]);
                t.execute_with(command, &t.container_streams())?.refused()?;
                t.nothing_left("after the refusal")
            }),
        case("cli/bundle-is-the-current-directory")
            .runc("without --bundle the bundle is the current directory")
            .run(|t| {
                t.write_config()?;
                let id = t.id.clone();
                let mut command = t.command(&["create", &id]);
                command.current_dir(t.bundle());
                t.execute_with(command, &t.container_streams())?.succeeded().map(drop)
            }),
        case("cli/options-with-equals").runc("`--option=value` works as `--option value` does").run(|t| {
            t.write_config()?;
            let (bundle, pid_file, id) = (
                format!("--bundle={}", t.bundle().display()),
                format!("--pid-file={}", t.path("pid")),
                t.id.clone(),
            );
            let mut command = Command::new(&t.program);
            command
                .arg(format!("--root={}", t.runtime_root().display()))
                .args(["create", &bundle, &pid_file, &id]);
            t.execute_with(command, &t.container_streams())?.succeeded()?;
            t.pid().map(drop)
        }),
        case("cli/silent-create")
            .runc("create and start write nothing on success: their streams are the container's")
            .run(|t| {
                let answer = t.probe(&["quiet"]).try_create()?.silent()?;
                equal("stdout", answer.stdout.as_str(), "")?;
                t.verb("start")?.silent().map(drop)
            }),
        case("cli/without-path-and-home")
            .runc("kill, state and delete work without PATH and HOME (podman calls them so)")
            .run(|t| {
                t.running(&["stat:/"])?;
                for words in [vec!["state"], vec!["kill", "KILL"], vec!["delete", "--force"]] {
                    let id = t.id.clone();
                    let mut arguments = vec![words[0]];
                    arguments.extend(words[1..].iter().filter(|word| word.starts_with('-')));
                    arguments.push(&id);
                    arguments.extend(words[1..].iter().filter(|word| !word.starts_with('-')));
                    let mut command = t.command(&arguments);
                    command.env_clear().env("XDG_RUNTIME_DIR", "");
                    t.execute(command)?.succeeded()?;
                }
                Ok(())
            }),
    ]
}

fn other_commands() -> Vec<Case> {
    vec![
        case("cli/version")
            .runc(
                "--version: `runc version X` (or the like), then `commit:`, then `spec:`; one line \
                 with `version`",
            )
            .run(|t| {
                let answer = t.call(&["--version"])?.silent()?;
                let lines: Vec<&str> = answer.stdout.lines().collect();
                let first: Vec<&str> = lines.first().copied().unwrap_or_default().split(' ').collect();
                ensure!(first.len() >= 3 && first[1] == "version", "first line: {first:?}");
                ensure!(
                    lines.iter().filter(|line| line.contains("version")).count() == 1,
                    "lines: {lines:?}"
                );
                ensure!(lines.iter().any(|line| line.starts_with("spec: 1.")), "lines: {lines:?}");
                ensure!(lines.iter().any(|line| line.starts_with("commit: ")), "lines: {lines:?}");
                Ok(())
            }),
        case("cli/version-short").runc("-v is --version").run(|t| {
            equal("stdout", t.call(&["-v"])?.succeeded()?.stdout, t.call(&["--version"])?.succeeded()?.stdout)
        }),
        case("cli/help").runc("--help succeeds").run(|t| t.call(&["--help"])?.succeeded().map(drop)),
        case("cli/checkpoint-help")
            .runc("checkpoint --help succeeds without any root (podman probes it)")
            .run(|t| {
                let mut command = Command::new(&t.program);
                command.args(["checkpoint", "--help"]);
                t.execute(command)?.succeeded().map(drop)
            }),
        case("cli/spec").runc("spec writes a config.json that runs with the image's sh").run(|t| {
            let bundle = t.bundle().display().to_string();
            t.call(&["spec", "--bundle", &bundle])?.succeeded()?;
            let mut config: Value =
                serde_json::from_str(&fs::read_to_string(t.bundle().join("config.json"))?)?;
            equal("args", &config["process"]["args"], &json!(["sh"]))?;
            equal("terminal", &config["process"]["terminal"], &json!(true))?;
            config["process"]["args"] = json!(["/spec-probe"]);
            config["process"]["terminal"] = json!(false);
            config["linux"]["cgroupsPath"] = t.config["linux"]["cgroupsPath"].clone();
            t.config = config;
            t.facts().map(drop)
        }),
        case("cli/spec-does-not-overwrite").runc("spec refuses to overwrite config.json").run(|t| {
            fs::write(t.bundle().join("config.json"), "mine")?;
            let bundle = t.bundle().display().to_string();
            t.call(&["spec", "--bundle", &bundle])?.refused()?;
            equal("config.json", fs::read_to_string(t.bundle().join("config.json"))?.as_str(), "mine")
        }),
        case("cli/spec-rootless").runc("spec --rootless has a user namespace with mappings").run(|t| {
            let bundle = t.bundle().display().to_string();
            t.call(&["spec", "--rootless", "--bundle", &bundle])?.succeeded()?;
            let config: Value = serde_json::from_str(&fs::read_to_string(t.bundle().join("config.json"))?)?;
            ensure!(
                config["linux"]["uidMappings"][0]["size"] == 1,
                "uidMappings: {}",
                config["linux"]["uidMappings"]
            );
            Ok(())
        }),
        case("cli/run-terminal-lines").runc("on a terminal of run, lines end as the program ends them").run(
            |t| {
                t.set("/process/terminal", true).write_config()?;
                let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                let answer = t.call(&["run", "--bundle", &bundle, &id])?.succeeded()?;
                ensure!(answer.stdout.ends_with("}\n"), "stdout: {:?}", answer.stdout);
                Ok(())
            },
        ),
        case("cli/run-no-pivot").runc("--no-pivot: the container has its own proc, and not the host's").run(
            |t| {
                t.write_config()?;
                let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                let command = t.command(&["run", "--no-pivot", "--bundle", &bundle, &id]);
                let streams = t.container_streams();
                t.execute_with(command, &streams)?.succeeded()?;
                let facts = t.told()?;
                super::mount_options::mount_of(&facts, "/proc").map(drop)
            },
        ),
        case("cli/run-keep").runc("run --keep leaves the stopped container (buildkit calls it so)").run(
            |t| {
                t.probe(&["quiet"]).write_config()?;
                let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                t.call(&["run", "--keep", "--bundle", &bundle, &id])?.succeeded()?;
                equal("status", t.status()?, "stopped")?;
                t.verb("delete")?.succeeded().map(drop)
            },
        ),
        case("cli/run-detached").runc("run --detach returns when the program runs").run(|t| {
            t.probe(&["hang"]).write_config()?;
            let (bundle, pid_file, id) = (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
            let command = t.command(&["run", "--detach", "--bundle", &bundle, "--pid-file", &pid_file, &id]);
            t.execute_with(command, &t.container_streams())?.succeeded()?;
            equal("status", t.status()?, "running")?;
            until("the program to speak", || t.stdout().ends_with('\n'))
        }),
        case("cli/run-cleans-up").runc("run deletes the container at its end").run(|t| {
            t.write_config()?;
            let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
            let answer = t.call(&["run", "--bundle", &bundle, &id])?.succeeded()?;
            ensure!(answer.stdout.contains("\"argv\""), "the program's output did not come through");
            t.nothing_left("after run")
        }),
        case("cli/pause-twice").runc("resume of a container that is not paused is refused").run(|t| {
            t.running(&["stat:/"])?;
            t.verb("resume")?.refused()?;
            t.verb("pause")?.succeeded()?;
            t.verb("resume")?.succeeded().map(drop)
        }),
        case("cli/events-stats").runc("events --stats prints one object of type stats").run(|t| {
            t.running(&["stat:/"])?;
            let id = t.id.clone();
            let answer = t.call(&["events", "--stats", &id])?.succeeded()?;
            let event: Value = serde_json::from_str(&answer.stdout)?;
            equal("type", event["type"].as_str(), Some("stats"))?;
            equal("id", event["id"].as_str(), Some(t.id.as_str()))?;
            ensure!(event["data"]["memory"]["usage"]["usage"].is_number(), "no memory usage: {event}");
            Ok(())
        }),
    ]
}
