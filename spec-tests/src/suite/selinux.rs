//! config.md, config-linux.md: SELinux labels, on hosts that have SELinux.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::exec::{exec, facts};
use crate::case::{Case, Draft, case};
use crate::host::Need;
use crate::trial::{Trial, did_is, is};
use crate::verdict::Verdict;

const LABEL: &str = "**`selinuxLabel`** (string, OPTIONAL) specifies the SELinux label for the process.";
const MOUNTS: &str =
    "**`mountLabel`** (string, OPTIONAL) will set the Selinux context for the mounts in the container.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const ENABLED: &str = "/sys/fs/selinux/enforce";

const PROCESS: &str = "system_u:system_r:container_t:s0:c11,c22";
const OTHER: &str = "system_u:system_r:container_t:s0:c33,c44";
const FILES: &str = "system_u:object_r:container_file_t:s0:c11,c22";
const NO_LABEL: &str = "system_u:system_r:spec_tests_no_such_type_t:s0";

/// A container with this label for its process, and files that it may use.
fn labelled(t: &mut Trial) -> Verdict<&mut Trial> {
    let rootfs = t.rootfs();
    let done = Command::new("chcon").args(["--recursive", FILES]).arg(&rootfs).output()?;
    ensure!(done.status.success(), "chcon: {}", String::from_utf8_lossy(&done.stderr));
    Ok(t.set("/process/selinuxLabel", PROCESS))
}

