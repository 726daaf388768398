//! Root file systems made to mislead the runtime: what an image may contain, and must not achieve.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use super::mount_options::mount_of;
use crate::case::{Case, case};
use crate::trial::{Trial, did, did_is};
use crate::verdict::{Verdict, equal};

/// A directory outside of the root that no container may touch.
fn secret(t: &Trial) -> Verdict<String> {
    fs::create_dir(t.work.join("secret"))?;
    fs::write(t.work.join("secret/file"), "of the host")?;
    Ok(t.path("secret"))
}

/// Refused, or in the root: nothing but `file` is in the secret directory, and it is as it was.
fn untouched(t: &mut Trial) -> Verdict {
    if t.try_create()?.code == 0 {
        t.start().ok();
        t.wait()?;
    }
    let names: Vec<String> = fs::read_dir(t.work.join("secret"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    equal("host directory", names, vec!["file"])?;
    equal("host file", fs::read_to_string(t.work.join("secret/file"))?.as_str(), "of the host")
}

fn tmpfs(destination: &str) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" })
}

/// Put a symlink to the secret directory in the place of a directory of the root.
fn replace_by_link(t: &Trial, name: &str, target: &str) -> Verdict {
    fs::remove_dir_all(t.rootfs().join(name)).ok();
    Ok(symlink(target, t.rootfs().join(name))?)
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [links(), kinds(), destinations(), others()].into_iter().flatten().collect()
}

fn links() -> Vec<Case> {
    let mut cases = vec![
        case("rootfs-traps/dev-is-a-link")
            .security("D01", "/dev is a symlink out of the root, without a mount on /dev")
            .run(|t| {
                let secret = secret(t)?;
                replace_by_link(t, "dev", &secret)?;
                t.remove("/mounts/2").remove("/mounts/1");
                untouched(t)
            }),
        case("rootfs-traps/dev-is-a-link-with-tmpfs")
            .security("D02", "/dev is a symlink out of the root, with a tmpfs on /dev")
            .run(|t| {
                let secret = secret(t)?;
                replace_by_link(t, "dev", &secret)?;
                untouched(t)
            }),
        case("rootfs-traps/file-bind-onto-a-link")
            .security("D08", "a file is bound onto a symlink out of the root")
            .run(|t| {
                let secret = secret(t)?;
                symlink(format!("{secret}/new"), t.rootfs().join("etc/link"))?;
                fs::write(t.work.join("volume"), "bound")?;
                let source = t.path("volume");
                t.bind(&source, "/etc/link", &["bind"]);
                untouched(t)
            }),
        case("rootfs-traps/tmpcopyup-from-a-link")
            .security("D29", "tmpcopyup from a symlink out of the root copies nothing of the host")
            .run(|t| {
                let secret = secret(t)?;
                replace_by_link(t, "tmp", &secret)?;
                t.tmpfs("/tmp", &["tmpcopyup"]);
                let read = format!("read:{secret}/file");
                t.probe(&["read:/tmp/file", &read]);
                untouched(t)?;
                ensure!(!t.stdout().contains("of the host"), "the container read the host's file");
                Ok(())
            }),
        case("rootfs-traps/link-loop").security("D10", "a symlink loop in a destination is refused").run(
            |t| {
                symlink("loop", t.rootfs().join("loop"))?;
                t.push("/mounts", tmpfs("/loop/x")).refused().map(drop)
            },
        ),
        case("rootfs-traps/root-is-a-link-to-the-host")
            .security("D30", "a root that is a symlink is refused, or resolved once")
            .run(|t| {
                fs::rename(t.rootfs(), t.bundle().join("real"))?;
                symlink("real", t.rootfs())?;
                if t.try_create()?.code != 0 {
                    return t.nothing_left("after the refusal");
                }
                t.start()?;
                t.wait().map(drop)
            }),
    ];
    for (name, target) in [("absolute", "/etc"), ("relative", "etc"), ("to-dot-dot", "../../..")] {
        for directory in ["proc", "sys"] {
            cases.push(
                case(format!("rootfs-traps/{directory}-is-a-link-{name}"))
                    .security("D03", "/proc or /sys is a symlink: refused")
                    .run(move |t| {
                        replace_by_link(t, directory, target)?;
                        if directory == "sys" {
                            t.push(
                                "/mounts",
                                json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs" }),
                            );
                        }
                        t.refused().map(drop)
                    }),
            );
        }
    }
    for (plan, name, destination) in [
        ("D06", "parent-is-a-link", "/etc/link/new"),
        ("D33", "deeper-parent-is-a-link", "/etc/link/a/b/c"),
        ("D28", "is-a-link", "/etc/link"),
    ] {
        cases.push(
            case(format!("rootfs-traps/destination-{name}"))
                .security(plan, "a destination through a symlink is resolved in the root")
                .run(move |t| {
                    let secret = secret(t)?;
                    symlink(&secret, t.rootfs().join("etc/link"))?;
                    t.push("/mounts", tmpfs(destination));
                    untouched(t)
                }),
        );
    }
    cases
}

fn kinds() -> Vec<Case> {
    vec![
        case("rootfs-traps/directory-over-file")
            .security("D12", "a directory on a file is refused, with `not a directory`")
            .run(|t| {
                fs::write(t.rootfs().join("etc/file"), "")?;
                let source = t.rootfs().join("tmp").display().to_string();
                t.bind(&source, "/etc/file", &["bind"]);
                let stderr = t.refused()?;
                ensure!(stderr.to_lowercase().contains("not a directory"), "stderr: {stderr}");
                Ok(())
            }),
        case("rootfs-traps/file-over-directory").security("D13", "a file on a directory is refused").run(
            |t| {
                fs::write(t.work.join("file"), "")?;
                let source = t.path("file");
                t.bind(&source, "/etc", &["bind"]);
                let stderr = t.refused()?.to_lowercase();
                ensure!(
                    stderr.contains("not a directory") || stderr.contains("is a directory"),
                    "stderr: {stderr}"
                );
                Ok(())
            },
        ),
        case("rootfs-traps/destination-is-a-fifo")
            .security("D11", "a destination that is a fifo is not opened: no hang")
            .run(|t| {
                nix::unistd::mkfifo(&t.rootfs().join("etc/fifo"), nix::sys::stat::Mode::S_IRWXU)?;
                fs::write(t.work.join("file"), "bound")?;
                let source = t.path("file");
                t.bind(&source, "/etc/fifo", &["bind"]);
                did_is(&t.facts_of(&["read:/etc/fifo"])?, "read:/etc/fifo", "bound")
            }),
        case("rootfs-traps/destination-is-a-socket")
            .security("D11", "a destination that is a socket is not opened")
            .run(|t| {
                let path = format!("/tmp/spec-tests-{}.trap", std::process::id());
                let _listener = UnixListener::bind(&path)?;
                fs::rename(&path, t.rootfs().join("etc/socket"))?;
                fs::write(t.work.join("file"), "bound")?;
                let source = t.path("file");
                t.bind(&source, "/etc/socket", &["bind"]);
                did_is(&t.facts_of(&["read:/etc/socket"])?, "read:/etc/socket", "bound")
            }),
        case("rootfs-traps/dev-ptmx-is-a-directory")
            .security("D25", "/dev/ptmx is a directory with something in it: refused, or ours")
            .run(|t| {
                t.remove("/mounts/2").remove("/mounts/1");
                fs::create_dir_all(t.rootfs().join("dev/ptmx/x"))?;
                t.refused().map(drop)
            }),
        case("rootfs-traps/dev-null-is-a-link-to-the-host")
            .security("D23", "/dev/null is a symlink to a file of the host: it stays as it is")
            .run(|t| {
                let secret = secret(t)?;
                t.remove("/mounts/2").remove("/mounts/1");
                symlink(format!("{secret}/file"), t.rootfs().join("dev/null"))?;
                untouched(t)
            }),
    ]
}

fn destinations() -> Vec<Case> {
    let mut cases = Vec::new();
    for (plan, name, destination) in [
        ("D15", "proc-self-attr", "/proc/self/attr"),
        ("D16", "proc-sys-kernel", "/proc/sys/kernel"),
        ("D18", "proc-self-root", "/proc/self/root/tmp"),
        ("D19", "proc-1-cwd", "/proc/1/cwd/tmp"),
        ("D18", "proc-self-fd", "/proc/self/fd/5"),
        ("D21", "too-long", "@long"),
        ("D22", "component-too-long", "@component"),
        ("D14", "the-root", "/"),
    ] {
        cases.push(
            case(format!("rootfs-traps/destination-{name}"))
                .security(plan, "a destination that is no place for a mount is refused")
                .run(move |t| {
                    let destination = match destination {
                        "@long" => "/a".repeat(2500),
                        "@component" => format!("/{}", "a".repeat(300)),
                        other => other.to_owned(),
                    };
                    t.push("/mounts", tmpfs(&destination)).refused().map(drop)
                }),
        );
    }
    cases.push(
        case("rootfs-traps/destination-climbs")
            .security("D17", "`..` in a destination ends at the root")
            .run(|t| {
                t.push("/mounts", tmpfs("/etc/../../../../../../../climbed"));
                mount_of(&t.facts()?, "/climbed")?;
                ensure!(!fs::exists("/climbed")?, "the directory is on the host");
                Ok(())
            }),
    );
    cases
}

fn others() -> Vec<Case> {
    vec![
        case("rootfs-traps/cwd-of-a-descriptor")
            .security("D37", "a cwd below /proc/self/fd does not lead out of the root")
            .run(|t| {
                for number in 3..12 {
                    t.set("/process/cwd", format!("/proc/self/fd/{number}"))
                        .probe(&["readdir:../../../../../../..", "readdir:."]);
                    if t.try_create()?.code == 0 {
                        t.start().ok();
                        t.wait()?;
                        let text = t.stdout();
                        ensure!(
                            !text.contains("\"boot\"") && !text.contains("config.json"),
                            "fd {number} leads to the host: {text}"
                        );
                        t.verb("delete")?;
                    }
                }
                Ok(())
            }),
        case("rootfs-traps/program-is-the-runtime")
            .security("D38", "a program /proc/self/exe never writes to the runtime")
            .run(|t| {
                let before = fs::metadata(&t.program)?.modified()?;
                t.set("/process/args", json!(["/proc/self/exe", "--version"]));
                if t.try_create()?.code == 0 {
                    t.start().ok();
                    t.wait()?;
                }
                equal("change of the runtime's file", fs::metadata(&t.program)?.modified()?, before)
            }),
        case("rootfs-traps/passwd-is-a-fifo")
            .security("D42", "an /etc/passwd that is a fifo does not stop the look-up of HOME")
            .run(|t| {
                nix::unistd::mkfifo(&t.rootfs().join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU)?;
                t.facts().map(drop)
            }),
        case("rootfs-traps/passwd-is-huge")
            .security("D42", "an /etc/passwd with one line of 10 MiB does not matter")
            .run(|t| {
                fs::write(t.rootfs().join("etc/passwd"), vec![b'x'; 10 << 20])?;
                t.facts().map(drop)
            }),
        case("rootfs-traps/volume-with-a-device")
            .security("D45", "a device node on a volume with nodev cannot be opened")
            .run(|t| {
                fs::create_dir(t.work.join("volume"))?;
                let node = t.work.join("volume/null");
                nix::sys::stat::mknod(
                    &node,
                    nix::sys::stat::SFlag::S_IFCHR,
                    nix::sys::stat::Mode::from_bits_truncate(0o666),
                    nix::sys::stat::makedev(1, 3),
                )?;
                let source = t.path("volume");
                t.bind(&source, "/tmp", &["bind", "nodev"]);
                did_is(&t.facts_of(&["open:/tmp/null:r"])?, "open:/tmp/null:r", "EACCES")
            }),
        case("rootfs-traps/setuid-without-gain")
            .security("D43", "with noNewPrivileges a setuid program gains nothing")
            .run(|t| {
                fs::set_permissions(t.rootfs().join("spec-probe"), fs::Permissions::from_mode(0o4755))?;
                t.set("/process/noNewPrivileges", true)
                    .set("/process/user/uid", 1000)
                    .remove("/process/capabilities");
                crate::trial::is(&t.facts()?, "/uid", json!([1000, 1000, 1000]))
            }),
        case("rootfs-traps/empty-root").security("D32", "an empty root is refused clearly").run(|t| {
            fs::remove_dir_all(t.rootfs())?;
            fs::create_dir(t.rootfs())?;
            t.refused().map(drop)
        }),
        case("rootfs-traps/masked-parent-of-the-host")
            .security("D34", "a masked path through a link out of the root")
            .run(|t| {
                let secret = secret(t)?;
                symlink(&secret, t.rootfs().join("etc/link"))?;
                t.set("/linux/maskedPaths", json!(["/etc/link/file"]));
                untouched(t)
            }),
        case("rootfs-traps/host-files-are-out-of-reach")
            .security("D06", "the container sees nothing above its root")
            .run(|t| {
                let secret = secret(t)?;
                let (direct, climbed) =
                    (format!("read:{secret}/file"), format!("read:/../../../../../../../..{secret}/file"));
                let facts = t.facts_of(&[&direct, &climbed, "readdir:/../.."])?;
                did_is(&facts, &direct, "ENOENT")?;
                did_is(&facts, &climbed, "ENOENT")?;
                ensure!(
                    did(&facts, "readdir:/../..").to_string().contains("spec-probe"),
                    "/../.. is not the root"
                );
                Ok(())
            }),
    ]
}
