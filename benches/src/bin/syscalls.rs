//! The guard: no command may make more system calls than benches/syscalls.txt says, by more than a few per cent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::bundle::{Wish, Workshop};
use benches::count::system_calls;
use benches::measure::{pid_in, reap, silently};
use benches::runtime::Runtime;
use benches::view::View;
use benches::{Attempt, Result};

const USAGE: &str = "usage: syscalls --runtime PATH --payload PATH --limits FILE";

/// Growth that is let pass, in per cent: what a kernel or a machine has more or less of.
const TOLERANCE: u64 = 4;

/// And so many calls: how often a command waits for another process is not always the same.
const FEW: u64 = 3;

/// Each command is counted so often; the fewest count, since who waits for whom is not always the same.
const REPETITIONS: usize = 5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, its, payload, the_payload, limits, the_limits] = &words[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if [runtime.as_str(), payload, limits] != ["--runtime", "--payload", "--limits"] {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match guard(Path::new(its), Path::new(the_payload), Path::new(the_limits)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("syscalls: {why}");
            ExitCode::FAILURE
        }
    }
}

fn guard(runtime: &Path, payload: &Path, limits: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(limits).attempt(limits.display())?;
    let counts = match count(runtime, payload) {
        Ok(counts) => counts,
        Err(why) if why.starts_with("ptrace") => {
            println!("syscalls: skipped: {why}");
            return Ok(true);
        }
        Err(why) => return Err(why),
    };
    let mut fits = true;
    for (command, limit) in text.lines().filter_map(line) {
        let Some(&count) = counts.get(command) else { continue };
        let verdict = match count {
            _ if count > limit + limit * TOLERANCE / 100 + FEW => "too many",
            _ if count + limit * TOLERANCE / 100 + FEW < limit => "fewer: lower the number",
            _ => "",
        };
        fits &= verdict != "too many";
        println!("{command:8} {count:4} system calls, {limit:4} in {} {verdict}", limits.display());
    }
    Ok(fits)
}

/// `run 250`; what begins with `#` is a comment.
fn line(line: &str) -> Option<(&str, u64)> {
    let (command, limit) = line.split_once(' ')?;
    Some((command, limit.trim().parse().ok()?))
}

fn count(runtime: &Path, payload: &Path) -> Result<BTreeMap<&'static str, u64>> {
    nix::sys::prctl::set_child_subreaper(true).attempt("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let directory = std::env::temp_dir().join(format!("crust-syscalls-{}", std::process::id()));
    // One hierarchy, whatever this machine has: the number of v1's trees would count.
    View::V2.enter(&directory)?;
    let shop = Workshop::open(&directory, payload, View::V2)?;
    let runtime = Runtime { name: "crust".into(), path: runtime.into() };
    let counted = commands(&runtime, &shop);
    let _still_mounted = nix::mount::umount2(&directory, nix::mount::MntFlags::MNT_DETACH);
    let _not_empty = std::fs::remove_dir(&directory);
    counted
}

fn commands(runtime: &Runtime, shop: &Workshop) -> Result<BTreeMap<&'static str, u64>> {
    let id = format!("crust-syscalls-{}", std::process::id());
    let (ends, stays) = (Wish::default(), Wish { stays: true, ..Wish::default() });
    let ending = shop.bundle("ending", Wish { everywhere: true, ..ends })?;
    let staying = shop.bundle("staying", Wish { everywhere: true, ..stays })?;
    let mut counts = BTreeMap::new();
    let mut add = |command, count: u64| {
        let fewest = counts.entry(command).or_insert(count);
        *fewest = count.min(*fewest);
    };
    for _ in 0..REPETITIONS {
        add("run", system_calls(&runtime.run(shop, View::V2, &ending, &id, 0))?);
        let pid_file: PathBuf = shop.file("pid");
        add("create", system_calls(&runtime.create(shop, &ending, &id, &pid_file))?);
        add("start", system_calls(&runtime.of(shop, "start", &id))?);
        reap(pid_in(&pid_file)?);
        add("delete", system_calls(&runtime.delete(shop, &id))?);
        let init = runtime.keep(shop, &staying, &id)?;
        add("exec", system_calls(&runtime.exec(shop, View::V2, &id, init))?);
        add("state", system_calls(&runtime.of(shop, "state", &id))?);
        silently(&runtime.delete(shop, &id))?;
        reap(init);
    }
    Ok(counts)
}
