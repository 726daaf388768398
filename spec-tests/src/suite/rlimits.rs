//! config.md: process.rlimits.

use serde_json::json;

use crate::case::{Case, case};
use crate::probe::facts::LIMITS;
use crate::trial::is;

const MATCH: &str = "`rlim.rlim_cur` MUST match the configured value. `rlim.rlim_max` MUST match the \
    configured value.";
const UNKNOWN: &str = "The runtime MUST generate an error for any values which cannot be mapped to a relevant \
    kernel interface.";
const TWICE: &str = "If `rlimits` contains duplicated entries with same `type`, the runtime MUST generate an \
    error.";

/// A soft and a hard limit that the caller may set without privilege and the probe can live with.
fn modest(name: &str, number: u32) -> (u64, u64) {
    let hard = crate::sys::limit(number).map_or(0, |(_, hard)| hard);
    match name {
        "RLIMIT_NICE" | "RLIMIT_RTPRIO" => (0, 0),
        "RLIMIT_NOFILE" => (512, 1000.min(hard)),
        "RLIMIT_STACK" => (4 << 20, (16 << 20).min(hard)),
        _ => ((1 << 30).min(hard), (1 << 31).min(hard)),
    }
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = LIMITS
        .iter()
        .map(|&(name, number)| {
            case(format!("rlimits/{name}")).spec(MATCH).run(move |t| {
                let (soft, hard) = modest(name, number);
                let facts = t
                    .set("/process/rlimits", json!([{ "type": name, "soft": soft, "hard": hard }]))
                    .facts()?;
                is(&facts, &format!("/rlimits/{name}"), json!([soft, hard]))
            })
        })
        .collect();
    for (name, entry) in [
        ("unknown-type", json!({ "type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 1 })),
        ("lower-case-type", json!({ "type": "rlimit_core", "soft": 1, "hard": 1 })),
        ("empty-type", json!({ "type": "", "soft": 1, "hard": 1 })),
        ("soft-above-hard", json!({ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 })),
    ] {
        cases.push(
            case(format!("rlimits/{name}"))
                .spec(UNKNOWN)
                .run(move |t| t.set("/process/rlimits", json!([entry])).refused().map(drop)),
        );
    }
    cases.push(case("rlimits/twice").spec(TWICE).run(|t| {
        let entry = json!({ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 });
        t.set("/process/rlimits", json!([entry, entry])).refused().map(drop)
    }));
    cases.push(case("rlimits/several").spec(MATCH).run(|t| {
        let core = json!({ "type": "RLIMIT_CORE", "soft": 1024, "hard": 2048 });
        let files = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
        let facts = t.set("/process/rlimits", json!([core, files])).facts()?;
        is(&facts, "/rlimits/RLIMIT_CORE", json!([1024, 2048]))?;
        is(&facts, "/rlimits/RLIMIT_NOFILE", json!([100, 200]))
    }));
    cases
}
