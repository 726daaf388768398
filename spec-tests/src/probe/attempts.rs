//! What the probe tries on request. The answer is `ok`, the error's name, or an object.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use serde_json::{Value, json};

use super::word;
use crate::sys;

/// Do what one argument says.
pub fn attempt(argument: &str) -> Value {
    let mut words = argument.split(':');
    let verb = words.next().unwrap_or_default();
    let operands: Vec<&str> = words.collect();
    let path = operands.first().copied().unwrap_or_default();
    match verb {
        "stat" => stat(path),
        "label" => sys::label_of(path).map_or_else(|errno| word(format!("{errno:?}")), word),
        "read" => fs::read_to_string(path).map_or_else(|error| no(&error), word),
        "readdir" => read_dir(path).map_or_else(|error| no(&error), |names| json!(names)),
        "open" => outcome(open(path, operands.get(1).copied().unwrap_or("r"))),
        "take" => outcome(File::open(path).and_then(|mut file| file.read_exact(&mut [0; 16]))),
        "write" => outcome(write(path, operands.get(1).copied().unwrap_or("x"))),
        "create" => outcome(File::create_new(path).map(drop)),
        "mkdir" => outcome(fs::create_dir(path)),
        "remove" => outcome(fs::remove_file(path)),
        "chown" => outcome(std::os::unix::fs::chown(path, Some(number(&operands, 1)), None)),
        "mknod" => outcome(make_node(&operands)),
        "mount" => outcome(mount_tmpfs(path)),
        "remount" => outcome(remount_without_flags(path)),
        "sethostname" => outcome(nix::unistd::sethostname(path).map_err(io::Error::from)),
        "setuid" => outcome(nix::unistd::setuid(number::<u32>(&operands, 0).into()).map_err(io::Error::from)),
        "syscall" => syscall(&operands),
        "run" => run(&operands),
        "background" => outcome(Command::new(path).args(["quiet", "hang"]).spawn().map(drop)),
        "append" => outcome(append(path, operands.get(1).copied().unwrap_or_default())),
        "stdin" => stdin(),
        "flood" => flood(),
        "spin" => spin(number(&operands, 0)),
        "allocate" => allocate(number(&operands, 0)),
        "huge" => outcome(huge(number(&operands, 0))),
        "spawn" => spawn(number(&operands, 0)),
        "read-direct" => {
            read_direct(path, number(&operands, 1)).map_or_else(|error| no(&error), |ms| json!(ms))
        }
        "await" => {
            while !fs::exists(path).unwrap_or(true) {
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
            word("ok")
        }
        "devour" => {
            let mut memory = vec![0_u8; number::<usize>(&operands, 0) << 20];
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::hint::black_box(memory);
            word("ok")
        }
        "ready" => outcome(ready()),
        "window-size" => json!(crate::sys::window_size(0)),
        "sleep-first" => {
            std::thread::sleep(Duration::from_millis(number(&operands, 0)));
            word("ok")
        }
        _ => word("unknown verb"),
    }
}

fn no(error: &io::Error) -> Value {
    word(sys::error_name(error))
}

fn outcome(result: io::Result<()>) -> Value {
    result.map_or_else(|error| no(&error), |()| word("ok"))
}

fn number<T: std::str::FromStr + Default>(operands: &[&str], index: usize) -> T {
    operands.get(index).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn stat(path: &str) -> Value {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return no(&error),
    };
    let kind = metadata.file_type();
    let name = match () {
        () if kind.is_symlink() => "symlink",
        () if kind.is_dir() => "directory",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "file",
    };
    json!({
        "type": name, "mode": metadata.mode() & 0o7777, "uid": metadata.uid(), "gid": metadata.gid(),
        "major": major(metadata.rdev()), "minor": minor(metadata.rdev()), "size": metadata.size(),
        "device": metadata.dev(), "inode": metadata.ino(),
        "target": fs::read_link(path).ok().map(|target| target.display().to_string()),
    })
}

fn read_dir(path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn open(path: &str, mode: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(mode.contains('r')).write(mode.contains('w'));
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path).map(drop)
}

fn write(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Add one line to a file.
pub fn append(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(format!("{text}\n").as_bytes())
}

fn make_node(operands: &[&str]) -> io::Result<()> {
    let kind = if operands.get(1) == Some(&"b") { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let device = makedev(number(operands, 2), number(operands, 3));
    mknod(operands[0], kind, Mode::from_bits_truncate(0o666), device).map_err(io::Error::from)
}

fn mount_tmpfs(path: &str) -> io::Result<()> {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).map_err(io::Error::from)
}

fn remount_without_flags(path: &str) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(io::Error::from)
}

/// `syscall:NUMBER[:ARGUMENT…]`, all decimal.
fn syscall(operands: &[&str]) -> Value {
    let mut arguments = [0_u64; 6];
    for (index, argument) in arguments.iter_mut().enumerate() {
        *argument = number(operands, index + 1);
    }
    match sys::call(number(operands, 0), arguments) {
        Ok(value) => json!(value),
        Err(errno) => word(format!("{errno:?}")),
    }
}

/// `run:PROGRAM[:ARGUMENT…]`: its exit code and output.
fn run(operands: &[&str]) -> Value {
    let Ok(_) = CString::new(operands[0]) else { return word("EINVAL") };
    match Command::new(operands[0]).args(&operands[1..]).output() {
        Ok(output) => json!({
            "code": output.status.code(), "stdout": String::from_utf8_lossy(&output.stdout),
            "stderr": String::from_utf8_lossy(&output.stderr),
        }),
        Err(error) => no(&error),
    }
}

/// Say to the service manager that we are ready, with something else before.
fn ready() -> io::Result<()> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let path = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    socket.send_to(b"STATUS=soon", &path)?;
    socket.send_to(b"READY=1", &path).map(drop)
}

