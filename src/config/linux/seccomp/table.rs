//! Which call of which architecture gets which answer: the profile with numbers instead of names.
//!
//! libseccomp could make the program, and does for architectures that are not here. But for the profile of docker, with
//! the three architectures that go together on x86_64, it takes 15 ms, and this takes a third of one. libseccomp still
//! knows the numbers of the calls, and in the tests both make the same filter.

use std::collections::BTreeMap;

use super::architecture::audit_number;
use super::rules::Comparison;
use super::{Filter, newer_calls};
use crate::sys::seccomp::{Action, Arch, number};

/// The bit that marks a call of x32 among those of x86_64.
const X32_BIT: u32 = newer_calls::X32_BIT;

/// A way to an answer: it is given where all the comparisons hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) comparisons: Vec<Comparison>,
    pub(super) answer: u32,
}

/// What a call gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same, whatever its arguments.
    Always(u32),
    /// The answer of the first way that is open, or else the last.
    ByArguments(Vec<Way>, Width, u32),
}

/// How much of an argument counts. For a 32 bit architecture libseccomp compares the lower half, also for x32, where the
/// upper half of a register may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// The lower half.
    Half,
    /// All 64 bits.
    Full,
}

/// Calls with one `AUDIT_ARCH_*` number.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) audit_number: u32,
    /// Each verdict is for the numbers from its own up to the next; the first is 0.
    pub(super) verdicts: Vec<(u32, Verdict)>,
}

/// The tables of a filter, one for each audit number; `None` if an architecture is not among those whose numbers are
/// plain, beside the two calls of x86 that stand for many.
pub(super) fn tables(filter: &Filter) -> Option<Vec<Table>> {
    let plain = [Arch::X8664, Arch::X32, Arch::X86, Arch::Aarch64, Arch::Arm, Arch::Riscv64];
    let mut families: Vec<(u32, Vec<Arch>)> = Vec::new();
    for &arch in &filter.architectures {
        let audit_number = audit_number(arch).filter(|_| plain.contains(&arch))?;
        match families.iter_mut().find(|(known, _)| *known == audit_number) {
            Some((_, family)) => family.push(arch),
            None => families.push((audit_number, vec![arch])),
        }
    }
    let default = answer(filter.default);
    let next = newer_calls::lowest_unknown();
    let table = |(audit_number, family): (u32, Vec<Arch>)| {
        let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
        let calls: Vec<_> = family.iter().flat_map(|&arch| calls(filter, arch, default)).collect();
        let background = Background::new(filter.default, &family, next);
        for start in background.starts() {
            verdicts.insert(start, Verdict::Always(background.answer(start)));
        }
        for (number, _) in &calls {
            if let Some(next) = number.checked_add(1) {
                verdicts.insert(next, Verdict::Always(background.answer(next)));
            }
        }
        verdicts.extend(calls);
        let mut verdicts: Vec<_> = verdicts.into_iter().collect();
        verdicts.dedup_by(|next, this| next.1 == this.1);
        Table { audit_number, verdicts }
    };
    Some(families.into_iter().map(table).collect())
}

/// What calls get that no rule is about.
struct Background {
    default: u32,
    newer: Vec<(u32, u32)>,
    newer_answer: u32,
    /// Calls of x32 that nobody asked for: another architecture, but one that only the number tells.
    foreign: Option<(u32, u32)>,
}

impl Background {
    fn new(default: Action, family: &[Arch], next: u32) -> Self {
        let newer_answer = newer_calls::answer(default);
        let newer = match newer_answer {
            None => vec![],
            Some(_) => family.iter().flat_map(|&arch| newer_calls::newer(arch, next)).collect(),
        };
        let default = answer(default);
        let foreign = (family == [Arch::X8664]).then_some((X32_BIT, u32::MAX - 1));
        Self { default, newer, newer_answer: newer_answer.unwrap_or(default), foreign }
    }

    fn starts(&self) -> impl Iterator<Item = u32> {
        let bounds = self.newer.iter().chain(&self.foreign).flat_map(|(first, last)| [*first, last + 1]);
        [0].into_iter().chain(bounds)
    }

    fn answer(&self, number: u32) -> u32 {
        let among = |(first, last): &(u32, u32)| (*first..=*last).contains(&number);
        if self.foreign.as_ref().is_some_and(among) {
            libc::SECCOMP_RET_KILL_THREAD
        } else if self.newer.iter().any(among) {
            self.newer_answer
        } else {
            self.default
        }
    }
}

