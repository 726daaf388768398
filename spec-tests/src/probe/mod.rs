//! `spec-probe`: look around, try what the arguments ask for, print all of it as JSON.
//!
//! Each argument is `verb` or `verb:operand[:operand…]`. The answers stand in the object `did`, under the
//! argument itself. `hang`, `exit:N`, `raise:N` and `signals:PATH` come last: they act after the print.

mod attempts;
pub mod facts;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use serde_json::{Map, Value, json};

/// The whole program.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument.starts_with("signals:")) {
        crate::sys::block_signals();
    }
    let mut answer = facts::all();
    let mut did = Map::new();
    let mut ends = Vec::new();
    for argument in arguments {
        match argument.split_once(':').unwrap_or((&argument, "")).0 {
            "hang" | "exit" | "raise" | "save" | "signals" | "quiet" | "sleep" => ends.push(argument),
            _ => drop(did.insert(argument.clone(), attempts::attempt(&argument))),
        }
    }
    answer["did"] = Value::Object(did);
    finish(&answer, &ends)
}

fn finish(answer: &Value, ends: &[String]) -> ExitCode {
    if !ends.iter().any(|end| end == "quiet" || end.starts_with("save:")) {
        println!("{answer}");
        std::io::stdout().flush().ok();
    }
    for end in ends {
        let (verb, operand) = end.split_once(':').unwrap_or((end, ""));
        match verb {
            "save" => save(operand, answer),
            "exit" => return ExitCode::from(operand.parse::<u8>().unwrap_or(1)),
            "raise" => raise(operand),
            "signals" => record_signals(operand),
            "sleep" => std::thread::sleep(Duration::from_millis(operand.parse().unwrap_or(0))),
            "hang" => loop {
                nix::unistd::pause();
            },
            _ => {}
        }
    }
    ExitCode::SUCCESS
}

fn save(path: &str, answer: &Value) {
    if let Err(error) = fs::write(path, answer.to_string()) {
        eprintln!("spec-probe: {path}: {error}");
    }
}

fn raise(number: &str) {
    if let Some(signal) = number.parse().ok().and_then(|number: i32| Signal::try_from(number).ok()) {
        // The first SIGSEGV is caught by the standard library; the second is not.
        signal::raise(signal).and_then(|()| signal::raise(signal)).ok();
    }
}

/// Write the number of each signal to a file; a zero says that the probe is listening.
fn record_signals(path: &str) {
    attempts::append(path, "0").ok();
    loop {
        attempts::append(path, &crate::sys::wait_for_signal().to_string()).ok();
    }
}

/// An answer that is only a word.
fn word(text: impl Into<String>) -> Value {
    json!(text.into())
}
