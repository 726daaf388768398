//! Malformed and hostile config.json: each is refused with a clear message, and leaves nothing.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::Trial;

const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// Case of the security plan, name, and the bytes of config.json.
const TEXTS: &[(&str, &str, &[u8])] = &[
    ("A01", "empty", b""),
    ("A02", "truncated", b"{\"ociVersion\": \"1.0.2\", \"process\": {"),
    ("A03", "an-array", b"[]"),
    ("A03", "a-string", b"\"config\""),
    ("A03", "null", b"null"),
    ("A85", "byte-order-mark", b"\xef\xbb\xbf{}"),
    ("A86", "not-utf-8", b"{\"ociVersion\": \"1.0.2\", \"hostname\": \"\xff\xfe\"}"),
];

/// Case of the security plan, name, pointer into config.json, and the bad value there (as JSON text).
const VALUES: &[(&str, &str, &str, &str)] = &[
    ("A06", "args-a-string", "/process/args", "\"/spec-probe\""),
    ("A06", "process-a-list", "/process", "[\"/\"]"),
    ("A06", "root-a-list", "/root", "[\"rootfs\", false]"),
    ("A06", "mount-a-list", "/mounts/-", "[\"/tmp\"]"),
    ("A06", "resources-a-list", "/linux/resources", "[]"),
    ("A07", "args-numbers", "/process/args", "[1, 2]"),
    ("A08", "uid-negative", "/process/user/uid", "-1"),
    ("A09", "uid-minus-one-unsigned", "/process/user/uid", "4294967295"),
    ("A09", "gid-minus-one-unsigned", "/process/user/gid", "4294967295"),
    ("A09", "additional-gid-minus-one-unsigned", "/process/user/additionalGids", "[4294967295]"),
    ("A10", "uid-too-large", "/process/user/uid", "4294967296"),
    ("A11", "uid-a-fraction", "/process/user/uid", "1.5"),
    ("A12", "uid-a-string", "/process/user/uid", "\"0\""),
    ("A14", "version-2", "/ociVersion", "\"2.0.0\""),
    ("A15", "version-banana", "/ociVersion", "\"banana\""),
    ("A19", "args-empty", "/process/args", "[]"),
    ("A20", "first-argument-empty", "/process/args", "[\"\"]"),
    ("A22", "root-path-empty", "/root/path", "\"\""),
    ("A23", "root-path-missing", "/root/path", "\"/no/such/directory\""),
    ("A24", "root-path-a-file", "/root/path", "\"config.json\""),
    ("A26", "cwd-empty", "/process/cwd", "\"\""),
    ("A27", "cwd-relative", "/process/cwd", "\"tmp\""),
    ("A29", "cwd-a-file", "/process/cwd", "\"/spec-probe\""),
    ("A30", "nul-in-args", "/process/args", "[\"/spec-probe\", \"a\\u0000b\"]"),
    ("A31", "nul-in-env", "/process/env", "[\"A=a\\u0000b\"]"),
    ("A32", "nul-in-destination", "/mounts/0/destination", "\"/proc\\u0000x\""),
    ("A33", "nul-in-cwd", "/process/cwd", "\"/tmp\\u0000x\""),
    ("A34", "nul-in-root-path", "/root/path", "\"rootfs\\u0000x\""),
    ("A35", "env-without-equals", "/process/env", "[\"NONSENSE\"]"),
    ("A38", "namespace-foo", "/linux/namespaces/-", "{\"type\": \"foo\"}"),
    ("A39", "namespace-twice", "/linux/namespaces/-", "{\"type\": \"ipc\"}"),
    ("A44", "rlimit-unknown", "/process/rlimits", "[{\"type\": \"RLIMIT_X\", \"soft\": 1, \"hard\": 1}]"),
    (
        "A45",
        "rlimit-soft-above-hard",
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_CORE\", \"soft\": 9, \"hard\": 1}]",
    ),
    (
        "A46",
        "rlimit-twice",
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_CORE\", \"soft\": 1, \"hard\": 1}, {\"type\": \"RLIMIT_CORE\", \
         \"soft\": 1, \"hard\": 1}]",
    ),
    (
        "A47",
        "rlimit-too-large",
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_CORE\", \"soft\": 1, \"hard\": 18446744073709551616}]",
    ),
    ("A48", "memory-limit-negative", "/linux/resources/memory", "{\"limit\": -5}"),
    (
        "A51",
        "device-type",
        "/linux/devices",
        "[{\"type\": \"q\", \"path\": \"/dev/x\", \"major\": 1, \"minor\": 3}]",
    ),
    (
        "A54",
        "device-major-negative",
        "/linux/devices",
        "[{\"type\": \"c\", \"path\": \"/dev/x\", \"major\": -7, \"minor\": 3}]",
    ),
    ("A55", "mount-without-destination", "/mounts/-", "{\"type\": \"tmpfs\", \"source\": \"tmpfs\"}"),
    (
        "A57",
        "mount-of-unknown-type",
        "/mounts/-",
        "{\"destination\": \"/tmp\", \"type\": \"nofs\", \"source\": \"x\"}",
    ),
    (
        "A58",
        "mount-with-unknown-option",
        "/mounts/-",
        "{\"destination\": \"/tmp\", \"type\": \"tmpfs\", \"source\": \"x\", \"options\": \
         [\"nope\"]}",
    ),
    (
        "A59",
        "bind-source-missing",
        "/mounts/-",
        "{\"destination\": \"/tmp\", \"source\": \"/no/such\", \"options\": [\"bind\"]}",
    ),
    (
        "A61",
        "hostname-too-long",
        "/hostname",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
    ),
    ("A71", "seccomp-action", "/linux/seccomp", "{\"defaultAction\": \"SCMP_ACT_X\"}"),
    ("A74", "root-propagation", "/linux/rootfsPropagation", "\"sideways\""),
    ("A76", "user-namespace-without-mappings", "/linux/namespaces/-", "{\"type\": \"user\"}"),
    ("A88", "annotation-a-number", "/annotations", "{\"com.example\": 5}"),
    ("A88", "annotation-key-empty", "/annotations", "{\"\": \"x\"}"),
    ("A89", "oom-score-adj-too-small", "/process/oomScoreAdj", "-2000"),
    ("A89", "oom-score-adj-too-large", "/process/oomScoreAdj", "2000"),
    ("A90", "uid-infinite", "/process/user/uid", "1e400"),
    (
        "A96",
        "hugepage-size",
        "/linux/resources/hugepageLimits",
        "[{\"pageSize\": \"../../x\", \"limit\": 1}]",
    ),
    ("A97", "rdma-device", "/linux/resources/rdma", "{\"no-such-device\": {\"hcaHandles\": 3}}"),
    ("A101", "terminal-without-socket", "/process/terminal", "true"),
    ("A103", "umask-too-large", "/process/user/umask", "2097151"),
    ("A109", "process-an-array", "/process", "[]"),
    ("A109", "mounts-an-object", "/mounts", "{}"),
    ("A109", "linux-a-string", "/linux", "\"yes\""),
];

