//! Old kernels without old kernels: a seccomp filter that lets chosen system calls answer `ENOSYS`, as a kernel does that
//! does not have them, or `EPERM`, as the filters of many outer containers do.

use crate::sys::{self, Instruction};

/// The calls that a runtime may be without, and the kernel that has them first.
const CALLS: &[(&str, i64)] = &[
    ("memfd_create", libc::SYS_memfd_create),           // 3.17
    ("statx", libc::SYS_statx),                         // 4.11
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal), // 5.1
    ("fsopen", libc::SYS_fsopen),                       // 5.2
    ("fsconfig", libc::SYS_fsconfig),                   // 5.2
    ("fsmount", libc::SYS_fsmount),                     // 5.2
    ("fspick", libc::SYS_fspick),                       // 5.2
    ("open_tree", libc::SYS_open_tree),                 // 5.2
    ("move_mount", libc::SYS_move_mount),               // 5.2
    ("clone3", libc::SYS_clone3),                       // 5.3
    ("pidfd_open", libc::SYS_pidfd_open),               // 5.3
    ("pidfd_getfd", libc::SYS_pidfd_getfd),             // 5.6
    ("openat2", libc::SYS_openat2),                     // 5.6
    ("faccessat2", libc::SYS_faccessat2),               // 5.8
    ("close_range", libc::SYS_close_range),             // 5.9
    ("mount_setattr", libc::SYS_mount_setattr),         // 5.12
    ("keyctl", libc::SYS_keyctl),
    ("bpf", libc::SYS_bpf),
];

/// Names for several.
const GROUPS: &[(&str, &[&str])] = &[
    ("mount-api", &["fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount"]),
    ("pidfd", &["pidfd_open", "pidfd_send_signal", "pidfd_getfd"]),
];

/// Calls, and what they answer.
#[derive(Clone, Debug)]
pub struct Without {
    /// As they were given: `clone3,mount-api`.
    pub list: String,
    /// `ENOSYS` or `EPERM`.
    pub errno: String,
}

impl Without {
    /// The names of the calls; `all` stands for each of the table.
    pub fn names(&self) -> Result<Vec<&'static str>, String> {
        let mut names = Vec::new();
        for word in self.list.split(',') {
            let group = GROUPS.iter().find(|(name, _)| *name == word).map(|(_, calls)| *calls);
            let call = CALLS.iter().find(|(name, _)| *name == word).map(|(name, _)| *name);
            match (word, group, call) {
                ("all", ..) => names.extend(CALLS.iter().map(|(name, _)| *name)),
                (_, Some(calls), _) => names.extend(calls),
                (.., Some(call)) => names.push(call),
                _ => return Err(format!("{word:?} is none of the calls that a runtime may be without")),
            }
        }
        Ok(names)
    }

    /// Put the filter in force, for this process and all that it starts.
    pub fn begin(&self) -> Result<(), String> {
        let errno = match self.errno.as_str() {
            "ENOSYS" => libc::ENOSYS,
            "EPERM" => libc::EPERM,
            other => return Err(format!("{other:?}: it is ENOSYS or EPERM")),
        };
        let numbers: Vec<u32> = self
            .names()?
            .iter()
            .filter_map(|name| CALLS.iter().find(|(known, _)| known == name))
            .filter_map(|(_, number)| u32::try_from(*number).ok())
            .collect();
        sys::load_filter(&program(&numbers, errno.cast_unsigned()))
            .map_err(|errno| format!("seccomp(SECCOMP_SET_MODE_FILTER): {errno}"))
    }
}

/// Classic BPF over `struct seccomp_data`: the calls of this architecture with these numbers answer the errno.
fn program(numbers: &[u32], errno: u32) -> Vec<Instruction> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const ANSWER: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    #[cfg(target_arch = "x86_64")]
    const HERE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const HERE: u32 = 0xc000_00b7;
    let step = |code, jump_true, operand| Instruction { code, jump_true, jump_false: 0, operand };
    let mut program =
        vec![step(LOAD, 0, 4), step(JUMP_IF_EQUAL, 1, HERE), step(ANSWER, 0, ALLOW), step(LOAD, 0, 0)];
    for (i, number) in numbers.iter().enumerate() {
        // Over the other comparisons and the permission behind them.
        let rest = u8::try_from(numbers.len() - i).unwrap_or(u8::MAX);
        program.push(step(JUMP_IF_EQUAL, rest, *number));
    }
    program.push(step(ANSWER, 0, ALLOW));
    program.push(step(ANSWER, 0, ERRNO | errno));
    program
}

