//! Another file for the one that the kernel executes, while the process still consists of nothing but what it has mapped.

use super::raw::{call, call_with_six};

const HERE: usize = libc::AT_FDCWD as usize;

/// What the kernel tells a new program behind the environment, `getauxval(3)`.
#[derive(Clone, Copy)]
struct Auxiliary {
    headers: *const libc::Elf64_Phdr,
    count: usize,
    page: usize,
    /// The name by which it was executed, which follows the environment's strings.
    name: usize,
}

impl Auxiliary {
    // SAFETY: for the environment that the kernel has put on the stack.
    unsafe fn behind(environment: *const usize) -> Self {
        let mut found = Self { headers: std::ptr::null(), count: 0, page: 0, name: 0 };
        let mut at = environment;
        // SAFETY: the kernel's layout: the environment ends with a null, and what follows with one of type 0.
        unsafe {
            while *at != 0 {
                at = at.wrapping_add(1);
            }
            at = at.wrapping_add(1);
            while *at != libc::AT_NULL as usize {
                let value = *at.wrapping_add(1);
                match *at as libc::c_ulong {
                    libc::AT_PHDR => found.headers = value as *const libc::Elf64_Phdr,
                    libc::AT_PHNUM => found.count = value,
                    libc::AT_PAGESZ => found.page = value,
                    libc::AT_EXECFN => found.name = value,
                    _ => {}
                }
                at = at.wrapping_add(2);
            }
        }
        found
    }
}

/// `struct prctl_mm_map`: where the parts of a process lie, for procfs to show, and which file it executes.
#[repr(C)]
struct Map {
    code: [usize; 2],
    data: [usize; 2],
    heap: [usize; 2],
    stack: usize,
    arguments: [usize; 2],
    environment: [usize; 2],
    auxiliary: usize,
    auxiliary_size: u32,
    executed: u32,
}

const PR_SET_MM_MAP: usize = 14;

/// Map what is mapped of the binary from its clone instead, and be executed from that: a part of an `execve(2)`, and
/// a fifth of its time. Needs `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE`; the kernel refuses where a page of the old
/// file is still mapped. Wherever this stops, what is mapped reads as before, unless the kernel lacked the memory for it.
// SAFETY: for an open descriptor, and a stack as the kernel has made it, of a process that nothing else runs in.
pub unsafe fn exchange(clone: usize, stack: *const usize, environment: *const usize) -> bool {
    // SAFETY: what the kernel has put there.
    let auxiliary = unsafe { Auxiliary::behind(environment) };
    // SAFETY: a string with a NUL; the handle itself stands for the mount, and is none that can be mapped.
    let file = unsafe {
        let Some(path) = path_of(clone) else { return false };
        let readonly = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
        call(libc::SYS_openat, [HERE, path.as_ptr() as usize, readonly, 0, 0])
    };
    if file < 0 {
        return false;
    }
    let file = file as usize;
    let mut map = Map {
        code: [usize::MAX, 0],
        data: [0, 0],
        heap: [0, 0],
        stack: stack as usize,
        arguments: [0, 0],
        environment: [0, auxiliary.name],
        auxiliary: 0,
        auxiliary_size: 0,
        executed: file as u32,
    };
    // SAFETY: the kernel's layout of a new stack, and a structure that outlives the call, with its size.
    let exchanged = unsafe {
        map.arguments[0] = *stack.wrapping_add(1);
        map.environment[0] = if *environment == 0 { auxiliary.name } else { *environment };
        map.arguments[1] = map.environment[0];
        // It reads the first alone; an array of nothing but zeros would be a call of memset.
        let break_now = call(libc::SYS_brk, [0, 1, 1, 1, 1]) as usize;
        map.heap = [break_now, break_now];
        map_again(file, &auxiliary, &mut map) && {
            let (all, size) = (&raw const map as usize, size_of::<Map>());
            call(libc::SYS_prctl, [libc::PR_SET_MM as usize, PR_SET_MM_MAP, all, size, 0]) == 0
        }
    };
    // SAFETY: a number. What is mapped holds the file.
    unsafe { call(libc::SYS_close, [file, 0, 0, 0, 0]) };
    exchanged
}

/// The parts of the file that the kernel has mapped, in their places. What the kernel would say of them goes into
/// `map`.
// SAFETY: for the headers of the binary that runs, and a file with the same content.
unsafe fn map_again(file: usize, auxiliary: &Auxiliary, map: &mut Map) -> bool {
    let Auxiliary { headers, count, page, .. } = *auxiliary;
    // SAFETY: so many headers are there.
    let header = |i: usize| unsafe { &*headers.wrapping_add(i) };
    // A loader would have been at work by now, and what it has changed would be lost.
    let has_loader = (0..count).any(|i| header(i).p_type == libc::PT_INTERP);
    let Some(own) = (0..count).map(header).find(|header| header.p_type == libc::PT_PHDR) else {
        return false;
    };
    let base = (headers as usize).wrapping_sub(own.p_vaddr as usize);
    if has_loader || !page.is_power_of_two() {
        return false;
    }
    let begin_of_page = |address: usize| address & !(page.wrapping_sub(1));
    let end_of_page = |address: usize| begin_of_page(address.wrapping_add(page).wrapping_sub(1));
    for part in (0..count).map(header).filter(|part| part.p_type == libc::PT_LOAD && part.p_filesz != 0) {
        let begin = base.wrapping_add(part.p_vaddr as usize);
        let end = begin.wrapping_add(part.p_filesz as usize);
        let writable = part.p_flags & libc::PF_W != 0;
        let executable = part.p_flags & libc::PF_X != 0;
        let rights = if part.p_flags & libc::PF_R != 0 { libc::PROT_READ } else { 0 }
            | if writable { libc::PROT_WRITE } else { 0 }
            | if executable { libc::PROT_EXEC } else { 0 };
        let (at, length) = (begin_of_page(begin), end_of_page(end).wrapping_sub(begin_of_page(begin)));
        let (flags, offset) = (libc::MAP_PRIVATE | libc::MAP_FIXED, begin_of_page(part.p_offset as usize));
        // SAFETY: the same bytes as there were, of which nobody has changed one yet.
        let mapped = unsafe {
            call_with_six(libc::SYS_mmap, [at, length, rights as usize, flags as usize, file, offset])
        };
        if mapped != at as isize {
            return false;
        }
        // What begins behind the last byte of the file is zero, as the kernel leaves it.
        if writable && part.p_memsz > part.p_filesz {
            for byte in end..end_of_page(end) {
                // SAFETY: in the page that was mapped just now.
                unsafe { (byte as *mut u8).write_volatile(0) };
            }
        }
        let of = if executable { &mut map.code } else { &mut map.data };
        of[0] = if executable { of[0].min(begin) } else { of[0].max(begin) };
        of[1] = of[1].max(end);
    }
    true
}

/// `/proc/self/fd/N`, for an `N` of up to four digits.
fn path_of(descriptor: usize) -> Option<[u8; 19]> {
    let mut path = *b"/proc/self/fd/\0\0\0\0\0";
    let mut divisor = 1;
    while descriptor / divisor >= 10 {
        divisor *= 10;
    }
    let mut place = 14;
    while divisor > 0 && place < 18 {
        path[place] = b'0' + (descriptor / divisor % 10) as u8;
        (place, divisor) = (place + 1, divisor / 10);
    }
    (divisor == 0).then_some(path)
}
