//! config-linux.md: the seccomp listener and the container process state.

use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::sockets::{self, Message};
use crate::trial::{Trial, is};
use crate::verdict::{Stop, Verdict, equal, failed};

const STATE: &str = "The container runtime MUST send the container process state over the UNIX socket as \
    regular payload serialized in JSON and file descriptors MUST be sent using `SCM_RIGHTS`.";

/// A call that only the probe makes, and only on request.
const CALL: &str = "chroot";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("seccomp-listener/state").spec(STATE).run(|t| {
            let message = received(t)?;
            let state: Value = serde_json::from_slice(&message.payload)?;
            is(&state, "/pid", t.pid()?)?;
            is(&state, "/metadata", "some words")?;
            is(&state, "/fds", json!(["seccompFd"]))?;
            is(&state, "/state/id", t.id.clone())?;
            is(&state, "/state/bundle", t.bundle().display().to_string())?;
            is(&state, "/state/pid", t.pid()?)?;
            is(&state, "/state/status", "creating")?;
            ensure!(state["ociVersion"].is_string(), "no ociVersion: {state}");
            equal("descriptors", message.descriptors.len(), 1)
        }),
        case("seccomp-listener/descriptor")
            .spec(
                "**`seccompFd`** (string, REQUIRED) is the seccomp file descriptor returned by the \
                 seccomp syscall.",
            )
            .run(|t| {
                let message = received(t)?;
                let Some(descriptor) = message.descriptors.first() else {
                    return failed("no descriptor came");
                };
                let number = std::os::fd::AsRawFd::as_raw_fd(descriptor);
                let target = std::fs::read_link(format!("/proc/self/fd/{number}"))?;
                equal("descriptor", target.display().to_string().as_str(), "anon_inode:seccomp notify")
            }),
        case("seccomp-listener/connection-is-closed")
            .spec(
                "The connection MUST NOT be reused and it MUST be closed after sending a seccomp \
                 state.",
            )
            .run(|t| {
                // The receiver reads to the end of the connection.
                received(t).map(drop)
            }),
        case("seccomp-listener/nobody-listens")
            .spec("If sending to this socket fails, the runtime MUST generate an error.")
            .run(|t| {
                let path = short_path();
                configure(t, &path);
                t.refused().map(drop)
            }),
        case("seccomp-listener/exec")
            .runc(
                "each process that loads a filter sends a descriptor of its own, on a connection of its own",
            )
            .needs(Need::SpecVersion(3))
            .run(|t| {
                let path = short_path();
                configure(t, &path);
                let first = receiver(sockets::listen(path.as_ref())?);
                t.running::<&str>(&[])?;
                let init = first.join().map_err(|_| Stop::Failed("the receiver died".into()))??;
                for _ in 0..2 {
                    std::fs::remove_file(&path)?;
                    let next = receiver(sockets::listen(path.as_ref())?);
                    super::exec::facts(t, &[], &[])?;
                    let message = next.join().map_err(|_| Stop::Failed("the receiver died".into()))??;
                    let state: Value = serde_json::from_slice(&message.payload)?;
                    is(&state, "/metadata", "some words")?;
                    is(&state, "/state/status", "running")?;
                    is(&state, "/state/id", t.id.clone())?;
                    ensure!(state["pid"] != t.pid()?, "the pid is that of init: {state}");
                    equal("descriptors", message.descriptors.len(), 1)?;
                }
                std::fs::remove_file(&path)?;
                equal("descriptors of init", init.descriptors.len(), 1)
            }),
        case("seccomp-listener/calls-of-the-runtime")
            .runc("what the runtime calls on the way to the program does not wait for a listener that is not there yet")
            .needs(Need::SpecVersion(3))
            .run(|t| {
                let path = short_path();
                configure(t, &path);
                // Not fcntl(2), which Rust's library makes at each close of a build for debugging. The others answer
                // ENOSYS, once the receiver has closed the descriptor; before that they wait.
                let calls = json!([CALL, "dup", "dup2", "dup3", "openat2", "sendmsg", "sendto", "getpid"]);
                t.set("/linux/seccomp/syscalls/0/names", calls);
                let listener = sockets::listen(path.as_ref())?;
                let thread = std::thread::spawn(move || sockets::receive(&listener).map(drop));
                let answer = t.try_create();
                std::fs::remove_file(&path)?;
                answer?.succeeded()?;
                thread.join().map_err(|_| Stop::Failed("the receiver died".into()))?
            }),
        case("seccomp-listener/not-used")
            .spec("If the `SCMP_ACT_NOTIFY` action is not used this value is ignored.")
            .run(|t| {
                configure(t, "/no/such/socket");
                t.set("/linux/seccomp/syscalls/0/action", "SCMP_ACT_ERRNO").facts().map(drop)
            }),
    ]
}

fn short_path() -> String {
    format!("/tmp/spec-tests-{}.listener", std::process::id())
}

fn configure(t: &mut Trial, path: &str) {
    t.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "some words",
            "syscalls": [{ "names": [CALL], "action": "SCMP_ACT_NOTIFY" }],
        }),
    );
}

fn receiver(listener: UnixListener) -> JoinHandle<Verdict<Message>> {
    std::thread::spawn(move || sockets::receive(&listener))
}

/// Create, with a filter that asks a listener; what the listener is sent.
pub fn received(t: &mut Trial) -> Verdict<Message> {
    let path = short_path();
    configure(t, &path);
    let thread = receiver(sockets::listen(path.as_ref())?);
    let answer = t.try_create();
    let message = thread.join();
    std::fs::remove_file(&path)?;
    answer?.succeeded()?;
    let Ok(message) = message else { return failed("the receiver died") };
    message
}