/// What cannot be done without a call: the beginning of the case's name, the call, and a text that its failure then has:
/// that by which the runtime names the call. A case that is not here has to pass without any of the calls.
const REFUSALS: &[(&str, &str, &str)] = &[
    // Attributes of a whole tree of mounts are one call, or a race.
    ("mount-options/recursive-", "mount_setattr", "mount_setattr("),
    ("idmap/", "open_tree", "open_tree(2)"),
    ("idmap/", "mount_setattr", "mount_setattr(2)"),
    ("user-namespace/flags-of-an-idmapped", "open_tree", "open_tree(2)"),
    ("user-namespace/flags-of-an-idmapped", "mount_setattr", "mount_setattr(2)"),
    ("mounts/idmap", "open_tree", "open_tree(2)"),
    ("mounts/idmap", "mount_setattr", "mount_setattr(2)"),
    ("user-namespace/pod-", "open_tree", "open_tree(2)"),
    ("user-namespace/pod-", "mount_setattr", "mount_setattr(2)"),
    // The C library makes threads with it, and a thread enters a network namespace.
    ("net-devices/", "clone3", "clone3(2)"),
    ("features/mount-options-are-recognized", "mount_setattr", "mount_setattr("),
    // The container cannot send the listener itself: its calls are the listener's to decide.
    ("seccomp-listener/", "pidfd_open", "pidfd_open(2)"),
    ("seccomp-listener/", "pidfd_getfd", "pidfd_getfd("),
    ("rootless/seccomp-listener", "pidfd_open", "pidfd_open(2)"),
    ("rootless/seccomp-listener", "pidfd_getfd", "pidfd_getfd("),
    ("exec/pidfd-socket", "pidfd_open", "pidfd_open(2)"),
    // The procfs of a namespace full of strangers is made by a process that has nothing but a mount that is nowhere.
    ("namespaces/join-pid", "fsopen", "fsopen("),
    // The probe does not see the keyring either; that the container keeps the caller's is a warning.
    ("process/session-keyring", "keyctl", "session keyring"),
];

/// Cases that the filter disturbs itself: it shows in the first, an ordinary user's takes `newuidmap` its rights, the program
/// that loads it is not in a container, and it stands in the way of the probe in the others.
const DISTURBED: &[(&str, &str)] = &[
    ("seccomp/not-set", ""),
    ("rootless/subordinate-ids", ""),
    ("rootless/no-user-namespace", ""),
    ("rootless/plain-spec", ""),
    ("rootless/newuidmap", ""),
    ("cgroups/nested", ""),
    ("cli/log-warning-of-init", "keyctl"), // it has a filter of its own for that
    ("kill/all-without-pid-namespace", "clone3"),
    ("cgroups/pids-limit-is-in-force", "clone3"),
    ("limits/pids-stops-a-fork", "clone3"),
    ("limits/update-pids", "clone3"),
    ("limits/kill-all", "clone3"),
    ("limits/ps", "clone3"),
    ("exec/terminal-", "keyctl"), // the warning is on the terminal too
    ("ends/", "clone3"),
    ("cli/ps-json", "clone3"),
];

/// Whether the case may fail without the calls, and for want of which.
pub fn is_permitted_refusal(names: &[&'static str], case: &str, text: &str) -> Option<&'static str> {
    let disturbed = DISTURBED.iter().find(|(beginning, _)| case.starts_with(beginning));
    if let Some((_, disturbing)) = disturbed {
        return names.iter().find(|name| disturbing.is_empty() || name == &disturbing).copied();
    }
    refusal(names, case, text)
}

/// The call for want of which the case was refused.
pub fn refusal(names: &[&'static str], case: &str, text: &str) -> Option<&'static str> {
    REFUSALS
        .iter()
        .filter(|(beginning, call, _)| case.starts_with(beginning) && names.contains(call))
        .find(|(.., said)| text.contains(said))
        .map(|(_, call, _)| *call)
}

/// The calls that this kernel does not have.
pub fn missing() -> Vec<&'static str> {
    CALLS.iter().filter(|(_, number)| sys::is_missing(*number)).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_jumps_to_the_errno() {
        let program = program(&[1, 2, 3], 38);
        let last = program.len() - 1;
        for (i, instruction) in program.iter().enumerate().skip(4).take(3) {
            assert_eq!(i + 1 + usize::from(instruction.jump_true), last);
        }
        assert_eq!(program[last].operand, 0x0005_0026);
    }

    #[test]
    fn what_every_kernel_of_today_has_is_not_missing() {
        assert!(!missing().contains(&"memfd_create"));
        assert!(sys::is_missing(100_000));
    }

    #[test]
    fn groups_are_spelled_out() {
        let without = |list: &str| Without { list: list.into(), errno: "ENOSYS".into() };
        assert_eq!(without("statx,pidfd").names().unwrap().len(), 4);
        assert_eq!(without("all").names().unwrap().len(), CALLS.len());
        assert!(without("read").names().is_err());
    }
}
