//! Calls that are newer than libseccomp get `ENOSYS`.
//!
//! A profile that denies by default answers `EPERM` to a call that did not exist when it was written. Programs try a new
//! call and fall back to an old one on `ENOSYS`, but take `EPERM` for the last word: glibc's use of clone3(2) broke
//! containers in this way. Whoever wrote the profile cannot have meant a call that libseccomp has no name for, so the
//! program answers for those. Calls that it knows get what the profile says, and a profile that does not answer with an
//! errno by default is left as it is.

use super::architecture::audit_number;
use super::assemble::{ARCHITECTURE, JUMP_IF_EQUAL, JUMP_IF_GREATER, LOAD, NUMBER};
use super::assemble::{answer as give, branch, plain};
use crate::sys::seccomp::{Action, Arch, Instruction, highest_known};

/// From here on a new call has the same number on every architecture (Linux 5.1), but for an offset.
const COMMON_NUMBERS: u16 = 424;

/// The bit that marks a call of x32 among those of x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// What newer calls get, if it is something else than the default.
pub(super) fn answer(default: Action) -> Option<u32> {
    match default {
        Action::Errno(libc::ENOSYS) => None,
        Action::Errno(_) => Some(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        _ => None,
    }
}

/// The lowest number, without the offset of an architecture, that libseccomp has no name for.
pub(super) fn lowest_unknown() -> u32 {
    1 + u32::from(highest_known(COMMON_NUMBERS))
}

/// The numbers, from the first to the last of each range, of newer calls. On each architecture they begin with the same
/// number above an offset, and nothing of its own is beyond, with two exceptions.
pub(super) fn newer(arch: Arch, next: u32) -> Vec<(u32, u32)> {
    // The call -1 is not a newer one: a tracer sets it to skip a call.
    let last = u32::MAX - 1;
    match arch {
        // 512 to 547 are calls that x32 has in another form than x86_64.
        Arch::X32 => vec![(X32_BIT + next, X32_BIT + 511), (X32_BIT + 548, last)],
        Arch::X8664 => vec![(next, X32_BIT - 1)],
        // Above are calls of arm alone, such as set_tls.
        Arch::Arm => vec![(next, 0x000e_ffff)],
        Arch::Mips | Arch::Mipsel => vec![(4000 + next, last)],
        Arch::Mips64 | Arch::Mipsel64 => vec![(5000 + next, last)],
        Arch::Mips64N32 | Arch::Mipsel64N32 => vec![(6000 + next, last)],
        _ => vec![(next, last)],
    }
}

/// What goes in front of a program of libseccomp, which starts anew with loading the architecture.
pub(super) fn prelude(default: Action, architectures: &[Arch]) -> Vec<Instruction> {
    let Some(answer) = answer(default) else {
        return vec![];
    };
    let next = lowest_unknown();
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for &arch in architectures {
        let Some(number) = audit_number(arch) else { continue };
        for (first, last) in newer(arch, next) {
            program.push(branch(JUMP_IF_EQUAL, number, 0, 5));
            program.push(plain(LOAD, NUMBER));
            program.push(branch(JUMP_IF_GREATER, first - 1, 0, 2));
            program.push(branch(JUMP_IF_GREATER, last, 1, 0));
            program.push(give(answer));
            program.push(plain(LOAD, ARCHITECTURE));
        }
    }
    program
}
