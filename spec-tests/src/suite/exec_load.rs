//! runc's exec under load: many in a row, many at a time, and what they leave.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::case::{Case, case};
use crate::leftovers;
use crate::trial::{Trial, slowness, wait_for};
use crate::verdict::{Verdict, equal};

const ROUNDS: usize = 10;
const AT_A_TIME: usize = 20;
/// The kernel stack of each process would be three times as much; what the kernel charges ahead on each CPU is less.
const BYTES: u64 = 1 << 20;

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("exec/two-hundred-twenty-at-a-time")
            .security(
                "J05",
                "execs leave no process, no zombie, no descriptor, no file, no cgroup, no mount, no memory",
            )
            .run(|t| {
                t.running(&["stat:/"])?;
                // What stays of a first round is not a leak: the program's pages.
                round(t)?;
                let (before, memory) = (Seen::of(t)?, memory(t)?);
                for _ in 0..ROUNDS {
                    round(t)?;
                }
                soon(|| Seen::of(t).is_ok_and(|seen| seen == before));
                equal("what is left", Seen::of(t)?, before)?;
                // The kernel takes its time with freeing.
                let more = || -> Verdict<u64> { Ok(self::memory(t)?.saturating_sub(memory)) };
                soon(|| more().is_ok_and(|more| more < BYTES));
                ensure!(more()? < BYTES, "{} bytes more in the container's cgroup than before", more()?);
                Ok(())
            }),
    ]
}

/// What would grow.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// With the zombies.
    processes_of_the_cgroup: String,
    processes_of_ours: BTreeSet<i32>,
    descriptors: usize,
    state_files: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    mounts: String,
}

impl Seen {
    fn of(t: &Trial) -> Verdict<Self> {
        let cgroup = t.cgroup("pids")?;
        Ok(Self {
            processes_of_the_cgroup: fs::read_to_string(cgroup.join("pids.current"))?,
            processes_of_ours: leftovers::children().into_iter().collect(),
            descriptors: names(Path::new(&format!("/proc/{}/fd", t.pid()?)))?.len(),
            state_files: names(&t.runtime_root().join(&t.id))?,
            cgroups: names(&cgroup)?,
            mounts: leftovers::mounts(),
        })
    }
}

/// Give it a few seconds.
fn soon(mut condition: impl FnMut() -> bool) {
    for _ in 0..100 * slowness() {
        if condition() {
            break;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn names(folder: &Path) -> Verdict<BTreeSet<String>> {
    let entries = fs::read_dir(folder)?.flatten();
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// What is charged to the container.
fn memory(t: &Trial) -> Verdict<u64> {
    let file = if t.host.is_unified() { "memory.current" } else { "memory.usage_in_bytes" };
    Ok(fs::read_to_string(t.cgroup("memory")?.join(file))?.trim().parse().unwrap_or(0))
}

/// One of each kind, again and again, all at the same time.
fn round(t: &Trial) -> Verdict {
    let mut calls = Vec::new();
    for number in 0..AT_A_TIME {
        let kind = Kind::of(number);
        calls.push((number, kind.spawn(t, number)?));
    }
    for (number, mut call) in calls {
        let status = call.wait()?.code();
        Kind::of(number).ended(t, number, status)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Foreground,
    Detached,
    NoProgram,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 4 {
            0 => Self::Detached,
            1 => Self::NoProgram,
            _ => Self::Foreground,
        }
    }

    fn spawn(self, t: &Trial, number: usize) -> Verdict<Child> {
        let (file, exit) = (t.path(&format!("pid-{number}")), format!("exit:{number}"));
        let options = match self {
            Self::Detached => vec!["--detach", "--pid-file", &file],
            Self::Foreground | Self::NoProgram => vec![],
        };
        let program = match self {
            Self::NoProgram => vec!["/nothing"],
            Self::Foreground | Self::Detached => vec!["/spec-probe", "quiet", &exit],
        };
        let words: Vec<&str> =
            ["exec"].into_iter().chain(options).chain([t.id.as_str()]).chain(program).collect();
        let mut command = t.command(&words);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    fn ended(self, t: &Trial, number: usize, status: Option<i32>) -> Verdict {
        let number_of_program = i32::try_from(number).ok();
        match self {
            Self::Foreground => equal("exit status", status, number_of_program),
            Self::NoProgram => equal("exit status of no program", status, Some(255)),
            Self::Detached => {
                equal("exit status of --detach", status, Some(0))?;
                let file = t.path(&format!("pid-{number}"));
                let pid = fs::read_to_string(&file)?.parse().unwrap_or(-1);
                fs::remove_file(&file)?;
                equal("exit status of the program", Some(wait_for(pid)?), number_of_program)
            }
        }
    }
}
