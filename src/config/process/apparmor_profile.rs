//! `process.apparmorProfile` — the AppArmor profile that the container process is confined by.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use std::os::fd::AsFd;

use crate::error::{At, Error, Problems};
use crate::host::Host;
use crate::sys;

const FIELD: &str = "process.apparmorProfile";

/// A profile that the kernel changes to at `execve(2)`, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApparmorProfile(Option<String>);

impl ApparmorProfile {
    /// Refuses a profile on a host without AppArmor: the container would run unconfined, and nobody would know.
    pub fn parse(profile: Option<&str>, host: &Host) -> Result<Self, Problems> {
        match profile {
            None | Some("") => Ok(Self(None)),
            // It is already.
            Some("unconfined") if !host.apparmor.holds() => Ok(Self(None)),
            Some(name) if !host.apparmor.holds() => Err(Problems::one(
                FIELD,
                format!("{name:?} cannot be applied: AppArmor is not enabled on this host"),
            )),
            Some(name) if name.contains(['\0', '\n']) => {
                Err(Problems::one(FIELD, format!("{name:?} has a character that no profile name has")))
            }
            Some(name) => Ok(Self(Some(name.to_owned()))),
        }
    }

    /// Ask the kernel to change to the profile at the next `execve(2)` of the caller.
    pub fn apply(&self, procfs: impl AsFd) -> Result<(), Error> {
        let Some(profile) = &self.0 else {
            return Ok(());
        };
        let value = format!("exec {profile}");
        let explain = |error: sys::Error| match error.errno {
            sys::Errno::ENOENT => {
                sys::Error::new(format!("{} (is the profile loaded?)", error.call), error.errno)
            }
            _ => error,
        };
        // attr/apparmor is there since Linux 5.8; attr/exec belongs to whichever security module is the first.
        match sys::proc_self::write(procfs.as_fd(), "attr/apparmor/exec", &value) {
            Err(error) if error.errno == sys::Errno::ENOENT => {
                sys::proc_self::write(procfs, "attr/exec", &value).map_err(explain).at(FIELD)
            }
            result => result.at(FIELD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::process::plain_host;
    use crate::host::Fact;

    #[test]
    fn a_profile_needs_apparmor() {
        let mut host = plain_host();
        let text = ApparmorProfile::parse(Some("web"), &host).unwrap_err().to_string();
        assert_eq!(
            text,
            "process.apparmorProfile: \"web\" cannot be applied: AppArmor is not enabled on this host"
        );
        for nothing in ["", "unconfined"] {
            assert_eq!(ApparmorProfile::parse(Some(nothing), &host), Ok(ApparmorProfile(None)));
        }
        host.apparmor = Fact::Known(true);
        assert_eq!(ApparmorProfile::parse(Some("web"), &host), Ok(ApparmorProfile(Some("web".into()))));
        assert!(ApparmorProfile::parse(Some("web\nx"), &host).is_err());
    }
}
