//! What init asks of the parent, and what the parent answers.
//!
//! Messages without a descriptor are sent by `write(2)` and read by `read(2)`: a filter that has just been loaded may
//! forbid more.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{At, Error};
use crate::sys::namespace::MountNamespace;
use crate::sys::{file, socket};

/// What a child may not do for itself.
#[derive(Debug)]
pub enum Request {
    /// From the intermediate: init has this pid, in the runtime's pid namespace.
    Born(i32),
    /// From a further process itself: it has this pid there, and whom we have cloned ends when it executes its program.
    Succeeded(i32),
    /// Write the maps of init's user namespace.
    MapIds,
    /// Copy the sources of mounts in init's mount namespace.
    OpenSources(MountNamespace),
    /// Map the ids of this detached mount, which is the source of the mount with this number.
    MapMount(usize, OwnedFd),
    /// Set the clocks of the time namespace that init has made for its children.
    SetTimeOffsets,
    /// Move the network interfaces into init's network namespace.
    MoveNetDevices,
    /// Run the hooks `prestart` and `createRuntime`: everything is mounted.
    RunHooks,
    /// The master of init's terminal, for a caller in the foreground.
    Terminal(OwnedFd),
    /// Set the resource limits: nothing more has to be opened.
    LimitResources,
    /// Fetch this descriptor of init, and send it to the seccomp listener.
    ForwardListener(i32),
    /// Something the user should know of, if all goes well.
    Warning(String),
    /// Nothing is left to do but to wait at the gate, or to execute the program: without this word, an end that closes
    /// means that the child has died.
    Ready,
    /// It went wrong: the exit code and the text of the error.
    Failed(i32, String),
}

/// The parent has done what was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Done;

/// The parent's end.
#[derive(Debug)]
pub struct ParentEnd(OwnedFd);

/// The end of init and of the intermediate. That it closes, by `execve(2)` or on purpose, says that all went well.
#[derive(Debug)]
pub struct ChildEnd {
    end: OwnedFd,
    /// The parent has said that the cgroup is finished.
    finished: Cell<bool>,
}

const NAME: &str = "parent and init";
/// An error or a warning is cut rather than not sent, in bytes.
const LONGEST_ERROR: usize = 16 << 10;
/// The numbers of the descriptors of one message, and the tag.
const LONGEST_LIST: usize = 1 + 4 * socket::MAX_DESCRIPTORS;
/// What the parent says without being asked.
const FINISHED: u8 = b'c';
const GONE: &str = "the parent has gone";

/// Both ends.
pub fn pair() -> Result<(ParentEnd, ChildEnd), Error> {
    let (parent, child) = socket::pair().at(NAME)?;
    Ok((ParentEnd(parent), child.into()))
}

impl ChildEnd {
    /// Ask for descriptors, each with the number that it has among those that there may be.
    pub fn ask_for_descriptors(&self, request: &Request) -> Result<Vec<(usize, OwnedFd)>, Error> {
        self.tell(request)?;
        let mut all = Vec::new();
        loop {
            let mut bytes = Vec::with_capacity(LONGEST_LIST);
            let (length, descriptors) = socket::receive_within(&self.end, &mut bytes).at(NAME)?;
            match bytes[..length] {
                [] => return Err(Error::message(GONE)),
                [FINISHED] => self.finished.set(true),
                [b's', ref numbers @ ..] => {
                    let (numbers, _) = numbers.as_chunks();
                    all.extend(
                        numbers.iter().map(|number| u32::from_le_bytes(*number) as usize).zip(descriptors),
                    );
                }
                _ => return Ok(all),
            }
        }
    }

    /// Ask, and wait until it is done. An answer that does not come means that the parent is dead, or has given up.
    pub fn ask(&self, request: &Request) -> Result<(), Error> {
        self.tell(request)?;
        self.wait()
    }

    /// Tell, and go on.
    pub fn tell(&self, request: &Request) -> Result<(), Error> {
        let (tag, text) = match request {
            Request::Born(pid) => (b'b', pid.to_string()),
            Request::Succeeded(pid) => (b'v', pid.to_string()),
            Request::MapIds => (b'm', String::new()),
            Request::OpenSources(MountNamespace { namespace, root }) => {
                return socket::send(&self.end, b"e", &[namespace.as_fd(), root.as_fd()]).at(NAME);
            }
            Request::MapMount(number, source) => {
                let text = format!("i{number}");
                return socket::send(&self.end, text.as_bytes(), &[source.as_fd()]).at(NAME);
            }
            Request::SetTimeOffsets => (b'o', String::new()),
            Request::MoveNetDevices => (b'n', String::new()),
            Request::RunHooks => (b'h', String::new()),
            Request::Terminal(master) => return socket::send(&self.end, b"t", &[master.as_fd()]).at(NAME),
            Request::LimitResources => (b'r', String::new()),
            Request::ForwardListener(number) => (b'l', number.to_string()),
            Request::Warning(text) => (b'w', shortened(text).to_owned()),
            Request::Ready => (b'x', String::new()),
            Request::Failed(code, message) => (b'f', format!("{code} {}", shortened(message))),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(text.as_bytes());
        file::write_all(&self.end, &bytes, Path::new(NAME)).at(NAME)
    }

    /// The last word: all is well. What there was to warn of goes before it.
    pub fn say_ready(&self) -> Result<(), Error> {
        for warning in crate::log::take_warnings() {
            self.tell(&Request::Warning(warning))?;
        }
        self.tell(&Request::Ready)
    }

    /// Wait for the answer.
    pub fn wait(&self) -> Result<(), Error> {
        while self.next()? == FINISHED {
            self.finished.set(true);
        }
        Ok(())
    }

    /// Wait until the cgroup is finished: the parent says so without being asked.
    pub fn wait_for_cgroup(&self) -> Result<(), Error> {
        while !self.finished.get() {
            self.finished.set(self.next()? == FINISHED);
        }
        Ok(())
    }

    fn next(&self) -> Result<u8, Error> {
        let mut tag = [0];
        match file::read(&self.end, &mut tag, NAME).at(NAME)? {
            0 => Err(Error::message(GONE)),
            _ => Ok(tag[0]),
        }
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_ERROR)]
}

