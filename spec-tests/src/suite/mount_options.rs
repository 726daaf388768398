//! config.md: Linux mount options, one row per word.

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::{Verdict, failed};

const MUST: &str = "Runtimes MUST/SHOULD/MAY implement the following option strings for Linux";

/// Options, what `/proc/self/mountinfo` must say of the mount, and what it must not say.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// Options of a new tmpfs.
const NEW: &[Row] = &[
    ("ro", &["ro"], &["ro"], &["rw"]),
    ("rw", &["ro", "rw"], &["rw"], &["ro"]),
    ("nosuid", &["nosuid"], &["nosuid"], &[]),
    ("suid", &["nosuid", "suid"], &[], &["nosuid"]),
    ("nodev", &["nodev"], &["nodev"], &[]),
    ("dev", &["nodev", "dev"], &[], &["nodev"]),
    ("noexec", &["noexec"], &["noexec"], &[]),
    ("exec", &["noexec", "exec"], &[], &["noexec"]),
    ("noatime", &["noatime"], &["noatime"], &["relatime"]),
    ("atime", &["noatime", "atime"], &[], &["noatime"]),
    ("nodiratime", &["nodiratime"], &["nodiratime"], &[]),
    ("diratime", &["nodiratime", "diratime"], &[], &["nodiratime"]),
    ("relatime", &["relatime"], &["relatime"], &["noatime"]),
    ("norelatime", &["norelatime"], &[], &["noatime"]),
    ("strictatime", &["strictatime"], &[], &["relatime", "noatime"]),
    ("nostrictatime", &["strictatime", "nostrictatime"], &["relatime"], &[]),
    ("defaults", &["defaults"], &["rw"], &["ro", "nosuid", "nodev", "noexec"]),
    ("sync", &["sync"], &["sync"], &[]),
    ("async", &["sync", "async"], &[], &["sync"]),
    ("dirsync", &["dirsync"], &["dirsync"], &[]),
    ("file-system-data", &["mode=711", "size=1m"], &["mode=711", "size=1024k"], &[]),
];

