//! `annotations` — what callers attach to a container; kept, and shown by `state`. A few have a meaning for crust.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#annotations>
//!
//! Engines hand annotations on from images and from whoever describes a pod, so none of them may weaken a container's
//! isolation by itself: that takes a line in [`ALLOWED_FILE`], which is the administrator's.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::error::{At, Error, Field, Problems};
use crate::host::Host;
use crate::sys::file::{self, Mode, OFlag, SFlag};
use crate::sys::{self, Errno};

/// Sorted, so that what is printed is the same each time.
pub type Annotations = BTreeMap<String, String>;

/// Which annotations may weaken isolation: a key in each line, and comments behind `#`.
pub const ALLOWED_FILE: &str = "/etc/crust/annotations";

/// More than this is no list of keys, in bytes.
const LARGEST_FILE: usize = 64 << 10;

/// Who decides that an annotation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Nobody: it gives the container nothing.
    NotNeeded,
    /// The administrator of the host, unless the runtime has no more rights than an ordinary user.
    Administrators,
}

const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";
const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
const HOOKS_STDERR: &str = "run.oci.hooks.stderr";

/// The annotations that change what crust does. One that ends with a dot stands for all that begin with it.
pub const KNOWN: [(&str, Leave); 9] = [
    // Which of a unit's properties, is decided where the scope is. These stop or start units of the host.
    ("org.systemd.property.", Leave::NotNeeded),
    ("org.systemd.property.BindsTo", Leave::Administrators),
    ("org.systemd.property.Conflicts", Leave::Administrators),
    ("org.systemd.property.Requires", Leave::Administrators),
    ("org.systemd.property.Wants", Leave::Administrators),
    (HOOKS_STDERR, Leave::Administrators),
    (HOOKS_STDOUT, Leave::Administrators),
    (KEEP_GROUPS, Leave::Administrators),
    (MOUNT_CONTEXT, Leave::NotNeeded),
];

/// Where the hooks write to that run outside of the container, instead of to us.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HookOutput {
    /// A file that is appended to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<PathBuf>,
    /// A file that is appended to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<PathBuf>,
}

impl HookOutput {
    /// Whether they write to us.
    pub fn is_ours(&self) -> bool {
        *self == Self::default()
    }
}

/// Which groups the container process has beside the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// The container process has those of the config.
    #[default]
    OfTheConfig,
    /// It keeps those of the runtime's caller.
    OfTheCaller,
}

/// The mount option by which file systems are labelled.
pub const DEFAULT_MOUNT_CONTEXT: &str = "context";

/// What of the annotations concerns crust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// `run.oci.keep_original_groups`
    pub groups: Groups,
    /// `run.oci.mount_context_type`
    pub mount_context: &'static str,
    /// `run.oci.hooks.stdout`, `run.oci.hooks.stderr`
    pub hook_output: HookOutput,
}

impl Default for Meaning {
    fn default() -> Self {
        let (groups, hook_output) = (Groups::default(), HookOutput::default());
        Self { groups, mount_context: DEFAULT_MOUNT_CONTEXT, hook_output }
    }
}

/// "Keys MUST NOT be an empty string." Unknown ones are kept without a meaning.
pub fn parse(annotations: Option<&HashMap<String, String>>) -> Result<Annotations, Problems> {
    let Some(annotations) = annotations else { return Ok(Annotations::new()) };
    if annotations.contains_key("") {
        return Err(Problems::one("annotations", "a key must not be empty"));
    }
    Ok(annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The keys that only the administrator may allow.
fn that_ask_for_leave(annotations: Option<&HashMap<String, String>>) -> impl Iterator<Item = &'static str> {
    let asks = move |(key, leave): &(&str, Leave)| {
        *leave == Leave::Administrators && annotations.is_some_and(|given| given.contains_key(*key))
    };
    KNOWN.iter().filter(move |row| asks(row)).map(|(key, _)| *key)
}

/// Find out what the administrator allows, if that matters for these.
pub fn ask_for_leave(annotations: &Option<HashMap<String, String>>, host: &mut Host) -> Result<(), Error> {
    let matters = that_ask_for_leave(annotations.as_ref()).next().is_some();
    if matters && !host.has_only_a_users_rights() {
        host.allowed_annotations = read_allowed()?;
    }
    Ok(())
}

/// The keys that the administrator has allowed. A file that others could have written is refused.
fn read_allowed() -> Result<Vec<String>, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    let file = match file::open(file::here(), ALLOWED_FILE, flags, Mode::empty()) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(Vec::new()),
        opened => opened.at_file(ALLOWED_FILE)?,
    };
    let stat = file::stat(&file).at_file(ALLOWED_FILE)?;
    if file::kind(&stat) != SFlag::S_IFREG || stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        let call = "fstat: it is not root's file alone to write";
        return Err(sys::Error::new(call, Errno::EPERM)).at_file(ALLOWED_FILE);
    }
    let bytes = file::read_all(&file, LARGEST_FILE, ALLOWED_FILE).at_file(ALLOWED_FILE)?;
    Ok(keys(&String::from_utf8_lossy(&bytes)))
}

