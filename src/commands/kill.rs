//! `kill` — send a signal.

use crate::cgroup::Cgroup;
use crate::cli::{Global, Kill};
use crate::commands::runtime_root;
use crate::container::Container;
use crate::container::status::{Operation, Status};
use crate::error::Error;

/// `kill`
pub fn run(global: &Global, command: &Kill) -> Result<(), Error> {
    let signal = signal_number(&command.signal)?;
    let (id, dir) = runtime_root::container(global, &command.id)?;
    let container = Container::load(id, dir)?;
    if command.all {
        // What is left behind by an init that shared its pid namespace is killed like this: no init is needed.
        let cgroup = Cgroup::open(container.state.cgroup.clone())?;
        if cgroup.is_anothers() {
            return Err(Error::message(format!(
                "container {}: container not running: its cgroup is another's by now",
                container.id
            )));
        }
        // 0 reaches nobody: for that, nobody needs to be frozen.
        return if signal == 0 { Ok(()) } else { cgroup.kill_all(signal) };
    }
    let status = container.allow(Operation::Kill)?;
    if !container.signal(signal)? {
        let refused =
            Error::Status { id: container.id.clone(), operation: Operation::Kill, status: Status::Stopped };
        return Err(refused);
    }
    if signal == libc::SIGKILL {
        finish(&container, status)?;
    }
    Ok(())
}

/// Without a pid namespace of its own nobody but us ends what init has started; and a frozen process dies when it thaws.
fn finish(container: &Container, status: Status) -> Result<(), Error> {
    let cgroup = Cgroup::open(container.state.cgroup.clone())?;
    if !container.state.own_pid_namespace {
        cgroup.kill_all(libc::SIGKILL)?;
    }
    if status == Status::Paused { cgroup.let_die() } else { Ok(()) }
}

/// The names of `signal(7)`.
const NAMES: [(&str, i32); 37] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("UNUSED", libc::SIGSYS),
    ("RTMIN", RTMIN),
    ("RTMAX", RTMAX),
];

/// As programs see them: the C library keeps two for its threads.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A number up to 64, or a name in any case, with or without `SIG`; `RTMIN+n` and `RTMAX-n` as well. 0 is the question of
/// `kill(2)` whether there is anybody.
fn signal_number(word: &str) -> Result<i32, Error> {
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let plain = |digits: &str| {
        digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse::<i32>().ok()).flatten()
    };
    let real_time = || {
        if let Some(above) = name.strip_prefix("RTMIN+") {
            plain(above).map(|above| RTMIN.saturating_add(above))
        } else {
            name.strip_prefix("RTMAX-").and_then(plain).map(|below| RTMAX - below)
        }
        .filter(|number| (RTMIN..=RTMAX).contains(number))
    };
    let number = plain(&upper).filter(|number| (0..=RTMAX).contains(number));
    number
        .or_else(|| named(name))
        .or_else(real_time)
        .ok_or_else(|| Error::message(format!("unknown signal {word:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        for (word, number) in [
            ("0", 0),
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN+1", 35),
            ("RTMAX-2", 62),
            ("34", 34),
            ("64", 64),
            ("cld", 17),
        ] {
            assert_eq!(signal_number(word).unwrap(), number, "{word}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for word in
            ["-1", "65", "999", "KILLX", "", "9x", "SIG", "RTMIN+31", "RTMAX-40", "+9", "RTMIN+", "SIG9"]
        {
            assert!(signal_number(word).is_err(), "{word}");
        }
    }
}
