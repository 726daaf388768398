//! Writing limits into the files of a cgroup.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::linux::resources::{Absent, Write};
use crate::error::{At, Error};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::{self, Errno};

/// Write them all. The kernel checks some values against each other (memory and swap, quota and period), so that the
/// right order depends on the old values: what it calls invalid is tried again after the rest, as long as that helps.
pub fn write_all(dir: &OwnedFd, writes: &[&Write]) -> Result<(), Error> {
    let mut todo = writes.to_vec();
    loop {
        let before = todo.len();
        let mut failed = Vec::new();
        let mut first = None;
        for write in todo {
            match write_one(dir, write) {
                Ok(()) => {}
                Err(error) if is_invalid(&error) => {
                    failed.push(write);
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match first {
            None => return Ok(()),
            Some(error) if failed.len() == before => return Err(error),
            Some(_) => todo = failed,
        }
    }
}

/// Write values to few files, one after the other: a list of device rules.
pub fn write_list(dir: &OwnedFd, writes: &[Write]) -> Result<(), Error> {
    for list in writes.chunk_by(|a, b| a.file == b.file) {
        let (name, field) = (Path::new(&*list[0].file), &list[0].field);
        let file = file::open(dir, name, OFlag::O_WRONLY, Mode::empty()).at(field.clone())?;
        for write in list {
            file::write_once(&file, &write.value, name).at(field.clone())?;
        }
    }
    Ok(())
}

fn is_invalid(error: &Error) -> bool {
    matches!(error, Error::Apply { source, .. } if source.errno == Errno::EINVAL)
}

fn write_one(dir: &OwnedFd, write: &Write) -> Result<(), Error> {
    if let Some(used) = write.only_above {
        check_above(dir, write, used)?;
    }
    let result = match file::write_value(dir, &*write.file, &write.value) {
        Err(error) if error.errno == Errno::ENOENT => match &write.absent {
            Absent::Refuse => Err(error),
            Absent::Skip => Ok(()),
            Absent::Instead { file, value } => file::write_value(dir, &**file, value),
        },
        result => result,
    };
    result.at(write.field.clone())
}

fn check_above(dir: &OwnedFd, write: &Write, used: &str) -> Result<(), Error> {
    let used: Option<u64> = file::read_text(dir, used).ok().and_then(|text| text.trim().parse().ok());
    match (used, write.value.parse::<u64>()) {
        (Some(used), Ok(limit)) if limit <= used => {
            let call = format!("{limit} is not above what is in use, {used}");
            Err(sys::Error::new(call, Errno::EBUSY)).at(write.field.clone())
        }
        _ => Ok(()),
    }
}
