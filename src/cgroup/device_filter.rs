//! Device rules as an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, since v2 has no `devices` controller.
//!
//! `Documentation/admin-guide/cgroup-v2.rst`, "Device controller"; `Documentation/bpf/standardization/instruction-set.rst`.
//!
//! The kernel runs the program for every `open(2)` and `mknod(2)` of a device. It walks the rules from the last to the
//! first with the set of accesses that are still undecided: a rule that denies one of them ends it, a rule that allows
//! takes its accesses out, and an empty set means yes. Both kinds of devices have a walk of their own, so that no rule
//! needs to look at the kind, and major and minor are compared as the one number that they are in the kernel (12 and 20
//! bits), so that most rules are a single instruction. `JMP32` needs Linux 5.1, a freezer for v2 needs 5.2.

use crate::config::linux::resources::devices::{Access, Kind, Pattern, Rule, Verdict};

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    target: u8,
    source: u8,
    offset: i16,
    value: u32,
}

const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE_32: u8 = 0xbc; // ALU | MOV | X
const MOVE_VALUE: u8 = 0xb7; // ALU64 | MOV | K
const AND_VALUE_32: u8 = 0x54; // ALU | AND | K
const OR_32: u8 = 0x4c; // ALU | OR | X
const SHIFT_LEFT_32: u8 = 0x64; // ALU | LSH | K
const SHIFT_RIGHT_32: u8 = 0x74; // ALU | RSH | K
const JUMP: u8 = 0x05; // JMP | JA
const JUMP_IF_EQUAL_32: u8 = 0x16; // JMP32 | JEQ | K
const JUMP_IF_SET_32: u8 = 0x46; // JMP32 | JSET | K
const JUMP_IF_NOT_EQUAL_32: u8 = 0x56; // JMP32 | JNE | K
const EXIT: u8 = 0x95; // JMP | EXIT

/// `BPF_DEVCG_DEV_CHAR`
const DEVICE_CHAR: u32 = 2;

/// Bits of a minor number in the kernel's `dev_t`.
const MINOR_BITS: u32 = 20;
const MAJOR_LIMIT: u32 = 1 << 12;
const MINOR_LIMIT: u32 = 1 << MINOR_BITS;

// The registers: the answer, the kernel's `bpf_cgroup_dev_ctx`, and what is taken from it.
const ANSWER: u8 = 0;
const REQUEST: u8 = 1;
const KIND: u8 = 2;
const UNDECIDED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const DEVICE: u8 = 6;

impl Instruction {
    /// As the kernel takes it: `struct bpf_insn`.
    pub fn encode(self) -> u64 {
        let registers = if cfg!(target_endian = "little") {
            self.source << 4 | self.target
        } else {
            self.target << 4 | self.source
        };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [v0, v1, v2, v3] = self.value.to_ne_bytes();
        u64::from_ne_bytes([self.code, registers, o0, o1, v0, v1, v2, v3])
    }
}

/// The program for these rules.
pub fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = Program::default();
    program.read_request();
    let to_block = program.add(JUMP_IF_NOT_EQUAL_32, KIND, 0, DEVICE_CHAR);
    program.walk(rules, Kind::Char);
    program.land(&[to_block]);
    program.walk(rules, Kind::Block);
    program.finish()
}

/// Whether the rules allow everything, so that no program says the same.
pub fn allows_everything(rules: &[Rule]) -> bool {
    let all = |rule: &Rule| rule.pattern == Pattern::ALL && rule.access == Access::ALL;
    rules
        .iter()
        .rposition(all)
        .is_some_and(|last| rules[last..].iter().all(|rule| rule.verdict == Verdict::Allow))
}

/// Instructions, and the jumps that wait for their end to be known.
#[derive(Default)]
struct Program {
    instructions: Vec<Instruction>,
    to_allow: Vec<usize>,
    to_deny: Vec<usize>,
}

impl Program {
    fn add(&mut self, code: u8, target: u8, source: u8, value: u32) -> usize {
        self.instructions.push(Instruction { code, target, source, offset: 0, value });
        self.instructions.len() - 1
    }

    /// `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, with the access in the upper half of the
    /// first.
    fn read_request(&mut self) {
        for (register, offset) in [(KIND, 0), (MAJOR, 4), (MINOR, 8)] {
            let load = self.add(LOAD_WORD, register, REQUEST, 0);
            self.instructions[load].offset = offset;
        }
        self.add(MOVE_32, UNDECIDED, KIND, 0);
        self.add(SHIFT_RIGHT_32, UNDECIDED, 0, 16);
        self.add(AND_VALUE_32, KIND, 0, 0xffff);
        self.add(MOVE_32, DEVICE, MAJOR, 0);
        self.add(SHIFT_LEFT_32, DEVICE, 0, MINOR_BITS);
        self.add(OR_32, DEVICE, MINOR, 0);
    }

