//! `process.noNewPrivileges` — whether `execve(2)` may give more privileges than there are.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use crate::error::{At, Error};
use crate::sys;

/// When the filter goes in: loading it needs `CAP_SYS_ADMIN` or no_new_privs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFilter {
    /// While there still is `CAP_SYS_ADMIN`; the filter must allow the rest of the way to `execve(2)`.
    BeforeDroppingCapabilities,
    /// As late as can be, so that the filter need not allow what only crust calls.
    JustBeforeExec,
}

/// The field; the kernel's bit is called no_new_privs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNewPrivileges {
    /// Set the bit, for good.
    Set,
    /// Leave the bit as the caller has it. Absent and false are the same.
    Leave,
}

impl NoNewPrivileges {
    /// There is nothing to refuse.
    pub fn parse(no_new_privileges: Option<bool>) -> Self {
        if no_new_privileges.unwrap_or(false) { Self::Set } else { Self::Leave }
    }

    /// When the seccomp filter goes in.
    pub fn load_filter(self) -> LoadFilter {
        match self {
            Self::Set => LoadFilter::JustBeforeExec,
            Self::Leave => LoadFilter::BeforeDroppingCapabilities,
        }
    }

    /// Set the bit if it is asked for.
    pub fn apply(self) -> Result<(), Error> {
        match self {
            Self::Set => sys::prctl::set_no_new_privs().at("process.noNewPrivileges"),
            Self::Leave => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_is_the_same_as_absent() {
        for absent in [None, Some(false)] {
            assert_eq!(NoNewPrivileges::parse(absent).load_filter(), LoadFilter::BeforeDroppingCapabilities);
        }
        assert_eq!(NoNewPrivileges::parse(Some(true)).load_filter(), LoadFilter::JustBeforeExec);
    }
}