fn stdin() -> Value {
    let mut text = String::new();
    match io::stdin().read_to_string(&mut text) {
        Ok(_) => word(text),
        Err(error) => no(&error),
    }
}

/// A mebibyte of noise on stderr.
fn flood() -> Value {
    let line = [b'x'; 1023];
    let mut stderr = io::stderr().lock();
    for _ in 0..1024 {
        if stderr.write_all(&line).and_then(|()| stderr.write_all(b"\n")).is_err() {
            return word("EPIPE");
        }
    }
    word("ok")
}

/// `spin:MILLISECONDS` on one CPU.
fn spin(milliseconds: u64) -> Value {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < end {}
    word("ok")
}

/// `allocate:MEBIBYTES`, and write to each page.
fn allocate(mebibytes: usize) -> Value {
    std::hint::black_box(vec![1_u8; mebibytes << 20]);
    word("ok")
}

/// `huge:N`: write to that many huge pages of two mebibytes. `SIGBUS` is what the kernel has for a limit that it meets
/// only then.
fn huge(pages: usize) -> io::Result<()> {
    let memory = sys::huge_pages(pages << 21)?;
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(memory);
    Ok(())
}

/// `spawn:N`: how many processes there could be beside this one, and the error of the next.
fn spawn(most: usize) -> Value {
    let (mut children, mut error) = (Vec::new(), Value::Null);
    while children.len() < most && error.is_null() {
        match Command::new("/proc/self/exe").args(["quiet", "hang"]).spawn() {
            Ok(child) => children.push(child),
            Err(why) => error = no(&why),
        }
    }
    for child in &mut children {
        child.kill().and_then(|()| child.wait()).ok();
    }
    json!({ "spawned": children.len(), "error": error })
}

/// `read-direct:PATH:KIBIBYTES` of a block device, past the page cache: how many milliseconds it took.
fn read_direct(path: &str, kibibytes: usize) -> io::Result<u128> {
    const BLOCK: usize = 64 << 10;
    // The device wants an address that is a multiple of its block size.
    let mut buffer = vec![0_u8; 2 * BLOCK];
    let start = buffer.as_ptr().align_offset(4096);
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_DIRECT);
    let mut file = options.read(true).open(path)?;
    let begin = Instant::now();
    for _ in 0..(kibibytes << 10) / BLOCK {
        file.read_exact(&mut buffer[start..start + BLOCK])?;
    }
    Ok(begin.elapsed().as_millis())
}
