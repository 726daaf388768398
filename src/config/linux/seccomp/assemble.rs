//! A program of classic BPF that looks a call up in the tables: by architecture, by number in a balanced tree, and where
//! a rule has conditions, by the arguments.
//!
//! Only instructions are used from which the kernel can tell, without running them, that a call is always allowed: it
//! remembers those and does not run the filter for them at all (Linux 5.11).

use super::rules::Comparison;
use super::table::{Table, Verdict, Way, Width};
use crate::sys::seccomp::{Instruction, Operator};

pub(super) const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the number of the call, the architecture, and the first argument.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The whole program.
pub(super) fn assemble(tables: &[Table]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for table in tables {
        let search = search(&table.verdicts);
        program.push(branch(JUMP_IF_EQUAL, table.audit_number, 1, 0));
        program.push(plain(JUMP, offset(1 + search.len())));
        program.push(plain(LOAD, NUMBER));
        program.extend(search);
    }
    program.push(answer(libc::SECCOMP_RET_KILL_THREAD));
    program
}

/// An instruction without branches.
pub(super) fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

/// An instruction that skips some of the next ones.
pub(super) fn branch(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

/// The end of the program.
pub(super) fn answer(answer: u32) -> Instruction {
    plain(RETURN, answer)
}

/// A program has at most 4096 instructions, or the kernel does not take it.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn search(verdicts: &[(u32, Verdict)]) -> Vec<Instruction> {
    let (low, high) = verdicts.split_at(verdicts.len() / 2);
    let Some((start, verdict)) = high.first() else {
        return vec![];
    };
    if low.is_empty() {
        return decide(verdict);
    }
    let (low, high) = (search(low), search(high));
    let mut program = match u8::try_from(low.len()) {
        Ok(length) => vec![branch(JUMP_IF_GREATER_OR_EQUAL, *start, length, 0)],
        // Further than a branch can reach.
        Err(_) => {
            vec![branch(JUMP_IF_GREATER_OR_EQUAL, *start, 0, 1), plain(JUMP, offset(low.len()))]
        }
    };
    program.extend(low);
    program.extend(high);
    program
}

fn decide(verdict: &Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Always(always) => vec![answer(*always)],
        Verdict::ByArguments(ways, width, otherwise) => {
            let mut program: Vec<_> = ways.iter().flat_map(|way| walk(way, *width)).collect();
            program.push(answer(*otherwise));
            program
        }
    }
}

/// Where a branch leads, before it is known how far that is.
#[derive(Clone, Copy)]
enum To {
    /// The next instruction.
    Next,
    /// The end of the comparison: it holds.
    Holds,
    /// The end of the way: it is closed.
    Closed,
}

enum Step {
    Plain(u16, u32),
    Branch(u16, u32, To, To),
}

/// Answer if all comparisons hold; otherwise go on behind. Six arguments of at most six steps are well within the reach of
/// a branch; an argument cannot be twice in a way.
fn walk(way: &Way, width: Width) -> Vec<Instruction> {
    let comparisons: Vec<Vec<Step>> = way.comparisons.iter().map(|c| compare(c, width)).collect();
    let length: usize = comparisons.iter().map(Vec::len).sum();
    let mut program = Vec::new();
    for steps in comparisons {
        let holds = program.len() + steps.len();
        for step in steps {
            let next = program.len() + 1;
            // The answer stands behind the last step, and the end of the way behind the answer.
            let distance = |to: To| match to {
                To::Next => 0,
                To::Holds => holds - next,
                To::Closed => length + 1 - next,
            };
            let reach = |to: To| u8::try_from(distance(to)).unwrap_or(u8::MAX);
            program.push(match step {
                Step::Plain(code, operand) => plain(code, operand),
                Step::Branch(code, operand, yes, no) => branch(code, operand, reach(yes), reach(no)),
            });
        }
    }
    program.push(answer(way.answer));
    program
}

/// A comparison of 64 bits, the upper half first; a filter has 32 at a time.
fn compare(comparison: &Comparison, width: Width) -> Vec<Step> {
    use Step::{Branch, Plain};
    use To::{Closed, Holds, Next};
    let at = ARGUMENTS + 8 * u32::from(comparison.argument);
    let (at_low, at_high) = if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) };
    let halves = |value: u64| ((value & 0xffff_ffff) as u32, (value >> 32) as u32);
    let (low, high) = halves(comparison.datum);
    let (code, yes, no) = match comparison.operator {
        Operator::NotEqual => (JUMP_IF_EQUAL, Closed, Holds),
        Operator::Less => (JUMP_IF_GREATER_OR_EQUAL, Closed, Holds),
        Operator::LessOrEqual => (JUMP_IF_GREATER, Closed, Holds),
        Operator::GreaterEqual => (JUMP_IF_GREATER_OR_EQUAL, Holds, Closed),
        Operator::Greater => (JUMP_IF_GREATER, Holds, Closed),
        Operator::MaskedEqual(mask) => {
            let (mask_low, mask_high) = halves(mask);
            // As libseccomp does, a datum is not required to be within its mask.
            let mut steps = match width {
                Width::Half => vec![],
                Width::Full => vec![
                    Plain(LOAD, at_high),
                    Plain(AND, mask_high),
                    Branch(JUMP_IF_EQUAL, high & mask_high, Next, Closed),
                ],
            };
            steps.extend([
                Plain(LOAD, at_low),
                Plain(AND, mask_low),
                Branch(JUMP_IF_EQUAL, low & mask_low, Holds, Closed),
            ]);
            return steps;
        }
        _ => (JUMP_IF_EQUAL, Holds, Closed),
    };
    let mut steps = match (width, code) {
        (Width::Half, _) => vec![],
        // Only where the upper halves are the same do the lower ones matter.
        (Width::Full, JUMP_IF_EQUAL) => {
            vec![Plain(LOAD, at_high), Branch(JUMP_IF_EQUAL, high, Next, no)]
        }
        (Width::Full, _) => vec![
            Plain(LOAD, at_high),
            Branch(JUMP_IF_GREATER, high, yes, Next),
            Branch(JUMP_IF_EQUAL, high, Next, no),
        ],
    };
    steps.extend([Plain(LOAD, at_low), Branch(code, low, yes, no)]);
    steps
}
