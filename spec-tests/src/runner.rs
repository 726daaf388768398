//! The command line, and the cases one by one, each in a process and a mount namespace of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, chown, geteuid, setgroups, setresgid, setresuid};
use serde_json::{Value, json};

use crate::case::Case;
use crate::host::Host;
use crate::report::Report;
use crate::trial::{Trial, slowness};
use crate::verdict::{Stop, Verdict};
use crate::without::{self, Without};
use crate::{call, cgroup, leftovers, suite};

/// The user of the cases for ordinary users, where the runner is root.
const NOBODY: u32 = 65534;
/// The first of the subordinate ids that it gets, and how many.
const LENT: (u32, u32) = (200_000, 65_536);
const USAGE: &str =
    "usage: spec-tests --runtime PATH [--jobs N] [--list] [--without CALLS [--errno ENOSYS|EPERM]] [FILTER…]";

#[derive(Default)]
struct Options {
    runtime: Option<PathBuf>,
    jobs: Option<usize>,
    list: bool,
    one: Option<(PathBuf, String)>,
    without: Option<String>,
    errno: Option<String>,
    filters: Vec<String>,
}

impl Options {
    fn parse(words: Vec<String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        let next = |words: &mut std::vec::IntoIter<String>| words.next().ok_or_else(|| USAGE.to_owned());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--runtime" => options.runtime = Some(next(&mut words)?.into()),
                "--jobs" => options.jobs = Some(next(&mut words)?.parse().map_err(|_| USAGE.to_owned())?),
                "--list" => options.list = true,
                "--one" => options.one = Some((next(&mut words)?.into(), next(&mut words)?)),
                "--without" => options.without = Some(next(&mut words)?),
                "--errno" => options.errno = Some(next(&mut words)?),
                flag if flag.starts_with('-') => return Err(USAGE.to_owned()),
                _ => options.filters.push(word),
            }
        }
        Ok(options)
    }

    fn wants(&self, case: &Case) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| case.name.contains(filter.as_str()))
    }
}

/// The program.
pub fn run(arguments: Vec<String>) -> Result<ExitCode, String> {
    let options = Options::parse(arguments)?;
    if options.list {
        list(&options);
        return Ok(ExitCode::SUCCESS);
    }
    let runtime =
        options.runtime.clone().or_else(|| std::env::var_os("RUNTIME").map(PathBuf::from)).ok_or(USAGE)?;
    let runtime = fs::canonicalize(&runtime).map_err(|error| format!("{}: {error}", runtime.display()))?;
    if let Some((work, id)) = &options.one {
        return Ok(one(&runtime, work, id, &options.filters[0]));
    }
    let probe = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("spec-probe");
    if !probe.exists() {
        return Err(format!("{} is missing: build the whole package, not only one binary", probe.display()));
    }
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| format!("prctl: {error}"))?;
    let may = |case: &Case| geteuid().is_root() || case.is_rootless();
    let cases: Vec<Case> = suite::all().into_iter().filter(|case| options.wants(case) && may(case)).collect();
    let jobs =
        options.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let without = options
        .without
        .clone()
        .map(|list| Without { list, errno: options.errno.clone().unwrap_or_else(|| "ENOSYS".to_owned()) });
    let all_well = Run::new(runtime, without)?.cases(&cases, jobs);
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(options: &Options) {
    for case in suite::all().iter().filter(|case| options.wants(case)) {
        println!("{}\n    {}: {}", case.name, case.origin, case.sentence);
        for need in &case.needs {
            println!("    needs {need:?}");
        }
    }
}

