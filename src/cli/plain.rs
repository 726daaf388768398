//! Command lines as engines write them, read without clap.
//!
//! Before clap looks at a word it builds every command with all its flags and their help: fifty page faults, a third of
//! what `state` takes. Most command lines are written by programs, and hold nothing but known flags, each of them once,
//! with their values. These are read here. Whatever is less plain is clap's, and so are help and all errors: what is taken
//! here, clap takes as well, and understands alike, which the tests and a fuzzer compare.

use std::ffi::OsString;
use std::path::PathBuf;
use std::slice::Iter;

use super::{
    CgroupManager, Cli, Command, Create, Delete, Exec, Global, Kill, New, OneContainer, Rootless, Run,
};

/// The command line, if it is plain. The first word is the program's name.
pub fn read(words: &[OsString]) -> Option<Cli> {
    let mut words = Words { rest: words.get(1..)?.iter() };
    let (global, verb) = global(&mut words)?;
    let command = match verb {
        "create" => create(&mut words),
        "run" => run(&mut words),
        "exec" => exec(&mut words),
        "start" => one_container(&mut words).map(Command::Start),
        "state" => one_container(&mut words).map(Command::State),
        "pause" => one_container(&mut words).map(Command::Pause),
        "resume" => one_container(&mut words).map(Command::Resume),
        "kill" => kill(&mut words),
        "delete" => delete(&mut words),
        _ => None,
    };
    Some(Cli { global, command: Some(command?) })
}

/// What is still to be read.
struct Words<'a> {
    rest: Iter<'a, OsString>,
}

/// A word, if it is UTF-8 and not empty.
enum Word<'a> {
    /// With what may follow it after `=`.
    Flag(&'a str, Option<&'a str>),
    Plain(&'a str),
    End,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        let Some(word) = self.rest.next() else { return Some(Word::End) };
        match word.to_str()? {
            "" | "-" | "--" => None,
            flag if flag.starts_with("--") => Some(match flag.split_once('=') {
                Some((flag, value)) => Word::Flag(flag, Some(value)),
                None => Word::Flag(flag, None),
            }),
            flag if flag.starts_with('-') => Some(Word::Flag(flag, None)),
            word => Some(Word::Plain(word)),
        }
    }

    /// The value of a flag.
    fn value(&mut self, given: Option<&'a str>) -> Option<&'a str> {
        let value = match given {
            Some(value) => value,
            None => self.rest.next()?.to_str()?,
        };
        (!value.is_empty() && !value.starts_with('-')).then_some(value)
    }

    fn path(&mut self, place: &mut Option<PathBuf>, given: Option<&'a str>) -> Option<()> {
        once(place, self.value(given)?.into())
    }

    fn text(&mut self, place: &mut Option<String>, given: Option<&'a str>) -> Option<()> {
        once(place, self.value(given)?.into())
    }

    fn number(&mut self, place: &mut Option<u32>, given: Option<&'a str>) -> Option<()> {
        once(place, self.value(given)?.parse().ok()?)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn switch(place: &mut bool, given: Option<&str>) -> Option<()> {
    (given.is_none() && !std::mem::replace(place, true)).then_some(())
}

/// What stands before the verb, and the verb.
fn global<'a>(words: &mut Words<'a>) -> Option<(Global, &'a str)> {
    let (mut root, mut log, mut log_format) = (None, None, None);
    let (mut debug, mut systemd_cgroup) = (false, false);
    loop {
        match words.next()? {
            Word::Flag("--root", given) => words.path(&mut root, given)?,
            Word::Flag("--log", given) => words.path(&mut log, given)?,
            Word::Flag("--log-format", given) => words.text(&mut log_format, given)?,
            Word::Flag("--debug", given) => switch(&mut debug, given)?,
            Word::Flag("--systemd-cgroup", given) => switch(&mut systemd_cgroup, given)?,
            Word::Plain(verb) => {
                let log_format = log_format.unwrap_or_else(|| "text".into());
                let (cgroup_manager, rootless) = (CgroupManager::Cgroupfs, Rootless::Auto);
                let (criu, version) = (None, false);
                let global = Global {
                    root,
                    log,
                    log_format,
                    debug,
                    systemd_cgroup,
                    cgroup_manager,
                    criu,
                    rootless,
                    version,
                };
                return Some((global, verb));
            }
            Word::Flag(..) | Word::End => return None,
        }
    }
}

/// What `create` and `run` have in common, as it is read.
#[derive(Default)]
struct Creation {
    bundle: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    no_pivot: bool,
    no_new_keyring: bool,
    preserve_fds: Option<u32>,
    id: Option<String>,
    directory: Option<PathBuf>,
}

impl Creation {
    fn take<'a>(&mut self, word: Word<'a>, words: &mut Words<'a>) -> Option<()> {
        match word {
            Word::Flag("--bundle" | "-b", given) => words.path(&mut self.bundle, given),
            Word::Flag("--console-socket", given) => words.path(&mut self.console_socket, given),
            Word::Flag("--pidfd-socket", given) => words.path(&mut self.pidfd_socket, given),
            Word::Flag("--pid-file", given) => words.path(&mut self.pid_file, given),
            Word::Flag("--no-pivot", given) => switch(&mut self.no_pivot, given),
            Word::Flag("--no-new-keyring", given) => switch(&mut self.no_new_keyring, given),
            Word::Flag("--preserve-fds", given) => words.number(&mut self.preserve_fds, given),
            Word::Plain(id) if self.id.is_none() => once(&mut self.id, id.into()),
            Word::Plain(directory) => once(&mut self.directory, directory.into()),
            Word::Flag(..) | Word::End => None,
        }
    }

    fn done(self) -> Option<(New, String, Option<PathBuf>)> {
        let Self { bundle, console_socket, pidfd_socket, pid_file, no_pivot, no_new_keyring, .. } = self;
        let preserve_fds = self.preserve_fds.unwrap_or(0);
        let new =
            New { bundle, console_socket, pidfd_socket, pid_file, no_pivot, no_new_keyring, preserve_fds };
        Some((new, self.id?, self.directory))
    }
}

