//! What Go's flag parsers take and clap does not.

use std::ffi::OsString;

/// argv as clap reads it. Go's flag parsers, which callers are written for, take a long flag with one dash as well
/// (`-no-subreaper`), a value for a flag that needs none (`--force=true`), and an empty one for `--rootless`. What
/// follows the id of `exec` and `ps` is another program's, and stays as it is.
pub fn normalize(argv: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut verb: Option<String> = None;
    let mut literal = false;
    let mut value_follows = false;
    for word in argv {
        let text = word.to_str().unwrap_or("/");
        if literal && text == "--" && words.last().is_some_and(|last| last == "--") {
            // Behind our own: who writes one here has other parsers in mind.
        } else if words.is_empty() || literal || value_follows {
            value_follows = false;
            words.push(word);
        } else if text == "--" {
            literal = true;
            words.push(word);
        } else if text.starts_with('-') && text != "-" {
            let normal = normalized(text);
            value_follows = normal.as_deref().is_some_and(|flag| VALUED.contains(&flag));
            words.extend(normal.map(OsString::from));
        } else {
            let others = matches!(verb.as_deref(), Some("exec" | "ps"));
            verb.get_or_insert_with(|| text.to_owned());
            words.push(word);
            if others {
                literal = true;
                words.push("--".into());
            }
        }
    }
    words
}

/// The flags whose value may be the next word: those before the verb, and those of `exec` and `ps`.
const VALUED: [&str; 26] = [
    "--root",
    "--cgroup-manager",
    "--criu",
    "--log",
    "--log-format",
    "--rootless",
    "--process",
    "-p",
    "--cwd",
    "--env",
    "-e",
    "--user",
    "-u",
    "--additional-gids",
    "-g",
    "--cap",
    "-c",
    "--apparmor",
    "--process-label",
    "--cgroup",
    "--console-socket",
    "--pidfd-socket",
    "--pid-file",
    "--preserve-fds",
    "--format",
    "-f",
];

/// The other flags with a value and a name of one word.
const VALUED_BEHIND_THE_VERB: [&str; 4] = ["--bundle", "--interval", "--memory", "--resources"];

/// The flags that take no value.
const SWITCHES: [&str; 21] = [
    "--all",
    "--debug",
    "--detach",
    "--force",
    "--ignore-paused",
    "--keep",
    "--no-new-keyring",
    "--no-pivot",
    "--no-subreaper",
    "--quiet",
    "--stats",
    "--systemd-cgroup",
    "--tty",
    "--version",
    "--help",
    "-a",
    "-d",
    "-f",
    "-q",
    "-t",
    "-v",
];

fn normalized(word: &str) -> Option<String> {
    let word = if has_one_dash(word) { format!("-{word}") } else { word.to_owned() };
    match word.split_once('=') {
        Some((switch, "true" | "1")) if SWITCHES.contains(&switch) => Some(switch.to_owned()),
        Some((switch, "false" | "0")) if SWITCHES.contains(&switch) => None,
        _ => Some(word),
    }
}

/// Whether it is a long flag with one dash: one of several words, or one that is known. All else may be several short
/// flags.
fn has_one_dash(word: &str) -> bool {
    let Some(name) = word.strip_prefix('-').filter(|name| !name.starts_with('-')) else { return false };
    let name = name.split('=').next().unwrap_or_default();
    let is = |flag: &&str| flag.strip_prefix("--") == Some(name);
    name.find('-').is_some_and(|at| at > 0)
        || SWITCHES.iter().chain(&VALUED).chain(&VALUED_BEHIND_THE_VERB).any(is)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    #[test]
    fn what_follows_the_id_of_exec_is_the_programs() {
        let words = |line: &str| {
            let argv = std::iter::once("crust").chain(line.split(' ')).map(OsString::from);
            let words = normalize(argv).into_iter().map(|word| word.into_string().unwrap());
            words.skip(1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            words("--root /r exec -d=true web ls --all=true -no-x"),
            "--root /r exec -d web -- ls --all=true -no-x"
        );
        assert_eq!(words("exec --detach=true -e -no-x web -- ls"), "exec --detach -e -no-x web -- ls");
        assert_eq!(words("exec -- web ls"), "exec -- web ls");
        assert_eq!(words("kill web -9"), "kill web -9");
        let argv = ["crust", "exec", "-u", "-1", "web", "--cwd", "/x"].map(OsString::from);
        let cli = Cli::try_parse_from(normalize(argv.into_iter())).unwrap();
        let Some(Command::Exec(exec)) = cli.command else { panic!("no exec") };
        assert_eq!(
            (exec.user.as_deref(), exec.cwd, exec.args),
            (Some("-1"), None, vec!["--cwd".into(), "/x".into()])
        );
    }

    #[test]
    fn the_flags_with_values_are_claps() {
        use clap::CommandFactory;
        let mut cli = Cli::command();
        cli.build();
        let others = cli.get_subcommands().filter(|command| ["exec", "ps"].contains(&command.get_name()));
        let arguments = std::iter::once(&cli).chain(others).flat_map(|command| command.get_arguments());
        let valued = arguments.filter(|a| a.get_action().takes_values() && !a.is_require_equals_set());
        let mut names: Vec<String> = valued
            .flat_map(|a| {
                let long = a.get_long().map(|long| format!("--{long}"));
                long.into_iter().chain(a.get_short().map(|short| format!("-{short}")))
            })
            .collect();
        let mut known = VALUED.map(String::from).to_vec();
        names.sort();
        names.dedup();
        known.sort();
        assert_eq!(names, known);
    }

    #[test]
    fn the_flags_of_one_word_are_known() {
        use clap::CommandFactory;
        let mut cli = Cli::command();
        cli.build();
        let commands = std::iter::once(&cli).chain(cli.get_subcommands());
        let flags = commands.flat_map(|command| command.get_arguments()).filter_map(|flag| flag.get_long());
        let unknown: Vec<_> =
            flags.filter(|flag| !has_one_dash(&format!("-{flag}")) && *flag != "help").collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn one_dash_and_values_for_switches() {
        assert_eq!(normalized("-no-subreaper"), Some("--no-subreaper".into()));
        assert_eq!(normalized("-log"), Some("--log".into()));
        assert_eq!(normalized("-bundle=/x"), Some("--bundle=/x".into()));
        assert_eq!(normalized("-d"), Some("-d".into()));
        assert_eq!(normalized("-td"), Some("-td".into()));
        assert_eq!(normalized("-d=true"), Some("-d".into()));
        assert_eq!(normalized("-e=a-b"), Some("-e=a-b".into()));
        assert_eq!(normalized("--force=false"), None);
        assert_eq!(normalized("--bundle=/x"), Some("--bundle=/x".into()));
    }
}
