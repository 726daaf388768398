//! The first instructions of the binary, before those of the C library.
//!
//! What enters a container must run from a file that nobody can write to ([`crate::own_binary`]), which most often means
//! to begin once more from a read-only clone of our mount. The start of a static program is half a millisecond on a
//! virtual machine: the C library asks the processor what it is, and each answer is the hypervisor's; and an `execve(2)`
//! is a quarter of that. So this looks at the arguments before any of it, and while the process still consists of nothing
//! but what the kernel has mapped, it maps the same from the clone, which then is the file that is executed, as if the
//! program had begun there (`PR_SET_MM_MAP`). Where that is refused it begins anew. Where something is in the way it
//! leaves all as it was, and `own_binary` takes the other ways.
//!
//! Nothing here may need what is not there yet: no thread-local variable, no function of the C library, not even the
//! `memcmp` that a compiler would make of a loop, and no address that has to be relocated.
#![expect(unsafe_code, reason = "nothing but the kernel is there yet")]

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

/// What the first instructions have seen of the file that they are in.
static FOUND: AtomicU8 = AtomicU8::new(0);
/// Nobody can write to it: it lies on a read-only mount.
const PROTECTED: u8 = 1;
/// The same, and this is still the program that the caller has executed.
const EXCHANGED: u8 = 2;

/// The clone, after an exchange: a mount that is nowhere attached goes with its descriptor, for which the kernel waits
/// (70 µs).
static CLONE: AtomicI32 = AtomicI32::new(NONE);
const NONE: i32 = -1;

/// The descriptor that the first instructions have left open, if there is one: it is not the caller's.
pub fn descriptor() -> Option<i32> {
    Some(CLONE.load(Ordering::Relaxed)).filter(|number| *number != NONE)
}

