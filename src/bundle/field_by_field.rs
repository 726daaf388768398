//! A config.json that has faults: what of it can be read, and all that is wrong with the rest.

use oci_spec::runtime::Spec;
use serde_json::Value;
use serde_path_to_error::{Path as JsonPath, Segment};

use super::strict::Strict;
use crate::error::{Error, Problems, printable};

/// What was read.
#[derive(Debug)]
pub struct Decoded {
    pub spec: Spec,
    pub problems: Problems,
    pub warnings: Vec<String>,
}

/// The slow way, when something is wrong: each field that cannot be read is noted, taken out, and the rest read again,
/// so that all problems are said at once.
#[cold]
#[inline(never)]
pub fn decode_field_by_field(bytes: &[u8], error: Option<serde_json::Error>) -> Result<Decoded, Error> {
    let refuse = |rule: String| Error::Config(Problems::one("syntax", printable(&rule)));
    let mut value: Value = match (serde_json::from_slice(bytes), error) {
        (Err(error), _) => return Err(refuse(error.to_string())),
        (Ok(_), Some(error)) if error.to_string().starts_with("duplicate field") => {
            return Err(refuse(error.to_string()));
        }
        (Ok(value), _) => value,
    };
    decode_value(&mut value)
}

pub fn decode_value(value: &mut Value) -> Result<Decoded, Error> {
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    spell_as_the_crate(value);
    take_out_nuls(value, "", &mut problems);
    if value
        .pointer("/process/ioPriority")
        .is_some_and(|given| given.is_object() && given.get("class").is_none())
    {
        problems.add("process.ioPriority", "missing field `class`");
    }
    let mut taken_out = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, Spec>(Strict(value)) {
            Ok(spec) => return Ok(Decoded { spec, problems, warnings }),
            Err(error) => error,
        };
        let (path, rule) = (error.path().clone(), error.inner().to_string());
        if let Some(name) = unknown_capability(&path, value, &rule) {
            // "Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning".
            warnings.push(format!("config.json: {path}: {name:?} is no capability that is known, ignored"));
        } else if !is_missing_because(&taken_out, &path.to_string(), &rule) {
            let field = if path.to_string() == "." { "config.json".into() } else { path.to_string() };
            problems.add(field.clone(), in_words(&field, rule));
        }
        taken_out.push(path.to_string());
        if !take_out(value, &path) {
            return Err(Error::Config(problems));
        }
    }
}

/// The sections of other platforms. They "MAY be set if the target platform of this spec is" one of them, so that here
/// they are like any other property that nobody knows, whatever they hold.
pub const OTHER_PLATFORMS: [&str; 5] = ["freebsd", "solaris", "vm", "windows", "zos"];

/// Words of the spec that oci-spec 0.10 spells in its own way, or refuses.
fn spell_as_the_crate(config: &mut Value) {
    if let Some(config) = config.as_object_mut() {
        OTHER_PLATFORMS.iter().for_each(|section| drop(config.shift_remove(*section)));
    }
    let Some(process) = config.get_mut("process") else { return };
    // The schema requires none, and callers of `exec` leave it out: it is root then.
    if let Some(process) = process.as_object_mut() {
        process.entry("user").or_insert_with(|| serde_json::json!({}));
    }
    if let Some(flags) = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut) {
        for flag in flags {
            match flag.as_str() {
                Some("SCHED_FLAG_RESET_ON_FORK") => *flag = "SCHED_RESET_ON_FORK".into(),
                Some("SCHED_FLAG_DL_OVERRUN") => *flag = "SCHED_FLAG_D_L_OVERRUN".into(),
                _ => {}
            }
        }
    }
    // "If omitted or empty".
    if let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) {
        affinity.retain(|_, cpus| cpus != "");
    }
}

/// What callers and their tests look for beside the field.
fn in_words(field: &str, rule: String) -> String {
    let words = match field {
        "linux.memoryPolicy" | "linux.memoryPolicy.mode" => "invalid memory policy mode: ",
        _ if field.starts_with("linux.memoryPolicy.flags") => "invalid memory policy flag: ",
        _ => "",
    };
    format!("{words}{rule}")
}

/// Whether a required field is missing only because it could not be read, which was said already.
fn is_missing_because(taken_out: &[String], path: &str, rule: &str) -> bool {
    let name = rule.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    name.is_some_and(|name| {
        taken_out.iter().any(|out| *out == format!("{path}.{name}") || (path == "." && out == name))
    })
}

fn unknown_capability(path: &JsonPath, value: &Value, rule: &str) -> Option<String> {
    if !path.to_string().starts_with("process.capabilities.") || !rule.contains("no variant for") {
        return None;
    }
    Some(at(value, path)?.as_str()?.to_owned())
}

fn at<'a>(value: &'a Value, path: &JsonPath) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        _ => None,
    })
}

/// Remove the value at the path; `false` if there is none, as when a required field is missing.
fn take_out(value: &mut Value, path: &JsonPath) -> bool {
    let segments: Vec<_> = path.iter().collect();
    let Some((last, parents)) = segments.split_last() else { return false };
    let parent = parents.iter().try_fold(value, |value, segment| match segment {
        Segment::Map { key } => value.get_mut(key),
        Segment::Seq { index } => value.get_mut(index),
        _ => None,
    });
    match (parent, last) {
        (Some(Value::Object(map)), Segment::Map { key }) => map.remove(key).is_some(),
        (Some(Value::Array(list)), Segment::Seq { index }) if *index < list.len() => {
            list.remove(*index);
            true
        }
        _ => false,
    }
}

/// No string of the config may hold a NUL byte: the kernel would read it as the string's end.
fn take_out_nuls(value: &mut Value, path: &str, problems: &mut Problems) {
    match value {
        Value::String(text) if text.contains('\0') => {
            problems.add(path.to_owned(), format!("{text:?} holds a NUL byte"));
            *text = text.replace('\0', "");
        }
        Value::Array(list) => {
            for (i, element) in list.iter_mut().enumerate() {
                take_out_nuls(element, &format!("{path}[{i}]"), problems);
            }
        }
        Value::Object(map) => {
            if let Some(key) = map.keys().find(|key| key.contains('\0')) {
                problems.add(path.to_owned(), format!("the key {key:?} holds a NUL byte"));
            }
            for (key, element) in map.iter_mut() {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                take_out_nuls(element, &below, problems);
            }
        }
        _ => {}
    }
}
