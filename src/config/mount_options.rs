//! `mounts[].options` — the words of mount(8), as a table.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-mount-options>

use crate::config::linux::rootfs_propagation::Propagation;
use crate::sys::mount::{self, Attributes, MsFlags, Reach};

/// What the words of a mount mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Attributes of the mount itself.
    pub attributes: Attributes,
    /// Attributes of the mount and all below it (`rro` and the like).
    pub recursive: Attributes,
    /// Flags of the file system: `MS_SYNCHRONOUS` and the like.
    pub filesystem: MsFlags,
    /// Propagation types, in order.
    pub propagation: Vec<Propagation>,
    /// `bind` or `rbind`.
    pub bind: Option<Reach>,
    /// `remount`
    pub remount: bool,
    /// `tmpcopyup`: what the directory held is copied into the tmpfs.
    pub copy_up: bool,
    /// `idmap` or `ridmap`, and the text behind the `=`.
    pub idmap: Option<(Reach, Option<String>)>,
    /// The SELinux label of its root, where no option gives one.
    pub label: Option<String>,
    /// Everything else is the file system's: `size=64k`.
    pub parameters: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attributes: Attributes::default(),
            recursive: Attributes::default(),
            filesystem: MsFlags::empty(),
            propagation: Vec::new(),
            bind: None,
            remount: false,
            copy_up: false,
            idmap: None,
            label: None,
            parameters: Vec::new(),
        }
    }
}

/// What a word does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Set attributes of the mount.
    Set(u64),
    /// Clear attributes of the mount.
    Clear(u64),
    /// Choose how access times behave: one of the values of a field.
    AccessTime(u64),
    /// The same three for the whole tree.
    SetTree(u64),
    ClearTree(u64),
    AccessTimeTree(u64),
    /// Set or clear a flag of the file system.
    SetFilesystem(MsFlags),
    ClearFilesystem(MsFlags),
    Bind(Reach),
    Idmap(Reach),
    Remount,
    CopyUp,
    Nothing,
}

/// `relatime` is the absence of the other two.
const RELATIME: u64 = 0;

/// The words that the runtime itself understands, in the spec's order, then the recursive ones and runc's own. The words
/// of propagation are those of `linux.rootfsPropagation`.
const OPTIONS: &[(&str, Effect)] = {
    use Effect::{
        AccessTime, AccessTimeTree, Bind, Clear, ClearFilesystem, ClearTree, CopyUp, Idmap, Nothing, Remount,
        Set, SetFilesystem, SetTree,
    };
    use mount::{NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, STRICTATIME};
    &[
        ("async", ClearFilesystem(MsFlags::MS_SYNCHRONOUS)),
        ("atime", AccessTime(RELATIME)),
        ("bind", Bind(Reach::One)),
        ("defaults", Nothing),
        ("dev", Clear(NODEV)),
        ("diratime", Clear(NODIRATIME)),
        ("dirsync", SetFilesystem(MsFlags::MS_DIRSYNC)),
        ("exec", Clear(NOEXEC)),
        ("idmap", Idmap(Reach::One)),
        ("iversion", SetFilesystem(MsFlags::MS_I_VERSION)),
        ("lazytime", SetFilesystem(MsFlags::MS_LAZYTIME)),
        ("loud", ClearFilesystem(MsFlags::MS_SILENT)),
        ("mand", SetFilesystem(MsFlags::MS_MANDLOCK)),
        ("noatime", AccessTime(NOATIME)),
        ("nodev", Set(NODEV)),
        ("nodiratime", Set(NODIRATIME)),
        ("noexec", Set(NOEXEC)),
        ("noiversion", ClearFilesystem(MsFlags::MS_I_VERSION)),
        ("nolazytime", ClearFilesystem(MsFlags::MS_LAZYTIME)),
        ("nomand", ClearFilesystem(MsFlags::MS_MANDLOCK)),
        ("norelatime", AccessTime(RELATIME)),
        ("nostrictatime", AccessTime(RELATIME)),
        ("nosuid", Set(NOSUID)),
        ("nosymfollow", Set(NOSYMFOLLOW)),
        ("rbind", Bind(Reach::Tree)),
        ("relatime", AccessTime(RELATIME)),
        ("remount", Remount),
        ("ro", Set(RDONLY)),
        ("rw", Clear(RDONLY)),
        ("silent", SetFilesystem(MsFlags::MS_SILENT)),
        ("strictatime", AccessTime(STRICTATIME)),
        ("suid", Clear(NOSUID)),
        ("symfollow", Clear(NOSYMFOLLOW)),
        ("sync", SetFilesystem(MsFlags::MS_SYNCHRONOUS)),
        ("ratime", AccessTimeTree(RELATIME)),
        ("rdev", ClearTree(NODEV)),
        ("rdiratime", ClearTree(NODIRATIME)),
        ("ridmap", Idmap(Reach::Tree)),
        ("rexec", ClearTree(NOEXEC)),
        ("rnoatime", AccessTimeTree(NOATIME)),
        ("rnodev", SetTree(NODEV)),
        ("rnodiratime", SetTree(NODIRATIME)),
        ("rnoexec", SetTree(NOEXEC)),
        ("rnorelatime", AccessTimeTree(RELATIME)),
        ("rnostrictatime", AccessTimeTree(RELATIME)),
        ("rnosuid", SetTree(NOSUID)),
        ("rnosymfollow", SetTree(NOSYMFOLLOW)),
        ("rrelatime", AccessTimeTree(RELATIME)),
        ("rro", SetTree(RDONLY)),
        ("rrw", ClearTree(RDONLY)),
        ("rstrictatime", AccessTimeTree(STRICTATIME)),
        ("rsuid", ClearTree(NOSUID)),
        ("rsymfollow", ClearTree(NOSYMFOLLOW)),
        ("tmpcopyup", CopyUp),
    ]
};

