//! `process.oomScoreAdj` — how soon the kernel kills the container process when memory runs out.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use std::os::fd::AsFd;

use crate::error::{At, Error, Problems};
use crate::sys;

const FIELD: &str = "process.oomScoreAdj";

/// Unset, the score must not be touched; zero is a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomScoreAdj {
    /// The caller's score stays.
    Leave,
    /// The new score.
    Set(i32),
}

impl OomScoreAdj {
    /// Refuses what the kernel's scale does not have.
    pub fn parse(score: Option<i32>) -> Result<Self, Problems> {
        match score {
            None => Ok(Self::Leave),
            Some(score @ -1000..=1000) => Ok(Self::Set(score)),
            Some(score) => Err(Problems::one(FIELD, format!("{score} is not between -1000 and 1000"))),
        }
    }

    /// Write the score of the caller. A score below the caller's own needs `CAP_SYS_RESOURCE` in the initial user
    /// namespace, so this comes before a user namespace is entered.
    pub fn apply(self, procfs: impl AsFd) -> Result<(), Error> {
        match self {
            Self::Leave => Ok(()),
            Self::Set(score) => sys::proc_self::write(procfs, "oom_score_adj", &score.to_string()).at(FIELD),
        }
    }
}

impl OomScoreAdj {
    /// Write the score of another process, through a procfs in which its number is `pid`: for one that is in a user
    /// namespace already.
    pub fn write_for(self, pid: i32, procfs: impl AsFd) -> Result<(), Error> {
        match self {
            Self::Leave => Ok(()),
            Self::Set(score) => {
                sys::file::write_value(procfs, format!("{pid}/oom_score_adj"), &score.to_string()).at(FIELD)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_is_not_zero() {
        assert_eq!(OomScoreAdj::parse(None), Ok(OomScoreAdj::Leave));
        assert_eq!(OomScoreAdj::parse(Some(0)), Ok(OomScoreAdj::Set(0)));
        assert_eq!(OomScoreAdj::parse(Some(-1000)), Ok(OomScoreAdj::Set(-1000)));
    }

    #[test]
    fn the_scale_has_ends() {
        let text = OomScoreAdj::parse(Some(-2000)).unwrap_err().to_string();
        assert_eq!(text, "process.oomScoreAdj: -2000 is not between -1000 and 1000");
        assert!(OomScoreAdj::parse(Some(1001)).is_err());
    }
}