/// The calls that the rules are about, by number.
fn calls(filter: &Filter, arch: Arch, default: u32) -> Vec<(u32, Verdict)> {
    let width = match arch {
        Arch::X86 | Arch::X32 | Arch::Arm => Width::Half,
        _ => Width::Full,
    };
    // One list, in order of their numbers in the end: a list for each of a thousand calls takes 180 KiB.
    let names = filter.rules.iter().map(|rule| rule.names.len()).sum();
    let mut ways: Vec<(u32, Way)> = Vec::with_capacity(names);
    for rule in &filter.rules {
        let answer = answer(rule.action);
        for call in rule.names.iter().filter_map(|name| number(name, arch)).flat_map(|n| numbers(n, arch)) {
            for comparisons in rule.alternatives() {
                ways.push((call.number, Way { comparisons: call.comparisons(comparisons), answer }));
            }
        }
    }
    // Those of one call stay in the order of the rules.
    ways.sort_by_key(|(number, _)| *number);
    let of_one_call = ways.chunk_by(|(one, _), (other, _)| one == other);
    of_one_call.map(|ways| (ways[0].0, verdict(ways.iter().map(|(_, way)| way), width, default))).collect()
}

/// As in libseccomp, a rule without conditions outdoes those with, and an earlier one a later.
fn verdict<'a>(ways: impl Iterator<Item = &'a Way> + Clone, width: Width, default: u32) -> Verdict {
    if let Some(always) = ways.clone().find(|way| way.comparisons.is_empty()) {
        return Verdict::Always(always.answer);
    }
    let mut different: Vec<Way> = Vec::new();
    for way in ways {
        if !different.contains(way) {
            different.push(way.clone());
        }
    }
    Verdict::ByArguments(different, width, default)
}

/// A number under which a call can be made.
struct Call {
    number: u32,
    /// For a call that stands for many: its first argument, which says for which.
    which: Option<u64>,
}

impl Call {
    /// What the arguments are compared with. The arguments of a call inside another are in memory, where a filter cannot
    /// look: as libseccomp does, the first is compared with the call that is meant, and the others as they stand.
    fn comparisons(&self, given: &[Comparison]) -> Vec<Comparison> {
        let Some(which) = self.which else {
            return given.to_vec();
        };
        let others = given.iter().filter(|comparison| comparison.argument != 0).cloned();
        [Comparison::equal(0, which)].into_iter().chain(others).collect()
    }
}

/// The numbers behind one of libseccomp's, which are negative for calls that an architecture does not have. On x86 they
/// are also negative for what goes through socketcall(2), in the hundreds, and ipc(2), in the two hundreds; newer kernels
/// have them as calls of their own as well (4.3 and 5.1).
fn numbers(number: i32, arch: Arch) -> Vec<Call> {
    const SOCKETCALL: u32 = 102;
    const IPC: u32 = 117;
    let direct = |number| Call { number, which: None };
    let within = |call, which: i32| Call { number: call, which: u64::try_from(which).ok() };
    match (u32::try_from(number), arch) {
        (Ok(number), _) => vec![direct(number)],
        (Err(_), Arch::X86) if (-120..=-101).contains(&number) => {
            let own = own_number(number).map(direct);
            [within(SOCKETCALL, -100 - number)].into_iter().chain(own).collect()
        }
        (Err(_), Arch::X86) if (-224..=-201).contains(&number) => {
            let own = own_number(number).map(direct);
            [within(IPC, -200 - number)].into_iter().chain(own).collect()
        }
        _ => vec![],
    }
}

/// The number of a call of its own on x86 (`arch/x86/entry/syscalls/syscall_32.tbl`), by libseccomp's for it.
fn own_number(number: i32) -> Option<u32> {
    let own = match number {
        -101 => 359, // socket
        -108 => 360, // socketpair
        -102 => 361, // bind
        -103 => 362, // connect
        -104 => 363, // listen
        -118 => 364, // accept4
        -115 => 365, // getsockopt
        -114 => 366, // setsockopt
        -106 => 367, // getsockname
        -107 => 368, // getpeername
        -111 => 369, // sendto
        -116 => 370, // sendmsg
        -112 => 371, // recvfrom
        -117 => 372, // recvmsg
        -113 => 373, // shutdown
        -119 => 337, // recvmmsg
        -120 => 345, // sendmmsg
        -202 => 393, // semget
        -203 => 394, // semctl
        -223 => 395, // shmget
        -224 => 396, // shmctl
        -221 => 397, // shmat
        -222 => 398, // shmdt
        -213 => 399, // msgget
        -211 => 400, // msgsnd
        -212 => 401, // msgrcv
        -214 => 402, // msgctl
        _ => return None,
    };
    Some(own)
}

/// What a filter returns for an action.
fn answer(action: Action) -> u32 {
    match action {
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | (number as u32 & libc::SECCOMP_RET_DATA),
        Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        // Also for actions that libseccomp may learn: rather too strict than too lax.
        _ => libc::SECCOMP_RET_KILL_THREAD,
    }
}