    /// The rules for one kind, the last first. A rule is left out where a later one has decided all that it says, and
    /// the walk ends with a rule for everything: the kernel refuses programs with unreachable instructions.
    fn walk(&mut self, rules: &[Rule], kind: Kind) {
        let mut later: Vec<&Rule> = Vec::new();
        for rule in rules.iter().rev().filter(|rule| can_match(rule.pattern, kind)) {
            let pattern = Pattern { kind: Some(kind), ..rule.pattern };
            if later.iter().any(|l| pattern.is_within(l.pattern) && rule.access.is_within(l.access)) {
                continue;
            }
            if pattern.major.is_none() && pattern.minor.is_none() && rule.access == Access::ALL {
                let jump = self.add(JUMP, 0, 0, 0);
                self.jump_to(rule.verdict, jump);
                return;
            }
            self.rule(rule);
            later.push(rule);
        }
        let jump = self.add(JUMP, 0, 0, 0);
        self.to_deny.push(jump);
    }

    fn rule(&mut self, rule: &Rule) {
        let compared = match (rule.pattern.major, rule.pattern.minor) {
            (Some(major), Some(minor)) => Some((DEVICE, major << MINOR_BITS | minor)),
            (Some(major), None) => Some((MAJOR, major)),
            (None, Some(minor)) => Some((MINOR, minor)),
            (None, None) => None,
        };
        // All accesses: whatever is undecided is decided now.
        if let (Some((register, value)), Access::ALL) = (compared, rule.access) {
            let jump = self.add(JUMP_IF_EQUAL_32, register, 0, value);
            return self.jump_to(rule.verdict, jump);
        }
        let skip = compared.map(|(register, value)| self.add(JUMP_IF_NOT_EQUAL_32, register, 0, value));
        let bits = u32::from(rule.access.bits());
        match rule.verdict {
            Verdict::Deny => {
                let jump = self.add(JUMP_IF_SET_32, UNDECIDED, 0, bits);
                self.to_deny.push(jump);
            }
            Verdict::Allow => {
                self.add(AND_VALUE_32, UNDECIDED, 0, !bits);
                let jump = self.add(JUMP_IF_EQUAL_32, UNDECIDED, 0, 0);
                self.to_allow.push(jump);
            }
        }
        self.land(skip.as_slice());
    }

    fn jump_to(&mut self, verdict: Verdict, jump: usize) {
        match verdict {
            Verdict::Allow => self.to_allow.push(jump),
            Verdict::Deny => self.to_deny.push(jump),
        }
    }

    /// Let these jumps lead to the next instruction.
    fn land(&mut self, jumps: &[usize]) {
        let here = self.instructions.len();
        for &jump in jumps {
            // The number of rules is bounded, so that no distance is too far.
            self.instructions[jump].offset = i16::try_from(here - jump - 1).unwrap_or(i16::MAX);
        }
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (answer, jumps) in
            [(0, std::mem::take(&mut self.to_deny)), (1, std::mem::take(&mut self.to_allow))]
        {
            if !jumps.is_empty() {
                self.land(&jumps);
                self.add(MOVE_VALUE, ANSWER, 0, answer);
                self.add(EXIT, 0, 0, 0);
            }
        }
        self.instructions
    }
}

