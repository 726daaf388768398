use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use super::*;
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{signal, terminal};
use crate::terminal::{Size, Terminal, become_controlling};

/// A pty of the host; only root may open its ptmx.
fn pty() -> Option<Terminal> {
    let devpts = file::open(file::here(), "/dev/pts", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    Terminal::open(&devpts, None).ok()
}

fn null() -> OwnedFd {
    file::open(file::here(), "/dev/null", OFlag::O_RDWR, Mode::empty()).unwrap()
}

/// A process that attends to a shell with this script, as `run` does, and ends with its code.
fn attend_to(script: &str, pty: Option<Terminal>, stdin: OwnedFd, stdout: OwnedFd) -> Pid {
    let script = script.to_owned();
    process::in_child(move || {
        process::become_subreaper().unwrap();
        terminal::become_standard(&stdin).unwrap();
        nix::unistd::dup2_stdout(&stdout).unwrap();
        let signals = Waiting::block().unwrap();
        let (master, slave) = pty.map(|pty| (pty.master, pty.slave)).unzip();
        let lent = slave.is_none().then(|| Lent::instead_of_terminals().unwrap());
        let shell = process::in_child(move || {
            signal::reset().unwrap();
            if let Some(slave) = slave {
                // As init does: the program may look before the attendant does anything.
                if let Some(size) = terminal::size_of_ours() {
                    terminal::set_size(&slave, size).unwrap();
                }
                become_controlling(slave).unwrap();
            }
            let error = std::process::Command::new("/bin/sh").arg("-c").arg(script).exec();
            panic!("{error}");
        });
        let streams = lent.map(Lent::give_back).unwrap_or_default();
        let pidfd = process::pidfd_open(shell).ok();
        attend(shell, pidfd.as_ref().map(AsFd::as_fd), &signals, master, streams).unwrap().code()
    })
}

/// A pipe whose ends both wait.
fn pipe() -> (File, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    (read.into(), write)
}

fn read_to_end(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Read until the text has come.
fn expect(file: &mut File, text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let mut buffer = [0; 4096];
        let length = file.read(&mut buffer).unwrap();
        assert!(length > 0, "the end came before {text:?}: {:?}", String::from_utf8_lossy(&seen));
        seen.extend(&buffer[..length]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn the_code_is_that_of_the_child() {
    for (script, code) in [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", 137), ("kill -40 $$", 168)] {
        let attendant = attend_to(script, None, null(), null());
        assert_eq!(process::wait(attendant).unwrap(), Exit::Code(code), "{script}");
    }
}

#[test]
fn signals_are_passed_on() {
    let script = "for name in TERM HUP INT QUIT USR1 USR2 WINCH PIPE ALRM TSTP; do
            trap \"echo $name\" $name
        done
        trap 'exit 5' RTMAX
        echo ready
        while :; do sleep 0.02; done";
    let (mut output, theirs) = pipe();
    let attendant = attend_to(script, None, null(), theirs);
    expect(&mut output, "ready\n");
    for name in [
        "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGPIPE", "SIGALRM",
        "SIGTSTP",
    ] {
        let number: process::Signal = name.parse().unwrap();
        process::kill(attendant, number as i32).unwrap();
        expect(&mut output, &format!("{}\n", &name[3..]));
    }
    process::kill(attendant, libc::SIGCHLD).unwrap();
    process::kill(attendant, libc::SIGURG).unwrap();
    process::kill(attendant, 64).unwrap();
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(5));
}

#[test]
fn orphans_are_reaped() {
    // The inner shell ends at once and leaves the sleep, whose parent is the attendant then.
    let script = "orphan=$(sh -c 'sleep 0.2 >/dev/null 2>&1 & echo $!')
        for i in $(seq 500); do test -e /proc/$orphan || exit 0; sleep 0.02; done
        exit 1";
    let attendant = attend_to(script, None, null(), null());
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(0));
}

#[test]
fn what_is_typed_and_written_is_carried() {
    let Some(pty) = pty() else { return };
    let (input, typed) = pipe();
    let (output, theirs) = pipe();
    let attendant = attend_to(
        "tty >/dev/null && read -r line && echo got $line; exit 3",
        Some(pty),
        input.into(),
        theirs,
    );
    File::from(typed).write_all(b"hello\n").unwrap();
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(3));
    assert_eq!(read_to_end(output), "hello\r\ngot hello\r\n");
}

#[test]
fn the_end_of_input_ends_a_program_that_reads_lines() {
    let Some(pty) = pty() else { return };
    let (output, theirs) = pipe();
    let attendant = attend_to("stty -echo; cat; echo end", Some(pty), null(), theirs);
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(0));
    assert!(read_to_end(output).ends_with("end\r\n"));
}

