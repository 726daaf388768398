//! config-linux.md: seccomp, without the listener.

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::{Trial, did_is, is};
use crate::verdict::equal;

const ACTIONS: &str = "**`action`** *(string, REQUIRED)* - the action for seccomp rules.";
const ERRNO: &str = "**`errnoRet`** *(uint, OPTIONAL)* - the errno return code to use. The default is \
    `EPERM`.";
const NO_ERRNO: &str = "When the action doesn't support an errno, the runtime MUST print and error and fail.";
const OPERATOR: &str = "**`op`** *(string, REQUIRED)* - the operator for syscall arguments in seccomp.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// `personality` is the guinea pig: harmless, and no program here needs it.
const CALL: &str = "personality";
const NUMBER: i64 = libc::SYS_personality;

fn asked() -> String {
    // An argument that only asks: the answer is the current personality.
    format!("syscall:{NUMBER}:4294967295")
}

fn rule(t: &mut Trial, rule: Value) {
    t.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }));
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [actions(), operators(), whole(), refused()].into_iter().flatten().collect()
}

fn actions() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, rest, want) in [
        ("allow", json!({ "action": "SCMP_ACT_ALLOW" }), None),
        ("log", json!({ "action": "SCMP_ACT_LOG" }), None),
        ("errno", json!({ "action": "SCMP_ACT_ERRNO" }), Some("EPERM")),
        ("errno-chosen", json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 99 }), Some("EADDRNOTAVAIL")),
        ("errno-enosys", json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }), Some("ENOSYS")),
        // No tracer: the kernel answers ENOSYS.
        ("trace", json!({ "action": "SCMP_ACT_TRACE" }), Some("ENOSYS")),
    ] {
        cases.push(
            case(format!("seccomp/action-{name}"))
                .spec(if name.contains("errno-") { ERRNO } else { ACTIONS })
                .run(move |t| {
                    let mut entry = rest.clone();
                    entry["names"] = json!([CALL]);
                    rule(t, entry);
                    let facts = t.facts_of(&[asked()])?;
                    is(&facts, "/seccomp", "2")?;
                    did_is(&facts, &asked(), want.map_or(json!(0), |name| json!(name)))
                }),
        );
    }
    for (action, signal) in [
        ("SCMP_ACT_KILL", libc::SIGSYS),
        ("SCMP_ACT_KILL_THREAD", libc::SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", libc::SIGSYS),
        ("SCMP_ACT_TRAP", libc::SIGSYS),
    ] {
        cases.push(case(format!("seccomp/action-{action}")).spec(ACTIONS).run(move |t| {
            rule(t, json!({ "names": ["chroot"], "action": action }));
            // The probe asks for its personality in all its facts; chroot only on request.
            t.probe(&[format!("syscall:{}", libc::SYS_chroot)]).create()?;
            t.start()?;
            equal("end of the process", t.wait()?, 128 + signal)
        }));
    }
    cases
}

