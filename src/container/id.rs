//! The container's id: checked once, safe as a file name and as a cgroup's name from then on.

use std::fmt;

use crate::error::{Error, printable};

/// A checked container id: `[A-Za-z0-9_+.-]`, at most 255 bytes, not beginning with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerId(String);

impl ContainerId {
    /// Check an id that a caller gave.
    pub fn parse(id: &str) -> Result<Self, Error> {
        let refuse = |rule: &str| {
            Err(Error::message(format!("invalid container ID format: {:?}: {rule}", printable(id))))
        };
        if id.is_empty() {
            return refuse("must not be empty");
        }
        if id.len() > 255 {
            let start: String = id.chars().take(32).collect();
            return Err(Error::message(format!(
                "invalid container ID format: id too long: \"{}…\" has {} bytes, at most 255 are allowed",
                printable(&start),
                id.len()
            )));
        }
        if !id.bytes().all(|c| c.is_ascii_alphanumeric() || b"_+.-".contains(&c)) {
            return refuse("only letters, digits, and \"_+.-\" are allowed");
        }
        if id.starts_with(['.', '-']) {
            return refuse("must not begin with \".\" or \"-\"");
        }
        Ok(Self(id.into()))
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_id() {
        for good in ["a", "+", "web_1.2-3+4", "_", &"x".repeat(255)] {
            assert!(ContainerId::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", ".", "..", ".hidden", "-x", "--force", "../x", "x/y", "a b", "a;id", "é", "a\nb", "a%2fb",
            "a\u{1}b",
        ] {
            assert!(ContainerId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_id_says_so() {
        let error = ContainerId::parse(&"x".repeat(256)).unwrap_err().to_string();
        assert!(error.contains("id too long"), "{error}");
    }
}