/// The process of one case: its verdict as JSON on stdout.
fn one(runtime: &Path, work: &Path, id: &str, name: &str) -> ExitCode {
    let verdict = isolate().and_then(|()| {
        let Some(case) = suite::all().into_iter().find(|case| case.name == name) else {
            return Err(Stop::Failed(format!("no case {name}")));
        };
        if case.is_rootless() {
            become_ordinary(work)?;
        }
        let probe = std::env::current_exe()?.with_file_name("spec-probe");
        let mut trial = Trial::new(runtime, work, &probe, id)?;
        (case.run)(&mut trial)?;
        trial.finish()
    });
    let answer = match verdict {
        Ok(()) => json!({ "passed": true }),
        Err(Stop::Failed(text)) => json!({ "failed": text }),
        Err(Stop::Skipped(reason)) => json!({ "skipped": reason }),
    };
    println!("{answer}");
    // The container of a failed case may still be there.
    let _ =
        Command::new(runtime).arg("--root").arg(work.join("root")).args(["delete", "--force", id]).output();
    leftovers::kill_children(&BTreeSet::new());
    ExitCode::SUCCESS
}

fn isolate() -> Verdict {
    // Whatever the caller of the runner left open must not reach the runtime. (CLOSE_RANGE_CLOEXEC is of Linux 5.11.)
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let number: u64 = entry.file_name().to_string_lossy().parse()?;
        if number > 2 {
            let arguments = [number, libc::F_SETFD as u64, libc::FD_CLOEXEC as u64, 0, 0, 0];
            crate::sys::call(libc::SYS_fcntl, arguments)?;
        }
    }
    nix::sys::prctl::set_child_subreaper(true)?;
    if !geteuid().is_root() {
        return Ok(()); // and the user namespace of a container is all that can mount
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    Ok(())
}