fn create(words: &mut Words) -> Option<Command> {
    let mut creation = Creation::default();
    loop {
        match words.next()? {
            Word::End => break,
            word => creation.take(word, words)?,
        }
    }
    let (new, id, directory) = creation.done()?;
    Some(Command::Create(Create { new, id, directory }))
}

fn run(words: &mut Words) -> Option<Command> {
    let mut creation = Creation::default();
    let (mut detach, mut keep, mut no_subreaper) = (false, false, false);
    loop {
        match words.next()? {
            Word::Flag("--detach" | "-d", given) => switch(&mut detach, given)?,
            Word::Flag("--keep", given) => switch(&mut keep, given)?,
            Word::Flag("--no-subreaper", given) => switch(&mut no_subreaper, given)?,
            Word::End => break,
            word => creation.take(word, words)?,
        }
    }
    let (new, id, directory) = creation.done()?;
    Some(Command::Run(Run { new, detach, keep, no_subreaper, id, directory }))
}

fn exec(words: &mut Words) -> Option<Command> {
    let mut exec = Exec::default();
    let mut preserve_fds = None;
    loop {
        match words.next()? {
            Word::Flag("--process" | "-p", given) => words.path(&mut exec.process, given)?,
            Word::Flag("--detach" | "-d", given) => switch(&mut exec.detach, given)?,
            Word::Flag("--tty" | "-t", given) => switch(&mut exec.tty, given)?,
            Word::Flag("--cwd", given) => words.path(&mut exec.cwd, given)?,
            Word::Flag("--env" | "-e", given) => exec.env.push(words.value(given)?.into()),
            Word::Flag("--user" | "-u", given) => words.text(&mut exec.user, given)?,
            Word::Flag("--console-socket", given) => words.path(&mut exec.console_socket, given)?,
            Word::Flag("--pidfd-socket", given) => words.path(&mut exec.pidfd_socket, given)?,
            Word::Flag("--pid-file", given) => words.path(&mut exec.pid_file, given)?,
            Word::Flag("--preserve-fds", given) => words.number(&mut preserve_fds, given)?,
            Word::Plain(id) => {
                exec.id = id.into();
                break;
            }
            Word::Flag(..) | Word::End => return None,
        }
    }
    exec.preserve_fds = preserve_fds.unwrap_or(0);
    // `normalize` has put it behind the id: what follows is the program's.
    if words.rest.next()? != "--" {
        return None;
    }
    exec.args = words.rest.by_ref().map(|word| word.to_str().map(Into::into)).collect::<Option<_>>()?;
    Some(Command::Exec(exec))
}

