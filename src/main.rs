//! argv in, exit code out.

#![no_main]
#![expect(unsafe_code, reason = "the C library calls main by its name")]

use std::ffi::{c_char, c_int};

/// Without Rust's own start, which asks the kernel fifteen questions that nobody here needs answered: where the stack
/// ends, for one.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: they are those that the C library was given by the kernel.
    let argv = unsafe { crust::sys::start::arguments(count, arguments) };
    crust::commands::main(argv).into()
}
