//! System calls before there is a C library.

use std::arch::asm;

/// A raw system call.
// SAFETY: for arguments that the kernel may read, write and act upon.
#[inline(always)]
pub unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller answers for the arguments.
    unsafe { call_with_six(number, [a, b, c, d, e, 0]) }
}

/// The same with the most arguments that there are.
// SAFETY: as above.
#[inline(always)]
pub unsafe fn call_with_six(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the caller answers for the arguments; the kernel changes no other register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b, in("x2") c, in("x3") d,
            in("x4") e, in("x5") f, options(nostack));
    }
    result
}
