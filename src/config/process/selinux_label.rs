//! `process.selinuxLabel` — the SELinux label of the container process.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use std::os::fd::AsFd;

use crate::error::{At, Error, Problems};
use crate::host::Host;
use crate::sys;

const FIELD: &str = "process.selinuxLabel";

/// A label that the kernel gives at `execve(2)`, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelinuxLabel(Option<String>);

impl SelinuxLabel {
    /// Refuses a label on a host without SELinux: the container would run unlabelled, and nobody would know.
    pub fn parse(label: Option<&str>, host: &Host) -> Result<Self, Problems> {
        match label {
            None | Some("") => Ok(Self(None)),
            Some(label) if !host.selinux.holds() => Err(Problems::one(
                FIELD,
                format!("{label:?} cannot be applied: SELinux is not enabled on this host"),
            )),
            Some(label) if label.contains(['\0', '\n']) => {
                Err(Problems::one(FIELD, format!("{label:?} has a character that no label has")))
            }
            Some(label) => Ok(Self(Some(label.to_owned()))),
        }
    }

    /// Make keys, a session keyring that is, with the label: under the runtime's own, the process could not even search
    /// it.
    pub fn label_keys(
        &self,
        procfs: impl AsFd,
        make: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(label) = &self.0 else { return make() };
        sys::proc_self::write(procfs.as_fd(), "attr/keycreate", label).at(FIELD)?;
        make()?;
        // An empty line takes it back.
        sys::proc_self::write(procfs, "attr/keycreate", "\n").at(FIELD)
    }

    /// Ask the kernel to give the label at the next `execve(2)` of the caller.
    pub fn apply(&self, procfs: impl AsFd) -> Result<(), Error> {
        match &self.0 {
            None => Ok(()),
            Some(label) => sys::proc_self::write(procfs, "attr/exec", label).at(FIELD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::process::plain_host;
    use crate::host::Fact;

    #[test]
    fn a_label_needs_selinux() {
        let mut host = plain_host();
        let text = SelinuxLabel::parse(Some("a:b:c"), &host).unwrap_err().to_string();
        assert_eq!(
            text,
            "process.selinuxLabel: \"a:b:c\" cannot be applied: SELinux is not enabled on this host"
        );
        assert_eq!(SelinuxLabel::parse(None, &host), Ok(SelinuxLabel(None)));
        host.selinux = Fact::Known(true);
        assert_eq!(SelinuxLabel::parse(Some("a:b:c"), &host), Ok(SelinuxLabel(Some("a:b:c".into()))));
    }
}
