//! config.md: the AppArmor profile, on hosts that have AppArmor: what it denies is denied, in create and in exec.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::exec::{exec, facts};
use crate::case::{Case, Draft, case};
use crate::host::Need;
use crate::trial::{Trial, did_is, is};
use crate::verdict::Verdict;

const PROFILE: &str =
    "**`apparmorProfile`** (string, OPTIONAL) specifies the name of the AppArmor profile for the process.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// Profiles that deny one file each, loaded into the kernel until they go out of scope.
struct Profiles {
    names: Vec<String>,
    file: String,
}

impl Profiles {
    /// As many as there are files below /tmp.
    fn load(t: &Trial, denied: &[&str]) -> Verdict<Self> {
        let file = t.path("profiles");
        let name = |path: &&str| format!("spec-tests-{}-{path}", std::process::id());
        let names: Vec<String> = denied.iter().map(name).collect();
        let mut text = String::new();
        for (name, path) in names.iter().zip(denied) {
            let rules = "file, capability, network, signal, ptrace, unix, mount, userns,";
            // The name stands for a program's path in a profile of apparmor_parser 4; the flag lets it be outside.
            text +=
                &format!("profile {name} flags=(attach_disconnected) {{ {rules} deny /tmp/{path} rw, }}\n");
        }
        // The rule for user namespaces is unknown to older parsers, and they need none.
        fs::write(&file, &text)?;
        if !parse(&["--skip-kernel-load", "--skip-cache", &file])?.status.success() {
            fs::write(&file, text.replace("userns,", ""))?;
        }
        let output = parse(&["--add", "--skip-cache", &file])?;
        ensure!(output.status.success(), "apparmor_parser: {}", String::from_utf8_lossy(&output.stderr));
        for path in denied {
            fs::write(t.rootfs().join("tmp").join(path), "")?;
        }
        Ok(Self { names, file })
    }
}

impl Drop for Profiles {
    fn drop(&mut self) {
        parse(&["--remove", &self.file]).ok();
    }
}

fn parse(arguments: &[&str]) -> std::io::Result<std::process::Output> {
    Command::new("apparmor_parser").args(arguments).output()
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        host("denies").spec(PROFILE).run(|t| {
            let profiles = Profiles::load(t, &["one", "two"])?;
            t.set("/process/apparmorProfile", profiles.names[0].as_str());
            let facts = t.facts_of(&["write:/tmp/one", "write:/tmp/two"])?;
            is(&facts, "/label", format!("{} (enforce)", profiles.names[0]))?;
            did_is(&facts, "write:/tmp/one", "EACCES")?;
            did_is(&facts, "write:/tmp/two", "ok")
        }),
        host("denies-without-new-privileges").spec(PROFILE).run(|t| {
            let profiles = Profiles::load(t, &["one"])?;
            t.set("/process/apparmorProfile", profiles.names[0].as_str())
                .set("/process/noNewPrivileges", true);
            did_is(&t.facts_of(&["write:/tmp/one"])?, "write:/tmp/one", "EACCES")
        }),
        host("denies-in-user-namespace").spec(PROFILE).needs(Need::Namespace("user")).run(|t| {
            let profiles = Profiles::load(t, &["one"])?;
            let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
            t.set("/linux/uidMappings", mapping.clone())
                .set("/linux/gidMappings", mapping)
                .namespace("user", None);
            t.set("/process/apparmorProfile", profiles.names[0].as_str());
            did_is(&t.facts_of(&["write:/tmp/one"])?, "write:/tmp/one", "EACCES")
        }),
        host("missing").spec(INVALID).run(|t| {
            let stderr = t.set("/process/apparmorProfile", "spec-tests-no-such-profile").refused()?;
            ensure!(stderr.contains("spec-tests-no-such-profile"), "which profile? {stderr}");
            Ok(())
        }),
        host("unconfined")
            .spec(PROFILE)
            .run(|t| is(&t.set("/process/apparmorProfile", "unconfined").facts()?, "/label", "unconfined")),
        host("exec").runc("exec is confined as the container is").run(|t| {
            let profiles = Profiles::load(t, &["one", "two"])?;
            t.set("/process/apparmorProfile", profiles.names[0].as_str()).running::<&str>(&[])?;
            let facts = facts(t, &[], &["write:/tmp/one", "write:/tmp/two"])?;
            is(&facts, "/label", format!("{} (enforce)", profiles.names[0]))?;
            did_is(&facts, "write:/tmp/one", "EACCES")?;
            did_is(&facts, "write:/tmp/two", "ok")?;
            t.finish()
        }),
        host("exec-another").runc("exec --apparmor confines by another profile").run(|t| {
            let profiles = Profiles::load(t, &["one", "two"])?;
            t.set("/process/apparmorProfile", profiles.names[0].as_str()).running::<&str>(&[])?;
            let facts = facts(t, &["--apparmor", &profiles.names[1]], &["write:/tmp/one", "write:/tmp/two"])?;
            is(&facts, "/label", format!("{} (enforce)", profiles.names[1]))?;
            did_is(&facts, "write:/tmp/one", "ok")?;
            did_is(&facts, "write:/tmp/two", "EACCES")?;
            t.finish()
        }),
        host("exec-missing").runc("exec --apparmor of a profile that is not loaded is refused").run(|t| {
            t.running::<&str>(&[])?;
            exec(t, &["--apparmor", "spec-tests-no-such-profile"], &["/spec-probe"])?.refused().map(drop)
        }),
        host("not-written-to-a-fake-proc")
            .security(
                "R10",
                "the label is written to the runtime's procfs, whatever the container has at /proc",
            )
            .run(|t| {
                let profiles = Profiles::load(t, &["one"])?;
                // Where a label would be written to, if the container's /proc were trusted (CVE-2019-16884).
                let attributes = t.rootfs().join("proc/self/attr/apparmor");
                fs::create_dir_all(&attributes)?;
                fs::create_dir_all(t.rootfs().join("proc/thread-self/attr"))?;
                for file in ["exec", "../exec", "../../../thread-self/attr/exec"] {
                    fs::write(attributes.join(file), "")?;
                }
                if let Some(mounts) = t.config["mounts"].as_array_mut() {
                    mounts.retain(|mount| mount["destination"] != "/proc");
                }
                t.set("/process/apparmorProfile", profiles.names[0].as_str());
                did_is(&t.facts_of(&["write:/tmp/one"])?, "write:/tmp/one", "EACCES")?;
                let fake = fs::read_to_string(attributes.join("exec"))?;
                ensure!(fake.is_empty(), "it was written to the container's file: {fake:?}");
                Ok(())
            }),
        case("apparmor/host-without")
            .spec(INVALID)
            .needs(Need::NoFile("/sys/module/apparmor/parameters/enabled"))
            .run(|t| t.set("/process/apparmorProfile", "spec-tests-profile").refused().map(drop)),
        case("apparmor/host-without-unconfined")
            .runc("who asks for no profile gets none")
            .needs(Need::SpecVersion(3))
            .run(|t| t.set("/process/apparmorProfile", "unconfined").facts().map(drop)),
    ]
}

fn host(name: &str) -> Draft {
    case(format!("apparmor/{name}"))
        .needs(Need::File("/sys/kernel/security/apparmor"))
        .needs(Need::Program("apparmor_parser"))
}
