//! Where the functions that every container needs lie in the binary: beside one another, so that few pages hold them.
//!
//! The text is mapped 64 KiB at a page fault, and what one `run` executes of it is a sixth, which the linker would lay out
//! in the order of the crates. This executes the usual commands an instruction at a time, and writes down their functions
//! for the linker, by patterns that the next build's names match as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::bundle::{Wish, Workshop};
use benches::measure::{pid_in, reap, silently};
use benches::runtime::Runtime;
use benches::stepped::addresses;
use benches::view::View;
use benches::{Attempt, Result};

const USAGE: &str = "usage: order --runtime PATH --payload PATH --output FILE ARCHIVE…\n\
    The runtime is not stripped; the archives are those of the C library that it is linked with.";

const HEAD: &str = "/* The functions of the usual commands, in the order in which they are needed: `make order`. What is not here,\n   \
    or has another name by now, lies where it would lie anyway. */\nSECTIONS {\n  .text.usual : {\n    *(.text.crust_start)\n";
const TAIL: &str = "  }\n}\nINSERT BEFORE .text;\n";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, its, payload, the_payload, output, the_output, archives @ ..] = &words[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if [runtime.as_str(), payload, output] != ["--runtime", "--payload", "--output"] {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let written = patterns(Path::new(its), Path::new(the_payload), archives).and_then(|patterns| {
        let lines: String = patterns.iter().map(|pattern| format!("    {pattern}\n")).collect();
        std::fs::write(the_output, format!("{HEAD}{lines}{TAIL}")).attempt(the_output)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("order: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the linker is to take first, in this order.
fn patterns(runtime: &Path, payload: &Path, archives: &[String]) -> Result<Vec<String>> {
    let functions = Functions::of(runtime)?;
    let members = members(archives)?;
    let mut patterns = Vec::new();
    let mut known = BTreeSet::new();
    for address in executed(runtime, payload)? {
        let Some(name) = functions.at(address) else { continue };
        let pattern = match (glob(name), members.get(name)) {
            // What the compiler takes for unlikely has sections of another name.
            (Some(name), _) => format!("*(.text.{name} .text.unlikely.{name})"),
            (None, Some(member)) => format!("*:{member}(.text .text.*)"),
            (None, None) => continue,
        };
        if known.insert(pattern.clone()) {
            patterns.push(pattern);
        }
    }
    Ok(patterns)
}

/// The usual life of a container, and one with a filter.
fn executed(runtime: &Path, payload: &Path) -> Result<Vec<u64>> {
    nix::sys::prctl::set_child_subreaper(true).attempt("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let directory = std::env::temp_dir().join(format!("crust-order-{}", std::process::id()));
    View::V2.enter(&directory)?;
    let shop = Workshop::open(&directory, payload, View::V2)?;
    let runtime = Runtime { name: "crust".into(), path: runtime.into() };
    let id = format!("crust-order-{}", std::process::id());
    let (ends, stays) = (Wish::default(), Wish { stays: true, ..Wish::default() });
    let filtered = Wish { seccomp: true, binds: 3, covers: true, ..ends };
    let pid_file: PathBuf = shop.file("pid");
    let mut all = addresses(&runtime.run(&shop, View::V2, &shop.bundle("ending", ends)?, &id, 0))?;
    all.extend(addresses(&runtime.run(&shop, View::V2, &shop.bundle("filtered", filtered)?, &id, 3))?);
    let staying = shop.bundle("staying", stays)?;
    all.extend(addresses(&runtime.create(&shop, &staying, &id, &pid_file))?);
    let init = pid_in(&pid_file)?;
    for verb in ["state", "start"] {
        all.extend(addresses(&runtime.of(&shop, verb, &id))?);
    }
    all.extend(addresses(&runtime.exec(&shop, View::V2, &id, init))?);
    all.extend(addresses(&runtime.delete(&shop, &id))?);
    reap(init);
    let _it_is_gone = silently(&runtime.delete(&shop, &id));
    let _still_mounted = nix::mount::umount2(&directory, nix::mount::MntFlags::MNT_DETACH);
    let _not_empty = std::fs::remove_dir(&directory);
    Ok(all)
}

/// The functions of a program, by their addresses.
struct Functions(BTreeMap<u64, (u64, String)>);

impl Functions {
    fn of(program: &Path) -> Result<Self> {
        let table = run("nm", &["--defined-only", "--print-size", &program.display().to_string()])?;
        let function = |line: &str| {
            let [address, size, kind, name] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            let number = |text| u64::from_str_radix(text, 16).ok();
            matches!(kind, "t" | "T" | "w" | "W").then_some(())?;
            Some((number(address)?, (number(size)?, name.to_owned())))
        };
        Ok(Self(table.lines().filter_map(function).collect()))
    }

    fn at(&self, address: u64) -> Option<&str> {
        let (begin, (size, name)) = self.0.range(..=address).next_back()?;
        (address - begin < *size).then_some(name)
    }
}

/// Which member of the archives has a function.
fn members(archives: &[String]) -> Result<BTreeMap<String, String>> {
    let mut members = BTreeMap::new();
    for archive in archives {
        let table = run("nm", &["--defined-only", "--print-file-name", archive])?;
        // `ARCHIVE:MEMBER:ADDRESS KIND NAME`
        let function = |line: &str| {
            let (member, rest) = line.strip_prefix(archive)?.strip_prefix(':')?.split_once(':')?;
            let [_, kind, name] = rest.split(' ').collect::<Vec<_>>()[..] else { return None };
            matches!(kind, "t" | "T" | "w" | "W" | "i").then(|| (name.to_owned(), member.to_owned()))
        };
        members.extend(table.lines().filter_map(function));
    }
    Ok(members)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().attempt(program)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The name of a Rust function without what differs from build to build; `None` for others.
fn glob(name: &str) -> Option<String> {
    if let Some(at) = name.strip_prefix("_ZN").and_then(|rest| rest.rfind("17h")) {
        return Some(format!("{}17h*", &name[..at + 3]));
    }
    let mut rest = name.strip_prefix("_R")?;
    let mut glob = String::from("_R");
    // A crate: `Cs`, its hash, `_`.
    while let Some(at) = rest.find("Cs") {
        let (before, hash) = rest.split_at(at + 2);
        glob.push_str(before);
        rest = hash.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        glob.push('*');
    }
    glob.push_str(rest);
    Some(glob)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_hashes() {
        assert_eq!(
            glob("_ZN5crust3sys4file4open17h0123456789abcdefE").unwrap(),
            "_ZN5crust3sys4file4open17h*"
        );
        assert_eq!(glob("_RNvNtCs4fqI2P2rA04_4core3fmt5write").unwrap(), "_RNvNtCs*_4core3fmt5write");
        assert_eq!(glob("malloc"), None);
    }
}