fn kill(words: &mut Words) -> Option<Command> {
    let (mut all, mut id, mut signal) = (false, None, None);
    loop {
        match words.next()? {
            Word::Flag("--all" | "-a", given) => switch(&mut all, given)?,
            Word::Plain(word) if id.is_none() => id = Some(word.into()),
            Word::Plain(word) => once(&mut signal, word.into())?,
            Word::End => break,
            Word::Flag(..) => return None,
        }
    }
    Some(Command::Kill(Kill { all, id: id?, signal: signal.unwrap_or_else(|| "SIGTERM".into()) }))
}

fn delete(words: &mut Words) -> Option<Command> {
    let (mut force, mut id) = (false, None);
    loop {
        match words.next()? {
            Word::Flag("--force" | "-f", given) => switch(&mut force, given)?,
            Word::Plain(word) => once(&mut id, word.into())?,
            Word::End => break,
            Word::Flag(..) => return None,
        }
    }
    Some(Command::Delete(Delete { force, id: id? }))
}

fn one_container(words: &mut Words) -> Option<OneContainer> {
    match (words.next()?, words.next()?) {
        (Word::Plain(id), Word::End) => Some(OneContainer { id: id.into() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::normalize;

    fn words(line: &[&str]) -> Vec<OsString> {
        normalize(std::iter::once("crust").chain(line.iter().copied()).map(OsString::from))
    }

    #[test]
    fn what_engines_send_is_read_as_clap_reads_it() {
        for line in [
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p --console-socket /s web",
            "--log-format=json --log /l create --bundle=/b --pid-file /p --preserve-fds 2 web",
            "create web -b /b --no-pivot --no-new-keyring --pidfd-socket /s",
            "create web /b",
            "--root=/r --systemd-cgroup --debug start web",
            "kill web 15",
            "kill --all web 9",
            "kill web",
            "delete --force web",
            "delete --force=true web",
            "delete web -f",
            "state web",
            "pause web",
            "resume web",
            "run --detach --pid-file /p -no-subreaper --bundle /b web",
            "run --bundle /b --keep web",
            "run /srv/web",
            "exec web ls -l --all=true -no-x --",
            "exec --process /p --detach --pid-file /f --preserve-fds 1 web",
            "exec -d -t -e A=b --env C=d -u 1:2 --cwd /x --console-socket /s --pidfd-socket /q web sh -c x",
        ] {
            let words = words(&line.split(' ').collect::<Vec<_>>());
            let plain = read(&words);
            assert!(plain.is_some(), "{line}");
            assert_eq!(plain, Cli::try_parse_from(words).ok(), "{line}");
        }
    }

    /// All lines of up to four words of these, after each verb and before it.
    #[test]
    fn what_is_read_here_is_read_alike_by_clap() {
        const WORDS: [&str; 21] = [
            "--root",
            "--root=/r",
            "--root=",
            "--debug",
            "--debug=1",
            "--log-format=-x",
            "create",
            "run",
            "exec",
            "kill",
            "delete",
            "state",
            "web",
            "-b",
            "--bundle=/b",
            "--preserve-fds=+3",
            "-d",
            "-f",
            "--",
            "-1",
            "",
        ];
        let mut read_here = 0;
        for number in 0..WORDS.len().pow(4) {
            let word = |place: u32| WORDS[number / WORDS.len().pow(place) % WORDS.len()];
            let words = words(&[word(0), word(1), word(2), word(3)]);
            if let Some(plain) = read(&words) {
                read_here += 1;
                assert_eq!(Some(plain), Cli::try_parse_from(&words).ok(), "{words:?}");
            }
        }
        assert!(read_here > 500, "{read_here}");
    }

    #[test]
    fn the_rest_is_claps() {
        for line in [
            "",
            "--help",
            "run",
            "run --help",
            "state",
            "state a b",
            "state -x",
            "kill a b c",
            "delete a b",
            "--version",
            "-v",
            "list",
            "--rootless true state a",
            "exec -- web ls",
            "exec web --process",
            "run --bundle",
            "run --bundle -x a",
            "run --preserve-fds x a",
            "--root /a --root /b state a",
            "exec -dt web sh",
            "run -d -d a",
            "kill web -9",
            "update --resources - web",
            "features",
        ] {
            let line: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let is_exec = line.first() == Some(&"exec") && line.get(1) == Some(&"web");
            assert_eq!(read(&words(&line)).is_some(), is_exec, "{line:?}");
        }
    }
}
