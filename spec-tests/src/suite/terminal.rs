//! config.md: process.terminal and process.consoleSize; runc's console socket.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use serde_json::{Value, json};

use crate::call::Answer;
use crate::case::{Case, case};
use crate::sockets;
use crate::trial::{Trial, did, is};
use crate::verdict::{Verdict, equal, failed};

const TERMINAL: &str = "As an example, if set to true on Linux a pseudoterminal pair is allocated for the \
    process and the pseudoterminal pty is duplicated on the process's standard streams.";
const CONSOLE: &str = "`/dev/console` is set up if `terminal` is enabled in the config by bind mounting the \
    pseudoterminal pty to `/dev/console`.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [spec(), socket()].into_iter().flatten().collect()
}

fn spec() -> Vec<Case> {
    vec![
        case("terminal/streams").spec(TERMINAL).run(|t| {
            let facts = on_terminal(t, &["stat:/"])?;
            let streams = facts["terminal"].as_array().cloned().unwrap_or_default();
            ensure!(streams.iter().all(|size| !size.is_null()), "the streams are no terminals: {streams:?}");
            let target = facts["descriptors"]["0"].as_str().unwrap_or_default();
            ensure!(target.starts_with("/dev/pts/") || target == "/dev/console", "stdin is {target}");
            Ok(())
        }),
        case("terminal/not-set")
            .spec(
                "**`terminal`** (bool, OPTIONAL) specifies whether a terminal is attached to the \
                 process, defaults to false.",
            )
            .run(|t| is(&t.remove("/process/terminal").facts()?, "/terminal", json!([null, null, null]))),
        case("terminal/console-size")
            .spec(
                "**`consoleSize`** (object, OPTIONAL) specifies the console size in characters of the \
                 terminal.",
            )
            .run(|t| {
                t.set("/process/consoleSize", json!({ "height": 12, "width": 34 }));
                is(&on_terminal(t, &["stat:/"])?, "/terminal/0", json!([12, 34]))
            }),
        case("terminal/console-size-without-terminal")
            .spec("Runtimes MUST ignore `consoleSize` if `terminal` is `false` or unset.")
            .run(|t| t.set("/process/consoleSize", json!({ "height": 12, "width": 34 })).facts().map(drop)),
        case("terminal/dev-console").spec(CONSOLE).run(|t| {
            let facts = on_terminal(t, &["stat:/dev/console", "stat:/dev/pts/0", "open:/dev/console:rw"])?;
            let (console, pty) = (did(&facts, "stat:/dev/console"), did(&facts, "stat:/dev/pts/0"));
            equal("type of /dev/console", console["type"].as_str(), Some("char"))?;
            equal("inode of /dev/console", &console["inode"], &pty["inode"])?;
            equal("open", did(&facts, "open:/dev/console:rw"), &json!("ok"))
        }),
        case("terminal/no-dev-console").spec(CONSOLE).run(|t| {
            is(&t.facts_of(&["stat:/dev/console"])?, "/did", json!({ "stat:/dev/console": "ENOENT" }))
        }),
        case("terminal/controlling").runc("the terminal is the controlling one: /dev/tty opens").run(|t| {
            let facts = on_terminal(t, &["open:/dev/tty:rw"])?;
            equal("open", did(&facts, "open:/dev/tty:rw"), &json!("ok"))
        }),
        case("terminal/owner").runc("the terminal belongs to the container's user").run(|t| {
            t.set("/process/user/uid", 1000);
            let facts = on_terminal(t, &["stat:/dev/pts/0"])?;
            equal("owner", did(&facts, "stat:/dev/pts/0")["uid"].as_u64(), Some(1000))
        }),
    ]
}

fn socket() -> Vec<Case> {
    vec![
        case("terminal/socket-message")
            .runc("the console socket gets one descriptor, the master, and a name of 1 to 4096 bytes")
            .run(|t| {
                let (answer, message) = create(t)?;
                answer.succeeded()?;
                equal("descriptors", message.descriptors.len(), 1)?;
                ensure!(
                    (1..=4096).contains(&message.payload.len()),
                    "payload of {} bytes",
                    message.payload.len()
                );
                let size = crate::sys::window_size(message.descriptors[0].as_raw_fd());
                ensure!(size.is_some(), "the descriptor is no terminal");
                Ok(())
            }),
        case("terminal/without-socket")
            .runc("create with a terminal and without a socket is refused")
            .run(|t| t.set("/process/terminal", true).refused().map(drop)),
        case("terminal/socket-without-terminal")
            .runc("create with a socket and without a terminal is refused")
            .run(|t| {
                t.write_config()?;
                let (bundle, socket, id) =
                    (t.bundle().display().to_string(), t.path("console"), t.id.clone());
                let _listener = sockets::listen(socket.as_ref())?;
                t.call(&["create", "--bundle", &bundle, "--console-socket", &socket, &id])?.refused()?;
                t.nothing_left("after the refusal")
            }),
        case("terminal/socket-missing").runc("a console socket that is not there is refused").run(|t| {
            t.set("/process/terminal", true).write_config()?;
            let (bundle, socket, id) = (t.bundle().display().to_string(), t.path("console"), t.id.clone());
            t.call(&["create", "--bundle", &bundle, "--console-socket", &socket, &id])?.refused()?;
            t.nothing_left("after the refusal")
        }),
        case("terminal/output-arrives").runc("what the program writes arrives at the master").run(|t| {
            let facts = on_terminal(t, &["unknown"])?;
            is(&facts, "/argv/1", "unknown")
        }),
    ]
}

fn create(t: &mut Trial) -> Verdict<(Answer, sockets::Message)> {
    t.set("/process/terminal", true).write_config()?;
    // A short path: the address of a socket has 108 bytes.
    let socket = format!("/tmp/spec-tests-{}.sock", std::process::id());
    let listener = sockets::listen(socket.as_ref())?;
    let receiver = std::thread::spawn(move || sockets::receive(&listener));
    let (bundle, pid_file, id) = (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
    let command = t.command(&[
        "create",
        "--bundle",
        &bundle,
        "--pid-file",
        &pid_file,
        "--console-socket",
        &socket,
        &id,
    ]);
    let answer = t.execute_with(command, &t.container_streams());
    let received = receiver.join();
    std::fs::remove_file(&socket)?;
    match (answer?, received) {
        (answer, Ok(Ok(message))) => Ok((answer, message)),
        (answer, _) => failed(format!("nothing came over the console socket; {answer}")),
    }
}

/// Run the probe on a terminal; what it told is read from the master.
fn on_terminal(t: &mut Trial, arguments: &[&str]) -> Verdict<Value> {
    t.probe(arguments);
    let (answer, mut message) = create(t)?;
    answer.succeeded()?;
    let Some(master) = message.descriptors.pop() else { return failed("no descriptor") };
    t.start()?;
    let reader = std::thread::spawn(move || read_all(master));
    t.wait()?;
    let text = reader.join().unwrap_or_default();
    match serde_json::from_str(text.trim()) {
        Ok(facts) => Ok(facts),
        Err(error) => failed(format!("the probe did not speak ({error}): {text:?}")),
    }
}

/// A master reports EIO when the last slave is closed.
fn read_all(master: OwnedFd) -> String {
    let (mut file, mut bytes, mut buffer) = (File::from(master), Vec::new(), [0_u8; 4096]);
    while let Ok(count @ 1..) = file.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
