//! config-linux.md: user namespace mappings.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Child;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::suite::namespaces::keeper;
use crate::trial::{Trial, did, did_is, is};
use crate::verdict::{Verdict, equal};

const MAPPINGS: &str = "**`uidMappings`** (array of objects, OPTIONAL) describes the user namespace uid \
    mappings from the host to the container.";
const SIZE: &str = "**`size`** *(uint32, REQUIRED)* - is the number of ids to be mapped.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

fn mapped(t: &mut Trial, mappings: &Value) {
    t.namespace("user", None).namespace("network", None);
    t.set("/linux/uidMappings", mappings.clone()).set("/linux/gidMappings", mappings.clone());
}

/// A process in a user namespace whose ids are the host's from 100000 on, and in the namespaces of these options of
/// unshare(1), which belong to it.
pub fn mapped_keeper(t: &mut Trial, options: &[&str]) -> Verdict<Child> {
    let options: Vec<&str> = ["--user"].iter().chain(options).copied().collect();
    let keeper = keeper(t, &options)?;
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", keeper.id()), "0 100000 65536")?;
    }
    Ok(keeper)
}

/// The keeper is not needed any more.
pub fn end(mut keeper: Child) -> Verdict {
    keeper.kill()?;
    Ok(keeper.wait().map(drop)?)
}

fn large() -> Value {
    json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }])
}

/// The map as the kernel prints it, one space between the numbers.
fn squeezed(text: &Value) -> String {
    let lines = text.as_str().unwrap_or_default().lines();
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [spec(), refused()].into_iter().flatten().collect()
}

