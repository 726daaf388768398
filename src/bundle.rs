//! The bundle directory, and the only reader of config.json's bytes.
//! <https://github.com/opencontainers/runtime-spec/blob/main/bundle.md>

mod field_by_field;
mod strict;

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde_json::Value;

use crate::error::{At, Error, Problems, printable};
use crate::sys::file::{self, Mode, OFlag, SFlag};
use crate::sys::{self, Errno};
use field_by_field::{Decoded, decode_field_by_field, decode_value};

/// More is no config: the largest that engines write have some 100 KiB.
const LARGEST: usize = 16 << 20;

/// A bundle and what its config.json says.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute path of the directory.
    pub path: PathBuf,
    /// config.json as it was read.
    pub bytes: Vec<u8>,
    /// config.json as it stands; without what could not be read of it, which is among the problems.
    pub spec: Spec,
    /// What could not be read.
    pub problems: Problems,
    /// What was left out with no more than a warning.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Open a bundle and read its config. Only what cannot be read at all is an error here; the problems of single
    /// fields are said together with what the sections find.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.as_os_str().is_empty() {
            return Err(Error::message("bundle: the path must not be empty"));
        }
        let path = std::path::absolute(path)
            .map_err(|e| Error::message(format!("bundle {}: {e}", path.display())))?;
        let bytes = read(&path)?;
        Self::pinned(path, bytes)
    }

    /// A bundle as it was when its config.json was read; `path` is absolute.
    pub fn pinned(path: PathBuf, bytes: Vec<u8>) -> Result<Self, Error> {
        let decoded = decode(&bytes)?;
        Ok(Self { path, bytes, spec: decoded.spec, problems: decoded.problems, warnings: decoded.warnings })
    }

    /// Let the user namespace and its mappings be added where they are missing, also in the bytes, which are what later
    /// commands know of the container.
    pub fn complete(&mut self, add: impl FnOnce(&mut Spec) -> Option<String>) -> Result<(), Error> {
        let Some(warning) = add(&mut self.spec) else { return Ok(()) };
        let unreadable = |error: serde_json::Error| Error::message(format!("config.json: {error}"));
        let mut config: Value = serde_json::from_slice(&self.bytes).map_err(unreadable)?;
        let linux = serde_json::to_value(self.spec.linux()).map_err(unreadable)?;
        for key in ["namespaces", "uidMappings", "gidMappings"] {
            config["linux"][key] = linux[key].clone();
        }
        self.bytes = serde_json::to_vec(&config).map_err(unreadable)?;
        self.warnings.push(warning);
        Ok(())
    }
}

/// A process of its own, for `exec --process FILE`.
#[derive(Debug)]
pub struct ProcessFile {
    /// The process as it stands.
    pub process: oci_spec::runtime::Process,
    /// What could not be read.
    pub problems: Problems,
    /// What was left out with no more than a warning.
    pub warnings: Vec<String>,
}

impl ProcessFile {
    /// Read the file; `-` would be one of this name.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = file::open(file::here(), path, OFlag::O_RDONLY | OFlag::O_NOCTTY, Mode::empty());
        let bytes = file::read_all(file.at_file(path)?, LARGEST, "process").at_file(path)?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |rule: String| Error::from(Problems::one("process", printable(&rule)));
        let process: Value = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        if !process.is_object() {
            return Err(refuse("is no object".into()));
        }
        let mut value = serde_json::json!({ "ociVersion": "1.0.0", "process": process });
        let Decoded { spec, problems, warnings } = decode_value(&mut value)?;
        match spec.process() {
            Some(process) => Ok(Self { process: process.clone(), problems, warnings }),
            None => Err(problems.into()),
        }
    }
}