/// Case, name, pointer of what is taken out.
const MISSING: &[(&str, &str, &str)] = &[
    ("A13", "version-missing", "/ociVersion"),
    ("A18", "args-missing", "/process/args"),
    ("A21", "root-missing", "/root"),
    ("A25", "cwd-missing", "/process/cwd"),
];

/// Names, pointer and JSON text of what is odd and must work.
const ACCEPTED: &[(&str, &str, &str, &str)] = &[
    ("A16", "version-1-99", "/ociVersion", "\"1.99.0\""),
    ("A109", "section-windows", "/windows", "{\"layerFolders\": [7], \"devices\": 1}"),
    ("A109", "section-vm", "/vm", "{\"kernel\": [[]]}"),
    ("A109", "section-solaris", "/solaris", "[]"),
    ("A109", "section-zos", "/zos", "{\"namespaces\": 1}"),
    ("A109", "section-freebsd", "/freebsd", "{\"jail\": {}}"),
    ("A109", "unknown-lists", "/unknown", "[[1], {\"a\": [[2]]}]"),
    ("A37", "capability-lower-case", "/process/capabilities/bounding", "[\"cap_chown\"]"),
    ("A70", "readonly-path-missing", "/linux/readonlyPaths", "[\"/no/such/path\"]"),
    (
        "A102",
        "many-additional-gids",
        "/process/user/additionalGids",
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33]",
    ),
    ("A107", "hostname-not-interpreted", "/hostname", "\"$(id)%n%s\""),
    ("A107", "env-not-interpreted", "/process/env", "[\"A=$(id)%n%s\\n\\u202e\"]"),
    ("A109", "arrays-empty", "/mounts/0/options", "[]"),
    ("A109", "env-empty", "/process/env", "[]"),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(plan, name, bytes) in TEXTS {
        cases.push(refuse(plan, name).run(move |t| {
            fs::write(t.bundle().join("config.json"), bytes)?;
            t.refused_as_is().map(drop)
        }));
    }
    for &(plan, name, pointer, value) in VALUES {
        cases.push(refuse(plan, name).run(move |t| {
            insert(t, pointer, value)?;
            t.refused_as_is().map(drop)
        }));
    }
    for &(plan, name, pointer) in MISSING {
        cases.push(refuse(plan, name).run(move |t| t.remove(pointer).refused().map(drop)));
    }
    for &(plan, name, pointer, value) in ACCEPTED {
        cases.push(
            case(format!("config-errors/accepted-{name}"))
                .security(plan, "odd, but valid: works")
                .run(move |t| t.set(pointer, serde_json::from_str::<Value>(value)?).facts().map(drop)),
        );
    }
    [cases, files(), large()].into_iter().flatten().collect()
}

fn refuse(plan: &'static str, name: &str) -> crate::case::Draft {
    case(format!("config-errors/{name}")).security(plan, format!("refused: {INVALID}"))
}

