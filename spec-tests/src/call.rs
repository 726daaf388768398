//! One call of the runtime, and its answer.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::verdict::{Verdict, failed, skipped};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The command line, for diagnostics.
    pub line: String,
    /// The exit status, or 128 and the number of the signal.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Words that belong to a crash, not to a message.
const CRASHES: &[&str] =
    &["panicked at", "goroutine ", "SIGSEGV", "RUST_BACKTRACE", "stack backtrace", "core dumped"];

impl Answer {
    /// The call succeeded. A runtime that names what it does not support yet is not wrong, it is not there yet.
    pub fn succeeded(self) -> Verdict<Self> {
        if self.code != 0 && self.stderr.contains("not supported by this version of") {
            return skipped("the runtime says that it does not support this yet");
        }
        if self.code == 0 { Ok(self) } else { failed(format!("{self}, but it should succeed")) }
    }

    /// The call failed with a message, and without a crash.
    pub fn refused(self) -> Verdict<Self> {
        ensure!(self.code != 0, "{self}, but it should fail");
        ensure!(self.code < 128 || self.code == 255, "{self}: ended by a signal");
        ensure!(!self.stderr.trim().is_empty(), "{self}: says nothing on stderr");
        let crash = CRASHES.iter().find(|word| self.stderr.contains(**word));
        ensure!(crash.is_none(), "{self}: stderr looks like a crash ({crash:?})");
        Ok(self)
    }

    /// The call failed, and stderr contains one of these texts.
    pub fn refused_with(self, texts: &[&str]) -> Verdict<Self> {
        let answer = self.refused()?;
        ensure!(
            texts.iter().any(|text| answer.stderr.contains(text)),
            "{answer}: stderr should contain one of {texts:?}"
        );
        Ok(answer)
    }

    /// The call succeeded and wrote nothing at all.
    pub fn silent(self) -> Verdict<Self> {
        let answer = self.succeeded()?;
        ensure!(answer.stderr.is_empty(), "{answer}: stderr should be empty");
        Ok(answer)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut stderr: String = self.stderr.trim_end().chars().take(2000).collect();
        if stderr.is_empty() {
            "-".clone_into(&mut stderr);
        }
        write!(
            formatter,
            "`{}` exited {} after {} ms, stderr: {stderr}",
            self.line,
            self.code,
            self.took.as_millis()
        )
    }
}

/// Where the streams of a call go. Files, not pipes: a container inherits them and would keep a pipe open.
pub struct Streams {
    /// stdin; none is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// stdout.
    pub stdout: PathBuf,
    /// stderr.
    pub stderr: PathBuf,
}

/// Run a command to its end.
pub fn run(mut command: Command, streams: &Streams) -> io::Result<Answer> {
    let stdin = streams.stdin.as_ref().map(File::open).transpose()?;
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
    command.stdout(output_file(&streams.stdout)?).stderr(output_file(&streams.stderr)?);
    let line = line(&command);
    let begin = Instant::now();
    let status = command.status()?;
    Ok(Answer {
        line,
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: text(&streams.stdout),
        stderr: text(&streams.stderr),
        took: begin.elapsed(),
    })
}

/// The command and its arguments in one line.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(400)
        .collect()
}

fn output_file(path: &Path) -> io::Result<Stdio> {
    Ok(File::create(path)?.into())
}

/// The content of a file, lossy; empty if there is none.
pub fn text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
