//! config.md: mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use super::mount_options::mount_of;
use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, did, did_is};
use crate::verdict::{Verdict, equal};

const RELATIVE: &str = "For compatibility with old tools and configurations, it MAY be a relative path, in \
    which case it MUST be interpreted as relative to \"/\".";
const SOURCE: &str = "Path values for bind mounts are either absolute or relative to the bundle.";
const BIND: &str = "A mount is a bind mount if it has either `bind` or `rbind` in the options.";
const BOTH: &str = "If specified, it MUST be specified along with `gidMappings`.";
const IDMAP: &str = "If `uidMappings` or `gidMappings` are specified for the mount, the runtime MUST use \
    those values for the mount's mapping.";

/// A directory of the case that is a mount and has a mount inside; its path.
pub fn tree(t: &mut Trial) -> Verdict<String> {
    let outer = t.path("tree");
    fs::create_dir(&outer)?;
    mount(Some("tmpfs"), outer.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let inner = format!("{outer}/inner");
    fs::create_dir(&inner)?;
    mount(Some("tmpfs"), inner.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    fs::write(format!("{outer}/file"), "outer")?;
    fs::write(format!("{inner}/file"), "inner")?;
    t.accept_mounts();
    Ok(outer)
}

/// The same with shared propagation.
pub fn shared_tree(t: &mut Trial) -> Verdict<String> {
    let path = tree(t)?;
    mount(None::<&str>, path.as_str(), None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)?;
    t.accept_mounts();
    Ok(path)
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [listed(), binds(), file_systems(), id_mapped()].into_iter().flatten().collect()
}

fn listed() -> Vec<Case> {
    vec![
        case("mounts/listed-order").spec("The runtime MUST mount entries in the listed order.").run(|t| {
            // Each mount hides or carries the next: another order gives another file.
            for (name, text) in [("one", "first"), ("two", "second")] {
                fs::create_dir(t.work.join(name))?;
                fs::write(t.work.join(name).join("file"), text)?;
                let source = t.path(name);
                t.bind(&source, "/tmp", &["bind"]);
            }
            t.tmpfs("/tmp/deeper", &[]);
            let facts = t.facts_of(&["read:/tmp/file", "readdir:/tmp"])?;
            did_is(&facts, "read:/tmp/file", "second")?;
            did_is(&facts, "readdir:/tmp", json!(["deeper", "file"]))?;
            mount_of(&facts, "/tmp/deeper").map(drop)
        }),
        case("mounts/same-destination-many-times")
            .security("D36", "a hundred mounts on one destination work")
            .run(|t| {
                for _ in 0..100 {
                    t.tmpfs("/tmp", &["size=4k"]);
                }
                t.facts().map(drop)
            }),
        case("mounts/relative-destination").spec(RELATIVE).run(|t| {
            t.tmpfs("tmp", &[]);
            mount_of(&t.set("/process/cwd", "/etc").facts()?, "/tmp").map(drop)
        }),
        case("mounts/destination-is-made")
            .runc("a missing destination directory is made, with its parents")
            .run(|t| {
                t.tmpfs("/a/b/c", &[]);
                mount_of(&t.facts()?, "/a/b/c").map(drop)
            }),
        case("mounts/destination-below-the-roots-path")
            .runc("since 1.1.14: a destination below the host's path of the container's root is that place in it")
            .run(|t| {
                let destination = t.rootfs().join("tmp/x").display().to_string();
                t.tmpfs(&destination, &[]);
                mount_of(&t.facts()?, "/tmp/x").map(drop)
            }),
        case("mounts/destination-not-set")
            .spec(
                "**`destination`** (string, REQUIRED) Destination of mount point: path inside \
                 container.",
            )
            .run(|t| t.push("/mounts", json!({ "type": "tmpfs", "source": "tmpfs" })).refused().map(drop)),
        case("mounts/odd-spelling").security("D20", "`//data///x/.` is /data/x").run(|t| {
            t.tmpfs("//data///x/.", &[]);
            mount_of(&t.facts()?, "/data/x").map(drop)
        }),
        case("mounts/through-symlink-inside")
            .runc("a symlink in the destination is resolved inside the root")
            .run(|t| {
                symlink("/tmp", t.rootfs().join("link"))?;
                t.tmpfs("/link/x", &[]);
                mount_of(&t.facts()?, "/tmp/x").map(drop)
            }),
    ]
}

fn binds() -> Vec<Case> {
    vec![
        case("mounts/bind-absolute-source").spec(SOURCE).run(|t| {
            let source = tree(t)?;
            t.bind(&source, "/tmp", &["bind"]);
            did_is(&t.facts_of(&["read:/tmp/file"])?, "read:/tmp/file", "outer")
        }),
        case("mounts/bind-relative-source").spec(SOURCE).run(|t| {
            fs::create_dir(t.bundle().join("volume"))?;
            fs::write(t.bundle().join("volume/file"), "of the bundle")?;
            t.bind("volume", "/tmp", &["bind"]);
            did_is(&t.facts_of(&["read:/tmp/file"])?, "read:/tmp/file", "of the bundle")
        }),
        case("mounts/bind-is-not-recursive").spec(BIND).run(|t| {
            let source = tree(t)?;
            t.bind(&source, "/tmp", &["bind"]);
            did_is(&t.facts_of(&["read:/tmp/inner/file"])?, "read:/tmp/inner/file", "ENOENT")
        }),
        case("mounts/rbind-is-recursive").spec(BIND).run(|t| {
            let source = tree(t)?;
            t.bind(&source, "/tmp", &["rbind"]);
            did_is(&t.facts_of(&["read:/tmp/inner/file"])?, "read:/tmp/inner/file", "inner")
        }),
        case("mounts/bind-type-is-a-dummy")
            .spec(
                "For bind mounts (when `options` include either `bind` or `rbind`), the type is a \
                 dummy, often \"none\".",
            )
            .run(|t| {
                let source = tree(t)?;
                t.push(
                    "/mounts",
                    json!({
                        "destination": "/tmp", "type": "no-such-type", "source": source, "options": ["bind"],
                    }),
                );
                did_is(&t.facts_of(&["read:/tmp/file"])?, "read:/tmp/file", "outer")
            }),
        case("mounts/bind-file").spec(BIND).run(|t| {
            fs::write(t.work.join("file"), "bound")?;
            let source = t.path("file");
            t.bind(&source, "/etc/new/file", &["bind"]);
            did_is(&t.facts_of(&["read:/etc/new/file"])?, "read:/etc/new/file", "bound")
        }),
        case("mounts/bind-read-only").spec("`ro` | MUST").run(|t| {
            let source = tree(t)?;
            t.bind(&source, "/tmp", &["bind", "ro"]);
            did_is(&t.facts_of(&["write:/tmp/file"])?, "write:/tmp/file", "EROFS")
        }),
        case("mounts/bind-source-missing")
            .security("A59", "a missing bind source is refused, and named")
            .run(|t| {
                t.bind("/no/such/source", "/tmp", &["bind"]);
                let stderr = t.refused()?;
                ensure!(stderr.contains("/no/such/source"), "the source is not named: {stderr}");
                Ok(())
            }),
        case("mounts/bind-does-not-change-the-source")
            .runc("read-only in the container is not read-only on the host")
            .run(|t| {
                let source = tree(t)?;
                t.bind(&source, "/tmp", &["bind", "ro"]).facts()?;
                Ok(fs::write(t.work.join("tree/file"), "still writable")?)
            }),
        case("mounts/container-mounts-do-not-leak")
            .spec("**`mount`** the container will have an isolated mount table.")
            .run(|t| {
                t.tmpfs("/tmp", &[]).running(&["stat:/"])?;
                let own = fs::read_to_string("/proc/self/mountinfo")?;
                ensure!(
                    !own.contains(&t.rootfs().display().to_string()),
                    "the caller sees mounts of the container"
                );
                Ok(())
            }),
    ]
}

fn file_systems() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, destination, options) in [
        ("proc", "/proc", json!([])),
        ("sysfs", "/sys", json!(["nosuid", "noexec", "nodev", "ro"])),
        ("tmpfs", "/run", json!(["size=64k"])),
        ("devpts", "/dev/pts", json!(["newinstance", "ptmxmode=0666"])),
        ("mqueue", "/dev/mqueue", json!(["nosuid", "noexec", "nodev"])),
    ] {
        cases.push(
            case(format!("mounts/type-{kind}"))
                .spec("**`type`** (string, OPTIONAL) The type of the filesystem to be mounted.")
                .run(move |t| {
                    t.push(
                        "/mounts",
                        json!({
                            "destination": destination, "type": kind, "source": kind, "options": options,
                        }),
                    );
                    let facts = t.namespace("network", None).facts()?;
                    equal("type", mount_of(&facts, destination)?["type"].as_str(), Some(kind))
                }),
        );
    }
    cases.push(
        case("mounts/type-cgroup")
            .runc("a mount of type cgroup shows the container its own cgroups, read-only if asked")
            .run(|t| {
                t.push(
                    "/mounts",
                    json!({
                        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
                    }),
                );
                let pids = if t.host.is_unified() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
                let argument = format!("read:{pids}/cgroup.procs");
                let mkdir = format!("mkdir:{pids}/new");
                let facts = t.facts_of(&[&argument, &mkdir])?;
                did_is(&facts, &argument, "1\n")?;
                did_is(&facts, &mkdir, "EROFS")
            }),
    );
    cases.push(
        case("mounts/type-overlay")
            .spec("**`type`** (string, OPTIONAL) The type of the filesystem to be mounted.")
            .run(|t| {
                for name in ["lower", "upper", "scratch"] {
                    fs::create_dir(t.work.join(name))?;
                }
                fs::write(t.work.join("lower/file"), "lower")?;
                let data = [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "scratch")]
                    .map(|(key, name)| format!("{key}={}", t.path(name)));
                t.push(
                    "/mounts",
                    json!({ "destination": "/tmp", "type": "overlay", "source": "overlay", "options": data }),
                );
                did_is(&t.facts_of(&["read:/tmp/file"])?, "read:/tmp/file", "lower")
            }),
    );
    cases.push(
        case("mounts/overlay-of-many-layers")
            .spec("**`options`** (array of strings, OPTIONAL) Mount options of the filesystem to be used.")
            .run(|t| {
                let mut layers = Vec::new();
                for number in 0..4 {
                    layers.push(t.path(&format!("{number}{}", "-layer".repeat(20))));
                    fs::create_dir(&layers[number])?;
                }
                fs::write(format!("{}/file", layers[3]), "lowest")?;
                let data = format!("lowerdir={}", layers.join(":"));
                t.push(
                    "/mounts",
                    json!({ "destination": "/tmp", "type": "overlay", "source": "x", "options": [data, "shared"] }),
                );
                let facts = t.facts_of(&["read:/tmp/file"])?;
                did_is(&facts, "read:/tmp/file", "lowest")?;
                // What is set must be set on the new mount, and not on what it covers.
                for (destination, shared) in [("/tmp", true), ("/", false)] {
                    let mount = mount_of(&facts, destination)?;
                    let found = mount["propagation"].to_string().contains("shared");
                    ensure!(found == shared, "shared is {found}: {mount}");
                }
                Ok(())
            }),
    );
    cases.push(case("mounts/dev-read-only").runc("a read-only /dev has its devices, links and mounts").run(
        |t| {
            t.set("/mounts/1/options", json!(["nosuid", "mode=755", "ro"]));
            let facts = t.facts_of(&["stat:/dev/null", "stat:/dev/pts/ptmx", "create:/dev/new"])?;
            for path in ["stat:/dev/null", "stat:/dev/pts/ptmx"] {
                ensure!(did(&facts, path).is_object(), "{path}: {}", did(&facts, path));
            }
            did_is(&facts, "create:/dev/new", "EROFS")
        },
    ));
    cases.push(case("mounts/tmpcopyup").runc("tmpcopyup: the new tmpfs holds what was there").run(|t| {
        fs::write(t.rootfs().join("tmp/file"), "copied")?;
        t.tmpfs("/tmp", &["tmpcopyup"]);
        let facts = t.facts_of(&["read:/tmp/file", "create:/tmp/new"])?;
        did_is(&facts, "read:/tmp/file", "copied")?;
        ensure!(!t.rootfs().join("tmp/new").exists(), "the new file is in the root file system");
        Ok(())
    }));
    for (name, entry) in [
        ("unknown-type", json!({ "destination": "/tmp", "type": "no-such-fs", "source": "x" })),
        (
            "unknown-option",
            json!({ "destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["no-such-option"] }),
        ),
        (
            "bad-option-value",
            json!({ "destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["mode=rwx"] }),
        ),
    ] {
        cases.push(
            case(format!("mounts/{name}"))
                .spec(
                    "Runtimes SHOULD treat unknown options as filesystem-specific ones and pass those as \
                     a comma-separated string to the fifth argument of mount(2).",
                )
                .run(move |t| t.push("/mounts", entry.clone()).refused().map(drop)),
        );
    }
    cases
}

fn mapping() -> Value {
    json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }])
}

