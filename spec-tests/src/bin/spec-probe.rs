//! Runs as `process.args` inside a container, or as a hook, and tells what it sees there.

use std::process::ExitCode;

fn main() -> ExitCode {
    spec_tests::probe::run(std::env::args_os().skip(1))
}