/// Write config.json with a value that need not be representable: its text goes in by a placeholder.
fn insert(t: &mut Trial, pointer: &str, value: &str) -> crate::verdict::Verdict {
    let text = t.set(pointer, "@value@").config.to_string().replace("\"@value@\"", value);
    Ok(fs::write(t.bundle().join("config.json"), text)?)
}

fn files() -> Vec<Case> {
    vec![
        refuse("A04", "trailing-garbage").run(|t| {
            fs::write(t.bundle().join("config.json"), format!("{} garbage", t.config))?;
            t.refused_as_is().map(drop)
        }),
        refuse("A05", "duplicate-key").run(|t| {
            let text = t.config.to_string();
            let twice = format!("{},\"process\":{}}}", &text[..text.len() - 1], t.config["process"]);
            fs::write(t.bundle().join("config.json"), twice)?;
            t.refused_as_is().map(drop)
        }),
        refuse("A82", "a-fifo").run(|t| {
            nix::unistd::mkfifo(&t.bundle().join("config.json"), nix::sys::stat::Mode::S_IRWXU)?;
            t.refused_as_is().map(drop)
        }),
        refuse("A83", "a-directory").run(|t| {
            fs::create_dir(t.bundle().join("config.json"))?;
            t.refused_as_is().map(drop)
        }),
        case("config-errors/content-is-not-echoed")
            .security(
                "A84",
                "a config.json that is a symlink to a file of the host: no content of it in the error",
            )
            .run(|t| {
                fs::write(t.work.join("secret"), "token-4711-of-the-host")?;
                symlink(t.work.join("secret"), t.bundle().join("config.json"))?;
                let stderr = t.refused_as_is()?;
                ensure!(!stderr.contains("4711"), "stderr has the content: {stderr}");
                Ok(())
            }),
        case("config-errors/message-has-a-path")
            .security("A06", "the message says where in config.json the mistake is")
            .run(|t| {
                let stderr = t.set("/process/args", "/spec-probe").refused()?;
                ensure!(stderr.contains("args"), "no path in: {stderr}");
                Ok(())
            }),
        case("config-errors/message-is-one-line")
            .security("A107", "a message stays one line, whatever the value contains")
            .run(|t| {
                let stderr = t.set("/mounts/0/type", "no\nsuch\u{1b}[31mtype").refused()?;
                let errors = stderr.lines().filter(|line| !line.trim().is_empty()).count();
                ensure!(errors == 1 && !stderr.contains('\u{1b}'), "stderr: {stderr:?}");
                Ok(())
            }),
        refuse("A92", "cgroups-path-climbs").run(|t| {
            let path = format!("/{}/../../..", t.id);
            t.set("/linux/cgroupsPath", path).refused().map(drop)
        }),
        refuse("A60", "hostname-without-uts-namespace").run(|t| t.drop_namespace("uts").refused().map(drop)),
        case("config-errors/no-mount-namespace")
            .security("A106", "mounts without a mount namespace never touch the caller's mounts")
            .run(|t| {
                let before = crate::leftovers::mounts();
                t.drop_namespace("mount");
                let code = t.try_create()?.code;
                ensure!(
                    crate::leftovers::mounts() == before,
                    "the caller's mount table has changed (create exited {code})"
                );
                Ok(())
            }),
        case("config-errors/linux-missing")
            .security(
                "A104",
                "no `linux`: refused, or a container without namespaces that touches no mount of the \
                 caller",
            )
            .run(|t| {
                let before = crate::leftovers::mounts();
                t.remove("/linux").try_create()?;
                ensure!(crate::leftovers::mounts() == before, "the caller's mount table has changed");
                Ok(())
            }),
    ]
}

fn large() -> Vec<Case> {
    vec![
        refuse("A80", "deeply-nested").run(|t| {
            let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            insert(t, "/annotations", &nested)?;
            t.refused_as_is().map(drop)
        }),
        refuse("A87", "env-of-3-mebibytes").run(|t| {
            t.set("/process/env", json!([format!("A={}", "x".repeat(3 << 20))]));
            // Refused at create, or the exec fails at start; never a container that runs.
            if t.try_create()?.code == 0 {
                t.start().ok();
                ensure!(t.wait()? != 0 && t.stdout().is_empty(), "the program ran");
            }
            Ok(())
        }),
        case("config-errors/unknown-keys-by-the-thousand")
            .security("A109", "a hundred thousand unknown keys are ignored")
            .run(|t| {
                let keys: serde_json::Map<String, Value> =
                    (0..100_000).map(|number| (format!("key{number}"), json!(1))).collect();
                t.set("/unknown", Value::Object(keys)).facts().map(drop)
            }),
        case("config-errors/changed-between-create-and-start")
            .security("A110", "start uses the config.json of create")
            .run(|t| {
                t.create()?;
                fs::write(t.bundle().join("config.json"), "no JSON any more")?;
                t.start()?;
                crate::verdict::equal("exit status", t.wait()?, 0)
            }),
    ]
}
