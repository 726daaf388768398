//! seccomp filters: making one with libseccomp, and loading one into the calling process.
#![expect(unsafe_code, reason = "seccomp(2) has no wrapper in libc or nix")]

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{FromRawFd, OwnedFd};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};

pub use libseccomp::ScmpAction as Action;
pub use libseccomp::ScmpArch as Arch;
pub use libseccomp::ScmpArgCompare as Condition;
pub use libseccomp::ScmpCompareOp as Operator;

use super::{Errno, Error, Result, checked, file, is_missing, named, pipe};

/// One instruction of classic BPF, `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// Flags of `seccomp(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(libc::c_ulong);

impl Flags {
    /// The kernel logs what the filter does, but for allowing.
    pub const LOG: Self = Self(libc::SECCOMP_FILTER_FLAG_LOG);
    /// The filter does not switch on the mitigation of speculative store bypass.
    pub const SPEC_ALLOW: Self = Self(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    /// Loading gives a descriptor that hears of the calls the filter asks about.
    pub const NEW_LISTENER: Self = Self(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    /// A call that the listener has received is interrupted by fatal signals only; needs `NEW_LISTENER`.
    pub const WAIT_KILLABLE_RECV: Self = Self(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The number that `seccomp(2)` is given.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of the other are among these.
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::LOG, "LOG"),
            (Self::SPEC_ALLOW, "SPEC_ALLOW"),
            (Self::NEW_LISTENER, "NEW_LISTENER"),
            (Self::WAIT_KILLABLE_RECV, "WAIT_KILLABLE_RECV"),
        ];
        let names: Vec<&str> =
            names.iter().filter(|(flag, _)| self.contain(*flag)).map(|(_, n)| *n).collect();
        f.write_str(if names.is_empty() { "0" } else { "" })?;
        f.write_str(&names.join(" | "))
    }
}

/// Whether the kernel knows a flag: asked to load no program, it says `EFAULT` if it does and `EINVAL` if not.
pub fn knows(flag: Flags) -> bool {
    let operation = libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER);
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel refuses the null pointer and loads nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flag.0, nothing) };
    Errno::result(result) == Err(Errno::EFAULT)
}

/// Load a filter into the calling process, for good. With [`Flags::NEW_LISTENER`] the result is the listener, which the
/// kernel makes close-on-exec.
pub fn load(program: &[Instruction], flags: Flags) -> Result<Option<OwnedFd>> {
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags}, {} instructions)", program.len());
    let len = named(libc::c_ushort::try_from(program.len()).map_err(|_| Errno::EINVAL), call)?;
    // The kernel only reads the instructions; Instruction has the layout of sock_filter.
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    let operation = libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: sock_fprog points to as many instructions as it says; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags.0, &filter) };
    let result = checked(result, call)?;
    if !flags.contain(Flags::NEW_LISTENER) {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER the result is a new descriptor, which nobody else has. It fits, being a descriptor.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as i32) }))
}

/// A filter on its way to become a program.
pub struct Draft(ScmpFilterContext);

impl Draft {
    /// A filter for calls of these architectures, with an action for the calls that no rule is about. Calls of another
    /// architecture kill the thread.
    pub fn new(default: Action, architectures: &[Arch]) -> Result<Self> {
        let call = || format!("seccomp_init({default:?})");
        let mut filter = by_libseccomp(ScmpFilterContext::new(default), call)?;
        // A program that searches a tree is several times faster than one that compares hundreds of numbers in turn.
        by_libseccomp(filter.set_ctl_optimize(2).map(drop), || {
            "seccomp_attr_set(SCMP_FLTATR_CTL_OPTIMIZE, 2)".into()
        })?;
        for &arch in architectures {
            by_libseccomp(filter.add_arch(arch).map(drop), || format!("seccomp_arch_add({arch:?})"))?;
        }
        Ok(Self(filter))
    }

