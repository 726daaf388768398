//! config-linux.md: rootfsPropagation.

use std::fs;

use nix::mount::{MsFlags, mount, umount};
use serde_json::{Value, json};

use super::mount_options::mount_of;
use crate::case::{Case, case};
use crate::trial::did_is;
use crate::verdict::Verdict;

const SHARED: &str = "**`shared`**: the rootfs mount belongs to a new peer group.";
const SLAVE: &str = "**`slave`**: the rootfs mount receives propagation events from the host (e.g. if \
    something is mounted on the host it will also appear in the container) but not the other way around.";
const PRIVATE: &str = "**`private`**: the rootfs mount doesn't receive mount propagation events from the \
    host.";
const UNBINDABLE: &str = "**`unbindable`**: the rootfs mount is a private mount that cannot be bind-mounted.";
const INVALID: &str = "Its value is either `shared`, `slave`, `private` or `unbindable`.";

fn fields(facts: &Value) -> Verdict<Vec<String>> {
    let mount = mount_of(facts, "/")?;
    let fields = mount["propagation"].as_array().into_iter().flatten();
    Ok(fields.filter_map(|field| field.as_str().map(str::to_owned)).collect())
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (word, sentence, field) in [
        ("shared", SHARED, "shared:"),
        ("slave", SLAVE, "master:"),
        ("private", PRIVATE, ""),
        ("unbindable", UNBINDABLE, "unbindable"),
    ] {
        cases.push(case(format!("rootfs-propagation/{word}")).spec(sentence).run(move |t| {
            // The root file system's parent must be shared, else there is no master to be a slave of.
            let work = t.work.clone();
            mount(Some(&work), &work, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            mount(None::<&str>, &work, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
            t.accept_mounts();
            let got = fields(&t.set("/linux/rootfsPropagation", word).facts()?)?;
            let good = if field.is_empty() {
                got.is_empty()
            } else {
                got.iter().any(|text| text.starts_with(field))
            };
            ensure!(good, "the root mount has {got:?}, want {field:?}");
            Ok(())
        }));
    }
    cases.push(
        case("rootfs-propagation/sideways")
            .spec(INVALID)
            .run(|t| t.set("/linux/rootfsPropagation", "sideways").refused().map(drop)),
    );
    cases.push(
        case("rootfs-propagation/shared-reaches-the-host")
            .runc("what the container mounts in a shared volume is seen by the host: CSI drivers")
            .run(|t| {
                let source = super::mounts::shared_tree(t)?;
                // All of the host is, as systemd leaves it.
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)?;
                t.accept_mounts();
                let later = format!("{source}/later");
                fs::create_dir(&later)?;
                t.set("/linux/rootfsPropagation", "shared").bind(&source, "/tmp", &["rbind", "rshared"]);
                for set in ["bounding", "effective", "permitted"] {
                    t.set(&format!("/process/capabilities/{set}"), json!(["CAP_SYS_ADMIN"]));
                }
                let before = crate::leftovers::mounts();
                did_is(&t.facts_of(&["mount:/tmp/later"])?, "mount:/tmp/later", "ok")?;
                umount(later.as_str())?;
                crate::verdict::equal("the host's other mounts", crate::leftovers::mounts(), before)
            }),
    );
    cases.push(case("rootfs-propagation/slave-sees-the-host").spec(SLAVE).run(|t| {
        let source = super::mounts::shared_tree(t)?;
        fs::create_dir(format!("{source}/later"))?;
        t.set("/linux/rootfsPropagation", "rslave");
        t.bind(&source, "/tmp", &["rbind", "rslave"]);
        t.probe(&["read:/tmp/later/file"]).create()?;
        let later = format!("{source}/later");
        mount(Some("tmpfs"), later.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        t.accept_mounts();
        fs::write(format!("{later}/file"), "later")?;
        t.start()?;
        t.wait()?;
        did_is(&serde_json::from_str(&t.stdout())?, "read:/tmp/later/file", "later")
    }));
    cases.push(case("rootfs-propagation/private-does-not-see-the-host").spec(PRIVATE).run(|t| {
        let source = super::mounts::shared_tree(t)?;
        fs::create_dir(format!("{source}/later"))?;
        t.bind(&source, "/tmp", &["rbind", "rprivate"]);
        t.probe(&["read:/tmp/later/file"]).create()?;
        let later = format!("{source}/later");
        mount(Some("tmpfs"), later.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        t.accept_mounts();
        fs::write(format!("{later}/file"), "later")?;
        t.start()?;
        t.wait()?;
        did_is(&serde_json::from_str(&t.stdout())?, "read:/tmp/later/file", "ENOENT")
    }));
    for (name, propagation) in
        [("nothing-leaks-to-a-shared-parent", ""), ("nothing-else-leaks-if-shared", "shared")]
    {
        cases.push(
            case(format!("rootfs-propagation/{name}"))
                .security("D41", "with a shared parent no mount of the container shows on the host")
                .run(move |t| {
                    let work = t.work.clone();
                    mount(Some(&work), &work, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                    mount(None::<&str>, &work, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
                    t.accept_mounts();
                    t.set("/linux/rootfsPropagation", propagation).create()?;
                    let own = fs::read_to_string("/proc/self/mountinfo")?;
                    let rootfs = t.rootfs().display().to_string();
                    let inside = own.lines().filter(|line| line.contains(&rootfs)).count();
                    ensure!(inside == 0, "the caller sees {inside} mounts of the container");
                    Ok(())
                }),
        );
    }
    cases
}
