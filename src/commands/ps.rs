//! `ps` — the processes of a container.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cgroup::Cgroup;
use crate::cli::{Global, ListFormat, Ps};
use crate::commands::{SUCCESS, print, runtime_root};
use crate::container::Container;
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::pipe;
use crate::sys::process::{self, Exit};
use crate::sys::spawn::{self, Program};

/// More than this of ps(1)'s output is not read, in bytes.
const MOST_OUTPUT: usize = 64 << 20;

/// `ps`: pids as JSON, or the rows of ps(1) that are the container's.
pub fn run(global: &Global, command: &Ps) -> Result<u8, Error> {
    let (id, dir) = runtime_root::container(global, &command.id)?;
    let container = Container::load(id, dir)?;
    // Processes outside of our pid namespace are listed as 0.
    let pids: BTreeSet<i32> =
        Cgroup::open(container.state.cgroup.clone())?.pids()?.into_iter().filter(|pid| *pid > 0).collect();
    let pids = if pids.is_empty() { without_a_cgroup(&container) } else { pids };
    if command.format == ListFormat::Json {
        print(&format!("{}\n", json!(pids)))?;
        return Ok(SUCCESS);
    }
    let default = ["-ef".to_owned()];
    let args = if command.args.is_empty() { &default[..] } else { &command.args };
    let table = rows(&output(args)?, &pids)?;
    print(&table)?;
    Ok(SUCCESS)
}

/// `--cgroup-manager disabled`: nobody knows of the others.
fn without_a_cgroup(container: &Container) -> BTreeSet<i32> {
    container.init.iter().filter(|init| init.is_alive()).map(|init| init.pid).collect()
}

/// The header, and the rows whose column `PID` is one of these.
fn rows(table: &str, pids: &BTreeSet<i32>) -> Result<String, Error> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        return Err(Error::message("ps: its output has no column PID"));
    };
    let is_ours = |line: &&str| {
        line.split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok())
            .is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(header).chain(lines.filter(is_ours)).map(|line| format!("{line}\n")).collect())
}

/// What ps(1) of the host prints.
fn output(args: &[String]) -> Result<String, Error> {
    let name = "ps";
    let path = find(name)?;
    let words = std::iter::once(name).chain(args.iter().map(String::as_str));
    let args = words.map(CString::new).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(|_| Error::message("ps: an argument holds a NUL byte"))?;
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            CString::new(entry.into_vec()).ok()
        })
        .collect();
    let null = file::open(file::here(), "/dev/null", OFlag::O_RDONLY, Mode::empty()).at_file("/dev/null")?;
    let (read, write) = pipe::pipe().at(name)?;
    pipe::set_blocking(&read).at(name)?;
    let (stdin, output) = (null.as_fd(), write.as_fd());
    let program =
        Program { path: &path, args: &args, env: &env, cwd: None, stdin, stdout: output, stderr: output };
    let pid = spawn::spawn(&program).at(name)?;
    drop(write);
    let said = file::read_all(&read, MOST_OUTPUT, name).at(name)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    match process::wait(pid).at(name)? {
        Exit::Code(0) => Ok(said),
        exit => Err(Error::message(format!("ps: {exit}: {}", said.trim_end()))),
    }
}

/// Callers may give us no PATH.
fn find(name: &str) -> Result<CString, Error> {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| "/usr/bin:/bin".into());
    let directories = path.as_bytes().split(|c| *c == b':').map(|dir| Path::new(OsStr::from_bytes(dir)));
    let mut candidates = directories.filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    let found: Option<PathBuf> = candidates.find(|path| process::may_execute(path).is_ok());
    found.and_then(|path| CString::new(path.into_os_string().into_vec()).ok()).ok_or_else(|| {
        Error::message(format!(
            "exec: {name:?}: executable file not found in $PATH (--format json needs none)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_pid() {
        let table = "UID   PID  PPID CMD\nroot    7     1 a\nroot   17     7 b 7\nroot    8    17 c\n";
        assert_eq!(
            rows(table, &BTreeSet::from([7, 8])).unwrap(),
            "UID   PID  PPID CMD\nroot    7     1 a\nroot    8    17 c\n"
        );
        assert!(rows("CMD\nx\n", &BTreeSet::new()).is_err());
    }
}
