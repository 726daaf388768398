//! Run a command without some system calls: see `without.rs`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use spec_tests::without::Without;

const USAGE: &str = "usage: without-calls LIST ENOSYS|EPERM COMMAND [ARGUMENT…]
LIST: names of system calls and of groups of them (mount-api, pidfd, all), with commas between";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let mut text = || words.next().and_then(|word| word.into_string().ok());
    let (Some(list), Some(errno), Some(program)) = (text(), text(), text()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Err(message) = (Without { list, errno }).begin() {
        eprintln!("without-calls: {message}");
        return ExitCode::from(2);
    }
    let error = Command::new(&program).args(words).exec();
    eprintln!("without-calls: {program}: {error}");
    ExitCode::from(127)
}
