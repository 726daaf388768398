//! Programs that cannot be run, and how the runtime tells.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::case::{Case, case};
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

/// The text that engines look for, and so the exit status that they show.
const NOT_FOUND: &[&str] = &["executable file not found in $PATH", "no such file or directory"];
const DENIED: &[&str] = &["permission denied", "Permission denied"];

/// Case, name, program, what is made first, and the texts of a refusal at create.
type Row = (&'static str, &'static str, &'static str, fn(&Trial) -> Verdict, &'static [&'static str]);

fn nothing(_: &Trial) -> Verdict {
    Ok(())
}

fn file(t: &Trial, bytes: &[u8], mode: u32) -> Verdict {
    let path = t.rootfs().join("program");
    fs::write(&path, bytes)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Programs that are missing or may not be executed: refused at create.
const AT_CREATE: &[Row] = &[
    ("E01", "missing-absolute", "/nope", nothing, NOT_FOUND),
    ("E02", "missing-in-path", "nope", nothing, NOT_FOUND),
    ("E03", "not-executable", "/program", |t| file(t, b"x", 0o644), DENIED),
    ("E04", "a-directory", "/etc", nothing, DENIED),
    (
        "E10",
        "symlink-loop",
        "/loop",
        |t| Ok(symlink("loop", t.rootfs().join("loop"))?),
        &["too many levels of symbolic links", "no such file", "symbolic link"],
    ),
    ("E10", "dangling-symlink", "/link", |t| Ok(symlink("nowhere", t.rootfs().join("link"))?), NOT_FOUND),
    ("E11", "empty-name", "", nothing, &["", "empty"]),
    ("E02", "relative-missing", "./nope", nothing, NOT_FOUND),
];

/// Programs that only execve(2) can judge: the program must not run, and the container must end, not hang.
const AT_START: &[Row] = &[
    ("E05", "bad-interpreter", "/program", |t| file(t, b"#!/no/such/interpreter\n", 0o755), &[]),
    ("E06", "text-without-shebang", "/program", |t| file(t, b"echo hello\n", 0o755), &[]),
    ("E07", "garbage", "/program", |t| file(t, b"\x00\x01\x02\x03garbage", 0o755), &[]),
    ("E08", "empty-file", "/program", |t| file(t, b"", 0o755), &[]),
    ("E09", "wrong-architecture", "/program", |t| file(t, &foreign_elf(), 0o755), &[]),
    ("E09", "truncated-elf", "/program", |t| file(t, b"\x7fELF\x02\x01\x01", 0o755), &[]),
];

/// An ELF header of a machine that nobody has.
fn foreign_elf() -> Vec<u8> {
    let mut bytes = vec![0_u8; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16] = 2;
    bytes[18] = 0xfe;
    bytes[19] = 0xca;
    bytes
}

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for &(plan, name, program, prepare, texts) in AT_CREATE {
        cases.push(
            case(format!("programs/{name}"))
                .security(plan, "create refuses, with the text that engines look for")
                .run(move |t| {
                    prepare(t)?;
                    let stderr = t.set("/process/args", json!([program])).refused()?;
                    ensure!(
                        texts.iter().any(|text| stderr.contains(text)),
                        "stderr has none of {texts:?}: {stderr}"
                    );
                    Ok(())
                }),
        );
        cases.push(
            case(format!("programs/run-{name}"))
                .security(plan, "run exits not with 0, and leaves nothing")
                .run(move |t| {
                    prepare(t)?;
                    t.set("/process/args", json!([program])).write_config()?;
                    let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                    t.call(&["run", "--bundle", &bundle, &id])?.refused()?;
                    t.nothing_left("after run")
                }),
        );
    }
    for &(plan, name, program, prepare, _) in AT_START {
        cases.push(
            case(format!("programs/{name}"))
                .security(plan, "the program does not run, and is not given to a shell")
                .run(move |t| {
                    prepare(t)?;
                    t.set("/process/args", json!([program]));
                    if t.try_create()?.code != 0 {
                        return t.nothing_left("after the refusal");
                    }
                    t.start().ok();
                    ensure!(t.wait()? != 0, "the program ended well");
                    equal("output", t.stdout().as_str(), "")?;
                    equal("status", t.status()?, "stopped")
                }),
        );
        cases.push(
            case(format!("programs/start-reports-{name}"))
                .security(plan, "start reports that the program cannot be executed")
                .run(move |t| {
                    prepare(t)?;
                    t.set("/process/args", json!([program]));
                    if t.try_create()?.code != 0 {
                        return t.nothing_left("after the refusal");
                    }
                    t.verb("start")?.refused().map(drop)
                }),
        );
    }
    [cases, good(), exits()].into_iter().flatten().collect()
}

fn good() -> Vec<Case> {
    vec![
        case("programs/script-with-interpreter").runc("a script runs by its interpreter").run(|t| {
            file(t, b"#!/spec-probe exit:5\n", 0o755)?;
            t.set("/process/args", json!(["/program"])).create()?;
            t.start()?;
            equal("exit status", t.wait()?, 5)
        }),
        case("programs/relative-to-cwd")
            .security("E12", "./program and bin/program are relative to the cwd")
            .run(|t| {
                fs::copy(&t.probe, t.rootfs().join("bin/program"))?;
                for program in ["./bin/program", "bin/program"] {
                    t.set("/process/args", json!([program])).facts()?;
                    t.verb("delete")?.succeeded()?;
                }
                Ok(())
            }),
        case("programs/noexec-mount").security("E14", "a program on a noexec mount is refused").run(|t| {
            fs::create_dir(t.work.join("volume"))?;
            fs::copy(&t.probe, t.work.join("volume/program"))?;
            let source = t.path("volume");
            t.bind(&source, "/tmp", &["bind", "noexec"]);
            t.set("/process/args", json!(["/tmp/program"]));
            let stderr = t.refused()?;
            ensure!(stderr.contains("permission denied"), "stderr: {stderr}");
            Ok(())
        }),
        case("programs/of-another-user-with-the-right-to-pass-over")
            .runc("a program that CAP_DAC_OVERRIDE lets the container's user execute is executed")
            .run(|t| {
                let probe = t.rootfs().join(&crate::bundle::PROBE[1..]);
                fs::set_permissions(probe, fs::Permissions::from_mode(0o700))?;
                t.set("/process/user/uid", 1000);
                for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
                    t.set(&format!("/process/capabilities/{set}"), json!(["CAP_DAC_OVERRIDE"]));
                }
                t.facts().map(drop)
            }),
        case("programs/of-another-user-only")
            .security("E14", "a program that the container's user may not execute is refused")
            .run(|t| {
                file(t, b"x", 0o700)?;
                t.set("/process/args", json!(["/program"]))
                    .set("/process/user/uid", 1000)
                    .remove("/process/capabilities");
                let stderr = t.refused()?;
                ensure!(stderr.contains("permission denied"), "stderr: {stderr}");
                Ok(())
            }),
    ]
}

fn exits() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, argument, want) in [
        ("0", "exit:0", 0),
        ("1", "exit:1", 1),
        ("255", "exit:255", 255),
        ("term", "raise:15", 143),
        ("kill", "raise:9", 137),
        ("abort", "raise:6", 134),
    ] {
        cases.push(
            case(format!("programs/run-exit-{name}"))
                .runc("run returns the exit status, or 128 and the signal")
                .run(move |t| {
                    t.probe(&[argument]);
                    // The first process of a pid namespace is deaf to its own signals.
                    t.drop_namespace("pid").write_config()?;
                    let (bundle, id) = (t.bundle().display().to_string(), t.id.clone());
                    let answer = t.call(&["run", "--bundle", &bundle, &id])?;
                    ensure!(answer.code == want, "{answer}, want {want}");
                    t.nothing_left("after run")
                }),
        );
    }
    cases
}
