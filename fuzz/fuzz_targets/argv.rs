//! Any words as a command line: parsed, or refused; what follows the id of `exec` is never changed, and what is read
//! without clap is read as clap reads it.
#![no_main]

use std::ffi::OsString;

use clap::Parser as _;
use crust::cli::{self, Cli, Command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let words: Vec<OsString> = std::iter::once("crust").chain(text.split('\n')).map(OsString::from).collect();
    let normal = cli::normalize(words.clone().into_iter());
    let plain = cli::read_plain(&normal);
    let by_clap = Cli::try_parse_from(normal);
    if let Some(plain) = plain {
        assert_eq!(Some(&plain), by_clap.as_ref().ok(), "{text:?}");
    }
    let Ok(cli) = by_clap else { return };
    if let Some(Command::Exec(exec)) = cli.command {
        let tail: Vec<String> = exec.args;
        let given: Vec<&str> = text.split('\n').collect();
        assert!(
            given.ends_with(&tail.iter().map(String::as_str).collect::<Vec<_>>()),
            "{text:?} became {tail:?}"
        );
    }
});