fn keys(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What they mean here. Without leave a property of systemd is refused, as runc would hand it on; the others, which runc does
/// not know, are passed over with a warning, as it would.
pub fn meaning(annotations: Option<&HashMap<String, String>>, host: &Host) -> Result<Meaning, Problems> {
    let mut problems = Problems::default();
    let mut meaning = Meaning::default();
    let allowed =
        |key: &str| host.has_only_a_users_rights() || host.allowed_annotations.iter().any(|own| own == key);
    let not_allowed: Vec<&str> = that_ask_for_leave(annotations).filter(|key| !allowed(key)).collect();
    for key in &not_allowed {
        let field = Field::new("annotations").key(key);
        let rule = format!("is not allowed on this host: it takes a line in {ALLOWED_FILE}");
        match key.starts_with("org.systemd.") {
            true => problems.add(field, rule),
            false => crate::log::warn(&format!("config.json: {field}: {rule}; it is passed over")),
        }
    }
    let given = |key: &str| annotations?.get(key).filter(|_| !not_allowed.contains(&key)).map(String::as_str);
    let (groups, context) = (given(KEEP_GROUPS), given(MOUNT_CONTEXT));
    let outputs = [(HOOKS_STDOUT, given(HOOKS_STDOUT)), (HOOKS_STDERR, given(HOOKS_STDERR))];
    match groups {
        None | Some("" | "0" | "false") => {}
        Some("1" | "true") => meaning.groups = Groups::OfTheCaller,
        Some(other) => {
            problems.add(Field::new("annotations").key(KEEP_GROUPS), format!("{other:?} is not 1 or 0"))
        }
    }
    if let Some(word) = context {
        match ["context", "fscontext", "defcontext", "rootcontext"].iter().find(|known| **known == word) {
            Some(known) => meaning.mount_context = known,
            None => problems.add(
                Field::new("annotations").key(MOUNT_CONTEXT),
                format!("{word:?} is not context, fscontext, defcontext or rootcontext"),
            ),
        }
    }
    let mut paths = outputs.map(|(key, path)| {
        let path = PathBuf::from(path?);
        if !path.is_absolute() {
            problems.add(Field::new("annotations").key(key), format!("{path:?} is not absolute"));
        }
        Some(path)
    });
    meaning.hook_output = HookOutput { stdout: paths[0].take(), stderr: paths[1].take() };
    problems.or(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::process::plain_host;

    fn said(pairs: &[(&str, &str)], host: &Host) -> Result<Meaning, String> {
        let annotations = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        meaning(Some(&annotations), host).map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_weakens_isolation_takes_the_administrators_leave() {
        let mut host = plain_host();
        let conflicts = "org.systemd.property.Conflicts";
        for (key, value) in [(KEEP_GROUPS, "1"), (HOOKS_STDOUT, "/a"), (HOOKS_STDERR, "/a")] {
            assert_eq!(said(&[(key, value)], &host), Ok(Meaning::default()));
        }
        let rule = "is not allowed on this host: it takes a line in /etc/crust/annotations";
        assert_eq!(
            said(&[(conflicts, "['sshd.service']")], &host),
            Err(format!("annotations.{conflicts}: {rule}"))
        );
        host.allowed_annotations = keys("# of ours\n run.oci.keep_original_groups # podman\n\n");
        assert_eq!(said(&[(KEEP_GROUPS, "1")], &host).unwrap().groups, Groups::OfTheCaller);
        assert_eq!(said(&[(HOOKS_STDOUT, "/a")], &host), Ok(Meaning::default()));
        let user = Host { in_user_namespace: true, ..plain_host() };
        assert_eq!(said(&[(HOOKS_STDOUT, "/a")], &user).unwrap().hook_output.stdout, Some("/a".into()));
    }

    #[test]
    fn values_have_their_forms() {
        let user = Host { euid: 1000, ..plain_host() };
        assert_eq!(said(&[(KEEP_GROUPS, "0"), ("unknown", "x")], &user), Ok(Meaning::default()));
        assert_eq!(said(&[(MOUNT_CONTEXT, "rootcontext")], &user).unwrap().mount_context, "rootcontext");
        for (key, value) in [(KEEP_GROUPS, "yes"), (MOUNT_CONTEXT, "x,suid"), (HOOKS_STDERR, "relative")] {
            assert!(said(&[(key, value)], &user).unwrap_err().starts_with(&format!("annotations.{key}: ")));
        }
    }

    #[test]
    fn only_some_ask_for_leave() {
        let asks =
            |key: &str| that_ask_for_leave(Some(&HashMap::from([(key.to_owned(), String::new())]))).count();
        assert_eq!((asks(HOOKS_STDOUT), asks("org.systemd.property.Conflicts")), (1, 1));
        assert_eq!((asks(MOUNT_CONTEXT), asks("org.systemd.property.After"), asks("x")), (0, 0, 0));
        assert_eq!(that_ask_for_leave(None).count(), 0);
    }
}
