//! Terminals: the calls on a pty's two ends and on the terminal we were started from.
#![expect(unsafe_code, reason = "nix has none of the pty calls that stay within one devpts mount")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// How a terminal treats what is typed and written.
pub use nix::sys::termios::Termios as Modes;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices};

use super::file::{self, FsType, OFlag, retry};
use super::{Errno, Result, checked, named};

/// The file system of ptys.
pub const DEVPTS: FsType = FsType(libc::DEVPTS_SUPER_MAGIC as _);

/// See to it that 0, 1 and 2 are open, as POSIX lets a caller leave them closed: what we open next would be taken for
/// standard output.
pub fn open_standard() {
    let mut asked = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three structures that outlive the call, which does not wait.
    let answered = unsafe { libc::poll(asked.as_mut_ptr(), 3, 0) } >= 0;
    if !answered || asked.iter().any(|number| number.revents & libc::POLLNVAL != 0) {
        let open = || file::open(file::here(), "/dev/null", OFlag::O_RDWR, file::Mode::empty());
        // The lowest free number is taken each time.
        while let Ok(null) = open()
            && null.as_raw_fd() < 3
        {
            let _for_the_program_too = file::set_close_on_exec(&null, false);
            let _stays_open = null.into_raw_fd();
        }
    }
}

/// The device number of the slave with this number.
pub fn slave_device(number: u32) -> u64 {
    nix::sys::stat::makedev(136, number.into())
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// `consoleSize.height`
    pub rows: u16,
    /// `consoleSize.width`
    pub columns: u16,
}

/// Let the other end of a new pty be opened.
pub fn unlock(master: impl AsFd) -> Result<()> {
    let number = master.as_fd().as_raw_fd();
    let unlocked: libc::c_int = 0;
    // SAFETY: the call reads one integer.
    let result = unsafe { libc::ioctl(number, libc::TIOCSPTLCK, &raw const unlocked) };
    checked(result.into(), || format!("ioctl({number}, TIOCSPTLCK, 0)")).map(drop)
}

/// The number of a pty: its name in devpts.
pub fn number(master: impl AsFd) -> Result<u32> {
    let fd = master.as_fd().as_raw_fd();
    let mut number: libc::c_uint = 0;
    // SAFETY: the call writes one integer.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) };
    checked(result.into(), || format!("ioctl({fd}, TIOCGPTN)"))?;
    Ok(number)
}

/// Open the slave of this master, without a path that could lead elsewhere (Linux 4.13).
pub fn peer(master: impl AsFd) -> Result<OwnedFd> {
    let number = master.as_fd().as_raw_fd();
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // SAFETY: the call takes flags by value and makes a descriptor.
    let result = unsafe { libc::ioctl(number, libc::TIOCGPTPEER, flags.bits()) };
    let slave = checked(result.into(), || format!("ioctl({number}, TIOCGPTPEER)"))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(slave as i32) })
}

/// The size of a terminal; `ENOTTY` for anything else.
pub fn size(terminal: impl AsFd) -> Result<Size> {
    let number = terminal.as_fd().as_raw_fd();
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes one winsize.
    let result = unsafe { libc::ioctl(number, libc::TIOCGWINSZ, &raw mut size) };
    checked(result.into(), || format!("ioctl({number}, TIOCGWINSZ)"))?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// The size of the terminal that we were started on, behind standard input, output or error. A serial line does not know
/// its size, and tells zeros.
pub fn size_of_ours() -> Option<Size> {
    size(std::io::stdin())
        .or_else(|_| size(std::io::stdout()))
        .or_else(|_| size(std::io::stderr()))
        .ok()
        .filter(|size| size.rows > 0 && size.columns > 0)
}

/// Set a terminal's size. The kernel tells the processes in its foreground.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let number = terminal.as_fd().as_raw_fd();
    let Size { rows, columns } = size;
    let value = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call reads one winsize.
    let result = unsafe { libc::ioctl(number, libc::TIOCSWINSZ, &raw const value) };
    checked(result.into(), || format!("ioctl({number}, TIOCSWINSZ, {rows}x{columns})")).map(drop)
}

/// Make a new session, which has no controlling terminal. A process that already leads its session stays in it.
pub fn new_session() -> Result<()> {
    if nix::unistd::getsid(None) == Ok(nix::unistd::getpid()) {
        return Ok(());
    }
    named(nix::unistd::setsid().map(drop), || "setsid()".into())
}

/// Make this terminal the controlling terminal of our session.
pub fn control(terminal: impl AsFd) -> Result<()> {
    let number = terminal.as_fd().as_raw_fd();
    // SAFETY: the call takes a number by value.
    let result = unsafe { libc::ioctl(number, libc::TIOCSCTTY, 0) };
    checked(result.into(), || format!("ioctl({number}, TIOCSCTTY, 0)")).map(drop)
}

/// Make a file our standard input, output and error.
pub fn become_standard(file: impl AsFd) -> Result<()> {
    let number = file.as_fd().as_raw_fd();
    let call = |to: i32| move || format!("dup2({number}, {to})");
    named(retry(|| nix::unistd::dup2_stdin(&file)), call(0))?;
    named(retry(|| nix::unistd::dup2_stdout(&file)), call(1))?;
    named(retry(|| nix::unistd::dup2_stderr(&file)), call(2))
}

/// The modes of a terminal; `ENOTTY` for anything else.
pub fn modes(terminal: impl AsFd) -> Result<Modes> {
    let number = terminal.as_fd().as_raw_fd();
    named(nix::sys::termios::tcgetattr(terminal), || format!("tcgetattr({number})"))
}

/// Change that, at once.
pub fn set_modes(terminal: impl AsFd, modes: &Modes) -> Result<()> {
    let number = terminal.as_fd().as_raw_fd();
    let result = retry(|| nix::sys::termios::tcsetattr(terminal.as_fd(), SetArg::TCSANOW, modes));
    named(result, || format!("tcsetattr({number})"))
}

/// The same modes, but everything typed is handed on as it is. What is written still begins its lines at the left.
pub fn raw(modes: &Modes) -> Modes {
    let mut raw = modes.clone();
    nix::sys::termios::cfmakeraw(&mut raw);
    raw.output_flags.insert(OutputFlags::OPOST);
    raw
}

/// Let a pty hand on the ends of lines as they are written, without a carriage return before each.
pub fn keep_ends_of_lines(master: impl AsFd) -> Result<()> {
    let mut modes = modes(&master)?;
    modes.output_flags.remove(OutputFlags::ONLCR);
    set_modes(master, &modes)
}

/// The byte that means the end of input, while the terminal reads by lines.
pub fn end_of_file(terminal: impl AsFd) -> Result<Option<u8>> {
    let modes = modes(terminal)?;
    let by_lines = modes.local_flags.contains(LocalFlags::ICANON);
    Ok(by_lines.then_some(modes.control_chars[SpecialCharacterIndices::VEOF as usize]))
}
/// Standard input, output and error, which are always open.
pub fn standard() -> [BorrowedFd<'static>; 3] {
    // SAFETY: the runtime of the language opens what the caller had closed, and nobody here closes them.
    [0, 1, 2].map(|number| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Put another file in the place of a standard one.
pub fn replace(standard: BorrowedFd, file: impl AsFd) -> Result<()> {
    let (from, to) = (file.as_fd().as_raw_fd(), standard.as_raw_fd());
    // SAFETY: two open descriptors; the target is one of the standard ones, which nobody owns.
    let result = retry(|| Errno::result(unsafe { libc::dup2(from, to) }));
    named(result.map(drop), || format!("dup2({from}, {to})"))
}
