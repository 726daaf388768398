//! Any words as a command line: parsed, or refused; what follows the id of `exec` is never changed.
#![no_main]

use std::ffi::OsString;

use clap::Parser as _;
use crust::cli::{self, Cli, Command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let words: Vec<OsString> = std::iter::once("crust").chain(text.split('\n')).map(OsString::from).collect();
    let normal = cli::normalize(words.clone().into_iter());
    let Ok(cli) = Cli::try_parse_from(normal) else { return };
    if let Some(Command::Exec(exec)) = cli.command {
        let tail: Vec<String> = exec.args;
        let given: Vec<&str> = text.split('\n').collect();
        assert!(
            given.ends_with(&tail.iter().map(String::as_str).collect::<Vec<_>>()),
            "{text:?} became {tail:?}"
        );
    }
});
