//! Which CPUs a process runs on, when, and how soon its input and output is done.
#![expect(unsafe_code, reason = "calls that neither nix nor libc wraps")]

use super::process::Pid;
use super::{Result, checked};

/// What `sched_setattr(2)` sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// From -20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// From 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub runtime: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub deadline: u64,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    pub period: u64,
}

/// `struct sched_attr` in its second version; the kernel tells the versions by the size.
#[repr(C)]
struct KernelAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilization: [u32; 2],
}

/// `sched_setattr(2)` of another process. A real-time policy needs `CAP_SYS_NICE` in the initial user namespace.
pub fn set_scheduler(pid: Pid, attributes: Attributes) -> Result<()> {
    let Attributes { policy, flags, nice, priority, runtime, deadline, period } = attributes;
    let size = size_of::<KernelAttributes>() as u32;
    let given = KernelAttributes {
        size,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        utilization: [0, 0],
    };
    // SAFETY: the kernel reads as many bytes as `size` says, which are the structure's; the rest are numbers.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw(), &raw const given, 0_u32) };
    checked(result, || format!("sched_setattr({pid}, {attributes:?})")).map(drop)
}

/// `ioprio_set(2)` of another process: a class (`IOPRIO_CLASS_*`) and a level in it, from 0 to 7.
pub fn set_io_priority(pid: Pid, class: u16, level: u16) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    let value = i32::from(class) << 13 | i32::from(level);
    // SAFETY: numbers only.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid.as_raw(), value) };
    checked(result, || format!("ioprio_set(IOPRIO_WHO_PROCESS, {pid}, class {class}, level {level})"))
        .map(drop)
}

/// `sched_setaffinity(2)` of the caller: bit n of the mask is CPU n. CPUs that the machine has not are left out by the
/// kernel; `EINVAL` if none is left.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as it is told that the slice has.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    checked(result, || {
        let words: Vec<String> = mask.iter().rev().map(|word| format!("{word:x}")).collect();
        format!("sched_setaffinity(0, {})", words.join(","))
    })
    .map(drop)
}
