//! runc's exec: what it must not do to the container and to the host, and what it leaves.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::exec::exec;
use crate::case::{Case, case};
use crate::host::Need;
use crate::sockets;
use crate::trial::{Trial, did_is, is, patience, slowness, until};
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [accounts(), refused(), paused(), cgroups(), own_binary(), terminals(), readiness()]
        .into_iter()
        .flatten()
        .collect()
}

fn facts(t: &mut Trial, options: &[&str]) -> Verdict<Value> {
    Ok(serde_json::from_str(exec(t, options, &["/spec-probe"])?.succeeded()?.stdout.trim())?)
}

fn accounts() -> Vec<Case> {
    vec![
        case("exec/user-by-name")
            .security("E21", "a name is refused, or it is that of the container's /etc/passwd")
            .run(|t| {
                fs::write(t.rootfs().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n")?;
                t.running(&["stat:/"])?;
                let answer = exec(t, &["--user", "web"], &["/spec-probe"])?;
                if answer.code == 0 {
                    let facts: Value = serde_json::from_str(&answer.stdout)?;
                    is(&facts, "/uid", json!([33, 33, 33]))?;
                    return is(&facts, "/gid", json!([34, 34, 34]));
                }
                answer.refused().map(drop)
            }),
        case("exec/user-by-name-of-the-host")
            .security(
                "E21",
                "a name is never looked up on the host: its /etc/passwd may be a link in the image",
            )
            .run(|t| {
                std::os::unix::fs::symlink(
                    "/proc/self/root/../../etc/passwd",
                    t.rootfs().join("etc/passwd"),
                )?;
                t.set("/process/user/uid", 1000);
                t.running(&["stat:/"])?;
                exec(t, &["--user", "daemon"], &["/spec-probe"])?.refused().map(drop)
            }),
        case("exec/user-namespace")
            .runc("exec has the ids of the container's user namespace")
            .needs(Need::Namespace("user"))
            .run(|t| {
                let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                t.namespace("user", None)
                    .set("/linux/uidMappings", mapping.clone())
                    .set("/linux/gidMappings", mapping);
                t.running(&["stat:/"])?;
                let facts = facts(t, &["--user", "7:8", "--additional-gids", "9"])?;
                is(&facts, "/uid", json!([7, 7, 7]))?;
                is(&facts, "/gid", json!([8, 8, 8]))?;
                let open: Vec<&String> =
                    facts["descriptors"].as_object().map(|open| open.keys().collect()).unwrap_or_default();
                equal("open descriptors", open, vec!["0", "1", "2"])
            }),
    ]
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, options) in [
        ("cwd-relative", &["--cwd", "tmp"] as &[&str]),
        ("cwd-not-there", &["--cwd", "/nowhere"]),
        ("env-without-value", &["--env", "NONSENSE"]),
        ("process-missing", &["--process", "/nonexistent/process.json"]),
        ("gid-no-number", &["--additional-gids", "-1"]),
        ("cgroup-above", &["--cgroup", "../.."]),
    ] {
        cases.push(
            case(format!("exec/refused-{name}"))
                .security("E22", "what cannot be done is refused, and the container goes on")
                .run(move |t| {
                    t.running(&["stat:/"])?;
                    exec(t, options, &["/spec-probe"])?.refused()?;
                    equal("status", t.status()?, "running")
                }),
        );
    }
    cases.push(case("exec/failure-is-255").runc("exec that fails exits 255 and says `exec failed`").run(
        |t| {
            t.running(&["stat:/"])?;
            let answer = exec(t, &[], &["/nope"])?.refused_with(&["exec failed"])?;
            equal("exit status", answer.code, 255)
        },
    ));
    cases.push(
        case("exec/arguments-are-the-programs")
            .runc("what follows the id is the program's, flags included")
            .run(|t| {
                t.running(&["stat:/"])?;
                let answer = exec(t, &[], &["/spec-probe", "--tty=false", "-no-x", "--cwd"])?.succeeded()?;
                is(
                    &serde_json::from_str(&answer.stdout)?,
                    "/argv",
                    json!(["/spec-probe", "--tty=false", "-no-x", "--cwd"]),
                )
            }),
    );
    cases
}

fn paused() -> Vec<Case> {
    vec![
        case("exec/paused-says-how").security("E23", "the refusal names --ignore-paused").run(|t| {
            t.running(&["stat:/"])?;
            t.verb("pause")?.succeeded()?;
            exec(t, &[], &["/spec-probe"])?.refused_with(&["--ignore-paused"])?;
            equal("status", t.status()?, "paused")
        }),
        case("exec/ignore-paused").runc("exec --ignore-paused runs the program when it is resumed").run(
            |t| {
                t.running(&["stat:/"])?;
                t.verb("pause")?.succeeded()?;
                let id = t.id.clone();
                let mut command =
                    t.command(&["exec", "--ignore-paused", &id, "/spec-probe", "quiet", "exit:5"]);
                let mut waiting = command.stdin(std::process::Stdio::null()).spawn()?;
                t.kept.insert(waiting.id().cast_signed());
                std::thread::sleep(std::time::Duration::from_millis(100));
                equal("ended while paused", waiting.try_wait()?.is_some(), false)?;
                t.verb("resume")?.succeeded()?;
                equal("exit status", waiting.wait()?.code(), Some(5))
            },
        ),
    ]
}