/// A FIFO or a device in the file's place must not make us wait, and a link must not make us read, and quote in an
/// error, another file.
fn read(bundle: &Path) -> Result<Vec<u8>, Error> {
    let path = bundle.join("config.json");
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    let config = file::open(file::here(), &path, flags, Mode::empty()).or_else(|error| {
        // Whether it is the bundle that is missing.
        file::open_path(file::here(), bundle, OFlag::O_DIRECTORY).at_file(bundle)?;
        Err(error).at_file(&path)
    })?;
    let stat = file::stat(&config).at_file(&path)?;
    if file::kind(&stat) != SFlag::S_IFREG {
        return Err(sys::Error::new("open: it is not a regular file", Errno::EINVAL)).at_file(&path);
    }
    file::read_regular(&config, &stat, LARGEST, "config.json").at_file(&path)
}

fn decode(bytes: &[u8]) -> Result<Decoded, Error> {
    // serde reads a list as an object whose members come in their order.
    if bytes.iter().find(|c| !c.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Error::Config(Problems::one(
            "syntax",
            "invalid type: a list, expected an object at line 1",
        )));
    }
    let whole = if crate::log::debugging() {
        decode_naming_unknown_keys(bytes)
    } else {
        serde_json::from_slice(bytes)
    };
    match whole {
        Ok(spec)
            if !holds_nul(bytes) && !strict::may_have_list_for_object(bytes) && !has_io_priority(&spec) =>
        {
            Ok(Decoded { spec, problems: Problems::default(), warnings: Vec::new() })
        }
        whole => decode_field_by_field(bytes, whole.err()),
    }
}

/// "The runtime MUST ignore unknown properties": they are listed with `--debug`, where a typing mistake is looked for.
#[cold]
#[inline(never)] // the stack that it takes is nobody else's
fn decode_naming_unknown_keys(bytes: &[u8]) -> serde_json::Result<Spec> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let spec = serde_ignored::deserialize(&mut deserializer, |path| {
        crate::log::debug(&format!("config.json: {path}: unknown property, ignored"));
    })?;
    deserializer.end()?;
    Ok(spec)
}

/// Its class is required, and the crate has a default for it: whether it is there, only the bytes tell.
fn has_io_priority(spec: &Spec) -> bool {
    spec.process().as_ref().is_some_and(|process| process.io_priority().is_some())
}

