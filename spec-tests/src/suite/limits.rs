//! Limits in force that are not a cgroup's.

use serde_json::json;

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::is;

const RLIMITS: &str = "`rlim.rlim_cur` MUST match the configured value. `rlim.rlim_max` MUST match the \
    configured value.";
/// See the top of this file.
pub fn cases() -> Vec<Case> {
    rlimits()
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
