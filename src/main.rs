//! argv in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    crust::commands::main(std::env::args_os())
}
