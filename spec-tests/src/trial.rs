//! One case at work: its own bundle, runtime root, cgroup and mount namespace.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bundle::{self, PROBE};
use crate::call::{self, Answer, Streams};
use crate::host::Host;
use crate::verdict::{Verdict, failed};
use crate::{cgroup, leftovers};

mod config;

/// How long a case waits for one thing to happen.
pub fn patience() -> Duration {
    Duration::from_secs(10) * slowness()
}

/// How many times slower this machine is than one would expect: `SPEC_TESTS_SLOWNESS`, for those that are emulated.
pub fn slowness() -> u32 {
    std::env::var("SPEC_TESTS_SLOWNESS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// See the top of this file.
pub struct Trial {
    /// The container id of this case.
    pub id: String,
    /// config.json, written at each create.
    pub config: Value,
    /// What the machine offers.
    pub host: Host,
    /// The directory of this case.
    pub work: PathBuf,
    /// The runtime under test.
    pub program: PathBuf,
    /// The probe, outside of any container.
    pub probe: PathBuf,
    /// Children that are no leftovers: started by the case itself.
    pub kept: BTreeSet<i32>,
    driver: Driver,
    mounts_before: String,
    calls: u32,
}

/// Who makes the container's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The runtime.
    Cgroupfs,
    /// systemd, for `--systemd-cgroup` with every call.
    Systemd,
}

impl Trial {
    /// Make the bundle and the other directories.
    pub fn new(program: &Path, work: &Path, probe: &Path, id: &str) -> Verdict<Self> {
        let trial = Self {
            id: id.to_owned(),
            config: bundle::default_config(&format!("/{}/{id}", cgroup::PREFIX)),
            host: Host::read(program),
            work: work.to_owned(),
            program: program.to_owned(),
            probe: probe.to_owned(),
            kept: BTreeSet::new(),
            driver: Driver::Cgroupfs,
            mounts_before: leftovers::mounts(),
            calls: 0,
        };
        for directory in ["proc", "sys", "dev", "tmp", "etc", "bin"] {
            fs::create_dir_all(trial.rootfs().join(directory))?;
        }
        // The container's users other than root must reach the root file system.
        for directory in [trial.work.clone(), trial.bundle(), trial.rootfs()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        }
        fs::copy(probe, trial.rootfs().join(&PROBE[1..]))?;
        fs::create_dir_all(trial.runtime_root())?;
        Ok(trial)
    }

    /// The bundle directory.
    pub fn bundle(&self) -> PathBuf {
        self.work.join("bundle")
    }

    /// The root file system, as the host sees it.
    pub fn rootfs(&self) -> PathBuf {
        self.work.join("bundle/rootfs")
    }

    /// The directory behind `--root`.
    pub fn runtime_root(&self) -> PathBuf {
        self.work.join("root")
    }

    /// A path in the directory of this case.
    pub fn path(&self, name: &str) -> String {
        self.work.join(name).display().to_string()
    }

    /// The runtime with its global options.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.runtime_root());
        if self.driver == Driver::Systemd {
            command.arg("--systemd-cgroup");
        }
        command.args(arguments).current_dir(&self.work);
        command
    }

    /// From now on the container's cgroup is a scope of systemd.
    pub fn under_systemd(&mut self) -> &mut Self {
        self.driver = Driver::Systemd;
        let path = format!("crust-tests.slice:spec:{}", self.id);
        self.set("/linux/cgroupsPath", path)
    }

    /// Call the runtime.
    pub fn call(&mut self, arguments: &[&str]) -> Verdict<Answer> {
        let command = self.command(arguments);
        self.execute(command)
    }

    /// Run a command and write it down, for the diagnostics of a failure.
    pub fn execute(&mut self, command: Command) -> Verdict<Answer> {
        self.calls += 1;
        let streams = Streams {
            stdin: None,
            stdout: self.work.join(format!("stdout-{}", self.calls)),
            stderr: self.work.join(format!("stderr-{}", self.calls)),
        };
        self.execute_with(command, &streams)
    }

    /// The same with streams of the caller's choice.
    pub fn execute_with(&mut self, command: Command, streams: &Streams) -> Verdict<Answer> {
        let mut trace = OpenOptions::new().create(true).append(true).open(self.work.join("trace"))?;
        writeln!(trace, "{} …", call::line(&command))?;
        let answer = call::run(command, streams)?;
        writeln!(trace, "{answer}")?;
        Ok(answer)
    }

    /// Write config.json and call `create`.
    pub fn try_create(&mut self) -> Verdict<Answer> {
        self.write_config()?;
        self.try_create_as_is()
    }

    /// Call `create` on the bundle as it stands.
    pub fn try_create_as_is(&mut self) -> Verdict<Answer> {
        let (bundle, pid_file, id) = (self.bundle().display().to_string(), self.path("pid"), self.id.clone());
        let command = self.command(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &id]);
        let streams = self.container_streams();
        self.execute_with(command, &streams)
    }

    /// The files that the container inherits as its standard streams.
    pub fn container_streams(&self) -> Streams {
        Streams {
            stdin: None,
            stdout: self.work.join("container-stdout"),
            stderr: self.work.join("container-stderr"),
        }
    }

    /// `create` succeeds.
    pub fn create(&mut self) -> Verdict {
        self.try_create()?.succeeded().map(drop)
    }

    /// `start` succeeds.
    pub fn start(&mut self) -> Verdict {
        let id = self.id.clone();
        self.call(&["start", &id])?.succeeded().map(drop)
    }

    /// One command with the container's id succeeds.
    pub fn verb(&mut self, verb: &str) -> Verdict<Answer> {
        let id = self.id.clone();
        self.call(&[verb, &id])
    }

    /// `state`, as JSON.
    pub fn state(&mut self) -> Verdict<Value> {
        let answer = self.verb("state")?.succeeded()?;
        match serde_json::from_str(&answer.stdout) {
            Ok(state) => Ok(state),
            Err(error) => failed(format!("state is no JSON: {error}: {}", answer.stdout)),
        }
    }

    /// The status of `state`.
    pub fn status(&mut self) -> Verdict<String> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// The pid of the pid file.
    pub fn pid(&self) -> Verdict<i32> {
        let text = fs::read_to_string(self.work.join("pid"))?;
        text.trim().parse().map_err(|_| crate::verdict::Stop::Failed(format!("pid file: {text:?}")))
    }

    /// Wait for the end of the container process; its exit status, or 128 and the signal.
    pub fn wait(&mut self) -> Verdict<i32> {
        wait_for(self.pid()?)
    }

    /// What the container wrote to stdout so far.
    pub fn stdout(&self) -> String {
        call::text(&self.work.join("container-stdout"))
    }

    /// Create, start, wait, and read what the probe told.
    pub fn facts(&mut self) -> Verdict<Value> {
        self.create()?;
        self.start()?;
        self.wait()?;
        self.told()
    }

    /// The same with these arguments for the probe.
    pub fn facts_of<S: AsRef<str>>(&mut self, arguments: &[S]) -> Verdict<Value> {
        self.probe(arguments).facts()
    }

    /// Start a container that stays, and read what the probe told.
    pub fn running<S: AsRef<str>>(&mut self, arguments: &[S]) -> Verdict<Value> {
        let all: Vec<&str> = arguments.iter().map(AsRef::as_ref).chain(["hang"]).collect();
        self.probe(&all).create()?;
        self.start()?;
        until("the probe to speak", || self.stdout().ends_with('\n'))?;
        self.told()
    }

    /// What the probe has written, which must be all that the container has.
    pub fn told(&self) -> Verdict<Value> {
        let text = self.stdout();
        let errors = call::text(&self.work.join("container-stderr"));
        match serde_json::from_str(&text) {
            Ok(facts) => Ok(facts),
            Err(error) => failed(format!("the probe did not speak ({error}): {text:?}, stderr {errors:?}")),
        }
    }

    /// `create` fails with a clear message and leaves nothing, before any delete. Its stderr.
    pub fn refused(&mut self) -> Verdict<String> {
        self.write_config()?;
        self.refused_as_is()
    }

    /// The same for the bundle as it stands.
    pub fn refused_as_is(&mut self) -> Verdict<String> {
        let answer = self.try_create_as_is()?.refused()?;
        self.nothing_left("after the refusal")?;
        Ok(answer.stderr)
    }

    /// Nothing of the container is left.
    pub fn nothing_left(&self, when: &str) -> Verdict {
        let left = leftovers::of(
            &self.id,
            &self.runtime_root(),
            &self.host.hierarchies,
            &self.mounts_before,
            &self.kept,
        );
        ensure!(left.is_empty(), "{when} there is still {}", left.join(", "));
        Ok(())
    }

    /// From now on, the mounts that the case itself has made are no leftovers.
    pub fn accept_mounts(&mut self) {
        self.mounts_before = leftovers::mounts();
    }

    /// The cgroup of the container process.
    pub fn cgroup(&self, controller: &str) -> Verdict<PathBuf> {
        cgroup::of_process(&self.host.hierarchies, self.pid()?, controller)
    }

    /// `delete --force` twice: each succeeds, and nothing is left.
    pub fn finish(&mut self) -> Verdict {
        let id = self.id.clone();
        self.call(&["delete", "--force", &id])?.succeeded()?;
        self.nothing_left("after delete --force")?;
        self.call(&["delete", "--force", &id])?.succeeded().map(drop)
    }
}

/// Wait for a child or inherited orphan; its exit status, or 128 and the signal.
pub fn wait_for(pid: i32) -> Verdict<i32> {
    let end = Instant::now() + patience();
    while Instant::now() < end {
        match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => {
                return failed(format!("process {pid} is not (any more) a child of the caller: {error}"));
            }
        }
    }
    failed(format!("process {pid} did not end within {} s", patience().as_secs()))
}

/// Wait until something holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> Verdict {
    let end = Instant::now() + patience();
    while !condition() {
        ensure!(Instant::now() < end, "waited {} s for {what}", patience().as_secs());
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

/// The answer of the probe to one argument.
pub fn did<'a>(facts: &'a Value, argument: &str) -> &'a Value {
    &facts["did"][argument]
}

/// The value at a pointer of the facts is this.
pub fn is(facts: &Value, pointer: &str, want: impl Into<Value>) -> Verdict {
    let got = facts.pointer(pointer).unwrap_or(&Value::Null);
    crate::verdict::equal(pointer, got, &want.into())
}

/// The probe's answer to one argument is this.
pub fn did_is(facts: &Value, argument: &str, want: impl Into<Value>) -> Verdict {
    crate::verdict::equal(argument, did(facts, argument), &want.into())
}
