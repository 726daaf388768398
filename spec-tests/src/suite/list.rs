//! runc's list and ps.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::case::{Case, case};
use crate::verdict::equal;

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("cli/list-table").runc("list prints a table with ID, PID, STATUS, BUNDLE, CREATED, OWNER").run(
            |t| {
                t.create()?;
                let answer = t.call(&["list"])?.succeeded()?;
                let head: Vec<&str> =
                    answer.stdout.lines().next().unwrap_or_default().split_whitespace().collect();
                equal("head", head, vec!["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"])?;
                ensure!(
                    answer.stdout.contains(&t.id) && answer.stdout.contains("created"),
                    "no row: {}",
                    answer.stdout
                );
                Ok(())
            },
        ),
        case("cli/list-json").runc("list --format json prints an array of states").run(|t| {
            t.create()?;
            let answer = t.call(&["list", "--format", "json"])?.succeeded()?;
            let list: Value = serde_json::from_str(&answer.stdout)?;
            equal("id", list[0]["id"].as_str(), Some(t.id.as_str()))?;
            for key in ["ociVersion", "pid", "status", "bundle", "rootfs", "created", "owner"] {
                ensure!(!list[0][key].is_null(), "{key} is missing: {list}");
            }
            Ok(())
        }),
        case("cli/list-json-empty").runc("list --format json of nothing prints null").run(|t| {
            equal("list", t.call(&["list", "--format", "json"])?.succeeded()?.stdout.trim(), "null")
        }),
        case("cli/list-quiet").runc("list --quiet prints the ids only").run(|t| {
            t.create()?;
            equal("list", t.call(&["list", "--quiet"])?.succeeded()?.stdout, format!("{}\n", t.id))
        }),
        case("cli/list-root-missing")
            .runc("list with a --root that is not there is an error (since 1.2)")
            .run(|t| {
                let mut command = Command::new(&t.program);
                command.args(["--root", &t.path("no-such-root"), "list"]);
                t.execute(command)?.refused().map(drop)
            }),
        case("cli/list-skips-the-broken").runc("list skips what is no container").run(|t| {
            t.create()?;
            fs::create_dir(t.runtime_root().join("no-container"))?;
            equal("list", t.call(&["list", "--quiet"])?.succeeded()?.stdout, format!("{}\n", t.id))
        }),
        case("cli/ps-json").runc("ps --format json prints the pids on the host").run(|t| {
            t.running(&["background:/spec-probe"])?;
            let id = t.id.clone();
            let answer = t.call(&["ps", "--format", "json", &id])?.succeeded()?;
            let pids: Vec<i32> = serde_json::from_str(&answer.stdout)?;
            ensure!(pids.len() == 2 && pids.contains(&t.pid()?), "pids: {pids:?}");
            Ok(())
        }),
        case("cli/ps-table").runc("ps prints the rows of ps(1)").run(|t| {
            t.running(&["stat:/"])?;
            let answer = t.verb("ps")?.succeeded()?;
            ensure!(
                answer.stdout.contains("PID") && answer.stdout.contains(&t.pid()?.to_string()),
                "{}",
                answer.stdout
            );
            Ok(())
        }),
    ]
}