impl From<OwnedFd> for ChildEnd {
    fn from(end: OwnedFd) -> Self {
        Self { end, finished: Cell::new(false) }
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl ParentEnd {
    /// The next request; `None` when all children have closed their ends.
    pub fn receive(&self) -> Result<Option<Request>, Error> {
        // Of memory that is not written to nothing is taken.
        let mut bytes = Vec::with_capacity(LONGEST_ERROR + 64);
        let (length, mut descriptors) = socket::receive_within(&self.0, &mut bytes).at(NAME)?;
        if length == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes[1..length]).into_owned();
        let number = || text.parse().map_err(|_| Error::message(format!("{NAME}: {text:?} is no number")));
        // To 0 and below signals go to more than one process.
        let pid = || match number()? {
            pid @ 1.. => Ok(pid),
            pid => Err(Error::message(format!("{NAME}: {pid} is no pid"))),
        };
        if let (b'e', [_, _]) = (bytes[0], &descriptors[..])
            && let (Some(root), Some(namespace)) = (descriptors.pop(), descriptors.pop())
        {
            return Ok(Some(Request::OpenSources(MountNamespace { namespace, root })));
        }
        Ok(Some(match (bytes[0], descriptors.pop()) {
            (b'b', None) => Request::Born(pid()?),
            (b'v', None) => Request::Succeeded(pid()?),
            (b'm', None) => Request::MapIds,
            (b'o', None) => Request::SetTimeOffsets,
            (b'n', None) => Request::MoveNetDevices,
            (b'h', None) => Request::RunHooks,
            (b't', Some(master)) => Request::Terminal(master),
            (b'i', Some(source)) => Request::MapMount(number()? as usize, source),
            (b'r', None) => Request::LimitResources,
            (b'l', None) => Request::ForwardListener(number()?),
            (b'w', None) => Request::Warning(text),
            (b'x', None) => Request::Ready,
            (b'f', None) => {
                let (code, message) = text.split_once(' ').unwrap_or(("1", &text));
                Request::Failed(code.parse().unwrap_or(1), message.to_owned())
            }
            (tag, _) => return Err(Error::message(format!("{NAME}: unknown request {tag}"))),
        }))
    }

    /// Descriptors that were asked for, before the answer.
    pub fn send_descriptors(&self, all: &[(usize, BorrowedFd)]) -> Result<(), Error> {
        for some in all.chunks(socket::MAX_DESCRIPTORS) {
            let numbers = some.iter().flat_map(|(number, _)| (*number as u32).to_le_bytes());
            let bytes: Vec<u8> = std::iter::once(b's').chain(numbers).collect();
            let descriptors: Vec<BorrowedFd> = some.iter().map(|(_, descriptor)| *descriptor).collect();
            socket::send(&self.0, &bytes, &descriptors).at(NAME)?;
        }
        Ok(())
    }

    /// Say that the cgroup is finished, for a child that will wait for it.
    pub fn say_cgroup_is_finished(&self) -> Result<(), Error> {
        socket::send(&self.0, &[FINISHED], &[]).at(NAME)
    }

    /// Answer.
    pub fn send(&self, _: Done) -> Result<(), Error> {
        socket::send(&self.0, b"d", &[]).at(NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_arrive_as_they_were_sent() {
        let (parent, child) = pair().unwrap();
        child.tell(&Request::Born(7)).unwrap();
        child.tell(&Request::Failed(127, "ä".repeat(20_000))).unwrap();
        assert!(matches!(parent.receive().unwrap(), Some(Request::Born(7))));
        assert!(
            matches!(parent.receive().unwrap(), Some(Request::Failed(127, text)) if text.len() == LONGEST_ERROR)
        );
        child.tell(&Request::Succeeded(0)).unwrap();
        assert!(parent.receive().unwrap_err().to_string().contains("0 is no pid"));
        parent.say_cgroup_is_finished().unwrap();
        parent.send(Done).unwrap();
        child.wait().unwrap();
        child.wait_for_cgroup().unwrap();
        drop(child);
        assert!(parent.receive().unwrap().is_none());
    }

    #[test]
    fn descriptors_arrive_with_their_numbers() {
        let (parent, child) = pair().unwrap();
        let files: Vec<OwnedFd> =
            (0..20).map(|_| file::open_path(file::here(), "/", file::OFlag::O_DIRECTORY).unwrap()).collect();
        let numbered: Vec<_> = files.iter().enumerate().map(|(n, file)| (n * 1000, file.as_fd())).collect();
        parent.send_descriptors(&numbered).unwrap();
        parent.send(Done).unwrap();
        let namespace = MountNamespace::own(crate::sys::proc::open_procfs().unwrap()).unwrap();
        let arrived = child.ask_for_descriptors(&Request::OpenSources(namespace)).unwrap();
        let numbers: Vec<usize> = arrived.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..20).map(|n| n * 1000).collect::<Vec<_>>());
        assert!(matches!(parent.receive().unwrap(), Some(Request::OpenSources(_))));
    }

    #[test]
    fn a_dead_parent_is_noticed() {
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert!(child.ask(&Request::MapIds).is_err());
    }
}
