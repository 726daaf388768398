//! config-linux.md: devices, the default devices, and the symlinks of runtime-linux.md.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::{did, did_is};
use crate::verdict::{Verdict, equal};

const DEFAULT: &str = "In addition to any devices configured with this setting, the runtime MUST also supply";
const LISTED: &str = "**`devices`** (array of objects, OPTIONAL) lists devices that MUST be available in the \
    container.";
const EXISTS: &str = "If a file already exists at `path` that does not match the requested device, the \
    runtime MUST generate an error.";
const LINKS: &str = "While creating the container (step 2 in the lifecycle), runtimes MUST create the \
    following symlinks if the source file exists after processing `mounts`";

/// Path, major, minor of the default devices.
const DEFAULTS: &[(&str, u64, u64)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const SYMLINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [defaults(), listed(), refused()].into_iter().flatten().collect()
}

fn defaults() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(path, major, minor) in DEFAULTS {
        cases.push(
            case(format!("devices/default{}", path.replace('/', "-")))
                .spec(format!("{DEFAULT}: `{path}`"))
                .run(move |t| {
                    let (stat, open) = (format!("stat:{path}"), format!("open:{path}:rw"));
                    let facts = t.facts_of(&[&stat, &open])?;
                    is_node(did(&facts, &stat), "char", major, minor)?;
                    equal("mode", did(&facts, &stat)["mode"].as_u64(), Some(0o666))?;
                    // Without a terminal, /dev/tty opens with ENXIO.
                    did_is(&facts, &open, if path == "/dev/tty" { "ENXIO" } else { "ok" })
                }),
        );
    }
    for &(path, target) in SYMLINKS {
        cases.push(
            case(format!("devices/symlink{}", path.replace('/', "-")))
                .spec(format!("{LINKS}: {target} | {path}"))
                .run(move |t| {
                    let stat = format!("stat:{path}");
                    let facts = t.facts_of(&[&stat])?;
                    equal("target", did(&facts, &stat)["target"].as_str(), Some(target))
                }),
        );
    }
    cases.push(
        case("devices/default-dev-ptmx")
            .spec(format!(
                "{DEFAULT}: `/dev/ptmx`. A bind-mount or symlink of the container's `/dev/pts/ptmx`."
            ))
            .run(|t| {
                let facts = t.facts_of(&["stat:/dev/ptmx", "open:/dev/ptmx:rw", "stat:/dev/pts/ptmx"])?;
                let (ptmx, inner) = (did(&facts, "stat:/dev/ptmx"), did(&facts, "stat:/dev/pts/ptmx"));
                let target = ptmx["target"].as_str().unwrap_or_default();
                ensure!(
                    ["pts/ptmx", "/dev/pts/ptmx"].contains(&target) || ptmx["device"] == inner["device"],
                    "/dev/ptmx is {ptmx}"
                );
                did_is(&facts, "open:/dev/ptmx:rw", "ok")
            }),
    );
    cases
}

fn is_node(stat: &Value, kind: &str, major: u64, minor: u64) -> Verdict {
    equal(
        "device",
        (stat["type"].as_str(), stat["major"].as_u64(), stat["minor"].as_u64()),
        (Some(kind), Some(major), Some(minor)),
    )
}

