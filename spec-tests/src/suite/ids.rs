//! Container ids: what is one, and what must never become a path.

use std::fs;

use crate::case::{Case, case};
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

const VALID: &str = "If the ID provided is not unique across all containers within the scope of the runtime, \
    or is not valid in any other way, the implementation MUST generate an error and a new container MUST \
    NOT be created.";

/// Case of the security plan, name, id.
const BAD: &[(&str, &str, &str)] = &[
    ("B01", "climbs", "../victim"),
    ("B02", "slash", "x/y"),
    ("B03", "empty", ""),
    ("B04", "dot", "."),
    ("B05", "dot-dot", ".."),
    ("B06", "newline", "a\nb"),
    ("B07", "umlaut", "é"),
    ("B08", "space", "a b"),
    ("B14", "semicolon", "a;id"),
    ("B15", "percent", "a%2fb"),
    ("B17", "control-character", "a\u{1}b"),
    ("B08", "only-a-space", " "),
    ("B01", "absolute", "/tmp/x"),
];

const COMMANDS: &[&str] =
    &["create", "state", "start", "kill", "delete", "delete --force", "pause", "resume", "exec"];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for &(plan, name, id) in BAD {
        for command in ["create", "state", "delete --force"] {
            cases.push(bad(plan, name, id, command));
        }
    }
    for command in COMMANDS {
        cases.push(victim(command));
    }
    for (plan, name, length) in
        [("B18", "4097-characters", 4097), ("B10", "256-characters", 256), ("B09", "1024-characters", 1024)]
    {
        cases.push(
            case(format!("ids/{name}"))
                .security(plan, "an id that is too long for a file name is refused")
                .run(move |t| {
                    let id = "a".repeat(length);
                    create(t, &id)?.refused().map(drop)
                }),
        );
    }
    for (plan, name, id) in [
        ("B19", "plus", "a+b+"),
        ("B16", "underscore-first", "_a"),
        ("B20", "200-characters", "long"),
        ("B19", "all-letters", "aZ0_.-+"),
    ] {
        cases.push(good(plan, name, id));
    }
    cases.push(
        case("ids/option-as-id")
            .security("B12", "`-x` is no id")
            .run(|t| create(t, "-x")?.refused().map(drop)),
    );
    cases.push(case("ids/same-id-in-another-root").runc("ids are unique within one --root only").run(|t| {
        t.create()?;
        let (other, bundle, id) = (t.path("other-root"), t.bundle().display().to_string(), t.id.clone());
        t.set("/linux/cgroupsPath", format!("/{}/{id}-second", crate::cgroup::PREFIX)).write_config()?;
        let mut command = std::process::Command::new(&t.program);
        command.args(["--root", &other, "create", "--bundle", &bundle, &id]);
        t.execute_with(command, &t.container_streams())?.succeeded()?;
        let mut command = std::process::Command::new(&t.program);
        command.args(["--root", &other, "delete", "--force", &id]);
        t.execute(command)?.succeeded()?;
        equal("status of the first", t.status()?, "created")
    }));
    cases
}

fn create(t: &mut Trial, id: &str) -> Verdict<crate::call::Answer> {
    t.write_config()?;
    let bundle = t.bundle().display().to_string();
    let command = t.command(&["create", "--bundle", &bundle, id]);
    t.execute_with(command, &t.container_streams())
}

fn bad(plan: &'static str, name: &str, id: &'static str, command: &'static str) -> Case {
    let title = format!("ids/{}-{name}", command.replace(" --", "-"));
    case(title).security(plan, VALID).run(move |t| {
        let before = names(t)?;
        let answer = if command == "create" {
            create(t, id)?
        } else {
            let words: Vec<&str> = command.split(' ').chain([id]).collect();
            t.call(&words)?
        };
        answer.refused()?;
        equal("directories of the case", names(t)?, before)
    })
}

/// The directories that a bad id could hit.
fn names(t: &Trial) -> Verdict<Vec<String>> {
    let mut names = Vec::new();
    for directory in [t.work.clone(), t.runtime_root()] {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.path().display().to_string());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// `../victim` is a real directory beside the runtime root.
fn victim(command: &'static str) -> Case {
    case(format!("ids/victim-of-{}", command.replace(" --", "-")))
        .security(
            "B01",
            "an id that climbs to a real directory is refused by every command, and the directory \
             is untouched",
        )
        .run(move |t| {
            fs::create_dir(t.work.join("victim"))?;
            fs::write(t.work.join("victim/state.json"), "{}")?;
            fs::write(t.work.join("victim/file"), "mine")?;
            let answer = if command == "create" {
                create(t, "../victim")?
            } else {
                let words: Vec<&str> = command
                    .split(' ')
                    .chain(["../victim"])
                    .chain((command == "exec").then_some("true"))
                    .collect();
                t.call(&words)?
            };
            answer.refused()?;
            equal("file of the victim", fs::read_to_string(t.work.join("victim/file"))?.as_str(), "mine")
        })
}

fn good(plan: &'static str, name: &str, id: &'static str) -> Case {
    case(format!("ids/accepted-{name}")).security(plan, "a valid id lives a whole life").run(move |t| {
        let id = if id == "long" { "l".repeat(200) } else { id.to_owned() };
        create(t, &id)?.succeeded()?;
        t.call(&["start", &id])?.succeeded()?;
        t.call(&["state", &id])?.succeeded()?;
        t.call(&["delete", "--force", &id])?.succeeded()?;
        ensure!(!t.runtime_root().join(&id).exists(), "the state directory is left");
        Ok(())
    })
}
