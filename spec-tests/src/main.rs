//! The runner: see README.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    match spec_tests::runner::run(std::env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("spec-tests: {message}");
            ExitCode::from(2)
        }
    }
}
