//! One verb per file: load, check the status, act, print.

pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod inherit;
pub mod kill;
pub mod list;
pub mod pause;
pub mod ps;
pub mod resume;
pub mod run;
pub mod runtime_root;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;
pub mod version;

use std::ffi::OsString;
use std::io::Write;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command, Global, normalize};
use crate::error::{At, Error};
use crate::log;
use crate::own_binary;
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{signal, terminal};

/// The exit code of a command that did what was asked.
const SUCCESS: u8 = 0;
/// The exit code of one that did not.
const FAILURE: u8 = 1;

/// Parse, do, and say what went wrong: once, as the last line. The exit code.
pub fn main(argv: Vec<OsString>) -> u8 {
    // What Rust's own start would do, which does much more.
    terminal::open_standard();
    signal::ignore_broken_pipes();
    // Engines ask often. What is understood of a command line takes two thirds of the memory that this would touch.
    if matches!(&argv[..], [_, word] if word == "--version")
        && let Ok(()) = print(&version::text())
    {
        return SUCCESS;
    }
    // Before the command line is understood, so that this is not done twice. A word too many is no harm.
    let enters = |word: &OsString| ["create", "run", "exec"].iter().any(|verb| word == verb);
    let protected = if argv.iter().any(enters) { own_binary::protect(&argv) } else { Ok(()) };
    let words = normalize(argv.into_iter());
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(usage) => return say_usage(&usage, &words),
    };
    match dispatch(&cli, protected) {
        Ok(code) => {
            log::write_warnings();
            code
        }
        Err(error) => {
            // As a shell says it; of the other commands callers expect 1.
            let (prefix, code) = match cli.command {
                Some(Command::Run(_)) => ("", u8::try_from(error.exit_code()).unwrap_or(1)),
                Some(Command::Exec(_)) => ("exec failed: ", exec::FAILED),
                _ => ("", 1),
            };
            log::error(&format!("{prefix}{error}"));
            code
        }
    }
}

/// Help is asked for and goes to standard output; a wrong usage goes to standard error. Engines that have a log show what
/// stands there, and nothing else.
fn say_usage(usage: &clap::Error, words: &[OsString]) -> u8 {
    if let clap::error::ErrorKind::DisplayHelp = usage.kind() {
        let printed = usage.print().and_then(|()| std::io::stdout().flush());
        return if printed.is_ok() { SUCCESS } else { FAILURE };
    }
    let understood = Cli::command().ignore_errors(true).try_get_matches_from(words);
    match understood.and_then(|words| Global::from_arg_matches(&words)) {
        Ok(global) if global.log.is_some() && open_log(&global).is_ok() => log::error(&in_one_line(usage)),
        _ => {
            let _nobody_listens = usage.print();
        }
    }
    FAILURE
}

/// Without the hints that follow the message.
fn in_one_line(usage: &clap::Error) -> String {
    let text = usage.render().to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn dispatch(cli: &Cli, protected: Result<(), Error>) -> Result<u8, Error> {
    let global = &cli.global;
    if global.version {
        return print(&version::text()).map(|()| SUCCESS);
    }
    let Some(command) = &cli.command else {
        return print(&Cli::command().render_help().to_string()).map(|()| SUCCESS);
    };
    // A caller that ignores it would make every wait of ours fail. Who asks what the machine is hears of it there, and
    // some wait for nobody.
    if !matches!(command, Command::Create(_) | Command::Run(_) | Command::Exec(_) | Command::State(_)) {
        signal::wait_for_children().at("signals")?;
    }
    // Before anything is opened, so that none of our descriptors is taken for one of the caller's (CVE-2024-21626).
    let inherited = match command {
        Command::Create(create) => inherit::descriptors(create.new.preserve_fds)?,
        Command::Run(run) => inherit::descriptors(run.new.preserve_fds)?,
        Command::Exec(exec) => inherit::descriptors(exec.preserve_fds)?,
        _ => inherit::descriptors(0)?,
    };
    open_log(global)?;
    protected?;
    let done = |result: Result<(), Error>| result.map(|()| SUCCESS);
    match command {
        Command::Create(create) => done(create::run(global, create, inherited)),
        Command::Start(start) => done(start::run(global, &start.id)),
        Command::Run(run) => run::run(global, run, inherited),
        Command::Exec(exec) => exec::run(global, exec, inherited),
        Command::State(state) => done(state::run(global, &state.id)),
        Command::Kill(kill) => done(kill::run(global, kill)),
        Command::Delete(delete) => done(delete::run(global, delete)),
        Command::Pause(pause) => done(pause::run(global, &pause.id)),
        Command::Resume(resume) => done(resume::run(global, &resume.id)),
        Command::Update(update) => done(update::run(global, update)),
        Command::Events(events) => done(events::run(global, events)),
        Command::List(list) => done(list::run(global, list)),
        Command::Ps(ps) => ps::run(global, ps),
        Command::Features => done(features::run()),
        Command::Checkpoint(_) => Err(Error::message("checkpoint: not supported by this version of crust")),
        Command::Restore(_) => Err(Error::message("restore: not supported by this version of crust")),
        Command::Spec(spec) => done(spec::run(spec.bundle.as_deref(), spec.rootless)),
    }
}

fn open_log(global: &Global) -> Result<(), Error> {
    let format = match global.log_format.as_str() {
        "text" | "" => log::Format::Text,
        "json" => log::Format::Json,
        other => return Err(Error::message(format!("invalid log-format: {other:?}: it is text or json"))),
    };
    let opened = global.log.as_ref().filter(|path| !path.as_os_str().is_empty()).map(|path| {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOCTTY;
        file::open(file::here(), path, flags, Mode::from_bits_truncate(0o644)).at_file(path)
    });
    match opened {
        Some(Err(error)) => Err(error),
        Some(Ok(file)) => {
            log::open(Some(file), format, global.debug);
            Ok(())
        }
        None => {
            log::open(None, format, global.debug);
            Ok(())
        }
    }
}

/// Print to standard output; a full disk or a closed pipe is an error, not a panic.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Error::message(format!("standard output: {error}")))
}