/// Operator, value, value two, the arguments that it must match, and those that it must not.
type Operator = (&'static str, u64, u64, &'static [u64], &'static [u64]);

fn operators() -> Vec<Case> {
    let rows: [Operator; 7] = [
        ("SCMP_CMP_EQ", 8, 0, &[8], &[7, 9]),
        ("SCMP_CMP_NE", 8, 0, &[7, 9], &[8]),
        ("SCMP_CMP_LT", 8, 0, &[0, 7], &[8, 9]),
        ("SCMP_CMP_LE", 8, 0, &[7, 8], &[9]),
        ("SCMP_CMP_GE", 8, 0, &[8, 9], &[7]),
        ("SCMP_CMP_GT", 8, 0, &[9], &[7, 8]),
        ("SCMP_CMP_MASKED_EQ", 0xf0, 0x20, &[0x20, 0x2f], &[0x10, 0x30]),
    ];
    let mut cases = Vec::new();
    for (operator, value, two, matched, others) in rows {
        cases.push(case(format!("seccomp/{operator}")).spec(OPERATOR).run(move |t| {
            let arguments = json!([{ "index": 0, "value": value, "valueTwo": two, "op": operator }]);
            rule(
                t,
                json!({
                    "names": ["setfsgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": arguments,
                }),
            );
            let call = |argument: &u64| format!("syscall:{}:{argument}", libc::SYS_setfsgid);
            let all: Vec<String> = matched.iter().chain(others).map(call).collect();
            let facts = t.facts_of(&all)?;
            for argument in matched {
                did_is(&facts, &call(argument), "EADDRNOTAVAIL")?;
            }
            for argument in others {
                ensure!(
                    facts["did"][call(argument)].is_number(),
                    "{} was refused: {}",
                    call(argument),
                    facts["did"]
                );
            }
            Ok(())
        }));
    }
    cases.push(
        case("seccomp/args-of-one-rule-are-and")
            .spec("**`args`** *(array of objects, OPTIONAL)* - the specific syscall in seccomp.")
            .run(|t| {
                let arguments = json!([
                    { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" },
                    { "index": 1, "value": 2, "op": "SCMP_CMP_EQ" },
                ]);
                rule(
                    t,
                    json!({
                        "names": ["setpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": arguments,
                    }),
                );
                let call =
                    |first: u64, second: u64| format!("syscall:{}:{first}:{second}", libc::SYS_setpgid);
                let facts = t.facts_of(&[call(1, 2), call(1, 3)])?;
                did_is(&facts, &call(1, 2), "EADDRNOTAVAIL")?;
                ensure!(
                    facts["did"][call(1, 3)] != "EADDRNOTAVAIL",
                    "one argument is enough: {}",
                    facts["did"]
                );
                Ok(())
            }),
    );
    cases
}

fn whole() -> Vec<Case> {
    vec![
        case("seccomp/not-set")
            .spec("**`seccomp`** (object, OPTIONAL)")
            .run(|t| is(&t.facts()?, "/seccomp", "0")),
        case("seccomp/allow-list")
            .spec("**`defaultAction`** *(string, REQUIRED)* - the default action for seccomp.")
            .run(|t| {
                t.set("/process/noNewPrivileges", true);
                t.set(
                    "/linux/seccomp",
                    json!({
                        "defaultAction": "SCMP_ACT_ERRNO",
                        "syscalls": [{ "names": all_calls(), "action": "SCMP_ACT_ALLOW" }],
                    }),
                );
                let (denied, allowed) = (format!("syscall:{}", libc::SYS_sync), asked());
                let facts = t.facts_of(&[&denied, &allowed])?;
                did_is(&facts, &denied, "EPERM")?;
                did_is(&facts, &allowed, 0)
            }),
        case("seccomp/default-errno")
            .spec("**`defaultErrnoRet`** *(uint, OPTIONAL)* - the errno return code to use.")
            .run(|t| {
                t.set(
                    "/linux/seccomp",
                    json!({
                        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99,
                        "syscalls": [{ "names": all_calls(), "action": "SCMP_ACT_ALLOW" }],
                    }),
                );
                let denied = format!("syscall:{}", libc::SYS_sync);
                did_is(&t.facts_of(&[&denied])?, &denied, "EADDRNOTAVAIL")
            }),
        case("seccomp/unknown-syscall-is-ignored")
            .security("A71", "an unknown name in a list of calls does not fail")
            .run(|t| {
                rule(t, json!({ "names": ["no_such_call", CALL], "action": "SCMP_ACT_ERRNO" }));
                did_is(&t.facts_of(&[asked()])?, &asked(), "EPERM")
            }),
        case("seccomp/with-no-new-privileges")
            .runc("the filter is there with and without noNewPrivileges")
            .run(|t| {
                rule(t, json!({ "names": [CALL], "action": "SCMP_ACT_ERRNO" }));
                t.set("/process/noNewPrivileges", true)
                    .set("/process/user/uid", 1000)
                    .remove("/process/capabilities");
                did_is(&t.facts_of(&[asked()])?, &asked(), "EPERM")
            }),
        case("seccomp/without-capabilities")
            .runc("the filter is loaded although the container has no CAP_SYS_ADMIN")
            .run(|t| {
                rule(t, json!({ "names": [CALL], "action": "SCMP_ACT_ERRNO" }));
                t.set("/process/user/uid", 1000).remove("/process/capabilities");
                did_is(&t.facts_of(&[asked()])?, &asked(), "EPERM")
            }),
        case("seccomp/three-architectures")
            .spec(
                "**`architectures`** *(array of strings, OPTIONAL)* - the architecture used for \
                 system calls.",
            )
            .run(|t| {
                rule(t, json!({ "names": [CALL], "action": "SCMP_ACT_ERRNO" }));
                t.set(
                    "/linux/seccomp/architectures",
                    json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",]),
                );
                did_is(&t.facts_of(&[asked()])?, &asked(), "EPERM")
            }),
        case("seccomp/later-rule-of-the-same-call")
            .runc("two rules for one call with different arguments both count")
            .run(|t| {
                let rule = |value: u64, errno: u64| {
                    json!({
                        "names": ["setfsgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
                        "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }],
                    })
                };
                t.set(
                    "/linux/seccomp",
                    json!({
                        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(1, 99), rule(2, 38)],
                    }),
                );
                let call = |argument: u64| format!("syscall:{}:{argument}", libc::SYS_setfsgid);
                let facts = t.facts_of(&[call(1), call(2)])?;
                did_is(&facts, &call(1), "EADDRNOTAVAIL")?;
                did_is(&facts, &call(2), "ENOSYS")
            }),
    ]
}

fn refused() -> Vec<Case> {
    let listed = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let rows = [
        ("unknown-default-action", json!({ "defaultAction": "SCMP_ACT_MAYBE" }), INVALID),
        (
            "no-default-action",
            json!({ "syscalls": [] }),
            "**`defaultAction`** *(string, REQUIRED)* - the default action for seccomp.",
        ),
        ("unknown-action", listed(json!({ "names": [CALL], "action": "SCMP_ACT_MAYBE" })), INVALID),
        ("no-action", listed(json!({ "names": [CALL] })), ACTIONS),
        (
            "no-names",
            listed(json!({ "names": [], "action": "SCMP_ACT_ERRNO" })),
            "`names` MUST contain at least one entry.",
        ),
        (
            "unknown-architecture",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"],
                "syscalls": [{ "names": [CALL], "action": "SCMP_ACT_ERRNO" }],
            }),
            INVALID,
        ),
        (
            "unknown-flag",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NO"],
                "syscalls": [{ "names": [CALL], "action": "SCMP_ACT_ERRNO" }],
            }),
            INVALID,
        ),
        (
            "unknown-operator",
            listed(json!({
                "names": ["setfsgid"], "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_ALMOST" }],
            })),
            INVALID,
        ),
        (
            "argument-index-6",
            listed(json!({
                "names": ["setfsgid"], "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }],
            })),
            INVALID,
        ),
        (
            "errno-for-kill",
            listed(json!({ "names": ["chroot"], "action": "SCMP_ACT_KILL", "errnoRet": 1 })),
            NO_ERRNO,
        ),
        (
            "default-errno-for-allow",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1,
                "syscalls": [{ "names": [CALL], "action": "SCMP_ACT_ERRNO" }],
            }),
            NO_ERRNO,
        ),
        (
            "notify-without-listener",
            listed(json!({ "names": ["chroot"], "action": "SCMP_ACT_NOTIFY" })),
            INVALID,
        ),
        (
            "metadata-without-listener",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x",
                "syscalls": [{ "names": [CALL], "action": "SCMP_ACT_ERRNO" }],
            }),
            "This field MUST NOT be set if `listenerPath` is not set.",
        ),
    ];
    let refuse = |(name, seccomp, sentence): (&str, Value, &str)| {
        case(format!("seccomp/{name}"))
            .spec(sentence)
            .run(move |t| t.set("/linux/seccomp", seccomp.clone()).refused().map(drop))
    };
    rows.into_iter().map(refuse).collect()
}