/// Fold the words, later ones over earlier ones.
pub fn parse(words: &[String]) -> Options {
    let mut options = Options::default();
    for word in words {
        if let Some(propagation) = Propagation::of(word) {
            options.propagation.push(propagation);
        } else if let Some((_, effect)) = OPTIONS.iter().find(|(known, _)| known == word) {
            options.take(*effect);
        } else if let Some(text) = word.strip_prefix("idmap=") {
            options.idmap = Some((Reach::One, Some(text.into())));
        } else if let Some(text) = word.strip_prefix("ridmap=") {
            options.idmap = Some((Reach::Tree, Some(text.into())));
        } else if !word.is_empty() {
            options.parameters.push(word.clone());
        }
    }
    options
}

impl Options {
    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Set(bits) => set(&mut self.attributes, bits),
            Effect::Clear(bits) => clear(&mut self.attributes, bits),
            Effect::AccessTime(value) => access_time(&mut self.attributes, value),
            Effect::SetTree(bits) => {
                leave(&mut self.attributes, bits);
                set(&mut self.recursive, bits);
            }
            Effect::ClearTree(bits) => {
                leave(&mut self.attributes, bits);
                clear(&mut self.recursive, bits);
            }
            Effect::AccessTimeTree(value) => {
                leave(&mut self.attributes, mount::ATIME);
                access_time(&mut self.recursive, value);
            }
            Effect::SetFilesystem(flags) => self.filesystem.insert(flags),
            Effect::ClearFilesystem(flags) => self.filesystem.remove(flags),
            Effect::Bind(reach) => self.bind = Some(reach),
            Effect::Idmap(reach) => self.idmap = Some((reach, None)),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::Nothing => {}
        }
    }
}

fn set(attributes: &mut Attributes, bits: u64) {
    attributes.set |= bits;
    attributes.clear &= !bits;
}

fn clear(attributes: &mut Attributes, bits: u64) {
    attributes.set &= !bits;
    attributes.clear |= bits;
}

/// What is said of the whole tree is said of its top as well.
fn leave(attributes: &mut Attributes, bits: u64) {
    attributes.set &= !bits;
    attributes.clear &= !bits;
}

/// `mount_setattr(2)`: "If the atime field is to be changed it must be cleared whole".
fn access_time(attributes: &mut Attributes, value: u64) {
    attributes.set = attributes.set & !mount::ATIME | value;
    attributes.clear |= mount::ATIME;
}

/// Every word that is understood, for `features`.
pub fn words() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(word, _)| *word).chain(Propagation::words())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        let words: Vec<_> = words.iter().map(|word| word.to_string()).collect();
        parse(&words)
    }

    #[test]
    fn later_words_win() {
        let ro = options(&["ro", "nosuid", "suid", "size=1k", "mode=755"]);
        assert_eq!(ro.attributes, Attributes { set: mount::RDONLY, clear: mount::NOSUID });
        assert_eq!(ro.parameters, ["size=1k", "mode=755"]);
        assert_eq!(options(&["ro", "rw"]).attributes, Attributes { set: 0, clear: mount::RDONLY });
    }

    #[test]
    fn access_times_are_one_field() {
        let relatime = options(&["strictatime", "noatime", "relatime"]).attributes;
        assert_eq!(relatime, Attributes { set: 0, clear: mount::ATIME });
        let tree = options(&["rnoatime"]).recursive;
        assert_eq!(tree, Attributes { set: mount::NOATIME, clear: mount::ATIME });
    }

    #[test]
    fn the_tree_includes_its_top() {
        let options = options(&["rbind", "nosuid", "rsuid", "rro", "rw"]);
        assert_eq!(options.attributes, Attributes { set: 0, clear: mount::RDONLY });
        assert_eq!(options.recursive, Attributes { set: mount::RDONLY, clear: mount::NOSUID });
    }

    #[test]
    fn propagation_keeps_its_order() {
        let both = options(&["rslave", "shared"]).propagation;
        assert_eq!(both.iter().map(|p| p.kind).collect::<Vec<_>>(), [MsFlags::MS_SLAVE, MsFlags::MS_SHARED]);
    }

    #[test]
    fn the_mapping_stands_behind_the_word() {
        assert_eq!(options(&["rbind", "idmap"]).idmap, Some((Reach::One, None)));
        let own = options(&["idmap", "ridmap=uids=0-1-1"]);
        assert_eq!(own.idmap, Some((Reach::Tree, Some("uids=0-1-1".into()))));
        assert!(own.parameters.is_empty());
    }

    #[test]
    fn the_table_has_each_word_once() {
        let mut words: Vec<_> = words().collect();
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
