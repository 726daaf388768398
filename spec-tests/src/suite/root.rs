//! config.md: root.

use std::fs;
use std::os::unix::fs::symlink;

use crate::case::{Case, case};
use crate::trial::did_is;

const EXISTS: &str = "A directory MUST exist at the path declared by the field.";
const READONLY: &str = "**`readonly`** (bool, OPTIONAL) If true then the root filesystem MUST be read-only \
    inside the container, defaults to false.";
const PATH: &str = "On POSIX platforms, `path` is either an absolute path or a relative path to the bundle.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("root/relative-path").spec(PATH).run(|t| t.facts().map(drop)),
        case("root/absolute-path").spec(PATH).run(|t| {
            let path = t.rootfs().display().to_string();
            t.set("/root/path", path).facts().map(drop)
        }),
        case("root/absolute-path-outside-the-bundle").spec(PATH).run(|t| {
            let path = t.path("elsewhere");
            fs::rename(t.rootfs(), &path)?;
            t.set("/root/path", path).facts().map(drop)
        }),
        case("root/unusual-name").spec(PATH).run(|t| {
            fs::rename(t.rootfs(), t.bundle().join("root file system"))?;
            t.set("/root/path", "root file system").facts().map(drop)
        }),
        case("root/missing")
            .spec(EXISTS)
            .run(|t| t.set("/root/path", "no-such-directory").refused().map(drop)),
        case("root/file").spec(EXISTS).run(|t| {
            fs::write(t.bundle().join("file"), "")?;
            t.set("/root/path", "file").refused().map(drop)
        }),
        case("root/dangling-symlink").spec(EXISTS).run(|t| {
            symlink("nowhere", t.bundle().join("link"))?;
            t.set("/root/path", "link").refused().map(drop)
        }),
        case("root/not-set")
            .spec("On all other platforms, this field is REQUIRED.")
            .run(|t| t.remove("/root").refused().map(drop)),
        case("root/path-not-set")
            .spec(
                "**`path`** (string, REQUIRED) Specifies the path to the root filesystem for the \
                 container.",
            )
            .run(|t| t.remove("/root/path").refused().map(drop)),
        case("root/readonly-true").spec(READONLY).run(|t| {
            let facts = t.set("/root/readonly", true).facts_of(&[
                "create:/new",
                "mkdir:/tmp/new",
                "write:/spec-probe",
            ])?;
            did_is(&facts, "create:/new", "EROFS")?;
            did_is(&facts, "mkdir:/tmp/new", "EROFS")
        }),
        case("root/readonly-true-mounts-stay-writable").spec(READONLY).run(|t| {
            let facts = t.set("/root/readonly", true).facts_of(&["create:/dev/new"])?;
            did_is(&facts, "create:/dev/new", "ok")
        }),
        case("root/readonly-false").spec(READONLY).run(|t| {
            let facts = t.set("/root/readonly", false).facts_of(&["create:/new"])?;
            did_is(&facts, "create:/new", "ok")
        }),
        case("root/readonly-not-set").spec(READONLY).run(|t| {
            let facts = t.facts_of(&["create:/new"])?;
            did_is(&facts, "create:/new", "ok")
        }),
        case("root/is-the-root")
            .spec("**`root`** (object, OPTIONAL) specifies the container's root filesystem.")
            .run(|t| {
                fs::write(t.rootfs().join("mark"), "mine")?;
                let facts = t.facts_of(&["read:/mark", "stat:/work", "readdir:/"])?;
                did_is(&facts, "read:/mark", "mine")?;
                let mounts = facts["mounts"].as_array().cloned().unwrap_or_default();
                let roots = mounts.iter().filter(|mount| mount["destination"] == "/").count();
                ensure!(roots == 1, "there are {roots} mounts on /: {mounts:?}");
                ensure!(mounts.len() <= 6, "mounts of the host are still there: {mounts:?}");
                Ok(())
            }),
    ]
}