fn user_namespace(t: &mut Trial) {
    t.namespace("user", None).set("/linux/uidMappings", mapping()).set("/linux/gidMappings", mapping());
}

fn id_mapped() -> Vec<Case> {
    vec![
        case("mounts/idmap").spec(IDMAP).needs(Need::SpecVersion(2)).run(|t| {
            user_namespace(t);
            std::os::unix::fs::chown(t.rootfs(), Some(100_000), Some(100_000))?;
            fs::create_dir(t.work.join("volume"))?;
            fs::write(t.work.join("volume/file"), "")?;
            std::os::unix::fs::chown(t.work.join("volume/file"), Some(7), Some(8))?;
            let source = t.path("volume");
            t.push(
                "/mounts",
                json!({
                    "destination": "/tmp", "source": source, "options": ["bind", "idmap"],
                    "uidMappings": mapping(), "gidMappings": mapping(),
                }),
            );
            let facts = t.facts_of(&["stat:/tmp/file"])?;
            let file = did(&facts, "stat:/tmp/file");
            equal("owner", (file["uid"].as_u64(), file["gid"].as_u64()), (Some(7), Some(8)))?;
            equal("owner on the host", fs::metadata(t.work.join("volume/file"))?.uid(), 7)
        }),
        case("mounts/idmap-one-list-only").spec(BOTH).needs(Need::SpecVersion(1)).run(|t| {
            user_namespace(t);
            let source = tree(t)?;
            t.push(
                "/mounts",
                json!({
                    "destination": "/tmp", "source": source, "options": ["bind", "idmap"],
                    "uidMappings": mapping(),
                }),
            );
            t.refused().map(drop)
        }),
        case("mounts/idmap-without-mappings")
            .spec(
                "If there are no `uidMappings` and `gidMappings` specified and the container isn't \
                 using user namespaces, an error MUST be returned.",
            )
            .needs(Need::SpecVersion(2))
            .run(|t| {
                let source = tree(t)?;
                t.bind(&source, "/tmp", &["bind", "idmap"]);
                t.refused().map(drop)
            }),
    ]
}
