//! The capability sets of the calling process, as bit masks.
#![expect(unsafe_code, reason = "capget(2), capset(2) and prctl(2) have no wrapper in libc or nix")]

use super::{Errno, Error, Result, checked};

/// `_LINUX_CAPABILITY_VERSION_3`: two 32 bit words for each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets of `capget(2)` and `capset(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What the kernel checks.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What `execve(2)` may keep.
    pub inheritable: u64,
}

/// `capset(2)`.
pub fn set(sets: Sets) -> Result<()> {
    // Each word is the lower or the upper half of a mask.
    let words = [0, 32].map(|shift| Words {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    });
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: version 3 reads one header and two triples of words; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &mut header, words.as_ptr()) };
    checked(result, || {
        format!(
            "capset(effective={:#x}, permitted={:#x}, inheritable={:#x})",
            sets.effective, sets.permitted, sets.inheritable
        )
    })
    .map(drop)
}

/// `capget(2)`.
pub fn get() -> Result<Sets> {
    let mut words = [Words::default(); 2];
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: version 3 reads one header and writes two triples of words; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capget, &mut header, words.as_mut_ptr()) };
    checked(result, || "capget(0)".into())?;
    let join = |half: fn(&Words) -> u32| u64::from(half(&words[0])) | u64::from(half(&words[1])) << 32;
    Ok(Sets {
        effective: join(|w| w.effective),
        permitted: join(|w| w.permitted),
        inheritable: join(|w| w.inheritable),
    })
}

/// Take a capability, by its number, out of the bounding set.
pub fn drop_bounding(number: u8) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, number.into(), 0, || format!("prctl(PR_CAPBSET_DROP, {number})")).map(drop)
}

/// Empty the ambient set. Before Linux 4.3 there is none: `EINVAL`.
pub fn clear_ambient() -> Result<()> {
    let operation = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, operation, 0, || "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)".into())
        .map(drop)
}

/// Put a capability, by its number, into the ambient set.
pub fn raise_ambient(number: u8) -> Result<()> {
    let operation = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, operation, number.into(), || {
        format!("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {number})")
    })
    .map(drop)
}

/// The number of the last capability that the kernel has. It refuses to tell of those beyond; all kernels from 5.9 on
/// end at 40, so that one question is enough there, or two where that one is not among those that are known: our own.
pub fn last_capability(known: u64) -> Result<u8> {
    const CHECKPOINT_RESTORE: u8 = 40;
    let mut last = 63_u8.saturating_sub(known.leading_zeros() as u8);
    if last < CHECKPOINT_RESTORE && exists(CHECKPOINT_RESTORE)? {
        last = CHECKPOINT_RESTORE;
    }
    while last < 63 && exists(last + 1)? {
        last += 1;
    }
    Ok(last)
}

fn exists(number: u8) -> Result<bool> {
    match prctl(libc::PR_CAPBSET_READ, number.into(), 0, || format!("prctl(PR_CAPBSET_READ, {number})")) {
        Ok(_) => Ok(true),
        Err(Error { errno: Errno::EINVAL, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn prctl(
    option: libc::c_int,
    second: libc::c_ulong,
    third: libc::c_ulong,
    call: impl Fn() -> String,
) -> Result<i64> {
    let zero: libc::c_ulong = 0;
    // SAFETY: these options of prctl(2) take numbers only; the unused arguments must be zero.
    checked(i64::from(unsafe { libc::prctl(option, second, third, zero, zero) }), call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_its_sets() {
        let last = last_capability(0).unwrap();
        assert!(last >= 37);
        let known = crate::sys::proc::own_status().unwrap().bounding;
        assert_eq!([0, 1, 1 << 20, known].map(|known| last_capability(known).unwrap()), [last; 4]);
        assert_eq!(crate::sys::proc::own_status().unwrap().bounding >> last >> 1, 0);
        let sets = get().unwrap();
        assert_eq!(sets.effective & !sets.permitted, 0);
    }
}
