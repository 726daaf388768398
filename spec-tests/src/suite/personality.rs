//! config-linux.md: personality.

use serde_json::json;

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::is;

const DOMAIN: &str = "**`domain`** *(string, REQUIRED)* - the execution domain.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (domain, number) in [("LINUX", 0), ("LINUX32", 8)] {
        cases.push(case(format!("personality/{domain}")).spec(DOMAIN).needs(Need::SpecVersion(1)).run(
            move |t| {
                is(&t.set("/linux/personality", json!({ "domain": domain })).facts()?, "/personality", number)
            },
        ));
    }
    for (name, value) in [
        ("unknown-domain", json!({ "domain": "PLAN9" })),
        ("unknown-flag", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] })),
        ("no-domain", json!({})),
    ] {
        cases.push(
            case(format!("personality/{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .needs(Need::SpecVersion(1))
                .run(move |t| t.set("/linux/personality", value.clone()).refused().map(drop)),
        );
    }
    cases
}
