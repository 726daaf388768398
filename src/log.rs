//! `--log`, `--log-format`, `--debug`: where lines go, and how they look (features.md 1.4).
//!
//! Callers read the last error of the file, or unmarshal the whole file as one object: on failure there is exactly one
//! error line, written by `main`. Everybody else writes debug lines and warnings only.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// The command goes on.
    Warning,
    /// The command has failed.
    Error,
}

struct Log {
    format: Format,
    file: Option<std::fs::File>,
}

static LOG: OnceLock<Log> = OnceLock::new();
static DEBUG: AtomicBool = AtomicBool::new(false);

/// Begin logging. `file` was opened with `O_APPEND`; without one, lines go to standard error.
pub fn open(file: Option<OwnedFd>, format: Format, debug: bool) {
    DEBUG.store(debug, Ordering::Relaxed);
    let _already_open = LOG.set(Log { format, file: file.map(Into::into) });
}

/// The descriptor of the log file, which init keeps for its debug lines.
pub fn descriptor() -> Option<i32> {
    use std::os::fd::AsRawFd;
    debugging().then(|| LOG.get()?.file.as_ref().map(AsRawFd::as_raw_fd)).flatten()
}

/// Whether `--debug` was given.
pub fn debugging() -> bool {
    DEBUG.load(Ordering::Relaxed)
}

/// A line for `--debug`.
pub fn debug(text: &str) {
    if debugging() {
        line(Level::Debug, text);
    }
}

/// Warnings that wait until it is known that no error follows.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Something the user should know of, while the command goes on. It is kept until the command has succeeded: in front of
/// an error it would spoil the file for callers that unmarshal it as one object.
pub fn warn(text: &str) {
    if let Ok(mut warnings) = WARNINGS.lock() {
        warnings.push(text.to_owned());
    }
}

/// The warnings so far, which are kept no more: a child hands its own to the parent, and has none of its birth.
pub fn take_warnings() -> Vec<String> {
    WARNINGS.lock().map(|mut warnings| std::mem::take(&mut *warnings)).unwrap_or_default()
}

/// The command has succeeded: write what was kept, to the log file, or to a terminal that a person looks at. Callers want
/// a standard error that is theirs to be silent.
pub fn write_warnings() {
    let warnings = take_warnings();
    let to_file = || LOG.get().is_some_and(|log| log.file.is_some());
    let to_person = || debugging() || std::io::IsTerminal::is_terminal(&std::io::stderr());
    if !warnings.is_empty() && (to_file() || to_person()) {
        warnings.iter().for_each(|text| line(Level::Warning, text));
    }
}

/// The failure of the command: to the log file in its format, and to standard error as plain text. Without a log file
/// the line on standard error has the format that was asked for.
pub fn error(text: &str) {
    let plain = crate::error::printable(text);
    match LOG.get().map(|log| log.format) {
        Some(Format::Json) => line(Level::Error, &plain),
        // Escapes by itself.
        Some(Format::Text) | None => line(Level::Error, text),
    }
    if LOG.get().is_some_and(|log| log.file.is_some()) {
        let _nobody_listens = writeln!(std::io::stderr(), "{plain}");
    }
}

fn line(level: Level, text: &str) {
    let format = LOG.get().map_or(Format::Text, |log| log.format);
    let line = formatted(format, level, text, &crate::time::rfc3339_now());
    let _nowhere_to_report = match LOG.get().and_then(|log| log.file.as_ref()) {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}

/// One line with its newline, written in one call so that lines of several processes do not mix.
fn formatted(format: Format, level: Level, text: &str, time: &str) -> String {
    let name = match level {
        Level::Debug => "debug",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    match format {
        Format::Text => format!("time={time:?} level={name} msg={text:?}\n"),
        Format::Json => format!("{}\n", serde_json::json!({ "level": name, "msg": text, "time": time })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_containerd_decodes() {
        let line = formatted(Format::Json, Level::Error, "a \"b\"\n", "2026-01-02T03:04:05Z");
        assert_eq!(
            line,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\",\"time\":\"2026-01-02T03:04:05Z\"}\n"
        );
    }

    #[test]
    fn text_is_one_line() {
        let line = formatted(Format::Text, Level::Warning, "a\nb", "t");
        assert_eq!(line, "time=\"t\" level=warning msg=\"a\\nb\"\n");
    }
}