fn spec() -> Vec<Case> {
    vec![
        case("user-namespace/mapping").spec(MAPPINGS).run(|t| {
            mapped(t, &large());
            let facts = t.facts_of(&["read:/proc/self/uid_map", "read:/proc/self/gid_map"])?;
            equal("uid_map", squeezed(did(&facts, "read:/proc/self/uid_map")), "0 100000 65536")?;
            equal("gid_map", squeezed(did(&facts, "read:/proc/self/gid_map")), "0 100000 65536")?;
            is(&facts, "/uid", json!([0, 0, 0]))
        }),
        case("user-namespace/several-mappings").spec(MAPPINGS).run(|t| {
            mapped(
                t,
                &json!([
                    { "containerID": 0, "hostID": 100_000, "size": 10 },
                    { "containerID": 1000, "hostID": 0, "size": 1 },
                ]),
            );
            let facts = t.facts_of(&["read:/proc/self/uid_map"])?;
            equal("uid_map", squeezed(did(&facts, "read:/proc/self/uid_map")), "0 100000 10\n1000 0 1")
        }),
        case("user-namespace/files-belong-to-the-mapped").spec(MAPPINGS).run(|t| {
            mapped(t, &large());
            chown(t.rootfs().join("tmp"), Some(100_000), Some(100_000))?;
            t.set("/process/user/uid", 5);
            chown(t.rootfs().join("tmp"), Some(100_005), None)?;
            did_is(&t.facts_of(&["create:/tmp/new"])?, "create:/tmp/new", "ok")?;
            equal("owner on the host", fs::metadata(t.rootfs().join("tmp/new"))?.uid(), 100_005)
        }),
        case("user-namespace/user-in-the-container")
            .spec("**`uid`** (int, REQUIRED) specifies the user ID in the container namespace.")
            .run(|t| {
                mapped(t, &large());
                t.set("/process/user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] }));
                let facts = t.facts()?;
                is(&facts, "/uid", json!([1000, 1000, 1000]))?;
                is(&facts, "/gid", json!([1001, 1001, 1001]))
            }),
        case("user-namespace/ownership-is-not-modified")
            .spec(
                "The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the \
                 mapping.",
            )
            .run(|t| {
                mapped(t, &large());
                t.facts()?;
                equal("owner of the root", fs::metadata(t.rootfs())?.uid(), 0)?;
                equal("owner of a file", fs::metadata(t.rootfs().join("spec-probe"))?.uid(), 0)
            }),
        case("user-namespace/default-devices")
            .spec(
                "In addition to any devices configured with this setting, the runtime MUST also \
                 supply `/dev/null`, …",
            )
            .run(|t| {
                mapped(t, &large());
                let facts = t.facts_of(&["stat:/dev/null", "write:/dev/null", "take:/dev/zero"])?;
                equal("type", did(&facts, "stat:/dev/null")["type"].as_str(), Some("char"))?;
                did_is(&facts, "write:/dev/null", "ok")?;
                did_is(&facts, "take:/dev/zero", "ok")
            }),
        case("user-namespace/host-root-is-out-of-reach")
            .spec(
                "**`user`** the container will be able to remap user and group IDs from the host to \
                 local users and groups within the container.",
            )
            .run(|t| {
                mapped(t, &large());
                fs::write(t.rootfs().join("secret"), "of the host's root")?;
                std::os::unix::fs::chown(t.rootfs().join("secret"), Some(0), Some(0))?;
                fs::set_permissions(
                    t.rootfs().join("secret"),
                    std::os::unix::fs::PermissionsExt::from_mode(0o600),
                )?;
                did_is(&t.facts_of(&["read:/secret"])?, "read:/secret", "EACCES")
            }),
        case("user-namespace/capabilities-are-of-the-namespace")
            .runc("all capabilities asked for are there in the user namespace")
            .run(|t| {
                mapped(t, &large());
                let names = json!(["CAP_SYS_ADMIN", "CAP_CHOWN"]);
                t.set(
                    "/process/capabilities",
                    json!({
                        "bounding": names, "effective": names, "permitted": names,
                    }),
                );
                let facts = t.facts_of(&["sethostname:other", "mount:/tmp"])?;
                did_is(&facts, "sethostname:other", "ok")?;
                did_is(&facts, "mount:/tmp", "ok")
            }),
    ]
}

fn row(container: i64, host: i64, size: i64) -> Value {
    json!({ "containerID": container, "hostID": host, "size": size })
}

fn refused() -> Vec<Case> {
    let lists = [
        ("none", json!([]), INVALID),
        ("size-zero", json!([row(0, 100_000, 0)]), SIZE),
        ("size-missing", json!([{ "containerID": 0, "hostID": 100_000 }]), SIZE),
        ("negative-host-id", json!([row(0, -1, 1)]), INVALID),
        ("too-large-host-id", json!([row(0, 1 << 32, 1)]), INVALID),
        ("overlap-in-the-container", json!([row(0, 100_000, 10), row(5, 200_000, 10)]), INVALID),
        ("overlap-on-the-host", json!([row(0, 100_000, 10), row(100, 100_005, 10)]), INVALID),
        ("wraps-around", json!([row(0, 4_294_967_290, 100)]), INVALID),
        (
            "341-lines",
            json!((0..341).map(|n| row(n, 100_000 + n, 1)).collect::<Vec<_>>()),
            "Note that the number of mapping entries MAY be limited by the kernel.",
        ),
    ];
    let mut cases: Vec<Case> = lists
        .into_iter()
        .map(|(name, mappings, sentence)| {
            case(format!("user-namespace/mapping-{name}")).spec(sentence).run(move |t| {
                mapped(t, &mappings);
                t.refused().map(drop)
            })
        })
        .collect();
    cases.push(
        case("user-namespace/mappings-without-namespace")
            .security("A75", "mappings without a user namespace are refused")
            .run(|t| {
                t.set("/linux/uidMappings", large()).set("/linux/gidMappings", large()).refused().map(drop)
            }),
    );
    cases.push(
        case("user-namespace/user-not-mapped").security("A75", "a user that is not mapped is refused").run(
            |t| {
                mapped(t, &json!([row(0, 100_000, 10)]));
                t.set("/process/user/uid", 50).refused().map(drop)
            },
        ),
    );
    cases
}
