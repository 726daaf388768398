//! Limits in force that are not a cgroup's.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, did_is, is};
use crate::verdict::Verdict;

const RLIMITS: &str = "`rlim.rlim_cur` MUST match the configured value. `rlim.rlim_max` MUST match the \
    configured value.";
const APPARMOR: &str = "**`apparmorProfile`** (string, OPTIONAL) specifies the name of the AppArmor profile \
    for the process.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    [rlimits(), apparmor()].into_iter().flatten().collect()
}

fn rlimits() -> Vec<Case> {
    let names = [("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE), ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING)];
    let above = |(name, number): (&'static str, u32)| {
        case(format!("limits/{name}-above-the-callers"))
            .spec(RLIMITS)
            .needs(Need::Capability(24, "CAP_SYS_RESOURCE"))
            .run(move |t| {
                let hard = crate::sys::limit(number).map_or(0, |(_, hard)| hard) * 2;
                let entry = json!({ "type": name, "soft": hard - 1, "hard": hard });
                let facts = t.set("/process/rlimits", json!([entry])).facts()?;
                is(&facts, &format!("/rlimits/{name}"), json!([hard - 1, hard]))
            })
    };
    names.map(above).into()
}

/// A profile that denies one file, loaded into the kernel until it goes out of scope.
struct Profile {
    name: String,
    file: String,
}

impl Profile {
    fn load(t: &Trial) -> Verdict<Self> {
        let (name, file) = (format!("spec-tests-{}", std::process::id()), t.path("profile"));
        let rules = "file, capability, network, signal, ptrace, unix, mount, deny /tmp/denied rw,";
        let text = format!("profile {name} flags=(attach_disconnected) {{ {rules} }}\n");
        fs::write(&file, text)?;
        let output = Command::new("apparmor_parser").args(["--add", "--skip-cache", &file]).output()?;
        ensure!(output.status.success(), "apparmor_parser: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self { name, file })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        Command::new("apparmor_parser").args(["--remove", &self.file]).status().ok();
    }
}

fn apparmor() -> Vec<Case> {
    let needs = [Need::File("/sys/kernel/security/apparmor"), Need::Program("apparmor_parser")];
    vec![
        case("limits/apparmor-profile-denies").spec(APPARMOR).needs_all(&needs).run(|t| {
            let profile = Profile::load(t)?;
            fs::write(t.rootfs().join("tmp/denied"), "")?;
            fs::write(t.rootfs().join("tmp/allowed"), "")?;
            t.set("/process/apparmorProfile", profile.name.as_str());
            let facts = t.facts_of(&["write:/tmp/allowed", "write:/tmp/denied"])?;
            is(&facts, "/apparmor", format!("{} (enforce)", profile.name))?;
            did_is(&facts, "write:/tmp/allowed", "ok")?;
            did_is(&facts, "write:/tmp/denied", "EACCES")
        }),
        case("limits/apparmor-profile-missing")
            .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
            .needs_all(&needs)
            .run(|t| t.set("/process/apparmorProfile", "spec-tests-no-such-profile").refused().map(drop)),
    ]
}