/// In JSON a NUL byte can only be written like this.
fn holds_nul(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == b"\\u0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> String {
        match decode(json.as_bytes()) {
            Ok(decoded) => decoded.problems.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_bad_field_is_said_at_once() {
        let json = r#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":"0","gid":-1},"args":"sh"},
            "linux":{"namespaces":[{"type":"foo"}]}}"#;
        let said = said(json);
        for field in ["process.user.uid", "process.user.gid", "process.args", "linux.namespaces[0].type"] {
            assert!(said.contains(field), "{field}: {said}");
        }
    }

    #[test]
    fn what_is_missing_is_said_once() {
        assert!(said(r#"{"process":{"args":["sh"],"user":{}}}"#).contains("missing field `cwd`"));
        let said = said(r#"{"process":{"args":["sh"],"cwd":7,"user":{}}}"#);
        assert!(said.contains("process.cwd") && !said.contains("missing"), "{said}");
    }

    #[test]
    fn syntax_is_said_with_its_place() {
        for json in ["", "{", "[]", r#"{"process":1}x"#, r#"{"hostname":"a","hostname":"b"}"#, "\u{feff}{}"] {
            let said = said(json);
            assert!(said.contains("line") || said.contains("invalid type"), "{json:?}: {said}");
        }
    }

    #[test]
    fn a_class_of_io_has_no_default() {
        let with = |priority: &str| {
            said(&format!(r#"{{"ociVersion":"1.0.0","process":{{"cwd":"/","ioPriority":{priority}}}}}"#))
        };
        assert_eq!(with(r#"{"priority":1}"#), "process.ioPriority: missing field `class`");
        assert_eq!(with(r#"{"class":"IOPRIO_CLASS_BE","priority":1}"#), "");
        assert_eq!(with("null"), "");
    }

    #[test]
    fn a_list_is_no_object() {
        for (json, path) in [
            (r#"{"ociVersion":"1.0.0","process":["/"]}"#, "process: "),
            (r#"{"ociVersion":"1.0.0","root":["a",true]}"#, "root: "),
            (r#"{"ociVersion":"1.0.0","mounts":[{"destination":"/"},["/a"]]}"#, "mounts[1]: "),
            (r#"{"ociVersion":"1.0.0","linux":{"resources":{"cpu":[1]}}}"#, "linux.resources.cpu: "),
        ] {
            let said = said(json);
            assert!(said.starts_with(path) && !said.contains("; "), "{json}: {said}");
        }
        assert_eq!(said(r#"{"ociVersion":"1.0.0","unknown":{"list":[[1],[2]]}}"#), "");
    }

    #[test]
    fn sections_of_other_platforms_are_nobodys() {
        for section in field_by_field::OTHER_PLATFORMS {
            for value in ["{\"devices\":[7]}", "[]", "7"] {
                let json = format!(r#"{{"ociVersion":"1.0.0","{section}":{value}}}"#);
                assert_eq!(said(&json), "", "{json}");
            }
        }
    }

    #[test]
    fn depth_is_no_trap() {
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        assert_eq!(said(&deep("{\"a\":", "}")), "");
        assert!(!said(&format!("{{\"process\":{}}}", deep("[", "]"))).is_empty());
    }

    #[test]
    fn who_names_no_user_is_root() {
        let decoded = decode(br#"{"ociVersion":"1.0.0","process":{"cwd":"/","args":["sh"]}}"#).unwrap();
        assert!(decoded.problems.is_empty());
        assert_eq!(decoded.spec.process().as_ref().unwrap().user().uid(), 0);
    }

    #[test]
    fn unknown_capabilities_are_warned_of() {
        let json = r#"{"process":{"cwd":"/","user":{},"capabilities":{"bounding":["CAP_FOO","CAP_KILL","CAP_BAR"]}}}"#;
        let decoded = decode(json.as_bytes()).unwrap();
        assert!(decoded.problems.is_empty());
        assert_eq!(decoded.warnings.len(), 2);
        let process = decoded.spec.process().as_ref().unwrap();
        assert_eq!(process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap().len(), 1);
    }

    #[test]
    fn nul_bytes_are_refused_with_their_place() {
        let said = said(r#"{"process":{"cwd":"/","user":{},"args":["a\u0000b"]}}"#);
        assert!(said.contains("process.args[0]") && said.contains("NUL"), "{said}");
    }

    #[test]
    fn words_that_the_crate_spells_otherwise() {
        let json = r#"{"process":{"cwd":"/","user":{},"execCPUAffinity":{"initial":"","final":"0"},"scheduler":
            {"policy":"SCHED_OTHER","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]}}}"#;
        let decoded = decode(json.as_bytes()).unwrap();
        assert!(decoded.problems.is_empty(), "{}", decoded.problems);
        let process = decoded.spec.process().clone().unwrap();
        assert_eq!(process.scheduler().as_ref().unwrap().flags().as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_process_of_its_own() {
        let file = ProcessFile::parse(br#"{"cwd":"/","user":{"uid":"x"},"args":["sh"]}"#).unwrap();
        assert_eq!(file.problems.first_field(), Some(&"process.user.uid".to_string().into()));
        for bad in ["", "{", "[]", "7", "{}", r#"{"cwd":"/"}{}"#] {
            let refused = ProcessFile::parse(bad.as_bytes()).map_or(true, |file| !file.problems.is_empty());
            assert!(refused, "{bad:?}");
        }
    }

    #[test]
    fn unknown_properties_are_ignored() {
        assert_eq!(said(r#"{"ociVersion":"1.0.0","somethingNew":{"a":[1]}}"#), "");
    }
}
