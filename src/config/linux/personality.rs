//! `linux.personality` — the execution domain of the container process.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#personality>

use oci_spec::runtime::{LinuxPersonality, LinuxPersonalityDomain};

use crate::error::{At, Error, Problems};
use crate::sys;
use crate::sys::prctl::Persona;

/// The execution domain; `None` leaves the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Personality(Option<Persona>);

impl Personality {
    /// Refuses flags: the spec has none so far, and those of the kernel mostly weaken a process.
    pub fn parse(personality: Option<&LinuxPersonality>) -> Result<Self, Problems> {
        let Some(personality) = personality else {
            return Ok(Self(None));
        };
        let mut problems = Problems::default();
        if let Some(flags) = personality.flags().as_ref().filter(|flags| !flags.is_empty()) {
            problems
                .add("linux.personality.flags", format!("{flags:?} is not empty, and no flag is supported"));
        }
        problems.or(Self(Some(match personality.domain() {
            LinuxPersonalityDomain::PerLinux => Persona::Linux,
            LinuxPersonalityDomain::PerLinux32 => Persona::Linux32,
        })))
    }

    /// Enter the domain; it outlives `execve(2)`.
    pub fn apply(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |persona| sys::prctl::set_personality(persona).at("linux.personality.domain"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: serde_json::Value) -> Result<Personality, String> {
        let personality: LinuxPersonality = serde_json::from_value(json).unwrap();
        Personality::parse(Some(&personality)).map_err(|problems| problems.to_string())
    }

    #[test]
    fn domains_are_taken_and_flags_refused() {
        assert_eq!(Personality::parse(None), Ok(Personality(None)));
        assert_eq!(parse(json!({"domain": "LINUX32", "flags": []})), Ok(Personality(Some(Persona::Linux32))));
        assert_eq!(parse(json!({"domain": "LINUX"})), Ok(Personality(Some(Persona::Linux))));
        assert_eq!(
            parse(json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})).unwrap_err(),
            "linux.personality.flags: [\"ADDR_NO_RANDOMIZE\"] is not empty, and no flag is supported"
        );
    }
}