fn cgroups() -> Vec<Case> {
    let sub = |t: &mut Trial, option: &str| {
        t.running(&["stat:/"])?;
        let directory = t.cgroup("pids")?.join("sub");
        fs::create_dir(&directory)?;
        let answer = exec(t, &["--cgroup", option], &["/spec-probe"]);
        fs::remove_dir(&directory).ok();
        let facts: Value = serde_json::from_str(&answer?.succeeded()?.stdout)?;
        let lines = facts["cgroup"].as_str().unwrap_or_default().to_owned();
        let line = lines.lines().find(|line| line.contains(":pids:") || line.starts_with("0::"));
        ensure!(line.is_some_and(|line| line.ends_with("/sub")), "cgroup: {lines:?}");
        Ok(())
    };
    vec![
        case("exec/cgroup-of-a-controller")
            .runc("exec --cgroup CONTROLLER:PATH enters a sub-cgroup of the container")
            .needs(Need::CgroupV1("pids"))
            .run(move |t| sub(t, "pids:sub")),
        case("exec/cgroup")
            .runc("exec --cgroup PATH enters a sub-cgroup of the container")
            .needs(Need::CgroupV2("pids"))
            .run(move |t| sub(t, "sub")),
        case("exec/cgroup-that-the-container-has-divided")
            .runc("where the container has divided its cgroup, exec joins its init")
            .needs(Need::CgroupV2("pids"))
            .run(|t| {
                t.running(&["stat:/"])?;
                let (whole, init) = (t.cgroup("pids")?, t.pid()?);
                let part = whole.join("part");
                fs::create_dir(&part)?;
                fs::write(part.join("cgroup.procs"), init.to_string())?;
                fs::write(whole.join("cgroup.subtree_control"), "+pids")?;
                let facts = facts(t, &[])?;
                let path = facts["cgroup"].as_str().unwrap_or_default().trim().to_owned();
                ensure!(path.ends_with("/part"), "cgroup: {path:?}");
                Ok(())
            }),
        case("exec/cgroup-missing").runc("exec --cgroup of what is not there is refused").run(|t| {
            t.running(&["stat:/"])?;
            let option = if t.host.is_unified() { "nowhere" } else { "pids:nowhere" };
            exec(t, &["--cgroup", option], &["/spec-probe"])?.refused().map(drop)
        }),
    ]
}

fn own_binary() -> Vec<Case> {
    vec![
        case("exec/the-runtime-is-not-writable")
            .security(
                "R16",
                "the runtime's binary, which the container sees until its program runs, cannot be written to",
            )
            .run(|t| {
                t.create()?;
                let exe = fs::File::open(format!("/proc/{}/exe", t.pid()?))?;
                let sealed = nix::fcntl::fcntl(&exe, nix::fcntl::FcntlArg::F_GET_SEALS)
                    .is_ok_and(|seals| seals & libc::F_SEAL_WRITE != 0);
                let flags = crate::sys::mount_flags(exe.as_raw_fd());
                // A file of its own that is executed, and gone when it is executed no more.
                let path = format!("/proc/self/fd/{}", exe.as_raw_fd());
                let busy = fs::File::options().write(true).open(path);
                let unnamed = exe.metadata()?.nlink() == 0
                    && busy.is_err_and(|error| error.raw_os_error() == Some(libc::ETXTBSY));
                ensure!(
                    sealed || flags & libc::ST_RDONLY != 0 || unnamed,
                    "neither sealed memory nor a read-only mount nor a busy file without a name"
                );
                Ok(())
            }),
    ]
}

/// The facts of `exec --process` of a process with a terminal, from a terminal of 30 rows and 100 columns, which is given
/// another size after a while.
fn on_a_terminal(t: &mut Trial, arguments: &[&str], resize: Option<(u16, u16)>) -> Verdict<Value> {
    t.running(&["stat:/"])?;
    let mut process = t.config["process"].clone();
    process["terminal"] = true.into();
    process["args"] = json!([&["/spec-probe"], arguments].concat());
    let path = t.path("process.json");
    fs::write(&path, process.to_string())?;
    let size = nix::pty::Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None)?;
    let runtime = t.command(&["exec", "--process", &path, &t.id]);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(runtime.get_program()).args(runtime.get_args());
    command.stdin(terminal.slave.try_clone()?).stdout(terminal.slave.try_clone()?).stderr(terminal.slave);
    let mut child = command.spawn()?;
    drop(command); // our last descriptors of the slave
    if let Some((rows, columns)) = resize {
        std::thread::sleep(Duration::from_secs(1) * slowness());
        crate::sys::resize(terminal.master.as_raw_fd(), rows, columns)?;
    }
    let mut told = Vec::new();
    let _end_of_a_terminal_is_eio = File::from(terminal.master).read_to_end(&mut told);
    equal("exit status", child.wait()?.code(), Some(0))?;
    Ok(serde_json::from_slice(&told)?)
}

