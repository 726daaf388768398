//! Resource limits, of any process.
#![expect(unsafe_code, reason = "prlimit(2), which nix does not have")]

pub use nix::sys::resource::Resource;
pub use nix::unistd::Pid;

use super::{Result, checked};

/// `prlimit(2)`: set a limit of a process; pid 0 is the caller.
pub fn set(pid: Pid, resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit64, which outlives the call, and writes nothing through the null pointer.
    let result = unsafe { libc::prlimit64(pid.as_raw(), resource as _, &limit, std::ptr::null_mut()) };
    checked(i64::from(result), || {
        format!("prlimit({pid}, {resource:?}, {{rlim_cur={}, rlim_max={}}})", show(soft), show(hard))
    })
    .map(drop)
}

fn show(limit: u64) -> String {
    if limit == libc::RLIM64_INFINITY { "RLIM_INFINITY".into() } else { limit.to_string() }
}