/// The same for words that came with spec 1.1.
const NEW_1_1: &[Row] = &[
    ("iversion", &["iversion"], &[], &[]),
    ("noiversion", &["noiversion"], &[], &[]),
    ("lazytime", &["lazytime"], &["lazytime"], &[]),
    ("nolazytime", &["lazytime", "nolazytime"], &[], &["lazytime"]),
    ("silent", &["silent"], &[], &[]),
    ("loud", &["silent", "loud"], &[], &[]),
    ("nosymfollow", &["nosymfollow"], &["nosymfollow"], &[]),
    ("symfollow", &["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
];

/// Options of a bind mount.
const BIND: &[Row] = &[
    ("bind", &["bind"], &["rw"], &[]),
    ("rbind", &["rbind"], &["rw"], &[]),
    ("bind-ro", &["bind", "ro"], &["ro"], &["rw"]),
    ("bind-nosuid-nodev-noexec", &["bind", "nosuid", "nodev", "noexec"], &["nosuid", "nodev", "noexec"], &[]),
    ("bind-noatime", &["bind", "noatime"], &["noatime"], &[]),
    ("bind-nodiratime", &["bind", "nodiratime"], &["nodiratime"], &[]),
    ("bind-strictatime", &["bind", "strictatime"], &[], &["relatime", "noatime"]),
    ("rbind-ro-rprivate", &["rbind", "rprivate", "ro"], &["ro"], &["shared"]),
];

/// The recursive options, on a bind mount with a mount inside: what both mounts must say, or not.
const RECURSIVE: &[Row] = &[
    ("rro", &["rbind", "rro"], &["ro"], &[]),
    ("rrw", &["rbind", "rrw"], &["rw"], &["ro"]),
    ("rnosuid", &["rbind", "rnosuid"], &["nosuid"], &[]),
    ("rsuid", &["rbind", "nosuid", "rsuid"], &[], &["nosuid"]),
    ("rnodev", &["rbind", "rnodev"], &["nodev"], &[]),
    ("rdev", &["rbind", "nodev", "rdev"], &[], &["nodev"]),
    ("rnoexec", &["rbind", "rnoexec"], &["noexec"], &[]),
    ("rexec", &["rbind", "noexec", "rexec"], &[], &["noexec"]),
    ("rnodiratime", &["rbind", "rnodiratime"], &["nodiratime"], &[]),
    ("rdiratime", &["rbind", "rdiratime"], &[], &["nodiratime"]),
    ("rnoatime", &["rbind", "rnoatime"], &["noatime"], &[]),
    ("rrelatime", &["rbind", "rrelatime"], &["relatime"], &["noatime"]),
    ("rstrictatime", &["rbind", "rstrictatime"], &[], &["relatime", "noatime"]),
];

/// The same for words that came with spec 1.1.
const RECURSIVE_1_1: &[Row] = &[
    ("rnosymfollow", &["rbind", "rnosymfollow"], &["nosymfollow"], &[]),
    ("rsymfollow", &["rbind", "rsymfollow"], &[], &["nosymfollow"]),
];

/// Propagation: the word, and the beginning of the optional field of mountinfo that it makes.
const PROPAGATION: &[(&str, &str)] = &[
    ("private", ""),
    ("rprivate", ""),
    ("shared", "shared:"),
    ("rshared", "shared:"),
    ("slave", "master:"),
    ("rslave", "master:"),
    ("unbindable", "unbindable"),
    ("runbindable", "unbindable"),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(NEW.iter().map(|row| one(row, "tmpfs").run(|t| new_tmpfs(t, row))));
    cases.extend(
        NEW_1_1.iter().map(|row| one(row, "tmpfs").needs(Need::SpecVersion(1)).run(|t| new_tmpfs(t, row))),
    );
    cases.extend(BIND.iter().map(|row| one(row, "bind").run(|t| bind(t, row))));
    let kernel = Need::Kernel(5, 12, "mount_setattr");
    cases.extend(
        RECURSIVE.iter().map(|row| one(row, "recursive").needs(kernel.clone()).run(|t| recursive(t, row))),
    );
    let kernel = Need::Kernel(5, 14, "nosymfollow of mount_setattr");
    cases.extend(RECURSIVE_1_1.iter().map(|row| {
        one(row, "recursive").needs_all(&[Need::SpecVersion(1), kernel.clone()]).run(|t| recursive(t, row))
    }));
    cases.extend(PROPAGATION.iter().map(|(word, field)| propagation(word, field)));
    cases.push(case("mount-options/remount").spec("`remount` | MUST").run(|t| {
        t.tmpfs("/tmp", &[]);
        t.tmpfs("/tmp", &["remount", "ro"]);
        let facts = t.facts()?;
        check(&mount_of(&facts, "/tmp")?, &["ro"], &["rw"])
    }));
    cases
}

fn one(row: &Row, group: &str) -> crate::case::Draft {
    case(format!("mount-options/{group}-{}", row.0)).spec(format!("{MUST}: {}", row.1.join(", ")))
}

fn new_tmpfs(t: &mut Trial, row: &Row) -> Verdict {
    t.push("/mounts", json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": row.1 }));
    let facts = t.facts()?;
    check(&mount_of(&facts, "/tmp")?, row.2, row.3)
}

fn bind(t: &mut Trial, row: &Row) -> Verdict {
    std::fs::create_dir(t.work.join("volume"))?;
    let source = t.path("volume");
    t.push("/mounts", json!({ "destination": "/tmp", "type": "none", "source": source, "options": row.1 }));
    let facts = t.facts()?;
    check(&mount_of(&facts, "/tmp")?, row.2, row.3)
}

fn recursive(t: &mut Trial, row: &Row) -> Verdict {
    let source = super::mounts::tree(t)?;
    t.push("/mounts", json!({ "destination": "/tmp", "type": "none", "source": source, "options": row.1 }));
    let facts = t.facts()?;
    check(&mount_of(&facts, "/tmp")?, row.2, row.3)?;
    check(&mount_of(&facts, "/tmp/inner")?, row.2, row.3)
}

fn propagation(word: &'static str, field: &'static str) -> Case {
    case(format!("mount-options/propagation-{word}"))
        .spec(format!("`{word}` | MUST | Bind mount propagation"))
        .run(move |t| {
            // A slave has a master only if the source is shared.
            let source = super::mounts::shared_tree(t)?;
            t.bind(&source, "/tmp", &["rbind", word]);
            let facts = t.facts()?;
            let mount = mount_of(&facts, "/tmp")?;
            let fields: Vec<&str> =
                mount["propagation"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let good = if field.is_empty() {
                fields.is_empty()
            } else {
                fields.iter().any(|text| text.starts_with(field))
            };
            ensure!(good, "propagation is {fields:?}, want {field:?}");
            Ok(())
        })
}

/// The last mount on a destination.
pub fn mount_of(facts: &Value, destination: &str) -> Verdict<Value> {
    let mounts = facts["mounts"].as_array().cloned().unwrap_or_default();
    match mounts.iter().rev().find(|mount| mount["destination"] == destination) {
        Some(mount) => Ok(mount.clone()),
        None => failed(format!("nothing is mounted on {destination}: {mounts:?}")),
    }
}

/// The options of the mount, or of its file system, say `want`; the mount's do not say `not`.
fn check(mount: &Value, want: &[&str], not: &[&str]) -> Verdict {
    let words = |key: &str| mount[key].as_array().cloned().unwrap_or_default();
    let (own, all) = (words("options"), [words("options"), words("super")].concat());
    for word in want {
        ensure!(all.contains(&json!(word)), "{word} is missing: {mount}");
    }
    for word in not {
        let list = if ["sync", "lazytime"].contains(word) { &all } else { &own };
        ensure!(!list.contains(&json!(word)), "{word} is set: {mount}");
    }
    Ok(())
}