/// Give root's rights up, and keep the case's directory. Before, in the mount namespace of the case: subordinate ids, and
/// a mount with flags that no user namespace can take off.
fn become_ordinary(work: &Path) -> Verdict {
    if !geteuid().is_root() {
        return Ok(());
    }
    let lent = work.join("lent");
    fs::write(&lent, format!("{NOBODY}:{}:{}\n", LENT.0, LENT.1))?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        if Path::new(file).exists() {
            mount(Some(&lent), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
    }
    let locked = work.join("locked");
    fs::create_dir(&locked)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    mount(Some("tmpfs"), &locked, Some("tmpfs"), flags, None::<&str>)?;
    chown(work, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
    setgroups(&[])?;
    setresgid(NOBODY.into(), NOBODY.into(), NOBODY.into())?;
    setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into())?;
    // The change of user has cleared it, and with it the ownership of our own files in /proc.
    Ok(nix::sys::prctl::set_dumpable(true)?)
}

/// All cases under one runtime.
struct Run {
    runtime: PathBuf,
    host: Host,
    work: PathBuf,
    processes: Mutex<BTreeSet<i32>>,
    without: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl Run {
    fn new(runtime: PathBuf, without: Option<Without>) -> Result<Self, String> {
        let work = std::env::temp_dir().join(format!("spec-tests-{}", std::process::id()));
        let (runtime, names) = match without {
            Some(without) => {
                let wrapped = wrap(&runtime, &without, &work);
                (wrapped.map_err(|error| format!("{}: {error}", work.display()))?, without.names()?)
            }
            None => (runtime, Vec::new()),
        };
        let host = Host::read(&runtime);
        Ok(Self {
            host,
            runtime,
            work,
            processes: Mutex::default(),
            without: names,
            missing: without::missing(),
        })
    }

    fn cases(&self, cases: &[Case], jobs: usize) -> bool {
        println!("TAP version 13\n1..{}", cases.len());
        let (next, report) = (AtomicUsize::new(0), Mutex::new(Report::default()));
        // Some questions are answered by a child, which the threads below would take for a leftover.
        let lacking: Vec<_> = cases.iter().map(|case| self.host.lacks(&case.needs)).collect();
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(number) else { break };
                        let (verdict, diagnostics) = match &lacking[number] {
                            Some(reason) => (Err(Stop::Skipped(reason.clone())), Vec::new()),
                            None => self.case(case, number),
                        };
                        report.lock().unwrap().add(&case.name, &verdict, &diagnostics);
                    }
                });
            }
        });
        leftovers::kill_children(&BTreeSet::new());
        fs::remove_dir_all(&self.work).ok();
        for hierarchy in &self.host.hierarchies {
            fs::remove_dir(hierarchy.mount.join(cgroup::PREFIX)).ok();
        }
        report.into_inner().unwrap().end()
    }

    fn case(&self, case: &Case, number: usize) -> (Verdict, Vec<String>) {
        let id = format!("{}-{}", std::process::id(), case.name.replace('/', "-").replace(' ', "_"));
        let id: String =
            id.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect();
        let id = format!("{}-{number}", id.chars().take(60).collect::<String>());
        let work = self.work.join(&id);
        let verdict = self.permit(&case.name, self.in_process(&case.name, &work, &id));
        let diagnostics =
            vec![format!("{}: {}", case.origin, case.sentence), call::text(&work.join("trace"))];
        self.clear(&work, &id);
        (verdict, diagnostics)
    }

    fn in_process(&self, name: &str, work: &Path, id: &str) -> Verdict {
        fs::create_dir_all(work)?;
        let (mut child, mut stdout) = {
            let mut processes = self.processes.lock().unwrap();
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--runtime").arg(&self.runtime).arg("--one").arg(work).args([id, name]);
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            processes.insert(child.id().cast_signed());
            let stdout = child.stdout.take();
            (child, stdout)
        };
        let in_time = ends_in_time(&mut child)?;
        let mut answer = String::new();
        if in_time && let Some(stdout) = &mut stdout {
            stdout.read_to_string(&mut answer)?;
        }
        self.processes.lock().unwrap().remove(&child.id().cast_signed());
        if in_time {
            decode(&answer)
        } else {
            Err(Stop::Failed(format!("not done after {} s", time_limit().as_secs())))
        }
    }

    /// What cannot be done without a call is refused, whether it was taken away or the kernel is older.
    fn permit(&self, name: &str, verdict: Verdict) -> Verdict {
        let Err(Stop::Failed(text)) = verdict else { return verdict };
        let call = without::is_permitted_refusal(&self.without, name, &text);
        match call.or_else(|| without::refusal(&self.missing, name, &text)) {
            Some(call) => Err(Stop::Skipped(format!("refused for want of {call}"))),
            None => Err(Stop::Failed(text)),
        }
    }

    /// Leave nothing, whatever the case did.
    fn clear(&self, work: &Path, id: &str) {
        cgroup::clear(&cgroup::named(&self.host.hierarchies, id));
        leftovers::kill_children(&self.processes.lock().unwrap());
        cgroup::clear(&cgroup::named(&self.host.hierarchies, id));
        fs::remove_dir_all(work).ok();
    }
}

/// A program that is the runtime without some calls.
fn wrap(runtime: &Path, without: &Without, work: &Path) -> io::Result<PathBuf> {
    let tool = std::env::current_exe()?.with_file_name("without-calls");
    let path = work.join("runtime");
    fs::create_dir_all(work)?;
    let words = format!("{} {} {}", tool.display(), without.list, without.errno);
    fs::write(&path, format!("#!/bin/sh\nexec {words} {} \"$@\"\n", runtime.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Of a case.
fn time_limit() -> Duration {
    Duration::from_secs(20) * slowness()
}

fn ends_in_time(child: &mut Child) -> Verdict<bool> {
    let end = Instant::now() + time_limit();
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(true)
}

fn decode(answer: &str) -> Verdict {
    let value: Value = serde_json::from_str(answer.lines().last().unwrap_or_default()).unwrap_or_default();
    match (&value["failed"], &value["skipped"], &value["passed"]) {
        (Value::String(text), _, _) => Err(Stop::Failed(text.clone())),
        (_, Value::String(reason), _) => Err(Stop::Skipped(reason.clone())),
        (_, _, Value::Bool(true)) => Ok(()),
        _ => Err(Stop::Failed("the process of the case died".to_owned())),
    }
}