/// Every call that a static program of today makes, and some more: all but `sync` and `chroot`.
fn all_calls() -> Vec<String> {
    let text = "accept4 access arch_prctl bind brk capget capset chdir chmod chown clock_gettime \
            clock_nanosleep clone clone3 close close_range connect dup dup2 dup3 epoll_create1 \
            epoll_ctl epoll_pwait epoll_wait eventfd2 execve execveat exit exit_group faccessat \
            faccessat2 fadvise64 fchdir fchmod fchmodat fchown fchownat fcntl flock fork fstat \
            fstatfs fsync ftruncate futex getcwd getdents64 getegid geteuid getgid getgroups \
            getpgid getpid getppid getpriority getrandom getresgid getresuid getrlimit getsid \
            getsockname getsockopt gettid gettimeofday getuid getxattr ioctl ioprio_get keyctl \
            kill link linkat listen lseek lstat madvise memfd_create mincore mkdir mkdirat mknod \
            mknodat mlock mmap mount mprotect mremap munmap nanosleep newfstatat open openat \
            openat2 pause personality pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl \
            pread64 prlimit64 pwrite64 read readlink readlinkat readv recvfrom recvmsg rename \
            renameat2 rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn \
            rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_getparam sched_getscheduler \
            sched_setaffinity sched_yield seccomp select sendmsg sendto set_robust_list \
            set_tid_address setgid setgroups sethostname setitimer setpgid setpriority setregid \
            setresgid setresuid setreuid setrlimit setfsgid setsid setsockopt setuid shutdown \
            sigaltstack socket socketpair splice stat statfs statx symlink symlinkat sysinfo \
            tgkill timer_create timer_delete timer_settime tkill truncate umask uname unlink \
            unlinkat utimensat vfork wait4 waitid write writev";
    text.split_whitespace().map(str::to_owned).collect()
}
