//! What can go wrong, and the one line that the user sees.
//!
//! `sys` knows the call and the errno, a section of the config knows the field; [`At::at`] joins them.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::container::id::ContainerId;
use crate::container::status::{Operation, Status};
use crate::sys;

/// A place in config.json, written as a JSON path: `linux.namespaces[2].path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(Cow<'static, str>);

impl Field {
    /// The field with this path.
    pub const fn new(path: &'static str) -> Self {
        Self(Cow::Borrowed(path))
    }

    /// An element of this field: `mounts` → `mounts[3]`.
    pub fn index(&self, index: usize) -> Self {
        Self(Cow::Owned(format!("{}[{index}]", self.0)))
    }

    /// A member of this field: `mounts[3]` → `mounts[3].destination`.
    pub fn key(&self, key: &str) -> Self {
        Self(Cow::Owned(format!("{}.{key}", self.0)))
    }
}

impl From<&'static str> for Field {
    fn from(path: &'static str) -> Self {
        Self::new(path)
    }
}

impl From<String> for Field {
    fn from(path: String) -> Self {
        Self(Cow::Owned(path))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is wrong with a config: each a field and the rule that it breaks.
///
/// A section collects all its problems, and the plan those of all sections, so that a file is mended once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<(Field, String)>);

impl Problems {
    /// A single problem.
    pub fn one(field: impl Into<Field>, rule: impl Into<String>) -> Self {
        Self(vec![(field.into(), rule.into())])
    }

    /// Add a problem.
    pub fn add(&mut self, field: impl Into<Field>, rule: impl Into<String>) {
        self.0.push((field.into(), rule.into()));
    }

    /// The value of a result; its problems are added to these.
    pub fn keep<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                self.0.extend(problems.0);
                None
            }
        }
    }

    /// The value, if nothing was wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Whether nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first field that is named, for tests.
    pub fn first_field(&self) -> Option<&Field> {
        self.0.first().map(|(field, _)| field)
    }
}

impl fmt::Display for Problems {
    /// One line, whatever the strings in the config hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (field, rule)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", printable(&field.0), printable(rule))?;
        }
        Ok(())
    }
}

/// Control and format characters as escapes, so that hostile text neither breaks a line nor hides in it.
pub fn printable(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{2028}'..='\u{202e}').contains(&c)
            || ('\u{2060}'..='\u{206f}').contains(&c)
            || c == '\u{feff}'
    };
    text.chars().flat_map(|c| if hides(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Any failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// config.json is refused; nothing was changed.
    #[error("config.json: {0}")]
    Config(Problems),
    /// A section could not be applied; everything is undone.
    #[error("{field}: {source}")]
    Apply {
        /// The section.
        field: Field,
        /// The call that failed.
        source: sys::Error,
    },
    /// A file of ours or of the caller: state directory, pid file, bundle.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The call that failed.
        source: sys::Error,
    },
    /// The container's status forbids the operation. Callers parse some of these texts: see [`Operation::refusal`].
    #[error("{}", operation.refusal(id, *status))]
    Status {
        /// The container.
        id: ContainerId,
        /// What was asked.
        operation: Operation,
        /// What the container was doing.
        status: Status,
    },
    /// No such container. containerd, CRI-O and buildah look for `does not exist`.
    #[error("container {id}: container does not exist")]
    NoContainer {
        /// The id that was asked for.
        id: String,
    },
    /// The program cannot be run. Callers look at the text and at the exit code, 126 or 127 as of a shell.
    #[error("{message}")]
    Program {
        /// What is wrong with it.
        message: String,
        /// The exit code of `run` and `exec`.
        code: i32,
    },
    /// Anything else, said in full.
    #[error("{0}")]
    Message(String),
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

impl Error {
    /// An error that is its text.
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// The exit code that goes with it.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Program { code, .. } => *code,
            _ => 1,
        }
    }
}

/// Joins what `sys` knows (call, errno) with what the caller knows (field or file).
pub trait At<T> {
    /// The field of config.json that asked for the call.
    fn at(self, field: impl Into<Field>) -> Result<T, Error>;
    /// The file that the call was about.
    fn at_file(self, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, sys::Error> {
    fn at(self, field: impl Into<Field>) -> Result<T, Error> {
        self.map_err(|source| Error::Apply { field: field.into(), source })
    }

    fn at_file(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::File { path: path.into(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_one_line() {
        let mut problems = Problems::one("process.cwd", "\"a\nb\u{202e}\" is not absolute");
        problems.add(Field::new("mounts").index(3).key("destination"), "missing");
        let line = problems.to_string();
        assert_eq!(line, "process.cwd: \"a\\nb\\u{202e}\" is not absolute; mounts[3].destination: missing");
    }
}