fn terminals() -> Vec<Case> {
    vec![
        case("exec/terminal-of-ours")
            .runc("exec --tty in the foreground needs no console socket (CRI-O's `kubectl exec -t`)")
            .run(|t| {
                t.running(&["stat:/"])?;
                let facts = facts(t, &["--tty"])?;
                let streams = facts["terminal"].as_array().cloned().unwrap_or_default();
                ensure!(
                    streams.len() == 3 && streams.iter().all(|size| !size.is_null()),
                    "the streams are no terminals: {streams:?}"
                );
                Ok(())
            }),
        case("exec/terminal-has-the-size-of-ours")
            .runc("exec of a process with a terminal takes over the size of the caller's (CRI-O's `kubectl exec -t`)")
            .needs(Need::Program("setsid"))
            .run(|t| {
                is(&on_a_terminal(t, &["exit:0"], None)?, "/terminal", json!([[30, 100], [30, 100], [30, 100]]))
            }),
        case("exec/terminal-is-resized")
            .runc("exec of a process with a terminal follows the size of the caller's")
            .needs(Need::Program("setsid"))
            .run(|t| {
                let sleep = format!("sleep-first:{}", 3000 * slowness());
                let facts = on_a_terminal(t, &[&sleep, "window-size"], Some((40, 120)))?;
                did_is(&facts, "window-size", json!([40, 120]))
            }),
        case("exec/terminal-needs-a-receiver")
            .runc("exec --tty --detach without a console socket is refused")
            .run(|t| {
                t.running(&["stat:/"])?;
                exec(t, &["--tty", "--detach"], &["/spec-probe"])?.refused_with(&["tty"]).map(drop)
            }),
        case("exec/console-socket").runc("exec --tty --detach --console-socket sends the master").run(|t| {
            t.running(&["stat:/"])?;
            let path = t.path("console");
            let listener = sockets::listen(path.as_ref())?;
            let receiver = std::thread::spawn(move || sockets::receive(&listener).ok());
            let pid_file = t.path("exec-pid");
            let options = ["--tty", "--detach", "--console-socket", &path, "--pid-file", &pid_file];
            exec(t, &options, &["/spec-probe", "quiet", "exit:0"])?.succeeded()?;
            let message = receiver.join().ok().flatten();
            let descriptors = message.map(|message| message.descriptors.len());
            crate::trial::wait_for(fs::read_to_string(&pid_file)?.parse().unwrap_or(0))?;
            equal("descriptors", descriptors, Some(1))
        }),
        case("exec/pidfd-socket")
            .runc("exec --pidfd-socket sends a pidfd, and the word `setns`")
            .needs(Need::SpecVersion(2))
            .run(|t| {
                t.running(&["stat:/"])?;
                let path = t.path("pidfd");
                let listener = sockets::listen(path.as_ref())?;
                let receiver = std::thread::spawn(move || sockets::receive(&listener).ok());
                exec(t, &["--pidfd-socket", &path], &["/spec-probe", "quiet", "sleep-first:200"])?
                    .succeeded()?;
                let Some(message) = receiver.join().ok().flatten() else {
                    return crate::verdict::failed("nothing was sent");
                };
                equal("message", String::from_utf8_lossy(&message.payload).as_ref(), "setns")?;
                equal("descriptors", message.descriptors.len(), 1)
            }),
    ]
}

fn readiness() -> Vec<Case> {
    vec![
        case("notify-socket/ready")
            .runc("READY=1 of the program reaches NOTIFY_SOCKET with the pid on the host, and start waits for it")
            .run(|t| {
                let manager = t.path("manager");
                let socket = std::os::unix::net::UnixDatagram::bind(&manager)?;
                socket.set_read_timeout(Some(patience()))?;
                t.probe(&["ready", "hang"]).write_config()?;
                let (bundle, pid_file, id) =
                    (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
                let mut create =
                    t.command(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &id]);
                create.env("NOTIFY_SOCKET", &manager);
                let streams = t.container_streams();
                t.execute_with(create, &streams)?.succeeded()?;
                let mut start = t.command(&["start", &id]);
                start.env("NOTIFY_SOCKET", &manager);
                let receiver = std::thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    let mut said = String::new();
                    while let Ok(length) = socket.recv(&mut bytes) {
                        said.push_str(&String::from_utf8_lossy(&bytes[..length]));
                        said.push('\n');
                        if said.contains("MAINPID=") {
                            break;
                        }
                    }
                    said
                });
                t.execute(start)?.succeeded()?;
                let said = receiver.join().unwrap_or_default();
                let pid = t.pid()?;
                ensure!(
                    said.contains("READY=1") && said.contains(&format!("MAINPID={pid}")),
                    "the manager was told {said:?}"
                );
                until("the container to run", || t.status().is_ok_and(|status| status == "running"))
            }),
    ]
}
