//! `newuidmap(1)` and `newgidmap(1)`, which write an ordinary user's maps for him, as far as `/etc/subuid` and
//! `/etc/subgid` allow.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::linux::id_mappings::IdMapping;
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::process::{self, Exit};
use crate::sys::spawn::{self, Program};
use crate::sys::{Errno, Error, Result, pipe};

/// Run the program, with an empty environment: it has the rights of root.
pub fn run(program: &Path, pid: i32, list: &[IdMapping]) -> Result<()> {
    let path = CString::new(program.as_os_str().as_bytes())
        .map_err(|_| Error::new(format!("{program:?}: holds a NUL byte"), Errno::EINVAL))?;
    let args: Vec<CString> = std::iter::once(path.clone()).chain(arguments(pid, list)).collect();
    let null = file::open(file::here(), "/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    let (said, output) = pipe::pipe()?;
    let (stdin, output) = (null.as_fd(), output.as_fd());
    let (stdout, stderr) = (output, output);
    let order = Program { path: &path, args: &args, env: &[], cwd: None, stdin, stdout, stderr };
    let started = spawn::spawn(&order)?;
    let exit = process::wait(started)?;
    if exit == Exit::Code(0) {
        return Ok(());
    }
    let mut text = [0; 1024];
    let length = file::read(&said, &mut text, "pipe").unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..length]);
    Err(Error::new(format!("{} {} [{exit}: {}]", program.display(), pid, text.trim()), Errno::EPERM))
}

/// As the manual page has it: the process, and three numbers for each mapping.
fn arguments(pid: i32, list: &[IdMapping]) -> impl Iterator<Item = CString> {
    let numbers = list.iter().flat_map(|mapping| [mapping.container, mapping.host, mapping.size]);
    let words = std::iter::once(pid.to_string()).chain(numbers.map(|number| number.to_string()));
    words.filter_map(|word| CString::new(word).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbers() {
        let list = [
            IdMapping { container: 0, host: 1001, size: 1 },
            IdMapping { container: 1, host: 100_000, size: 65536 },
        ];
        let words: Vec<_> = arguments(7, &list).map(|word| word.into_string().unwrap()).collect();
        assert_eq!(words, ["7", "0", "1001", "1", "1", "100000", "65536"]);
    }

    #[test]
    fn what_it_says_is_in_the_error() {
        let error = run(Path::new("/bin/false"), 7, &[]).unwrap_err();
        assert!(error.to_string().starts_with("/bin/false 7 [") && error.errno == Errno::EPERM, "{error}");
    }
}
