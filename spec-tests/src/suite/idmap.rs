//! config.md: the id mappings of mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::suite::user_namespace::{end, mapped_keeper};
use crate::trial::{Trial, did, did_is};
use crate::verdict::{Verdict, equal, skipped};

const MAPPINGS: &str = "**`uidMappings`** (array of type LinuxIDMapping, OPTIONAL) The mapping to convert UIDs \
    from the source file system to the destination mount point.";
const IDMAP: &str = "Indicates that the mount MUST have an idmapping applied.";
const OWN: &str = "If `uidMappings` or `gidMappings` are specified for the mount, the runtime MUST use those \
    values for the mount's mapping.";
const IMPLIED: &str = "If they are not specified, the runtime MAY use the container's user namespace mapping, \
    otherwise an error MUST be returned.";
const NOTHING: &str = "If there are no `uidMappings` and `gidMappings` specified and the container isn't using \
    user namespaces, an error MUST be returned.";
const RECURSIVE: &str =
    "Indicates that the mount MUST have an idmapping applied, and the mapping is applied recursively.";
const TOGETHER: &str = "If specified, it MUST be specified along with `gidMappings`.";
const INSIDE: &str =
    "since 1.2: a mapped source below the container's root is what the mounts before have made of it";
const TEXT: &str = "crun's form of a mapping in the option";

fn row(container: u32, host: u32, size: u32) -> Value {
    json!([{ "containerID": container, "hostID": host, "size": size }])
}

/// A container with a user namespace: its ids are the host's from 100000 on.
fn users(t: &mut Trial) -> &mut Trial {
    t.namespace("user", None);
    t.set("/linux/uidMappings", row(0, 100_000, 65536)).set("/linux/gidMappings", row(0, 100_000, 65536))
}

