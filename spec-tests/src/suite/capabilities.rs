//! config.md: process.capabilities.

use serde_json::{Map, Value, json};

use crate::case::{Case, case};
use crate::trial::{did_is, is};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const BIND: u64 = 1 << 10;

/// The sets as they are asked for, and as the kernel must show them.
struct Row {
    name: &'static str,
    sentence: &'static str,
    sets: &'static [(&'static str, &'static [&'static str])],
    uid: u32,
    want: &'static [(&'static str, u64)],
}

const ROWS: &[Row] = &[
    Row {
        name: "bounding",
        sentence: "**`bounding`** (array of strings, OPTIONAL) the `bounding` field is an array of \
                bounding capabilities that are kept for the process.",
        sets: &[("bounding", &["CAP_CHOWN", "CAP_KILL"])],
        uid: 1000,
        want: &[("bounding", CHOWN | KILL), ("effective", 0), ("permitted", 0)],
    },
    Row {
        name: "permitted-and-effective",
        sentence: "**`effective`** (array of strings, OPTIONAL) the `effective` field is an array of \
                effective capabilities that are kept for the process.",
        sets: &[
            ("bounding", &["CAP_CHOWN", "CAP_KILL"]),
            ("permitted", &["CAP_CHOWN", "CAP_KILL"]),
            ("effective", &["CAP_CHOWN", "CAP_KILL"]),
        ],
        uid: 0,
        want: &[
            ("bounding", CHOWN | KILL),
            ("permitted", CHOWN | KILL),
            ("effective", CHOWN | KILL),
            ("inheritable", 0),
            ("ambient", 0),
        ],
    },
    Row {
        name: "inheritable",
        sentence: "**`inheritable`** (array of strings, OPTIONAL) the `inheritable` field is an array \
                of inheritable capabilities that are kept for the process.",
        sets: &[("bounding", &["CAP_KILL"]), ("permitted", &["CAP_KILL"]), ("inheritable", &["CAP_KILL"])],
        uid: 1000,
        want: &[("inheritable", KILL), ("ambient", 0), ("bounding", KILL)],
    },
    Row {
        name: "ambient",
        sentence: "**`ambient`** (array of strings, OPTIONAL) the `ambient` field is an array of \
                ambient capabilities that are kept for the process.",
        sets: &[
            ("bounding", &["CAP_NET_BIND_SERVICE"]),
            ("permitted", &["CAP_NET_BIND_SERVICE"]),
            ("effective", &["CAP_NET_BIND_SERVICE"]),
            ("inheritable", &["CAP_NET_BIND_SERVICE"]),
            ("ambient", &["CAP_NET_BIND_SERVICE"]),
        ],
        uid: 1000,
        want: &[("ambient", BIND), ("permitted", BIND), ("effective", BIND), ("inheritable", BIND)],
    },
    Row {
        name: "none",
        sentence: "**`capabilities`** (object, OPTIONAL) is an object containing arrays that specifies \
                the sets of capabilities for the process.",
        sets: &[("bounding", &[])],
        uid: 0,
        want: &[("bounding", 0), ("permitted", 0), ("effective", 0), ("inheritable", 0), ("ambient", 0)],
    },
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = ROWS.iter().map(sets).collect();
    for name in ["CAP_NO_SUCH", "chown", "CAP_", ""] {
        cases.push(
            case(format!("capabilities/unknown-{name}"))
                .spec(
                    "Any value which cannot be mapped to a relevant kernel interface, or cannot be \
                     granted otherwise MUST be logged as a warning by the runtime.",
                )
                .run(move |t| {
                    t.push("/process/capabilities/bounding", json!(name));
                    let facts = t.facts()?;
                    // The capabilities of the default bundle.
                    is(&facts, "/capabilities/bounding", CHOWN | 1 << 1 | KILL | 1 << 6 | 1 << 7 | 1 << 27)
                }),
        );
    }
    cases.push(
        case("capabilities/warning-is-logged")
            .spec(
                "Any value which cannot be mapped to a relevant kernel interface MUST be logged as a \
                 warning by the runtime.",
            )
            .run(|t| {
                t.push("/process/capabilities/bounding", json!("CAP_NO_SUCH")).write_config()?;
                let (bundle, log, id) = (t.bundle().display().to_string(), t.path("log"), t.id.clone());
                let command =
                    t.command(&["--log", &log, "--log-format", "json", "create", "--bundle", &bundle, &id]);
                let answer = t.execute_with(command, &t.container_streams())?.succeeded()?;
                let text = crate::call::text(log.as_ref()) + &answer.stderr;
                ensure!(text.contains("CAP_NO_SUCH") && text.contains("warn"), "log: {text:?}");
                Ok(())
            }),
    );
    cases.push(
        case("capabilities/dropped-is-dropped")
            .spec(
                "**`bounding`** (array of strings, OPTIONAL) the `bounding` field is an array of \
                 bounding capabilities that are kept for the process.",
            )
            .run(|t| {
                let facts = t.facts_of(&["sethostname:other", "mount:/tmp", "chown:/tmp:5"])?;
                did_is(&facts, "sethostname:other", "EPERM")?;
                did_is(&facts, "mount:/tmp", "EPERM")?;
                did_is(&facts, "chown:/tmp:5", "ok")
            }),
    );
    cases
}

fn sets(row: &'static Row) -> Case {
    case(format!("capabilities/{}", row.name)).spec(row.sentence).run(|t| {
        let asked: Map<String, Value> =
            row.sets.iter().map(|(set, names)| ((*set).to_owned(), json!(names))).collect();
        t.set("/process/capabilities", Value::Object(asked)).set("/process/user/uid", row.uid);
        let facts = t.facts()?;
        for (set, want) in row.want {
            is(&facts, &format!("/capabilities/{set}"), *want)?;
        }
        Ok(())
    })
}
