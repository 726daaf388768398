//! Start a program of the host beside us, with nothing of ours but its three standard descriptors.
#![expect(unsafe_code, reason = "posix_spawn and its attributes are beyond nix")]

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::clone::{self, Birth, Fork};
use super::process::{self, Pid};
use super::{Errno, Error, Result, checked, file, named, pipe, signal, terminal};

/// A program and what it is given.
pub struct Program<'a> {
    /// The file to execute; it is not searched for.
    pub path: &'a CStr,
    /// All its arguments, `argv[0]` included.
    pub args: &'a [CString],
    /// Its whole environment.
    pub env: &'a [CString],
    /// Where it starts, if not where we are.
    pub cwd: Option<&'a CStr>,
    /// Descriptor 0.
    pub stdin: BorrowedFd<'a>,
    /// Descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Descriptor 2.
    pub stderr: BorrowedFd<'a>,
}

/// Start the program as the leader of its own process group, with default signal dispositions, an empty signal mask
/// and no descriptor above 2. What `execve(2)` answers is answered here.
pub fn spawn(program: &Program) -> Result<Pid> {
    let call = || format!("posix_spawn({:?})", program.path);
    // The copies below would overwrite one another where a caller has closed our own 0, 1 or 2.
    let standard = standard_of(program)?;
    let actions = Actions::new(&standard, program.cwd).and_then(|actions| Ok((actions, Attributes::new()?)));
    let (actions, attributes) = named(actions, call)?;
    let args = pointers(program.args);
    let env = pointers(program.env);
    let mut pid = 0;
    // SAFETY: every pointer is to a live value: the strings and descriptors are borrowed for the whole call, the two
    // arrays end with a null pointer.
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            args.as_ptr(),
            env.as_ptr(),
        )
    };
    if result == libc::EPERM {
        // A filter of an outer container, perhaps: the C library takes that for clone3's own answer.
        return by_fork(program, &standard);
    }
    named(ok(result), call)?;
    Ok(Pid::from_raw(pid))
}

/// The same without `clone3(2)`.
fn by_fork(program: &Program, standard: &[OwnedFd; 3]) -> Result<Pid> {
    let (read, write) = pipe::pipe()?;
    match clone::clone(&Birth::default())? {
        Fork::Child => {
            let error = become_program(program, standard);
            let errno = (error.errno as i32).to_ne_bytes();
            let _nobody_is_left_to_tell = pipe::write_some(&write, &errno, "pipe");
            process::exit(127)
        }
        Fork::Parent(pid, _) => {
            drop(write);
            process::wait_readable(&read, None)?;
            let mut errno = [0; 4];
            match file::read(&read, &mut errno, "pipe")? {
                0 => Ok(Pid::from_raw(pid)),
                _ => {
                    process::wait(Pid::from_raw(pid))?;
                    let errno = Errno::from_raw(i32::from_ne_bytes(errno));
                    Err(Error::new(format!("execve({:?})", program.path), errno))
                }
            }
        }
    }
}

fn become_program(program: &Program, standard: &[OwnedFd; 3]) -> Error {
    let prepare = || -> Result<()> {
        named(nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)), || "setpgid(0, 0)".into())?;
        signal::reset()?;
        for (place, file) in terminal::standard().into_iter().zip(standard) {
            terminal::replace(place, file)?;
        }
        if let Some(cwd) = program.cwd {
            file::chdir_path(Path::new(OsStr::from_bytes(cwd.to_bytes())))?;
        }
        file::close_on_exec_from(3)
    };
    let path = Path::new(OsStr::from_bytes(program.path.to_bytes()));
    let Err(error) = prepare().and_then(|()| -> Result<Infallible> {
        Err(Error::new("execve", process::execute(path, program.args, program.env)))
    });
    error
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// posix_spawn's functions return the error number instead of setting it.
fn ok(number: i32) -> nix::Result<()> {
    if number == 0 { Ok(()) } else { Err(Errno::from_raw(number)) }
}

fn standard_of(program: &Program) -> Result<[OwnedFd; 3]> {
    Ok([above_standard(program.stdin)?, above_standard(program.stdout)?, above_standard(program.stderr)?])
}

fn above_standard(fd: BorrowedFd) -> Result<OwnedFd> {
    let number = fd.as_raw_fd();
    // SAFETY: the arguments are a descriptor and a number.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    let copy = checked(copy.into(), || format!("fcntl({number}, F_DUPFD_CLOEXEC, 3)"))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as i32) })
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(standard: &[OwnedFd; 3], cwd: Option<&CStr>) -> nix::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: initialised by this call before anything else sees it.
        ok(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: the call above has succeeded.
        let mut actions = Self(unsafe { actions.assume_init() });
        for (from, to) in standard.iter().zip(0..) {
            // SAFETY: the actions are initialised, the rest are numbers.
            ok(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, from.as_raw_fd(), to) })?;
        }
        if let Some(cwd) = cwd {
            // SAFETY: the actions are initialised and copy the path.
            ok(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut actions.0, cwd.as_ptr()) })?;
        }
        // Not all of ours are close-on-exec: those that the caller wants preserved for the container are not.
        // SAFETY: the actions are initialised, the rest is a number.
        ok(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(&raw mut actions.0, 3) })?;
        Ok(actions)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> nix::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialised by this call before anything else sees it.
        ok(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: the call above has succeeded.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        // Not sigfillset(3), which leaves out two signals that the C library keeps for its threads: posix_spawn would
        // hand them on as ignored.
        // SAFETY: a signal set is an array of bits, of which every value is one.
        let all: libc::sigset_t = unsafe { std::mem::transmute([0xffu8; size_of::<libc::sigset_t>()]) };
        let none = nix::sys::signal::SigSet::empty();
        // SAFETY: the attributes are initialised, the sets are live.
        unsafe {
            ok(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags as i16))?;
            ok(libc::posix_spawnattr_setpgroup(&raw mut attributes.0, 0))?;
            ok(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, &raw const all))?;
            ok(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, none.as_ref()))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Exit;
    use std::os::fd::AsFd;

    #[test]
    fn both_ways_start_a_program() {
        let child = process::in_child(|| {
            let null =
                file::open(file::here(), "/dev/null", file::OFlag::O_RDWR, file::Mode::empty()).unwrap();
            let args = ["sh", "-c", "exit $(pwd | wc -c)"].map(|word| CString::new(word).unwrap());
            let env = [c"PATH=/usr/bin:/bin".to_owned()];
            let (stdin, output) = (null.as_fd(), null.as_fd());
            let mut program = Program {
                path: c"/bin/sh",
                args: &args,
                env: &env,
                cwd: Some(c"/usr"),
                stdin,
                stdout: output,
                stderr: output,
            };
            let forked = |program: &Program| by_fork(program, &standard_of(program)?);
            for start in [spawn, forked] {
                assert_eq!(process::wait(start(&program).unwrap()).unwrap(), Exit::Code(5));
            }
            program.path = c"/nonexistent";
            for start in [spawn, forked] {
                assert_eq!(start(&program).unwrap_err().errno, Errno::ENOENT);
            }
            0
        });
        assert_eq!(process::wait(child).unwrap(), Exit::Code(0));
    }
}
