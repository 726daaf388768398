//! Find the program in the container, and become it.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::config::process::Process;
use crate::error::Error;
use crate::sys::file::{self, Mode, OFlag, ResolveFlag, SFlag};
use crate::sys::{Errno, process};

/// The program's path and environment, looked for with the container process's rights and from its working directory.
/// Callers tell their users "command not found" and "not executable" by these texts and by the exit codes.
pub fn find(process: &Process, variables: &[String]) -> Result<(PathBuf, Vec<CString>), Error> {
    let name = OsStr::from_bytes(process.args[0].as_bytes());
    let path = if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        match executable(&path) {
            Ok(()) => path,
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)) => {
                return Err(failed(127, format!("exec: {name:?}: stat {}: {}", path.display(), text(errno))));
            }
            Err(errno) => return Err(failed(126, format!("exec: {name:?}: {}", text(errno)))),
        }
    } else {
        search(name, process.variable("PATH").unwrap_or_default())?
    };
    let mut env = process.env.clone();
    env.extend(variables.iter().filter_map(|variable| CString::new(variable.as_str()).ok()));
    if process.variable("HOME").is_none() {
        let mut home = OsString::from("HOME=");
        home.push(home_of(process.user.uid()).unwrap_or_else(|| "/".into()));
        env.extend(CString::new(home.into_vec()));
    }
    Ok((path, env))
}

/// The environment as text, for hooks that run in the container.
pub fn texts(env: &[CString]) -> Vec<String> {
    env.iter().map(|entry| entry.to_string_lossy().into_owned()).collect()
}

/// Run the program. Comes back only with an error.
pub fn execute(path: &Path, args: &[CString], env: &[CString]) -> Result<Infallible, Error> {
    let errno = process::execute(path, args, env);
    let hint = match errno {
        // The program was there a moment ago.
        Errno::ENOENT => " (is the interpreter of its first line, or its loader, missing?)",
        Errno::ENOEXEC => " (is it for another architecture, or a script without \"#!\"?)",
        _ => "",
    };
    let code = if errno == Errno::ENOENT { 127 } else { 126 };
    Err(failed(code, format!("exec {}: {}{hint}", path.display(), text(errno))))
}

fn failed(code: i32, what: String) -> Error {
    Error::Program { code, message: format!("process.args[0]: {}", crate::error::printable(&what)) }
}

/// The text of an errno as callers look for it: with a small letter.
fn text(errno: Errno) -> String {
    match errno {
        // What execve(2) says of it comes first: Podman, and Docker before 23, know no other.
        Errno::EISDIR => "permission denied: it is a directory".into(),
        Errno::ENOEXEC => "exec format error".into(),
        errno => {
            let text = errno.desc();
            text[..1].to_lowercase() + &text[1..]
        }
    }
}

/// As a shell does it: a program that may not be executed counts only if no other is found.
fn search(name: &OsStr, path: &OsStr) -> Result<PathBuf, Error> {
    let mut denied = None;
    for directory in path.as_bytes().split(|c| *c == b':') {
        let directory =
            if directory.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(directory)) };
        let candidate = directory.join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = Some(candidate),
            Err(_) => {}
        }
    }
    Err(match denied {
        Some(candidate) => failed(126, format!("exec: {:?}: permission denied", candidate.display())),
        None => failed(127, format!("exec: {name:?}: executable file not found in $PATH")),
    })
}

/// Whether this is a file that the caller may execute. Magic links are refused: `/proc/self/exe` would be the runtime.
fn executable(path: &Path) -> Result<(), Errno> {
    let resolve = ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file =
        file::openat2(file::here(), path, OFlag::O_PATH, Mode::empty(), resolve).map_err(|e| e.errno)?;
    let stat = file::stat(&file).map_err(|e| e.errno)?;
    match file::kind(&stat) {
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        SFlag::S_IFREG => process::may_execute(path).map_err(|e| e.errno),
        _ => Err(Errno::EACCES),
    }
}

/// More than this of a container's /etc/passwd is not read, in bytes: it may be anything.
const MOST_OF_PASSWD: usize = 1 << 20;

/// The home directory that the container's /etc/passwd has for a uid.
fn home_of(uid: u32) -> Option<OsString> {
    let resolve = ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let passwd = file::openat2(file::here(), "/etc/passwd", flags, Mode::empty(), resolve).ok()?;
    let stat = file::stat(&passwd).ok()?;
    if file::kind(&stat) != SFlag::S_IFREG || stat.st_size as usize > MOST_OF_PASSWD {
        return None;
    }
    home_in(&file::read_all(&passwd, MOST_OF_PASSWD, "/etc/passwd").ok()?, uid)
}

fn home_in(passwd: &[u8], uid: u32) -> Option<OsString> {
    let uid = uid.to_string();
    passwd.split(|c| *c == b'\n').find_map(|line| {
        let fields: Vec<_> = line.split(|c| *c == b':').collect();
        let matches =
            fields.get(2) == Some(&uid.as_bytes()) && fields.get(5).is_some_and(|home| !home.is_empty());
        matches.then(|| OsStr::from_bytes(fields[5]).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\nweb:x:33:33::/srv/web:/bin/sh\nnone:x:34:34:::\n";
        assert_eq!(home_in(passwd, 33), Some("/srv/web".into()));
        assert_eq!(home_in(passwd, 34), None);
        assert_eq!(home_in(passwd, 3), None);
    }

    #[test]
    fn texts_that_callers_look_for() {
        assert_eq!(text(Errno::EACCES), "permission denied");
        assert_eq!(text(Errno::ENOENT), "no such file or directory");
        let error = search(OsStr::new("nope"), OsStr::new("/bin:/usr/bin")).unwrap_err();
        assert!(error.to_string().contains("executable file not found in $PATH"), "{error}");
    }
}