/// Close it, when there is time: the parent after its child has done so, or both by their ends.
pub fn close_clone() {
    let number = CLONE.swap(NONE, Ordering::Relaxed);
    if number != NONE {
        // SAFETY: nobody else owns it, and nobody knows of it any more.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// Whether it is known since the start that our own binary lies on a read-only mount.
pub fn is_protected() -> bool {
    FOUND.load(Ordering::Relaxed) >= PROTECTED
}

/// Whether the kernel still has the name under which the caller has executed us: whoever begins anew by a descriptor has
/// that one's number for a name, before Linux 6.14.
pub fn has_kept_its_name() -> bool {
    FOUND.load(Ordering::Relaxed) == EXCHANGED
}

/// The arguments as the kernel has given them.
///
/// # Safety
///
/// `arguments` points to as many pointers to strings as `count` says.
pub unsafe fn arguments(count: c_int, arguments: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the caller's promise; they live as long as the process.
    let word = |i| unsafe { CStr::from_ptr(*arguments.add(i)) };
    (0..count).map(|i| OsString::from_vec(word(i).to_bytes().to_vec())).collect()
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod exchange;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod raw;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod entry {
    use std::arch::global_asm;
    use std::mem::MaybeUninit;

    use super::exchange::exchange;
    use super::raw::call;

    // The stack is as the kernel has made it when `_start` finds it.
    #[cfg(target_arch = "x86_64")]
    global_asm!(
        ".pushsection .text.crust_start, \"ax\", @progbits",
        ".globl crust_start",
        "crust_start:",
        "xor %ebp, %ebp",
        "push %rdx",
        "lea 8(%rsp), %rdi",
        "sub $8, %rsp",
        "call {begin}",
        "add $8, %rsp",
        "pop %rdx",
        "jmp _start",
        ".popsection",
        begin = sym begin,
        options(att_syntax)
    );

    #[cfg(target_arch = "aarch64")]
    global_asm!(
        ".pushsection .text.crust_start, \"ax\", @progbits",
        ".globl crust_start",
        "crust_start:",
        "mov x19, x0",
        "mov x0, sp",
        "bl {begin}",
        "mov x0, x19",
        "b _start",
        ".popsection",
        begin = sym begin,
    );

    const EXE: *const u8 = c"/proc/self/exe".as_ptr().cast();
    const EMPTY: *const u8 = c"".as_ptr().cast();
    const HERE: usize = libc::AT_FDCWD as usize;

    /// `stack` is what the kernel has put there: the number of arguments, their addresses and a null, those of the
    /// environment and a null.
    unsafe extern "C" fn begin(stack: *const usize) {
        // SAFETY: the kernel's layout of a new stack.
        let (count, arguments) = unsafe { (*stack, stack.wrapping_add(1)) };
        let environment = arguments.wrapping_add(count.wrapping_add(1));
        // SAFETY: each is the address of a string.
        let enters = (1..count).any(|i| unsafe { enters(*arguments.wrapping_add(i) as *const u8) });
        // SAFETY: strings with a NUL, structures as the kernel wants them, on a stack that lives.
        unsafe {
            if !enters {
                return;
            }
            if is_readonly(libc::SYS_statfs, EXE as usize) {
                super::FOUND.store(super::PROTECTED, super::Ordering::Relaxed);
                return;
            }
            if is_immutable() {
                return;
            }
            let Some(clone) = readonly_clone() else { return };
            if exchange(clone, stack, environment) && is_readonly(libc::SYS_statfs, EXE as usize) {
                super::FOUND.store(super::EXCHANGED, super::Ordering::Relaxed);
                // A number of a standard stream, which the caller has left closed, is not to be had.
                if clone > 2 {
                    super::CLONE.store(clone as i32, super::Ordering::Relaxed);
                    return;
                }
            // One that is not protected would begin again for ever.
            } else if is_readonly(libc::SYS_fstatfs, clone) {
                let (empty, here) = (EMPTY as usize, libc::AT_EMPTY_PATH as usize);
                call(libc::SYS_execveat, [clone, empty, arguments as usize, environment as usize, here]);
            }
            call(libc::SYS_close, [clone, 0, 0, 0, 0]);
        }
    }

    /// `open_tree_attr(2)`, Linux 6.15; libc has it for few architectures, and its number is the same for all.
    const SYS_OPEN_TREE_ATTR: libc::c_long = 467;

    /// A mount of the binary alone, read-only, in no mount namespace: in one call, or in two.
    // SAFETY: for a process that has begun just now.
    unsafe fn readonly_clone() -> Option<usize> {
        // struct mount_attr
        let readonly: [u64; 4] = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
        let (attributes, size) = (readonly.as_ptr() as usize, size_of::<[u64; 4]>());
        // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
        let flags = 1 | libc::O_CLOEXEC as usize;
        // SAFETY: strings with a NUL, and a structure that outlives the calls, with its size.
        unsafe {
            let clone = call(SYS_OPEN_TREE_ATTR, [HERE, EXE as usize, flags, attributes, size]);
            if clone >= 0 {
                return Some(clone as usize);
            }
            let clone = call(libc::SYS_open_tree, [HERE, EXE as usize, flags, 0, 0]);
            if clone < 0 {
                return None;
            }
            let clone = clone as usize;
            let here = libc::AT_EMPTY_PATH as usize;
            // Where it fails the clone is not read-only, which is looked for.
            call(libc::SYS_mount_setattr, [clone, EMPTY as usize, here, attributes, size]);
            Some(clone)
        }
    }

    /// Whether the mount of a file is read-only: by its path, or its descriptor.
    // SAFETY: for a call that takes what `file` is: the address of a path, or a descriptor.
    unsafe fn is_readonly(statfs: libc::c_long, file: usize) -> bool {
        // Not zeroed, which would be a call of memset.
        let mut found = MaybeUninit::<libc::statfs64>::uninit();
        // SAFETY: the caller answers for the file, and the kernel fills the structure.
        let result = unsafe { call(statfs, [file, found.as_mut_ptr() as usize, 0, 0, 0]) };
        // SAFETY: it has been filled.
        result == 0 && unsafe { (*found.as_ptr()).f_flags } as u64 & libc::ST_RDONLY != 0
    }

    /// Whether the file has the attribute `i` of `chattr(1)`, or fs-verity.
    // SAFETY: for a process that has begun just now.
    unsafe fn is_immutable() -> bool {
        let mut found = MaybeUninit::<libc::statx>::uninit();
        // SAFETY: a string with a NUL, and the structure that the kernel fills.
        let result =
            unsafe { call(libc::SYS_statx, [HERE, EXE as usize, 0, 0, found.as_mut_ptr() as usize]) };
        let immutable = (libc::STATX_ATTR_IMMUTABLE | libc::STATX_ATTR_VERITY) as u64;
        // SAFETY: it has been filled.
        result == 0 && unsafe { (*found.as_ptr()).stx_attributes } & immutable != 0
    }

    /// Whether a word is a command that enters a container; one too many is no harm.
    // SAFETY: for a string with a NUL.
    unsafe fn enters(word: *const u8) -> bool {
        // SAFETY: no letter is read behind a NUL, which matches none of these.
        let letter = |i: usize| unsafe { word.wrapping_add(i).read_volatile() };
        match letter(0) {
            b'r' => letter(1) == b'u' && letter(2) == b'n' && letter(3) == 0,
            b'e' => letter(1) == b'x' && letter(2) == b'e' && letter(3) == b'c' && letter(4) == 0,
            b'c' => {
                letter(1) == b'r'
                    && letter(2) == b'e'
                    && letter(3) == b'a'
                    && letter(4) == b't'
                    && letter(5) == b'e'
                    && letter(6) == 0
            }
            _ => false,
        }
    }
}
