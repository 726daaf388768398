//! config-linux.md: maskedPaths.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::{did, did_is};
use crate::verdict::equal;

const MASKED: &str = "**`maskedPaths`** (array of strings, OPTIONAL) will mask over the provided paths inside \
    the container so that they cannot be read.";
const ABSOLUTE: &str = "The values MUST be absolute paths in the container namespace.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("masked-paths/file").spec(MASKED).run(|t| {
            fs::write(t.rootfs().join("etc/secret"), "secret")?;
            t.set("/linux/maskedPaths", json!(["/etc/secret"]));
            let facts = t.facts_of(&["read:/etc/secret"])?;
            ensure!(
                !did(&facts, "read:/etc/secret").to_string().contains("secret\""),
                "the file can be read: {}",
                facts["did"]
            );
            equal("file on the host", fs::read_to_string(t.rootfs().join("etc/secret"))?.as_str(), "secret")
        }),
        case("masked-paths/directory").spec(MASKED).run(|t| {
            fs::write(t.rootfs().join("etc/secret"), "secret")?;
            t.set("/linux/maskedPaths", json!(["/etc"]));
            let facts = t.facts_of(&["read:/etc/secret", "readdir:/etc", "create:/etc/new"])?;
            did_is(&facts, "read:/etc/secret", "ENOENT")?;
            did_is(&facts, "readdir:/etc", json!([]))?;
            did_is(&facts, "create:/etc/new", "EROFS")
        }),
        case("masked-paths/proc-kcore").spec(MASKED).run(|t| {
            t.set(
                "/linux/maskedPaths",
                json!(["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi"]),
            );
            let facts = t.facts_of(&["read:/proc/keys", "take:/proc/kcore"])?;
            did_is(&facts, "read:/proc/keys", "")?;
            ensure!(did(&facts, "take:/proc/kcore") != "ok", "/proc/kcore can be read");
            Ok(())
        }),
        case("masked-paths/missing-is-ignored")
            .runc("a masked path that does not exist is ignored, silently")
            .run(|t| {
                t.set("/linux/maskedPaths", json!(["/proc/timer_stats", "/no/such/path"]));
                let answer = t.try_create()?.succeeded()?;
                ensure!(answer.stderr.is_empty(), "{answer}");
                Ok(())
            }),
        case("masked-paths/relative")
            .spec(ABSOLUTE)
            .run(|t| t.set("/linux/maskedPaths", json!(["etc"])).refused().map(drop)),
        case("masked-paths/symlink-out-of-the-root")
            .security("D34", "a masked symlink that leads out of the root masks nothing of the host")
            .run(|t| {
                let outside = t.path("outside");
                fs::write(&outside, "of the host")?;
                symlink(&outside, t.rootfs().join("etc/link"))?;
                t.set("/linux/maskedPaths", json!(["/etc/link"]));
                if t.try_create()?.code == 0 {
                    t.start()?;
                    t.wait()?;
                }
                equal("file of the host", fs::read_to_string(&outside)?.as_str(), "of the host")
            }),
        case("masked-paths/with-dots")
            .security("A69", "`..` in a masked path stays in the root, or is refused")
            .run(|t| {
                fs::write(t.rootfs().join("etc/secret"), "secret")?;
                t.set("/linux/maskedPaths", json!(["/tmp/../etc/secret"])).probe(&["read:/etc/secret"]);
                if t.try_create()?.code != 0 {
                    return t.nothing_left("after the refusal");
                }
                t.start()?;
                t.wait()?;
                let facts: Value = serde_json::from_str(&t.stdout())?;
                ensure!(did(&facts, "read:/etc/secret") != "secret", "the file can be read");
                Ok(())
            }),
        case("masked-paths/after-mounts").spec(MASKED).run(|t| {
            t.tmpfs("/tmp", &[]);
            t.set("/linux/maskedPaths", json!(["/tmp"]));
            did_is(&t.facts_of(&["create:/tmp/new"])?, "create:/tmp/new", "EROFS")
        }),
    ]
}
