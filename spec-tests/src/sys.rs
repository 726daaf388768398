//! The few calls for which neither `std` nor `nix` has a safe function.

#![expect(unsafe_code, reason = "raw system calls of the probe and of the runner")]

use std::io;

use nix::errno::Errno;

/// The name of an error number, as `EPERM`.
pub fn errno_name(number: i32) -> String {
    format!("{:?}", Errno::from_raw(number))
}

/// The name of an I/O error's number.
pub fn error_name(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.kind().to_string(), errno_name)
}

/// Any system call with numbers as arguments. Zero stands for a null pointer.
pub fn call(number: i64, arguments: [u64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the suite asks only for calls that take numbers, or null instead of a pointer: the kernel then
    // touches no memory of ours.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// Whether the kernel does not know a system call.
pub fn is_missing(number: i64) -> bool {
    // SAFETY: with all bits set no argument is a descriptor, a pointer to memory, or a set of flags that a kernel knows.
    let result = Errno::result(unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) });
    result == Err(Errno::ENOSYS)
}

/// Soft and hard limit of a resource.
pub fn limit(resource: u32) -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live `rlimit` that the kernel fills.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0).then_some((limit.rlim_cur, limit.rlim_max))
}

/// Private memory of so many bytes in huge pages of two mebibytes, for ever.
pub fn huge_pages(length: usize) -> io::Result<&'static mut [u8]> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let memory =
        unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has this length, is nobody else's, and is never undone.
    Ok(unsafe { std::slice::from_raw_parts_mut(memory.cast(), length) })
}

/// The flags of the mount that a file is on, `statvfs(3)`.
pub fn mount_flags(descriptor: i32) -> u64 {
    // SAFETY: all of statvfs may be zero.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `statvfs` that the C library fills.
    unsafe { libc::fstatvfs(descriptor, &raw mut found) };
    found.f_flag
}

/// Rows and columns of the terminal behind a descriptor; `None` if it is no terminal.
pub fn window_size(descriptor: i32) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, and the pointer is to one.
    let result = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0).then_some((size.ws_row, size.ws_col))
}

/// Give the terminal behind a descriptor another size; its foreground processes are told.
pub fn resize(descriptor: i32, rows: u16, columns: u16) -> Result<i32, Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one `winsize`, and the pointer is to one.
    Errno::result(unsafe { libc::ioctl(descriptor, libc::TIOCSWINSZ, &raw const size) })
}

/// The description of the session keyring: `keyring;uid;gid;perm;name`.
pub fn session_keyring() -> Option<String> {
    of_session_keyring(6) // KEYCTL_DESCRIBE
}

/// The SELinux label of the session keyring.
pub fn session_keyring_label() -> Option<String> {
    of_session_keyring(17) // KEYCTL_GET_SECURITY
}

fn of_session_keyring(what: libc::c_long) -> Option<String> {
    const SESSION: libc::c_long = -3;
    let mut buffer = [0_u8; 512];
    // SAFETY: the kernel writes at most the given length into the live buffer.
    let written =
        unsafe { libc::syscall(libc::SYS_keyctl, what, SESSION, buffer.as_mut_ptr(), buffer.len()) };
    let length = usize::try_from(written).ok()?.min(buffer.len()).saturating_sub(1);
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The SELinux label of a file.
pub fn label_of(path: &str) -> Result<String, Errno> {
    let path = std::ffi::CString::new(path).map_err(|_| Errno::EINVAL)?;
    let mut buffer = [0_u8; 512];
    // SAFETY: the names end with a NUL, and the kernel writes at most the given length into the live buffer.
    let written = unsafe {
        let name = c"security.selinux".as_ptr();
        libc::getxattr(path.as_ptr(), name, buffer.as_mut_ptr().cast(), buffer.len())
    };
    let length = usize::try_from(Errno::result(written)?).unwrap_or_default();
    Ok(String::from_utf8_lossy(&buffer[..length]).trim_end_matches('\0').to_owned())
}

/// The NIS domain name of the UTS namespace.
pub fn domain_name() -> String {
    let mut buffer = [0_u8; 65];
    // SAFETY: the length given is the buffer's, less one for the terminating zero.
    unsafe { libc::getdomainname(buffer.as_mut_ptr().cast(), 64) };
    let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(buffer.len());
    String::from_utf8_lossy(&buffer[..end]).into_owned()
}

/// Seconds of a clock.
pub fn clock_seconds(clock: i32) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live `timespec` that the kernel fills.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec
}

/// Write down each signal that arrives, until the process is killed.
pub fn wait_for_signal() -> i32 {
    let mut signals: libc::sigset_t = empty_set();
    let mut number = 0;
    // SAFETY: the set is live and initialised by sigfillset before use; `number` is a live integer.
    unsafe {
        libc::sigfillset(&raw mut signals);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        libc::sigwait(&raw const signals, &raw mut number);
    }
    number
}

/// Block every signal, so that none is lost before `wait_for_signal`.
pub fn block_signals() {
    let mut signals: libc::sigset_t = empty_set();
    // SAFETY: the set is live and initialised by sigfillset before use.
    unsafe {
        libc::sigfillset(&raw mut signals);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: a signal set is plain integers; all bits zero is the empty set.
    unsafe { std::mem::zeroed() }
}

/// Own a descriptor that the kernel has just handed over.
pub fn own(number: i32) -> std::os::fd::OwnedFd {
    // SAFETY: the number comes from an SCM_RIGHTS message of this moment, so nobody else owns it.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(number) }
}

/// One instruction of classic BPF, `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// Load a seccomp filter, for good. Root needs no `no_new_privs` for it, which would show in the cases.
pub fn load_filter(program: &[Instruction]) -> Result<(), Errno> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads as many instructions as it is told, and Instruction has the layout of sock_filter.
    unsafe {
        if libc::geteuid() != 0 {
            Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        }
        let result = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter);
        Errno::result(result).map(drop)
    }
}
