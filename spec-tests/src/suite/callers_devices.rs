//! The caller's own terminal, and other devices that he hands over as standard streams: they stay his.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, is, wait_for};
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, what) in [("run", "run"), ("exec", "exec"), ("run-detached", "run --detach")] {
        let rule = format!("{what} as another user leaves the caller's terminal to its owner");
        cases.push(case(format!("callers-devices/terminal-{name}")).security("R12", &rule).run(move |t| {
            let terminal = nix::pty::openpty(None, None)?;
            keeps_its_owner(t, name, terminal.slave)
        }));
        let rule = format!("{what} as another user leaves a device of the caller's to its owner");
        cases.push(case(format!("callers-devices/device-{name}")).security("R12", &rule).run(move |t| {
            // systemd's /tmp is nodev.
            let directory = t.path("devices");
            std::fs::create_dir(&directory)?;
            mount(Some("tmpfs"), directory.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            t.accept_mounts();
            let path = format!("{directory}/zero");
            mknod(path.as_str(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 5))?;
            keeps_its_owner(t, name, File::options().read(true).write(true).open(path)?)
        }));
    }
    for verb in ["run", "exec"] {
        cases.push(
            case(format!("callers-devices/no-terminal-{verb}"))
                .runc(format!(
                    "a process without a terminal gets none of the caller's from {verb} in the foreground"
                ))
                .needs(Need::Program("setsid"))
                .run(move |t| is(&at_a_terminal(t, verb)?, "/terminal", json!([null, null, null]))),
        );
    }
    cases
}

/// The facts of a process without a terminal, by a caller who has one.
fn at_a_terminal(t: &mut Trial, verb: &str) -> Verdict<Value> {
    let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
    let runtime = if verb == "exec" {
        t.running(&["stat:/"])?;
        t.command(&["exec", &id, "/spec-probe", "exit:5"])
    } else {
        t.probe(&["exit:5"]).write_config()?;
        t.command(&["run", "--bundle", &bundle, &id])
    };
    let terminal = nix::pty::openpty(None, None)?;
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(runtime.get_program()).args(runtime.get_args());
    let status = with_streams(command, &terminal.slave.into())?;
    let mut told = Vec::new();
    let _end_of_a_terminal_is_eio = File::from(terminal.master).read_to_end(&mut told);
    equal("exit status", status, Some(5))?;
    // The runtime may have warned of something before, at the same terminal.
    let facts = told.iter().position(|byte| *byte == b'{').unwrap_or(0);
    Ok(serde_json::from_slice(&told[facts..])?)
}

/// Whom it belongs to when a process of user 1000 has had it as its three streams.
fn keeps_its_owner(t: &mut Trial, name: &str, device: impl AsFd) -> Verdict {
    let device = File::from(device.as_fd().try_clone_to_owned()?);
    let before = device.metadata()?.uid();
    t.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let (bundle, pid_file, id) = (t.bundle().display().to_string(), t.path("pid"), t.id.clone());
    let command = match name {
        "exec" => {
            t.running(&["stat:/"])?;
            t.command(&["exec", "--user", "1000:1000", &id, "/spec-probe", "quiet", "exit:0"])
        }
        "run" => {
            t.probe(&["quiet", "exit:0"]).write_config()?;
            t.command(&["run", "--bundle", &bundle, &id])
        }
        _ => {
            t.probe(&["quiet", "exit:0"]).write_config()?;
            t.command(&["run", "--detach", "--pid-file", &pid_file, "--bundle", &bundle, &id])
        }
    };
    equal("exit status", with_streams(command, &device)?, Some(0))?;
    if name == "run-detached" {
        let pid = std::fs::read_to_string(&pid_file)?.parse().unwrap_or(-1);
        equal("exit status", wait_for(pid)?, 0)?;
    }
    equal("owner", device.metadata()?.uid(), before)
}

fn with_streams(mut command: Command, device: &File) -> Verdict<Option<i32>> {
    let clone = || device.try_clone();
    Ok(command.stdin(clone()?).stdout(clone()?).stderr(clone()?).status()?.code())
}