/// Whether there can be such a device at all.
fn can_match(pattern: Pattern, kind: Kind) -> bool {
    pattern.kind.is_none_or(|k| k == kind)
        && pattern.major.is_none_or(|n| n < MAJOR_LIMIT)
        && pattern.minor.is_none_or(|n| n < MINOR_LIMIT)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroup;

    use super::*;
    use crate::cgroup::hierarchy::examples;
    use crate::config::linux::resources::devices::DeviceRules;

    const KINDS: [Kind; 2] = [Kind::Block, Kind::Char];

    fn rules(json: &str) -> Vec<Rule> {
        let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        DeviceRules::parse(&spec, &examples::v2()).unwrap().rules().to_vec()
    }

    /// What the spec says, bit by bit.
    fn decide(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let device = Pattern { kind: Some(kind), major: Some(major), minor: Some(minor) };
        [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let matches = |rule: &&Rule| rule.access.bits() & bit != 0 && device.is_within(rule.pattern);
            rules.iter().rfind(matches).is_some_and(|rule| rule.verdict == Verdict::Allow)
        })
    }

    /// As the kernel would run it.
    fn run(program: &[Instruction], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let kind = if kind == Kind::Char { 2 } else { 1 };
        let request = [u32::from(access) << 16 | kind, major, minor];
        let mut registers = [0_u32; 10];
        let mut at = 0;
        loop {
            let Instruction { code, target, source, offset, value } = program[at];
            let (to, from) = (usize::from(target), registers[usize::from(source)]);
            let mut jumps = code == JUMP;
            match code {
                LOAD_WORD => registers[to] = request[usize::try_from(offset).unwrap() / 4],
                MOVE_32 => registers[to] = from,
                MOVE_VALUE => registers[to] = value,
                AND_VALUE_32 => registers[to] &= value,
                OR_32 => registers[to] |= from,
                SHIFT_LEFT_32 => registers[to] <<= value,
                SHIFT_RIGHT_32 => registers[to] >>= value,
                JUMP => {}
                JUMP_IF_EQUAL_32 => jumps = registers[to] == value,
                JUMP_IF_NOT_EQUAL_32 => jumps = registers[to] != value,
                JUMP_IF_SET_32 => jumps = registers[to] & value != 0,
                EXIT => return registers[0] != 0,
                code => panic!("{code:#x}"),
            }
            at += 1 + if jumps { usize::try_from(offset).unwrap() } else { 0 };
        }
    }

    /// Every instruction can be reached, as the verifier demands.
    fn assert_reachable(program: &[Instruction]) {
        let mut reached = vec![false; program.len()];
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let Instruction { code, offset, .. } = program[at];
            let there = (code & 7 == 5 || code & 7 == 6).then(|| at + 1 + usize::try_from(offset).unwrap());
            match code {
                EXIT => {}
                JUMP => open.extend(there),
                _ => open.extend(there.into_iter().chain([at + 1])),
            }
        }
        assert!(reached.iter().all(|&r| r), "{program:?}");
    }

    const LISTS: [&str; 9] = [
        "[]",
        r#"[{"allow":true,"access":"rwm"}]"#,
        r#"[{"allow":true,"access":"rw"}]"#,
        r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]"#,
        r#"[{"allow":true,"type":"c","access":"rwm"},{"allow":false,"type":"c","major":10,"access":"w"}]"#,
        r#"[{"allow":true,"type":"b","minor":3,"access":"r"},{"allow":false,"minor":3,"major":8,"access":"r"}]"#,
        r#"[{"allow":true,"type":"b","major":4095,"minor":1048575,"access":"rw"},{"allow":true,"major":8,"access":"m"}]"#,
        r#"[{"allow":true,"major":5000,"access":"rwm"},{"allow":true,"type":"c","major":8,"minor":1048576,"access":"rwm"}]"#,
        r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"rwm"},{"allow":true,"type":"b","major":8,"minor":0,"access":"r"}]"#,
    ];

    #[test]
    fn the_program_decides_as_the_rules_do() {
        for list in LISTS {
            let rules = rules(list);
            let program = compile(&rules);
            assert_reachable(&program);
            for kind in KINDS {
                for major in [0, 1, 5, 8, 10, 136, 4095] {
                    for minor in [0, 2, 3, 200, 229, 1_048_575] {
                        for access in 1..8 {
                            let expected = decide(&rules, kind, major, minor, access);
                            let answer = run(&program, kind, major, minor, access);
                            assert_eq!(answer, expected, "{list} {kind:?} {major}:{minor} {access}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rules_without_defaults_have_no_dead_code() {
        for verdict in [Verdict::Allow, Verdict::Deny] {
            let rule = Rule { verdict, pattern: Pattern::ALL, access: Access::ALL };
            assert_reachable(&compile(&[rule]));
        }
        assert_reachable(&compile(&[]));
        assert!(!run(&compile(&[]), Kind::Char, 1, 3, 2));
    }

    #[test]
    fn the_usual_lists_are_small() {
        assert!(compile(&rules("[]")).len() <= 30);
        let docker = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":9,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":8,"access":"rwm"},{"allow":true,"type":"c","major":5,"minor":0,"access":"rwm"},
            {"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]"#;
        assert!(compile(&rules(docker)).len() <= 40);
    }

    #[test]
    fn nothing_is_to_filter_where_all_is_allowed() {
        assert!(allows_everything(&rules(LISTS[1])));
        assert!(LISTS.iter().enumerate().all(|(i, list)| i == 1 || !allows_everything(&rules(list))));
    }

    #[test]
    fn the_encoding_is_the_kernels() {
        let jump =
            Instruction { code: JUMP_IF_EQUAL_32, target: 6, source: 0, offset: 3, value: 0x0010_0003 };
        if cfg!(target_endian = "little") {
            assert_eq!(jump.encode().to_le_bytes(), [0x16, 0x06, 3, 0, 3, 0, 0x10, 0]);
        }
    }
}
