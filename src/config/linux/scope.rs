//! `linux.cgroupsPath` with `--systemd-cgroup`: `slice:prefix:name` stands for the scope `prefix-name.scope` in a slice.
//!
//! `systemd.scope(5)`, `systemd.slice(5)`, and `systemd.unit(5)` for the names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::cgroup::hierarchy::Tree;
use crate::config::linux::cgroups_path::FIELD;
use crate::config::linux::resources::property::{Property, Value};
use crate::container::id::ContainerId;
use crate::error::{Field, Problems};
use crate::host::Host;

/// Where the container's scope is to be, and what its annotations add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    slice: String,
    /// Whose systemd it is: `None` is the machine's.
    pub user: Option<u32>,
    /// `None` is named after the container.
    unit: Option<String>,
    /// From annotations `org.systemd.property.*`.
    pub properties: Vec<Property>,
}

const PREFIX: &str = "org.systemd.property.";

/// What an annotation may set: when the scope starts and ends, and how. Not what the container may use, which
/// `linux.resources` says.
const ALLOWED: [&str; 19] = [
    "After",
    "Before",
    "BindsTo",
    "CollectMode",
    "Conflicts",
    "DefaultDependencies",
    "Description",
    "JobRunningTimeoutUSec",
    "JobTimeoutUSec",
    "KillMode",
    "KillSignal",
    "OOMPolicy",
    "PartOf",
    "Requires",
    "RuntimeMaxUSec",
    "SendSIGHUP",
    "SendSIGKILL",
    "TimeoutStopUSec",
    "Wants",
];

impl Scope {
    /// Three parts, of which the first may be empty; without a path, all are the default.
    pub fn parse(
        path: Option<&Path>,
        annotations: Option<&HashMap<String, String>>,
        host: &Host,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let user = host.rootless.then_some(host.euid);
        let default = if host.rootless { "user.slice" } else { "system.slice" };
        let properties = problems.keep(properties(annotations)).unwrap_or_default();
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            return problems.or(Self { slice: default.into(), user, unit: None, properties });
        };
        let text = path.to_string_lossy();
        let parts: Vec<&str> = text.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            let rule = format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
            );
            problems.add(FIELD, rule);
            return Err(problems);
        };
        let slice = if slice.is_empty() { default } else { slice };
        problems.keep(slice_path(slice).map(drop));
        if name.is_empty() || name.ends_with(".slice") {
            problems.add(FIELD, format!("{text:?} does not name a scope: a slice holds no processes"));
        }
        let unit = unit(prefix, name);
        if unit.len() > 255 || unit.contains('/') {
            problems.add(FIELD, format!("{unit:?} is not the name of a unit"));
        }
        problems.or(Self { slice: slice.into(), user, unit: Some(unit), properties })
    }

    /// The slice's unit.
    pub fn slice(&self) -> &str {
        &self.slice
    }

    /// The scope's unit.
    pub fn unit(&self, id: &ContainerId) -> String {
        self.unit.clone().unwrap_or_else(|| unit("crust", id.as_str()))
    }

    /// The manager's own cgroup, relative to the mount point: the root, or that of the user's service that this process
    /// is in.
    pub fn base(&self, tree: &Tree) -> PathBuf {
        let Some(user) = self.user else { return PathBuf::new() };
        let own: Vec<&str> =
            tree.own.iter().flat_map(|own| own.iter()).filter_map(|name| name.to_str()).collect();
        let is_service = |name: &&str| name.starts_with("user@") && name.ends_with(".service");
        match own.iter().position(is_service) {
            Some(at) => own[..=at].iter().collect(),
            None => format!("user.slice/user-{user}.slice/user@{user}.service").into(),
        }
    }

    /// The scope's cgroup, below that of the manager.
    pub fn path(&self, id: &ContainerId) -> PathBuf {
        slice_path(&self.slice).unwrap_or_default().join(self.unit(id))
    }
}

fn unit(prefix: &str, name: &str) -> String {
    let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}-{name}") };
    format!("{}.scope", escape(&name))
}

/// What a unit's name cannot hold, as `systemd-escape(1)` writes it.
fn escape(name: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c);
    name.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("\\x{c:02x}") }).collect()
}

/// `a-b.slice` is in `a.slice`: `a.slice/a-b.slice`. `-.slice` is the root.
fn slice_path(slice: &str) -> Result<PathBuf, Problems> {
    let refuse = || Problems::one(FIELD, format!("{slice:?} is not the name of a slice as \"a-b.slice\""));
    let name = slice.strip_suffix(".slice").ok_or_else(refuse)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let plain = |c: u8| c.is_ascii_alphanumeric() || b":_.\\@".contains(&c);
    let parts: Vec<&str> = name.split('-').collect();
    if slice.len() > 255 || parts.iter().any(|part| part.is_empty() || !part.bytes().all(plain)) {
        return Err(refuse());
    }
    Ok((1..=parts.len()).map(|end| format!("{}.slice", parts[..end].join("-"))).collect())
}

