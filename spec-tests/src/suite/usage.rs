//! Wrong command lines, and output that goes nowhere.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::case::{Case, case};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, words) in [
        ("unknown-command", &["frobnicate"] as &[&str]),
        ("unknown-option", &["--no-such-option", "list"]),
        ("unknown-option-of-create", &["create", "--no-such-option", "x"]),
        ("too-many-arguments", &["state", "one", "two"]),
        ("too-many-arguments-of-create", &["create", "one", "two"]),
        ("option-without-value", &["create", "--bundle"]),
        ("restore-option-without-value", &["restore", "--lsm-mount-context"]),
        ("start-too-many", &["start", "one", "two"]),
        ("exec-without-program", &["exec", "one"]),
    ] {
        cases.push(
            case(format!("cli/usage-{name}"))
                .security("N02", "a wrong command line is refused with a message")
                .run(move |t| {
                    let answer = t.call(words)?;
                    ensure!(answer.code != 0, "{answer}, but it should fail");
                    ensure!(
                        !answer.stderr.trim().is_empty() || !answer.stdout.trim().is_empty(),
                        "{answer}: no message"
                    );
                    Ok(())
                }),
        );
    }
    for (name, root) in [("a-file", "/etc/passwd"), ("on-procfs", "/proc/root")] {
        cases.push(
            case(format!("cli/root-is-{name}")).security("N02", "an impossible --root is refused").run(
                move |t| {
                    t.write_config()?;
                    let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                    let mut command = Command::new(&t.program);
                    command.args(["--root", root, "create", "--bundle", &bundle, &id]);
                    t.execute_with(command, &t.container_streams())?.refused()?;
                    t.nothing_left("after the refusal")
                },
            ),
        );
    }
    for (name, bundle) in [("missing", "/no/such/bundle"), ("a-file", "/etc/passwd"), ("empty", "")] {
        cases.push(
            case(format!("cli/bundle-{name}")).security("N02", "an impossible --bundle is refused").run(
                move |t| {
                    let id = t.id.clone();
                    let command = t.command(&["create", "--bundle", bundle, &id]);
                    t.execute_with(command, &t.container_streams())?.refused()?;
                    t.nothing_left("after the refusal")
                },
            ),
        );
    }
    for (name, words) in
        [("no-words", &[] as &[&str]), ("help", &["help"]), ("help-of-a-command", &["help", "state"])]
    {
        cases.push(
            case(format!("cli/help-{name}")).runc("help is printed to stdout, and that is a success").run(
                move |t| {
                    let mut command = Command::new(&t.program);
                    command.args(words);
                    let answer = t.execute(command)?.silent()?;
                    ensure!(answer.stdout.contains("state"), "stdout: {:?}", answer.stdout);
                    Ok(())
                },
            ),
        );
    }
    cases.push(case("cli/one-dash").runc("one dash before a long flag is enough, as for Go's parsers").run(
        |t| {
            t.probe(&["stat:/"]).write_config()?;
            let (bundle, root, id) = (t.bundle(), t.runtime_root(), t.id.clone());
            let mut command = Command::new(&t.program);
            command
                .arg("-root")
                .arg(root)
                .args(["-log-format=json", "run", "-no-subreaper", "-bundle"])
                .arg(bundle);
            command.args(["-d=true", &id]);
            t.execute_with(command, &t.container_streams())?.succeeded()?;
            t.call(&["delete", "-force", &id])?.silent().map(drop)
        },
    ));
    for words in [&["list", "--format", "json"] as &[&str], &["features"], &["state"]] {
        cases.push(
            case(format!("cli/full-device-{}", words[0]))
                .security("N02b", "output that cannot be written is an error")
                .run(move |t| {
                    t.create()?;
                    let id = t.id.clone();
                    let mut all = words.to_vec();
                    if words[0] == "state" {
                        all.push(&id);
                    }
                    let status = t
                        .command(&all)
                        .stdout(Stdio::from(File::options().write(true).open("/dev/full")?))
                        .stderr(Stdio::null())
                        .status()?;
                    ensure!(!status.success(), "{all:?} succeeded although stdout is full");
                    Ok(())
                }),
        );
    }
    cases
}