/// A directory with a file of user 5 and group 6, that everybody may write to.
fn source(t: &Trial) -> Verdict<String> {
    let directory = t.work.join("ours");
    fs::create_dir(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
    fs::write(directory.join("file"), "")?;
    chown(directory.join("file"), Some(5), Some(6))?;
    Ok(directory.display().to_string())
}

fn bind(t: &mut Trial, options: &[&str], mappings: Option<(Value, Value)>) -> Verdict {
    let mut entry =
        json!({ "destination": "/tmp", "type": "bind", "source": source(t)?, "options": options });
    if let Some((uids, gids)) = mappings {
        entry["uidMappings"] = uids;
        entry["gidMappings"] = gids;
    }
    t.push("/mounts", entry);
    Ok(())
}

/// What the probe did, unless the file system of the machine's temporary directory cannot be mapped.
fn facts(t: &mut Trial, attempts: &[&str]) -> Verdict<Value> {
    let answer = t.probe(attempts).try_create()?;
    if answer.code != 0 && answer.stderr.contains("this kernel has no id-mapped mounts") {
        return skipped("the file system of temporary files cannot be id-mapped");
    }
    answer.succeeded()?;
    t.start()?;
    t.wait()?;
    t.told()
}

fn owner_inside(facts: &Value, attempt: &str, uid: u32, gid: u32) -> Verdict {
    let stat = did(facts, attempt);
    equal(attempt, (stat["uid"].as_u64(), stat["gid"].as_u64()), (Some(uid.into()), Some(gid.into())))
}

fn owner_outside(t: &Trial, name: &str, uid: u32, gid: u32) -> Verdict {
    let metadata = fs::metadata(t.work.join("ours").join(name))?;
    equal("owner outside", (metadata.uid(), metadata.gid()), (uid, gid))
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        [bound(), others(), texts(), refused(), captured()].into_iter().flatten().collect();
    for case in &mut cases {
        case.needs.extend([Need::SpecVersion(1), Need::Namespace("user")]);
        case.needs.push(Need::Kernel(5, 12, "mount_setattr"));
    }
    cases
}

fn bound() -> Vec<Case> {
    let as_mapped = |t: &mut Trial, options: &[&str], mappings: Option<(Value, Value)>| {
        bind(users(t), options, mappings)?;
        let facts = facts(t, &["stat:/tmp/file", "create:/tmp/new"])?;
        owner_inside(&facts, "stat:/tmp/file", 5, 6)?;
        did_is(&facts, "create:/tmp/new", "ok")?;
        owner_outside(t, "new", 0, 0)?;
        owner_outside(t, "file", 5, 6)
    };
    let same = || Some((row(0, 100_000, 65536), row(0, 100_000, 65536)));
    vec![
        case("idmap/mappings-of-the-container")
            .spec(MAPPINGS)
            .run(move |t| as_mapped(t, &["bind", "idmap"], same())),
        case("idmap/mappings-without-the-option")
            .runc("mappings without idmap or ridmap are taken for idmap")
            .run(move |t| as_mapped(t, &["rbind", "rw", "rprivate"], same())),
        case("idmap/implied").spec(IMPLIED).run(move |t| as_mapped(t, &["bind", "idmap"], None)),
        case("idmap/implied-ridmap").spec(IMPLIED).run(move |t| as_mapped(t, &["rbind", "ridmap"], None)),
        case("idmap/source-in-the-containers-root")
            .runc(INSIDE)
            .run(|t| {
                let ours = source(t)?;
                let inside = t.rootfs().join("tmp").display().to_string();
                users(t).bind(&ours, "/tmp", &["bind"]).bind(&inside, "/etc", &["rbind", "ridmap"]);
                let facts = facts(t, &["stat:/etc/file", "stat:/tmp/file"])?;
                owner_inside(&facts, "stat:/etc/file", 5, 6)?;
                owner_inside(&facts, "stat:/tmp/file", 65534, 65534)
            }),
        case("idmap/source-in-the-containers-root-without-a-user-namespace")
            .runc(INSIDE)
            .run(|t| {
                let ours = source(t)?;
                let inside = t.rootfs().join("tmp").display().to_string();
                t.bind(&ours, "/tmp", &["bind"]);
                let entry = json!({
                    "destination": "/etc", "type": "bind", "source": inside, "options": ["rbind"],
                    "uidMappings": row(5, 0, 1), "gidMappings": row(6, 0, 1),
                });
                t.push("/mounts", entry);
                owner_inside(&facts(t, &["stat:/etc/file"])?, "stat:/etc/file", 0, 0)
            }),
        case("idmap/other-ids").spec(OWN).run(|t| {
            bind(users(t), &["bind", "idmap"], Some((row(0, 101_000, 10), row(0, 102_000, 10))))?;
            let facts = facts(t, &["stat:/tmp/file", "create:/tmp/new"])?;
            owner_inside(&facts, "stat:/tmp/file", 1005, 2006)?;
            // The container's root has no id on that file system.
            did_is(&facts, "create:/tmp/new", "EOVERFLOW")
        }),
        case("idmap/without-a-user-namespace").spec(OWN).run(|t| {
            bind(t, &["bind", "idmap"], Some((row(5, 0, 1), row(6, 0, 1))))?;
            // Nothing can be made in a directory of nobody.
            chown(t.work.join("ours"), Some(5), Some(6))?;
            let facts = facts(t, &["stat:/tmp/file", "create:/tmp/new"])?;
            owner_inside(&facts, "stat:/tmp/file", 0, 0)?;
            did_is(&facts, "create:/tmp/new", "ok")?;
            owner_outside(t, "new", 5, 6)
        }),
        case("idmap/two-mappings").spec(OWN).run(|t| {
            bind(t, &["bind", "idmap"], Some((row(5, 7, 1), row(6, 8, 1))))?;
            let second = json!({
                "destination": "/etc", "type": "bind", "source": t.path("ours"), "options": ["bind", "idmap", "ro"],
                "uidMappings": row(5, 9, 1), "gidMappings": row(6, 9, 1),
            });
            t.push("/mounts", second);
            let facts = facts(t, &["stat:/tmp/file", "stat:/etc/file", "create:/etc/new"])?;
            owner_inside(&facts, "stat:/tmp/file", 7, 8)?;
            owner_inside(&facts, "stat:/etc/file", 9, 9)?;
            did_is(&facts, "create:/etc/new", "EROFS")
        }),
        case("idmap/unmapped-ids-are-nobodys").spec(IDMAP).run(|t| {
            bind(t, &["bind", "idmap"], Some((row(0, 0, 1), row(0, 0, 1))))?;
            owner_inside(&facts(t, &["stat:/tmp/file"])?, "stat:/tmp/file", 65534, 65534)
        }),
        case("idmap/the-source-stays-as-it-is").spec(IDMAP).run(|t| {
            bind(users(t), &["bind", "idmap"], None)?;
            facts(t, &["stat:/tmp/file"])?;
            owner_outside(t, "file", 5, 6)
        }),
    ]
}

/// A mount below the source, with a file of user 5 in it.
fn with_a_mount_below(t: &mut Trial, word: &str) -> Verdict<Value> {
    bind(users(t), &["rbind", word], None)?;
    let below = t.work.join("ours/below");
    fs::create_dir(&below)?;
    mount(Some("tmpfs"), &below, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    fs::write(below.join("file"), "")?;
    chown(below.join("file"), Some(5), Some(6))?;
    t.accept_mounts();
    facts(t, &["stat:/tmp/file", "stat:/tmp/below/file"])
}

fn others() -> Vec<Case> {
    let tmpfs = Need::Kernel(6, 3, "id-mapped tmpfs");
    vec![
        case("idmap/not-recursive").spec(IDMAP).run(|t| {
            let facts = with_a_mount_below(t, "idmap")?;
            owner_inside(&facts, "stat:/tmp/file", 5, 6)?;
            owner_inside(&facts, "stat:/tmp/below/file", 65534, 65534)
        }),
        case("idmap/recursive").spec(RECURSIVE).needs(tmpfs.clone()).run(|t| {
            let facts = with_a_mount_below(t, "ridmap")?;
            owner_inside(&facts, "stat:/tmp/file", 5, 6)?;
            owner_inside(&facts, "stat:/tmp/below/file", 5, 6)
        }),
        case("idmap/new-file-system-without-a-mode")
            .runc("a tmpfs without a mode has that of the directory that it covers")
            .needs(tmpfs.clone())
            .run(|t| {
                let mode = |t: &mut Trial, options: &[&str]| {
                    t.tmpfs("/tmp", options);
                    let facts = facts(t, &["stat:/tmp"])?;
                    t.finish()?;
                    equal("mode", did(&facts, "stat:/tmp")["mode"].as_u64(), Some(0o750))
                };
                fs::set_permissions(t.rootfs().join("tmp"), fs::Permissions::from_mode(0o750))?;
                mode(users(t), &["nosuid"])?;
                t.remove("/mounts/3");
                mode(t, &["nosuid", "idmap"])
            }),
        case("idmap/new-file-system").spec(MAPPINGS).needs(tmpfs).run(|t| {
            let entry = json!({
                "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["idmap", "mode=755", "nosuid"],
                "uidMappings": row(0, 107_000, 10), "gidMappings": row(0, 108_000, 10),
            });
            users(t).push("/mounts", entry);
            owner_inside(&facts(t, &["stat:/tmp"])?, "stat:/tmp", 7000, 8000)
        }),
        case("idmap/joined-user-namespace").spec(IMPLIED).run(|t| {
            let keeper = mapped_keeper(t, &[])?;
            t.namespace("user", Some(&format!("/proc/{}/ns/user", keeper.id())));
            bind(t, &["bind", "idmap"], None)?;
            let facts = facts(t, &["stat:/tmp/file", "create:/tmp/new"]);
            end(keeper)?;
            let facts = facts?;
            owner_inside(&facts, "stat:/tmp/file", 5, 6)?;
            did_is(&facts, "create:/tmp/new", "ok")?;
            owner_outside(t, "new", 0, 0)
        }),
    ]
}

fn texts() -> Vec<Case> {
    let rows = [
        ("absolute", "idmap=uids=0-103000-10;gids=0-104000-10", 3005, 4006),
        ("several", "idmap=uids=0-103000-3#5-101000-1;gids=6-100000-1", 1000, 0),
        ("relative", "ridmap=uids=@0-1000-10;gids=@0-2000-10", 1005, 2006),
    ];
    let case = |(name, word, uid, gid): (&'static str, &'static str, u32, u32)| {
        case(format!("idmap/text-{name}")).runc(TEXT).run(move |t| {
            bind(users(t), &["rbind", word], None)?;
            owner_inside(&facts(t, &["stat:/tmp/file"])?, "stat:/tmp/file", uid, gid)
        })
    };
    rows.into_iter().map(case).collect()
}

fn refused() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("one-half", "idmap=uids=0-1-1"),
        ("no-triplet", "idmap=uids=0-1;gids=0-1-1"),
        ("unknown-key", "idmap=users=0-1-1;gids=0-1-1"),
        ("relative-to-nothing", "idmap=uids=@0-1-1;gids=@0-1-1"),
        ("size-zero", "idmap=uids=0-1-0;gids=0-1-1"),
    ]
    .into_iter()
    .map(|(name, word)| {
        case(format!("idmap/text-refused-{name}")).runc(TEXT).run(move |t| {
            bind(t, &["bind", word], None)?;
            names_the_mount(&t.refused()?)
        })
    })
    .collect();
    cases.extend([
        case("idmap/nothing-to-map").spec(NOTHING).run(|t| {
            bind(t, &["bind", "idmap"], None)?;
            names_the_mount(&t.refused()?)
        }),
        case("idmap/uids-alone").spec(TOGETHER).run(|t| {
            bind(users(t), &["bind", "idmap"], None)?;
            t.set("/mounts/3/uidMappings", row(0, 1, 1));
            names_the_mount(&t.refused()?)
        }),
        case("idmap/gids-alone").spec(TOGETHER).run(|t| {
            bind(users(t), &["bind", "idmap"], None)?;
            t.set("/mounts/3/gidMappings", row(0, 1, 1));
            names_the_mount(&t.refused()?)
        }),
        case("idmap/invalid-mapping").spec(MAPPINGS).run(|t| {
            bind(users(t), &["bind", "idmap"], Some((row(0, 1, 0), row(0, 1, 1))))?;
            names_the_mount(&t.refused()?)
        }),
        case("idmap/file-system-that-cannot").spec(IDMAP).run(|t| {
            users(t).bind("/proc/sys", "/tmp", &["bind", "idmap"]);
            let text = t.refused()?;
            names_the_mount(&text)?;
            ensure!(text.contains(": proc]"), "the file system is not named: {text}");
            Ok(())
        }),
    ]);
    cases
}

/// All of these configs have three mounts before theirs.
fn names_the_mount(text: &str) -> Verdict {
    ensure!(text.contains("mounts[3]"), "the mount is not named: {text}");
    Ok(())
}

fn captured() -> Vec<Case> {
    vec![
        // `podman run -v DIR:/data:idmap` without a user namespace.
        case("idmap/podman-volume-without-a-user-namespace").spec(NOTHING).run(|t| {
            bind(t, &["idmap", "rw", "rprivate", "rbind"], None)?;
            names_the_mount(&t.refused()?)
        }),
        // The same with --userns=auto.
        case("idmap/podman-volume").spec(IMPLIED).run(|t| {
            bind(users(t), &["idmap", "rw", "rprivate", "rbind"], None)?;
            let facts = facts(t, &["stat:/tmp/file", "create:/tmp/new"])?;
            owner_inside(&facts, "stat:/tmp/file", 5, 6)?;
            did_is(&facts, "create:/tmp/new", "ok")?;
            owner_outside(t, "new", 0, 0)
        }),
    ]
}