fn listed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, shown, major, minor, path) in [
        ("char", "c", "char", 10, 229, "/dev/a-fuse"),
        ("unbuffered", "u", "char", 10, 200, "/dev/a-tun"),
        ("block", "b", "block", 7, 100, "/dev/a-loop"),
        ("in-a-new-directory", "c", "char", 10, 229, "/dev/a/b/fuse"),
        ("outside-of-dev", "c", "char", 10, 229, "/etc/fuse"),
    ] {
        cases.push(case(format!("devices/listed-{name}")).spec(LISTED).run(move |t| {
            t.push("/linux/devices", json!({ "type": kind, "path": path, "major": major, "minor": minor }));
            let stat = format!("stat:{path}");
            is_node(did(&t.facts_of(&[&stat])?, &stat), shown, major, minor)
        }));
    }
    cases.push(case("devices/listed-fifo").spec(LISTED).run(|t| {
        t.push("/linux/devices", json!({ "type": "p", "path": "/dev/a-fifo" }));
        equal(
            "type",
            did(&t.facts_of(&["stat:/dev/a-fifo"])?, "stat:/dev/a-fifo")["type"].as_str(),
            Some("fifo"),
        )
    }));
    cases.push(
        case("devices/listed-file-mode")
            .spec(
                "**`fileMode`** *(uint32, OPTIONAL)* - file mode for the device. Note it is a decimal \
                 (not an octal) number.",
            )
            .run(|t| {
                t.push(
                    "/linux/devices",
                    json!({ "type": "c", "path": "/dev/x", "major": 10, "minor": 229, "fileMode": 0o640 }),
                );
                equal(
                    "mode",
                    did(&t.facts_of(&["stat:/dev/x"])?, "stat:/dev/x")["mode"].as_u64(),
                    Some(0o640),
                )
            }),
    );
    cases.push(
        case("devices/listed-file-mode-beyond-umask")
            .spec(
                "**`fileMode`** *(uint32, OPTIONAL)* - file mode for the device. Note it is a decimal \
                 (not an octal) number.",
            )
            .run(|t| {
                t.push(
                    "/linux/devices",
                    json!({ "type": "c", "path": "/dev/x", "major": 10, "minor": 229, "fileMode": 0o666 }),
                );
                t.set("/process/user/umask", 0o77);
                equal(
                    "mode",
                    did(&t.facts_of(&["stat:/dev/x"])?, "stat:/dev/x")["mode"].as_u64(),
                    Some(0o666),
                )
            }),
    );
    cases.push(
        case("devices/listed-owner")
            .spec(
                "**`uid`** *(uint32, OPTIONAL)* - id of device owner in the container namespace. \
                 **`gid`** …",
            )
            .run(|t| {
                t.push(
                    "/linux/devices",
                    json!({ "type": "c", "path": "/dev/x", "major": 10, "minor": 229, "uid": 12, "gid": 34 }),
                );
                let facts = t.facts_of(&["stat:/dev/x"])?;
                let stat = did(&facts, "stat:/dev/x");
                equal("owner", (stat["uid"].as_u64(), stat["gid"].as_u64()), (Some(12), Some(34)))
            }),
    );
    cases.push(case("devices/listed-default-again").runc("a default device may be listed").run(|t| {
        t.push(
            "/linux/devices",
            json!({ "type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o666 }),
        );
        t.set(
            "/linux/resources/devices",
            json!([{ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" }]),
        );
        is_node(did(&t.facts_of(&["stat:/dev/null"])?, "stat:/dev/null"), "char", 1, 3)
    }));
    cases.push(
        case("devices/path-with-dots").security("A53", "`..` in a device path stays in the root").run(|t| {
            let above = format!("/dev/../../../../../../../../tmp/escaped-{}", t.id);
            t.push("/linux/devices", json!({ "type": "c", "path": above, "major": 10, "minor": 229 }));
            t.try_create()?;
            let outside = format!("/tmp/escaped-{}", t.id);
            ensure!(!fs::exists(outside)?, "the node is on the host");
            Ok(())
        }),
    );
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, make) in [("file", "file"), ("directory", "directory")] {
        cases.push(case(format!("devices/path-is-a-{name}")).spec(EXISTS).run(move |t| {
            let path = t.rootfs().join("etc/device");
            if make == "file" {
                fs::write(path, "")?
            } else {
                fs::create_dir(path)?
            }
            t.push(
                "/linux/devices",
                json!({ "type": "c", "path": "/etc/device", "major": 10, "minor": 229 }),
            );
            t.refused().map(drop)
        }));
    }
    cases.push(case("devices/path-is-another-device").spec(EXISTS).run(|t| {
        nix::sys::stat::mknod(
            &t.rootfs().join("etc/device"),
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::from_bits_truncate(0o600),
            nix::sys::stat::makedev(1, 5),
        )?;
        t.push("/linux/devices", json!({ "type": "c", "path": "/etc/device", "major": 10, "minor": 229 }));
        t.refused().map(drop)
    }));
    cases.push(case("devices/default-path-is-a-file").spec(EXISTS).run(|t| {
        // Without a mount on /dev, the files of the image are there.
        t.remove("/mounts/2").remove("/mounts/1");
        fs::write(t.rootfs().join("dev/null"), "of the image")?;
        let answer = t.try_create()?;
        if answer.code != 0 {
            return t.nothing_left("after the refusal");
        }
        t.start()?;
        t.wait()?;
        equal(
            "file of the image",
            fs::read_to_string(t.rootfs().join("dev/null")).unwrap_or_default().as_str(),
            "of the image",
        )
    }));
    cases.push(
        case("devices/symlink-to-the-host")
            .security("D27", "a device path that is a symlink out of the root makes no node on the host")
            .run(|t| {
                let outside = t.path("escaped");
                symlink(&outside, t.rootfs().join("etc/link"))?;
                t.push(
                    "/linux/devices",
                    json!({ "type": "c", "path": "/etc/link", "major": 10, "minor": 229 }),
                );
                t.try_create()?;
                ensure!(!fs::exists(&outside)?, "the node is on the host");
                Ok(())
            }),
    );
    for (name, entry) in [
        ("unknown-type", json!({ "type": "q", "path": "/dev/x", "major": 1, "minor": 3 })),
        ("no-path", json!({ "type": "c", "major": 1, "minor": 3 })),
        ("no-type", json!({ "path": "/dev/x", "major": 1, "minor": 3 })),
        ("negative-major", json!({ "type": "c", "path": "/dev/x", "major": -7, "minor": 3 })),
    ] {
        cases.push(
            case(format!("devices/{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .run(move |t| t.push("/linux/devices", entry.clone()).refused().map(drop)),
        );
    }
    cases
}