fn properties(annotations: Option<&HashMap<String, String>>) -> Result<Vec<Property>, Problems> {
    let mut problems = Problems::default();
    let mut properties = Vec::new();
    for (key, text) in annotations.into_iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let field = Field::new("annotations").key(key);
        // `TimeoutStopSec` in a unit file is `TimeoutStopUSec` on D-Bus.
        let stem = name.strip_suffix("USec").is_none().then(|| name.strip_suffix("Sec")).flatten();
        let on_bus = stem.map_or_else(|| name.to_owned(), |stem| format!("{stem}USec"));
        if !ALLOWED.contains(&on_bus.as_str()) {
            problems.add(field, "is not a property that an annotation may set");
            continue;
        }
        match value(text.trim()) {
            Some(value) => match (stem, seconds(&value)) {
                (Some(_), Some(seconds)) => {
                    properties.push(Property::number(on_bus, seconds.saturating_mul(1_000_000)))
                }
                (Some(_), None) => problems.add(field, format!("{text:?} is not a number of seconds")),
                (None, _) => properties.push(Property::new(on_bus, value)),
            },
            None => problems.add(field, format!("{text:?} is not a value in GVariant's text format")),
        }
    }
    properties.sort_by(|a, b| a.name.cmp(&b.name));
    problems.or(properties)
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::I32(seconds) => u64::try_from(*seconds).ok(),
        Value::U32(seconds) => Some(u64::from(*seconds)),
        Value::U64(seconds) => Some(*seconds),
        _ => None,
    }
}

/// The part of GVariant's text format that units need: `true`, `5`, `uint64 5`, `'text'`, `['a', 'b']`.
fn value(text: &str) -> Option<Value> {
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Some((kind, number)) = text.split_once(' ').filter(|(kind, _)| kind.contains("int")) {
        let number = number.trim();
        return match kind {
            "int32" => number.parse().ok().map(Value::I32),
            "uint32" => number.parse().ok().map(Value::U32),
            "uint64" => number.parse().ok().map(Value::U64),
            _ => None,
        };
    }
    if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let items = list.split(',').map(|item| quoted(item.trim()));
        return items.collect::<Option<Vec<_>>>().map(Value::Texts);
    }
    quoted(text).map(Value::Text).or_else(|| text.parse().ok().map(Value::I32))
}

fn quoted(text: &str) -> Option<String> {
    let inside = ['\'', '"'].iter().find_map(|&q| text.strip_prefix(q)?.strip_suffix(q))?;
    (!inside.contains(['\'', '"', '\\'])).then(|| inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn scope(path: &str) -> Result<(String, PathBuf), String> {
        let scope = Scope::parse(Some(Path::new(path)), None, &examples::v2()).map_err(|p| p.to_string())?;
        let id = ContainerId::parse("web+1").unwrap();
        Ok((scope.unit(&id), scope.path(&id)))
    }

    #[test]
    fn slices_are_nested_by_their_names() {
        let (unit, path) = scope("kubepods-burstable-pod1.slice:cri-containerd:abc").unwrap();
        assert_eq!(unit, "cri-containerd-abc.scope");
        let expected =
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-abc.scope";
        assert_eq!(path, Path::new(expected));
        assert_eq!(scope("-.slice:a:b").unwrap().1, Path::new("a-b.scope"));
    }

    #[test]
    fn defaults() {
        assert_eq!(scope("").unwrap().1, Path::new("system.slice/crust-web\\x2b1.scope"));
        assert_eq!(scope(":libpod:x").unwrap().1, Path::new("system.slice/libpod-x.scope"));
        assert_eq!(scope("machine.slice::x").unwrap().1, Path::new("machine.slice/x.scope"));
    }

    #[test]
    fn what_names_no_scope() {
        for path in [
            "/a/b",
            "a:b",
            "a:b:c:d",
            "a:b:c",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "../x.slice:p:n",
            "a.slice:p:",
            "a.slice:p:x.slice",
        ] {
            assert!(scope(path).unwrap_err().starts_with("linux.cgroupsPath: "), "{path}");
        }
        assert!(scope("/a/b").unwrap_err().contains("slice:prefix:name"));
    }

    #[test]
    fn annotations_are_properties() {
        let parse = |key: &str, text: &str| {
            let annotations = HashMap::from([(format!("org.systemd.property.{key}"), text.to_owned())]);
            properties(Some(&annotations)).map_err(|p| p.to_string())
        };
        for (key, text, name, expected) in [
            ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Value::U64(123_456_789)),
            ("TimeoutStopSec", "2", "TimeoutStopUSec", Value::U64(2_000_000)),
            ("CollectMode", "'inactive-or-failed'", "CollectMode", Value::Text("inactive-or-failed".into())),
            (
                "After",
                "['a.service', \"b.service\"]",
                "After",
                Value::Texts(vec!["a.service".into(), "b.service".into()]),
            ),
            ("SendSIGHUP", "true", "SendSIGHUP", Value::Bool(true)),
            ("KillSignal", "9", "KillSignal", Value::I32(9)),
        ] {
            assert_eq!(parse(key, text).unwrap(), [Property::new(name, expected)], "{key}");
        }
        for (key, text) in
            [("MemoryMax", "uint64 1"), ("ExecStart", "'x'"), ("After", "a"), ("TimeoutStopSec", "'x'")]
        {
            assert!(parse(key, text).is_err(), "{key}");
        }
        assert_eq!(properties(Some(&HashMap::from([("a.b".into(), "c".into())]))), Ok(vec![]));
    }
}
