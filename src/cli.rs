//! argv: runc's verbs, flags and words. No behaviour.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A low-level OCI container runtime, a drop-in for runc.
#[derive(Debug, Parser)]
#[command(
    name = "crust",
    disable_version_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What is for every command.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags for every command; they stand before the verb.
#[derive(Debug, Args)]
pub struct Global {
    /// Where the state of containers is kept [default: /run/crust, or $XDG_RUNTIME_DIR/crust for a user]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Write the log to a file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// What a line of the log looks like: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
    /// A line in the log for every system call that is made for the container
    #[arg(long)]
    pub debug: bool,
    /// Make the container's cgroup a scope of systemd
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Ignore what a user without privileges may not do with cgroups: auto, true or false
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub rootless: Rootless,
    /// Print the version
    #[arg(long, short = 'v')]
    pub version: bool,
}

/// `--rootless`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    /// As the caller's user id says.
    Auto,
    /// Yes.
    True,
    /// No.
    False,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container; `start` runs its program
    Create(Create),
    /// Run the program of a created container
    Start(OneContainer),
    /// Create a container and run its program
    Run(Run),
    /// Print the state of a container as JSON
    State(OneContainer),
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Delete a container and what was made for it
    Delete(Delete),
    /// Freeze all processes of a container
    Pause(OneContainer),
    /// Let the processes of a paused container go on
    Resume(OneContainer),
    /// List the containers of a runtime root
    List(List),
    /// Write a config.json to begin with
    Spec(Spec),
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct New {
    /// The bundle's directory [default: the current directory]
    #[arg(long, short, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// The unix socket that gets the master of the container's terminal
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// The unix socket that gets a pidfd of the container's first process
    #[arg(long, value_name = "PATH")]
    pub pidfd_socket: Option<PathBuf>,
    /// The file that gets the pid of the container's first process
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot_root(2), for a host whose root is a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Leave the container in the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Let the program inherit this many descriptors after the standard ones
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,
}

/// `create ID`, `create ID BUNDLE`, `create BUNDLE`
#[derive(Debug, Args)]
pub struct Create {
    /// What is for `run` as well.
    #[command(flatten)]
    pub new: New,
    /// The container's id; if it contains a "/", the bundle, whose directory name is the id
    #[arg(value_name = "ID|BUNDLE")]
    pub id: String,
    /// The bundle, instead of --bundle
    #[arg(value_name = "BUNDLE")]
    pub directory: Option<PathBuf>,
}

/// `run ID`
#[derive(Debug, Args)]
pub struct Run {
    /// What is for `create` as well.
    #[command(flatten)]
    pub new: New,
    /// Return when the program runs
    #[arg(long, short)]
    pub detach: bool,
    /// Do not delete the container when its program has ended
    #[arg(long)]
    pub keep: bool,
    /// Do not reap processes that lost their parent
    #[arg(long)]
    pub no_subreaper: bool,
    /// The container's id; if it contains a "/", the bundle, whose directory name is the id
    #[arg(value_name = "ID|BUNDLE")]
    pub id: String,
    /// The bundle, instead of --bundle
    #[arg(value_name = "BUNDLE")]
    pub directory: Option<PathBuf>,
}

/// A verb with nothing but an id.
#[derive(Debug, Args)]
pub struct OneContainer {
    /// The container's id
    pub id: String,
}

/// `kill ID [SIGNAL]`
#[derive(Debug, Args)]
pub struct Kill {
    /// Send the signal to all processes of the container
    #[arg(long, short)]
    pub all: bool,
    /// The container's id
    pub id: String,
    /// A number, or a name with or without SIG
    #[arg(default_value = "SIGTERM", allow_hyphen_values = true)]
    pub signal: String,
}

/// `delete ID`
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill the container if it runs; do not mind if there is none
    #[arg(long, short)]
    pub force: bool,
    /// The container's id
    pub id: String,
}

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// table or json
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Print the ids only
    #[arg(long, short)]
    pub quiet: bool,
}

/// `list --format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Columns with a header.
    Table,
    /// An array of states, or `null`.
    Json,
}

/// `spec`
#[derive(Debug, Args)]
pub struct Spec {
    /// The bundle's directory [default: the current directory]
    #[arg(long, short, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// For a user without privileges
    #[arg(long)]
    pub rootless: bool,
}

/// argv as clap reads it. Go's flag parsers, which callers are written for, take a long flag with one dash as well
/// (`-no-subreaper`), a value for a flag that needs none (`--force=true`), and an empty one for `--rootless`.
pub fn normalize(argv: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut literal = false;
    for word in argv {
        literal |= word == "--";
        match word.to_str() {
            Some(text) if !literal && !words.is_empty() => words.extend(normalized(text).map(OsString::from)),
            _ => words.push(word),
        }
    }
    words
}

/// The flags that take no value.
const SWITCHES: [&str; 12] = [
    "--all",
    "--debug",
    "--detach",
    "--force",
    "--keep",
    "--no-new-keyring",
    "--no-pivot",
    "--no-subreaper",
    "--quiet",
    "--systemd-cgroup",
    "--version",
    "--help",
];

fn normalized(word: &str) -> Option<String> {
    let is_long = word.starts_with('-')
        && !word.starts_with("--")
        && word[1..].find(['-', '=']).is_some_and(|at| at > 1);
    let word = if is_long { format!("-{word}") } else { word.to_owned() };
    match word.split_once('=') {
        Some((switch, "true" | "1")) if SWITCHES.contains(&switch) => Some(switch.to_owned()),
        Some((switch, "false" | "0")) if SWITCHES.contains(&switch) => None,
        _ => Some(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        let argv = std::iter::once("crust").chain(words.iter().copied()).map(OsString::from);
        Cli::try_parse_from(normalize(argv))
    }

    #[test]
    fn what_engines_send() {
        for line in [
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p --console-socket /s web",
            "--log-format=json --log /l create --bundle /b --pid-file /p --preserve-fds 2 web",
            "create web --bundle /b",
            "--root=/r --systemd-cgroup start web",
            "kill web 15",
            "kill --all web 9",
            "kill web",
            "delete --force web",
            "delete --force=true web",
            "--rootless=true state web",
            "run --detach --pid-file /p -no-subreaper --bundle /b web",
            "run --bundle /b --keep web",
            "list -q -f json",
            "--version",
            "-v",
        ] {
            let words: Vec<_> = line.split(' ').collect();
            assert!(parse(&words).is_ok(), "{line}: {:?}", parse(&words).err().map(|e| e.to_string()));
        }
    }

    #[test]
    fn one_dash_and_values_for_switches() {
        assert_eq!(normalized("-no-subreaper"), Some("--no-subreaper".into()));
        assert_eq!(normalized("-d"), Some("-d".into()));
        assert_eq!(normalized("--force=false"), None);
        assert_eq!(normalized("--bundle=/x"), Some("--bundle=/x".into()));
    }

    #[test]
    fn an_id_is_not_a_flag() {
        assert!(parse(&["state", "-x"]).is_err());
        assert!(parse(&["state"]).is_err());
        assert!(parse(&["state", "a", "b"]).is_err());
        assert!(parse(&["nonsense"]).is_err());
    }
}
