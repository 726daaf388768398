//! config-linux.md: readonlyPaths.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::case::{Case, case};
use crate::trial::did_is;

const READONLY: &str = "**`readonlyPaths`** (array of strings, OPTIONAL) will set the provided paths as \
    readonly inside the container.";
const ABSOLUTE: &str = "The values MUST be absolute paths in the container namespace.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("readonly-paths/file").spec(READONLY).run(|t| {
            fs::write(t.rootfs().join("etc/file"), "text")?;
            let facts = t.set("/linux/readonlyPaths", json!(["/etc/file"])).facts_of(&[
                "write:/etc/file",
                "read:/etc/file",
                "create:/etc/new",
            ])?;
            did_is(&facts, "write:/etc/file", "EROFS")?;
            did_is(&facts, "read:/etc/file", "text")?;
            did_is(&facts, "create:/etc/new", "ok")
        }),
        case("readonly-paths/directory").spec(READONLY).run(|t| {
            let facts = t
                .set("/linux/readonlyPaths", json!(["/etc"]))
                .facts_of(&["create:/etc/new", "create:/tmp/new"])?;
            did_is(&facts, "create:/etc/new", "EROFS")?;
            did_is(&facts, "create:/tmp/new", "ok")
        }),
        case("readonly-paths/root").spec(READONLY).run(|t| {
            t.tmpfs("/tmp", &[]).set("/linux/readonlyPaths", json!(["/"]));
            let facts = t.facts_of(&["create:/new", "create:/etc/new", "create:/tmp/new"])?;
            did_is(&facts, "create:/new", "EROFS")?;
            did_is(&facts, "create:/etc/new", "EROFS")?;
            did_is(&facts, "create:/tmp/new", "ok")
        }),
        case("readonly-paths/proc-sys").spec(READONLY).run(|t| {
            t.set(
                "/linux/readonlyPaths",
                json!(["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"]),
            );
            let facts = t.facts_of(&["write:/proc/sys/kernel/shmmax:1234"])?;
            did_is(&facts, "write:/proc/sys/kernel/shmmax:1234", "EROFS")
        }),
        case("readonly-paths/mounts-below-stay").runc("a mount below a readonly path stays as it is").run(
            |t| {
                t.tmpfs("/etc/inner", &[]);
                let facts = t
                    .set("/linux/readonlyPaths", json!(["/etc"]))
                    .facts_of(&["create:/etc/new", "create:/etc/inner/new"])?;
                did_is(&facts, "create:/etc/new", "EROFS")?;
                did_is(&facts, "create:/etc/inner/new", "ok")
            },
        ),
        case("readonly-paths/missing-is-ignored")
            .runc("a readonly path that does not exist is ignored")
            .run(|t| t.set("/linux/readonlyPaths", json!(["/no/such/path"])).facts().map(drop)),
        case("readonly-paths/relative")
            .spec(ABSOLUTE)
            .run(|t| t.set("/linux/readonlyPaths", json!(["etc"])).refused().map(drop)),
        case("readonly-paths/symlink-out-of-the-root")
            .security("D35", "a readonly symlink that leads out of the root changes nothing on the host")
            .run(|t| {
                let outside = t.path("outside");
                fs::write(&outside, "")?;
                symlink(&outside, t.rootfs().join("etc/link"))?;
                t.set("/linux/readonlyPaths", json!(["/etc/link"])).try_create()?;
                Ok(fs::write(&outside, "still writable")?)
            }),
    ]
}
