//! eBPF programs that decide over a cgroup's access to devices: `bpf(2)`.
#![expect(unsafe_code, reason = "bpf(2) has no wrapper in nix")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{Errno, Error, Result, checked};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
const BPF_PROG_QUERY: i32 = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// More programs than anybody attaches to a cgroup; the kernel allows 64.
const PROGRAMS_MAX: usize = 64;

/// The `union bpf_attr` of `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// Of `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// Of `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// Of `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
#[derive(Default)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(Default)]
struct Info {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The first members of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    prog_type: u32,
    id: u32,
}

/// A loaded program.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// How a program comes to a cgroup.
pub enum Place<'a> {
    /// Beside those that are there: an access needs the consent of all.
    Beside,
    /// In the place of another one, at once (Linux 5.6).
    Of(&'a Program),
}

fn bpf<T>(command: i32, attr: &mut T, call: impl Fn() -> String) -> Result<i64> {
    // SAFETY: `attr` is a valid, zero-initialised prefix of `union bpf_attr` of the size that is told; the kernel takes
    // what lies behind it as zeros. The pointers in it are set by the callers below, to memory that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    checked(result, call)
}

fn number(fd: impl AsFd) -> u32 {
    // A descriptor is never negative.
    fd.as_fd().as_raw_fd().cast_unsigned()
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: bpf(2) has just answered with this new descriptor (close-on-exec by itself), which nobody else knows.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) }
}

/// Load a program that decides over devices. Before Linux 5.11 its memory counts as locked memory, so the limit of that
/// is lifted for the moment where it is in the way.
pub fn load_device_filter(instructions: &[u64]) -> Result<Program> {
    match load(instructions) {
        Err(error) if error.errno == Errno::EPERM => {
            let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return Err(error) };
            if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err() {
                return Err(error);
            }
            let result = load(instructions);
            let restored = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
            super::named(restored, || "setrlimit(RLIMIT_MEMLOCK)".into())?;
            result
        }
        result => result,
    }
}

fn load(instructions: &[u64]) -> Result<Program> {
    let call = || format!("bpf(BPF_PROG_LOAD, CGROUP_DEVICE, {} instructions)", instructions.len());
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Error::new(call(), Errno::E2BIG))?,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: *b"device_filter\0\0\0",
        ..Load::default()
    };
    Ok(Program(owned(bpf(BPF_PROG_LOAD, &mut attr, call)?)))
}

/// Attach a program to a cgroup.
pub fn attach_device_filter(cgroup: impl AsFd, program: &Program, place: &Place) -> Result<()> {
    let mut attr = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(&program.0),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
        ..Attach::default()
    };
    if let Place::Of(old) = place {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = number(&old.0);
    }
    let flags = if attr.attach_flags & BPF_F_REPLACE == 0 { "ALLOW_MULTI" } else { "ALLOW_MULTI | REPLACE" };
    bpf(BPF_PROG_ATTACH, &mut attr, || format!("bpf(BPF_PROG_ATTACH, CGROUP_DEVICE, {flags})")).map(drop)
}

/// Take a program away from a cgroup.
pub fn detach_device_filter(cgroup: impl AsFd, program: &Program) -> Result<()> {
    let mut attr = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(&program.0),
        attach_type: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    bpf(BPF_PROG_DETACH, &mut attr, || "bpf(BPF_PROG_DETACH, CGROUP_DEVICE)".into()).map(drop)
}

/// The ids of the programs that are attached to this cgroup itself.
pub fn device_filters(cgroup: impl AsFd) -> Result<Vec<u32>> {
    let mut ids = vec![0_u32; PROGRAMS_MAX];
    let mut attr = Query {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(ids.len()).unwrap_or_default(),
        ..Query::default()
    };
    bpf(BPF_PROG_QUERY, &mut attr, || "bpf(BPF_PROG_QUERY, CGROUP_DEVICE)".into())?;
    ids.truncate(usize::try_from(attr.prog_cnt).unwrap_or_default());
    Ok(ids)
}

/// Open a program that somebody has loaded.
pub fn program_by_id(id: u32) -> Result<Program> {
    let mut attr = ById { prog_id: id, ..ById::default() };
    Ok(Program(owned(bpf(BPF_PROG_GET_FD_BY_ID, &mut attr, || format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"))?)))
}

/// The id of a program.
pub fn program_id(program: &Program) -> Result<u32> {
    let mut info = ProgramInfo::default();
    let mut attr = Info {
        bpf_fd: number(&program.0),
        info_len: u32::try_from(size_of::<ProgramInfo>()).unwrap_or_default(),
        info: std::ptr::from_mut(&mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr, || "bpf(BPF_OBJ_GET_INFO_BY_FD)".into())?;
    Ok(info.id)
}
