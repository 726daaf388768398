//! `linux.rootfsPropagation` — how mounts below the container's root propagate.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#rootfs-mount-propagation>

use crate::error::Problems;
use crate::sys::mount::{MsFlags, Reach};

/// A propagation type and how far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`.
    pub kind: MsFlags,
    /// The mount, or all below it too.
    pub reach: Reach,
}

impl Propagation {
    /// The word of `mount(8)`: `shared`, `rshared`, and so on.
    pub fn of(word: &str) -> Option<Self> {
        WORDS
            .iter()
            .find(|(known, ..)| *known == word)
            .map(|(_, kind, reach)| Self { kind: *kind, reach: *reach })
    }

    /// Every word that is understood.
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(word, ..)| *word)
    }
}

const WORDS: [(&str, MsFlags, Reach); 8] = [
    ("shared", MsFlags::MS_SHARED, Reach::One),
    ("rshared", MsFlags::MS_SHARED, Reach::Tree),
    ("slave", MsFlags::MS_SLAVE, Reach::One),
    ("rslave", MsFlags::MS_SLAVE, Reach::Tree),
    ("private", MsFlags::MS_PRIVATE, Reach::One),
    ("rprivate", MsFlags::MS_PRIVATE, Reach::Tree),
    ("unbindable", MsFlags::MS_UNBINDABLE, Reach::One),
    ("runbindable", MsFlags::MS_UNBINDABLE, Reach::Tree),
];

/// The propagation of the container's root; `None` is the default: mounts of the host come in, none go out.
pub fn parse(word: Option<&str>) -> Result<Option<Propagation>, Problems> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(None) };
    match Propagation::of(word) {
        Some(propagation) => Ok(Some(propagation)),
        None => Err(Problems::one(
            "linux.rootfsPropagation",
            format!("{word:?} is none of shared, slave, private, unbindable (or with an r in front)"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(parse(Some("")).unwrap(), None);
        assert_eq!(
            parse(Some("rslave")).unwrap().unwrap(),
            Propagation { kind: MsFlags::MS_SLAVE, reach: Reach::Tree }
        );
        assert!(parse(Some("sideways")).is_err());
    }
}
