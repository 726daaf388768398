//! argv: runc's verbs, flags and words. No behaviour.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod exec;
mod go_flags;
mod plain;
mod update;
pub use exec::Exec;
pub use go_flags::normalize;
pub use plain::read as read_plain;
pub use update::Update;

/// A low-level OCI container runtime, a drop-in for runc.
#[derive(Debug, PartialEq, Eq, Parser)]
#[command(name = "crust", disable_version_flag = true)]
pub struct Cli {
    /// What is for every command.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// A [`normalize`]d argv as it is meant, or clap's error, which is the help as well.
    pub fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        read_plain(words).map_or_else(|| Self::try_parse_from(words), Ok)
    }
}

/// Flags for every command; they stand before the verb.
#[derive(Debug, PartialEq, Eq, Args)]
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
    /// Who makes the container's cgroup; without one the container is where its caller is, and has no limits
    #[arg(long, value_name = "WHO", default_value = "cgroupfs", hide_default_value = true)]
    pub cgroup_manager: CgroupManager,
    /// Accepted for older callers of runc
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<PathBuf>,
    /// Ignore what a user without privileges may not do with cgroups: auto, true or false
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub rootless: Rootless,
    /// Print the version
    #[arg(long, short = 'v')]
    pub version: bool,
}

/// `--cgroup-manager`, as crun has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// We.
    Cgroupfs,
    /// systemd, as with --systemd-cgroup.
    Systemd,
    /// Nobody.
    Disabled,
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
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Create a container; `start` runs its program
    Create(Create),
    /// Run the program of a created container
    Start(OneContainer),
    /// Create a container and run its program
    Run(Run),
    /// Run a further process in a container
    Exec(Exec),
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
    /// Change what a container may use
    Update(Box<Update>),
    /// Print statistics and events of a container, a line of JSON each
    Events(Events),
    /// List the containers of a runtime root
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Print what this runtime understands as JSON
    Features,
    /// Write a config.json to begin with
    Spec(Spec),
    /// Not supported: write the state of a container's processes to disk
    Checkpoint(Checkpoint),
    /// Not supported: create a container from its processes' state
    Restore(Restore),
}

/// What `create` and `run` have in common.
#[derive(Debug, PartialEq, Eq, Args)]
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
#[derive(Debug, PartialEq, Eq, Args)]
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
#[derive(Debug, PartialEq, Eq, Args)]
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
#[derive(Debug, PartialEq, Eq, Args)]
pub struct OneContainer {
    /// The container's id
    pub id: String,
}

/// `kill ID [SIGNAL]`
#[derive(Debug, PartialEq, Eq, Args)]
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
#[derive(Debug, PartialEq, Eq, Args)]
pub struct Delete {
    /// Kill the container if it runs; do not mind if there is none
    #[arg(long, short)]
    pub force: bool,
    /// The container's id
    pub id: String,
}

/// `events ID`
#[derive(Debug, PartialEq, Eq, Args)]
pub struct Events {
    /// How often statistics are printed, as "5s" or "1m30s"
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub interval: String,
    /// Print the statistics of this moment, and no more
    #[arg(long)]
    pub stats: bool,
    /// The container's id
    pub id: String,
}

/// `list`
#[derive(Debug, PartialEq, Eq, Args)]
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

/// `ps ID [ARGUMENT…]`. What follows the id is ps(1)'s.
#[derive(Debug, PartialEq, Eq, Args)]
pub struct Ps {
    /// table or json
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// The container's id
    pub id: String,
    /// Arguments for ps(1) [default: -ef]
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// `checkpoint`: engines ask for its help to know whether there is one, and send flags of many kinds.
#[derive(Debug, PartialEq, Eq, Args)]
pub struct Checkpoint {
    /// What is given
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// `restore`. podman asks whether a runtime takes the flag by leaving out its value.
#[derive(Debug, PartialEq, Eq, Args)]
pub struct Restore {
    /// The SELinux label of the container's mounts
    #[arg(long, value_name = "LABEL")]
    pub lsm_mount_context: Option<String>,
    /// What is given beside it
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// `spec`
#[derive(Debug, PartialEq, Eq, Args)]
pub struct Spec {
    /// The bundle's directory [default: the current directory]
    #[arg(long, short, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// For a user without privileges
    #[arg(long)]
    pub rootless: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        let argv = std::iter::once("crust").chain(words.iter().copied()).map(OsString::from);
        Cli::read(&normalize(argv))
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
            "update --resources=- web",
            "update --resources - web",
            "update -r - web",
            "update --resources=/var/tmp/podman1 web",
            "update web --memory 100m --memory-swap -1 --cpu-quota -1",
            "--version",
            "-v",
        ] {
            let words: Vec<_> = line.split(' ').collect();
            assert!(parse(&words).is_ok(), "{line}: {:?}", parse(&words).err().map(|e| e.to_string()));
        }
    }

    #[test]
    fn an_id_is_not_a_flag() {
        assert!(parse(&["state", "-x"]).is_err());
        assert!(parse(&["state"]).is_err());
        assert!(parse(&["state", "a", "b"]).is_err());
        assert!(parse(&["nonsense"]).is_err());
    }
}