/// The label that all of a file system has by an option of its mount.
fn context(facts: &Value, destination: &str) -> Verdict<Option<String>> {
    let mount = super::mount_options::mount_of(facts, destination)?;
    let words = mount["super"].as_array().into_iter().flatten();
    let text = words.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    Ok(text.split_once("context=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())))
}

fn has_context(facts: &Value, destination: &str) -> Verdict {
    let found = context(facts, destination)?;
    ensure!(found.as_deref() == Some(FILES), "{destination} has the label {found:?}, want {FILES}");
    Ok(())
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [process(), files(), refused(), without()].into_iter().flatten().collect()
}

fn process() -> Vec<Case> {
    vec![
        host("process").spec(LABEL).run(|t| is(&labelled(t)?.facts()?, "/label", PROCESS)),
        host("process-without-new-privileges")
            .spec(LABEL)
            .run(|t| is(&labelled(t)?.set("/process/noNewPrivileges", true).facts()?, "/label", PROCESS)),
        host("process-in-user-namespace").spec(LABEL).needs(Need::Namespace("user")).run(|t| {
            in_user_namespace(labelled(t)?);
            let facts = t.facts()?;
            is(&facts, "/label", PROCESS)?;
            is(&facts, "/keyring_label", PROCESS)
        }),
        host("keyring")
            .runc("the session keyring has the process's label, or it could not even search it")
            .run(|t| is(&labelled(t)?.facts()?, "/keyring_label", PROCESS)),
        host("exec").runc("exec is labelled as the container is").run(|t| {
            labelled(t)?.running::<&str>(&[])?;
            is(&facts(t, &[], &[])?, "/label", PROCESS)?;
            t.finish()
        }),
        host("exec-another").runc("exec --process-label gives another label").run(|t| {
            labelled(t)?.running::<&str>(&[])?;
            let facts = facts(t, &["--process-label", OTHER], &[])?;
            is(&facts, "/label", OTHER)?;
            t.finish()
        }),
        host("not-written-to-a-fake-proc")
            .security(
                "R10",
                "the label is written to the runtime's procfs, whatever the container has at /proc",
            )
            .run(|t| {
                // Where a label would be written to, if the container's /proc were trusted (CVE-2019-16884).
                let attributes = t.rootfs().join("proc/self/attr");
                fs::create_dir_all(&attributes)?;
                fs::create_dir_all(t.rootfs().join("proc/thread-self/attr"))?;
                for file in ["exec", "keycreate", "../../thread-self/attr/exec"] {
                    fs::write(attributes.join(file), "")?;
                }
                if let Some(mounts) = t.config["mounts"].as_array_mut() {
                    mounts.retain(|mount| mount["destination"] != "/proc");
                }
                is(&labelled(t)?.facts()?, "/keyring_label", PROCESS)?;
                let fake = fs::read_to_string(attributes.join("exec"))?;
                ensure!(fake.is_empty(), "it was written to the container's file: {fake:?}");
                Ok(())
            }),
    ]
}

fn in_user_namespace(t: &mut Trial) {
    let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    t.set("/linux/uidMappings", mapping.clone()).set("/linux/gidMappings", mapping).namespace("user", None);
}

fn with_queues(t: &mut Trial) -> &mut Trial {
    t.namespace("ipc", None).set("/linux/mountLabel", FILES);
    t.push("/mounts", json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue" }))
}

fn files() -> Vec<Case> {
    vec![
        host("mount-label").spec(MOUNTS).run(|t| {
            labelled(t)?.set("/linux/mountLabel", FILES).tmpfs("/tmp", &["nosuid", "size=1m"]);
            let facts = t.facts_of(&["label:/dev/null"])?;
            ["/dev", "/dev/pts", "/tmp"].into_iter().try_for_each(|at| has_context(&facts, at))?;
            ensure!(context(&facts, "/proc")?.is_none(), "/proc is labelled by the policy");
            did_is(&facts, "label:/dev/null", FILES)
        }),
        host("mount-label-in-user-namespace").spec(MOUNTS).needs(Need::Namespace("user")).run(|t| {
            in_user_namespace(with_queues(labelled(t)?));
            let facts = t.facts_of(&["label:/dev/mqueue"])?;
            ["/dev", "/dev/pts"].into_iter().try_for_each(|at| has_context(&facts, at))?;
            did_is(&facts, "label:/dev/mqueue", FILES)
        }),
        host("mount-label-of-queues").spec(MOUNTS).run(|t| {
            did_is(&with_queues(labelled(t)?).facts_of(&["label:/dev/mqueue"])?, "label:/dev/mqueue", FILES)
        }),
        host("mount-label-of-masked-directories").spec(MOUNTS).run(|t| {
            fs::create_dir(t.rootfs().join("etc/masked"))?;
            labelled(t)?.set("/linux/mountLabel", FILES).set("/linux/maskedPaths", json!(["/etc/masked"]));
            let facts = t.facts_of(&["label:/etc/masked"])?;
            has_context(&facts, "/etc/masked")?;
            did_is(&facts, "label:/etc/masked", FILES)
        }),
    ]
}

fn refused() -> Vec<Case> {
    let hook = |t: &mut Trial| {
        let ran = t.path("hook-ran");
        let program = t.probe.display().to_string();
        let arguments = json!(["spec-probe", "quiet", format!("append:{ran}:ran")]);
        t.set("/hooks/createRuntime", json!([{ "path": program, "args": arguments }]));
        ran
    };
    vec![
        host("invalid").spec(INVALID).run(move |t| {
            let ran = hook(t);
            let stderr = t.set("/process/selinuxLabel", NO_LABEL).refused()?;
            ensure!(stderr.contains("process.selinuxLabel"), "which field? {stderr}");
            ensure!(!fs::exists(&ran)?, "a hook ran before the label was looked at");
            Ok(())
        }),
        host("invalid-without-a-keyring").spec(INVALID).run(move |t| {
            let ran = hook(t);
            t.set("/process/selinuxLabel", NO_LABEL).write_config()?;
            let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
            let stderr = t.call(&["create", "--no-new-keyring", "--bundle", &bundle, &id])?.refused()?.stderr;
            ensure!(stderr.contains("process.selinuxLabel"), "which field? {stderr}");
            ensure!(!fs::exists(&ran)?, "a hook ran before the label was looked at");
            t.nothing_left("after the refusal")
        }),
        host("mount-label-invalid").spec(INVALID).run(|t| {
            let stderr = t.set("/linux/mountLabel", NO_LABEL).refused()?;
            ensure!(stderr.contains("mounts[") && stderr.contains(NO_LABEL), "which mount? {stderr}");
            Ok(())
        }),
        host("exec-invalid")
            .runc("exec --process-label of a label that the policy does not know is refused")
            .run(|t| {
                t.running::<&str>(&[])?;
                exec(t, &["--process-label", NO_LABEL], &["/spec-probe"])?.refused().map(drop)
            }),
    ]
}

fn without() -> Vec<Case> {
    vec![
        case("selinux/host-without")
            .spec(INVALID)
            .needs(Need::NoFile(ENABLED))
            .run(|t| t.set("/process/selinuxLabel", PROCESS).refused().map(drop)),
        case("selinux/mount-label-host-without")
            .spec(MOUNTS)
            .needs(Need::NoFile(ENABLED))
            .run(|t| t.set("/linux/mountLabel", FILES).facts().map(drop)),
    ]
}

fn host(name: &str) -> Draft {
    case(format!("selinux/{name}")).needs(Need::File(ENABLED)).needs(Need::Program("chcon"))
}