    /// Add a rule: the action for a call whose arguments meet all the conditions.
    pub fn add(&mut self, syscall: Syscall, action: Action, conditions: &[Condition]) -> Result<()> {
        let result = self.0.add_rule_conditional(action, syscall.0, conditions).map(drop);
        by_libseccomp(result, || {
            format!("seccomp_rule_add({action:?}, {syscall}, {} conditions)", conditions.len())
        })
    }

    /// The program. libseccomp before 2.6 writes it to nothing but a file.
    pub fn finish(self) -> Result<Vec<Instruction>> {
        let (file, end) = scratch()?;
        by_libseccomp(self.0.export_bpf(&end), || "seccomp_export_bpf()".into())?;
        drop(end);
        let mut file = File::from(file);
        // A pipe cannot be rewound, and need not be.
        let _to_the_start_of_memory = file.rewind();
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        named(read.map_err(|error| file::errno_of(&error)), || "read(\"seccomp\")".into())?;
        Ok(bytes.chunks_exact(size_of::<Instruction>()).map(instruction).collect())
    }
}

/// Somewhere to write a program to, and to read it from: memory, or a pipe where there is no `memfd_create(2)`. A pipe
/// holds twice as much as the kernel takes for a program.
fn scratch() -> Result<(OwnedFd, OwnedFd)> {
    let name = "seccomp";
    match memfd_create(name, MFdFlags::MFD_CLOEXEC) {
        Err(errno) if is_missing(errno) => {
            let (read, write) = pipe::pipe()?;
            pipe::set_nonblocking(&write)?;
            Ok((read, write))
        }
        memory => {
            let memory = named(memory, || format!("memfd_create({name:?}, MFD_CLOEXEC)"))?;
            Ok((file::duplicate(&memory)?, memory))
        }
    }
}

fn instruction(bytes: &[u8]) -> Instruction {
    let mut code = [0; 2];
    let mut operand = [0; 4];
    code.copy_from_slice(&bytes[..2]);
    operand.copy_from_slice(&bytes[4..8]);
    Instruction {
        code: u16::from_ne_bytes(code),
        jump_true: bytes[2],
        jump_false: bytes[3],
        operand: u32::from_ne_bytes(operand),
    }
}

/// A system call that libseccomp knows, on this architecture or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall(ScmpSyscall);

impl Syscall {
    /// The call of this name.
    pub fn named(name: &str) -> Option<Self> {
        ScmpSyscall::from_name(name).ok().map(Self)
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.get_name().unwrap_or_else(|_| format!("{:?}", self.0)))
    }
}

/// libseccomp's number of a call on an architecture: negative where the architecture has no such call, or has it inside
/// another; `None` if libseccomp does not know the name at all.
pub fn number(name: &str, arch: Arch) -> Option<i32> {
    ScmpSyscall::from_name_by_arch(name, arch).ok().map(ScmpSyscall::as_raw_syscall)
}

/// The highest number of a system call that libseccomp knows, at or above `start`, where the numbers are the same on
/// all architectures but for an offset. x86_64 is asked, whatever this is: it has neither an offset nor many holes.
pub fn highest_known(start: u16) -> u16 {
    const WIDEST_HOLE: u16 = 8;
    let known = |nr: u16| ScmpSyscall::from(i32::from(nr)).get_name_by_arch(Arch::X8664).is_ok();
    let (mut highest, mut nr) = (start, start);
    while nr - highest <= WIDEST_HOLE {
        nr += 1;
        highest = if known(nr) { nr } else { highest };
    }
    highest
}

fn by_libseccomp<T>(result: std::result::Result<T, SeccompError>, call: impl Fn() -> String) -> Result<T> {
    result.map_err(|error| {
        // libseccomp answers with a negative errno, or the crate with a text.
        let errno = error.sysrawrc().map_or(Errno::EINVAL, |code| Errno::from_raw(code.abs()));
        Error::new(call(), errno)
    })
}
/// The version of libseccomp that is linked.
pub fn library_version() -> String {
    libseccomp::ScmpVersion::current().map_or_else(|_| "unknown".into(), |version| version.to_string())
}
