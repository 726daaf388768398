//! The flags of `exec`.

use std::path::PathBuf;

use clap::Args;

/// `exec ID PROGRAM [ARGUMENT…]`. What follows the id is the program's, flags included.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub struct Exec {
    /// A file with the process as in config.json; all other flags that describe the process are ignored
    #[arg(long, short, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Return when the program runs
    #[arg(long, short)]
    pub detach: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// The working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// A variable for the program, beside those of the container's process
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Who runs the program: numbers, or names of the container's /etc/passwd and /etc/group
    #[arg(long, short, value_name = "UID[:GID]", allow_hyphen_values = true)]
    pub user: Option<String>,
    /// A group of the program, beside those of the container's process
    #[arg(long, short = 'g', value_name = "GID")]
    pub additional_gids: Vec<String>,
    /// A capability of the program, beside those of the container's process
    #[arg(long, short, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Whether no program may get more privileges than there are
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new())]
    pub no_new_privs: Option<bool>,
    /// The program's AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// The program's SELinux label
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// A sub-cgroup of the container for the program; on cgroup v1 for some controllers
    #[arg(long, value_name = "[CONTROLLER,…:]PATH")]
    pub cgroup: Vec<String>,
    /// Do not mind that the container is paused; the program runs when it is resumed
    #[arg(long)]
    pub ignore_paused: bool,
    /// The unix socket that gets the master of the program's terminal
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// The unix socket that gets a pidfd of the program
    #[arg(long, value_name = "PATH")]
    pub pidfd_socket: Option<PathBuf>,
    /// The file that gets the pid of the program
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Let the program inherit this many descriptors after the standard ones
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,
    /// Accepted for runc's sake: exec reaps nothing but the program
    #[arg(long, hide = true)]
    pub no_subreaper: bool,
    /// The container's id
    pub id: String,
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}