#[test]
fn nothing_of_a_lot_of_output_is_lost() {
    let Some(pty) = pty() else { return };
    let (output, theirs) = pipe();
    // The end of input would be a ^D, which comes back while the terminal is not raw.
    let (input, _typed) = pipe();
    let script = "stty raw; head -c 1000000 /dev/zero | tr '\\0' x; printf '%060000d' 0";
    let attendant = attend_to(script, Some(pty), input.into(), theirs);
    std::thread::sleep(Duration::from_millis(200));
    let text = read_to_end(output);
    assert_eq!((text.len(), text.trim_end_matches('0').len()), (1_060_000, 1_000_000));
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(0));
}

#[test]
fn a_reader_that_goes_away_is_not_noticed_inside() {
    let Some(pty) = pty() else { return };
    let (output, theirs) = pipe();
    drop(output);
    let attendant = attend_to("head -c 300000 /dev/zero; exit 4", Some(pty), null(), theirs);
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(4));
}

#[test]
fn a_terminal_that_nobody_has_open_can_be_opened_again() {
    let Some(pty) = pty() else { return };
    let (output, theirs) = pipe();
    // Its last user keeps it as its controlling terminal only.
    let script = "tty=$(tty); exec </dev/null >/dev/null 2>&1; sleep 0.2; echo back >$tty; sleep 0.2";
    let attendant = attend_to(script, Some(pty), null(), theirs);
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(0));
    assert_eq!(read_to_end(output).trim_start_matches("^D\u{8}\u{8}"), "back\r\n");
}

#[test]
fn a_background_child_does_not_hold_us() {
    let Some(pty) = pty() else { return };
    let (output, theirs) = pipe();
    let begin = Instant::now();
    let script =
        "trap '' HUP; (sleep 40; :) 2>/dev/null & yes & kill -STOP $!; (sleep 0.5; kill -KILL $!) & exit 6";
    let attendant = attend_to(script, Some(pty), null(), theirs);
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(6));
    assert!(begin.elapsed() < Duration::from_secs(30));
    drop(output);
}

#[test]
fn our_terminal_is_raw_meanwhile_and_its_size_is_followed() {
    let (Some(inner), Some(outer)) = (pty(), pty()) else { return };
    terminal::set_size(&outer.master, Size { rows: 10, columns: 20 }).unwrap();
    let before = terminal::modes(&outer.slave).unwrap();
    let script = "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.02; done";
    let (stdin, stdout) = (file::duplicate(&outer.slave).unwrap(), file::duplicate(&outer.slave).unwrap());
    let attendant = attend_to(script, Some(inner), stdin, stdout);

    let mut master = File::from(outer.master);
    assert!(expect(&mut master, "ready").contains("10 20"));
    assert_ne!(terminal::modes(&outer.slave).unwrap().local_flags, before.local_flags);
    terminal::set_size(&master, Size { rows: 33, columns: 44 }).unwrap();
    // The attendant has no controlling terminal here, so that the kernel does not tell it by itself.
    process::kill(attendant, libc::SIGWINCH).unwrap();
    expect(&mut master, "33 44");
    // Ctrl-C: a byte for us, a signal for the foreground of the inner terminal.
    master.write_all(b"\x03").unwrap();
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(130));
    assert_eq!(terminal::modes(&outer.slave).unwrap(), before);
}

#[test]
fn without_a_terminal_there_are_pipes_in_the_place_of_ours() {
    let Some(outer) = pty() else { return };
    let script = "test -t 0 || test -t 1 || echo none; read line; echo got $line; cat; echo end; exit 3";
    let (stdin, stdout) = (outer.slave.try_clone().unwrap(), outer.slave.try_clone().unwrap());
    let attendant = attend_to(script, None, stdin, stdout);
    let mut seen = File::from(outer.master);
    expect(&mut seen, "none");
    seen.write_all(b"hello\n").unwrap();
    expect(&mut seen, "got hello");
    seen.write_all(b"more\n").unwrap();
    // Once as it is typed, once by cat.
    expect(&mut seen, "more\r\nmore");
    seen.write_all(&[4]).unwrap();
    expect(&mut seen, "end");
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(3));
}

#[test]
fn what_was_written_last_is_carried_although_others_have_the_pipe() {
    let Some(outer) = pty() else { return };
    let stdout = outer.slave.try_clone().unwrap();
    let begin = Instant::now();
    let attendant = attend_to(
        "sleep 40 2>/dev/null & head -c 30000 /dev/zero | tr '\\0' x; echo end",
        None,
        null(),
        stdout,
    );
    expect(&mut File::from(outer.master), "end");
    assert_eq!(process::wait(attendant).unwrap(), Exit::Code(0));
    assert!(begin.elapsed() < Duration::from_secs(30), "waited for others");
}
