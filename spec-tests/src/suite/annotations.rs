//! config.md: annotations, and those that callers of other runtimes send.

use std::fs;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::host::Need;
use crate::trial::{Trial, is};
use crate::verdict::{Verdict, equal};

const UNKNOWN: &str = "Implementations that are reading/processing this configuration file MUST NOT generate an error if \
    they encounter an unknown annotation key.";
const LEAVE: &str = "no annotation weakens isolation without the leave of the host's administrator";

/// What the administrator of a host with crust writes; here the case mounts its own over it.
const ALLOWED: &str = "/etc/crust/annotations";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("annotations/unknown").spec(UNKNOWN).run(|t| {
            t.set("/annotations", json!({ "com.example.unknown": "x", "krun.cpus": "7" })).facts().map(drop)
        }),
        case("annotations/ignored").runc("What names a thing that crust does not have changes nothing").run(|t| {
            let annotations = json!({
                "run.oci.systemd.subgroup": "/../..", "run.oci.delegate-cgroup": "x", "org.criu.config": "/etc/shadow",
                "run.oci.handler": "wasm", "bundle": "/",
            });
            t.set("/annotations", annotations).facts().map(drop)
        }),
    ];
    for (name, key) in [
        ("keep-groups", "run.oci.keep_original_groups"),
        ("hooks-stdout", "run.oci.hooks.stdout"),
        ("hooks-stderr", "run.oci.hooks.stderr"),
    ] {
        cases.push(crust(&format!("{name}-takes-leave")).security("R27", LEAVE).run(move |t| {
            let output = t.path("output");
            nix::unistd::setgroups(&[4242.into()])?;
            t.set("/annotations", json!({ key: if name == "keep-groups" { "1" } else { &output } }));
            t.set(
                "/hooks/prestart",
                json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo x; echo x >&2"] }]),
            );
            t.set("/process/user/additionalGids", json!([5]));
            t.probe::<&str>(&[]).write_config()?;
            let (bundle, log, id) = (t.bundle().display().to_string(), t.path("log"), t.id.clone());
            let pid_file = t.path("pid");
            let words = ["--log", &log, "create", "--bundle", &bundle, "--pid-file", &pid_file, &id];
            let command = t.command(&words);
            t.execute_with(command, &t.container_streams())?.succeeded()?;
            let log = crate::call::text(log.as_ref());
            ensure!(log.contains(key) && log.contains(ALLOWED), "what is missing? {log}");
            t.start()?;
            t.wait()?;
            is(&t.told()?, "/groups", json!([5]))?;
            ensure!(!fs::exists(&output)?, "the output went to {output}");
            Ok(())
        }));
    }
    cases.extend([
        crust("conflicts-takes-leave").security("R27", LEAVE).run(|t| {
            let key = "org.systemd.property.Conflicts";
            let stderr = t.set("/annotations", json!({ key: "['sshd.service']" })).refused()?;
            ensure!(stderr.contains(key) && stderr.contains(ALLOWED), "what is missing? {stderr}");
            Ok(())
        }),
        crust("keep-groups").runc("crun's run.oci.keep_original_groups leaves the caller's groups").run(|t| {
            allow(t, "# podman --group-add keep-groups\nrun.oci.keep_original_groups\n")?;
            nix::unistd::setgroups(&[7.into(), 4242.into()])?;
            t.set("/annotations", json!({ "run.oci.keep_original_groups": "1" }))
                .set("/process/user/additionalGids", json!([5]));
            is(&t.running::<&str>(&[])?, "/groups", json!([7, 4242]))?;
            is(&super::exec::facts(t, &[], &[])?, "/groups", json!([7, 4242]))
        }),
        crust("hooks-output").runc("crun's run.oci.hooks.stdout and stderr append to files").run(|t| {
            allow(t, "run.oci.hooks.stdout\nrun.oci.hooks.stderr\n")?;
            let (stdout, stderr) = (t.path("hooks-stdout"), t.path("hooks-stderr"));
            t.set("/annotations", json!({ "run.oci.hooks.stdout": stdout, "run.oci.hooks.stderr": stderr }));
            for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                let script = format!("echo {kind}; echo not-{kind} >&2");
                t.set(&format!("/hooks/{kind}"), json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]));
            }
            t.facts()?;
            t.verb("delete")?.succeeded()?;
            let lines = fs::read_to_string(&stdout)?;
            equal("stdout", lines.as_str(), "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n")?;
            equal("lines of stderr", fs::read_to_string(&stderr)?.lines().count(), 5)
        }),
        crust("allowed-by-anybody").security("R27", LEAVE).run(|t| {
            allow(t, "run.oci.keep_original_groups\n")?;
            std::os::unix::fs::chown(ALLOWED, Some(1000), None)?;
            t.set("/annotations", json!({ "run.oci.keep_original_groups": "1" })).refused().map(drop)
        }),
        crust("mount-context-type").security("R27", "only an option that labels can be asked for").run(|t| {
            t.set("/annotations", json!({ "run.oci.mount_context_type": "suid,context" })).refused().map(drop)
        }),
        crust("listed").spec(
            "**`potentiallyUnsafeConfigAnnotations`** (array of strings, OPTIONAL) contains values of `annotations` \
             property of `config.json` that may potentially change the behavior of the runtime.",
        )
        .run(|t| {
            let features: Value = serde_json::from_str(&t.call(&["features"])?.succeeded()?.stdout)?;
            let listed = features["potentiallyUnsafeConfigAnnotations"].as_array().cloned().unwrap_or_default();
            for key in [
                "org.systemd.property.",
                "run.oci.hooks.stdout",
                "run.oci.hooks.stderr",
                "run.oci.keep_original_groups",
                "run.oci.mount_context_type",
            ] {
                ensure!(listed.contains(&json!(key)), "{key} is not listed: {listed:?}");
            }
            Ok(())
        }),
    ]);
    cases
}

/// Decided by crust: other runtimes have other files, or none.
fn crust(name: &str) -> crate::case::Draft {
    case(format!("annotations/{name}")).needs(Need::SpecVersion(3)).needs(Need::NoFile(ALLOWED))
}

/// A tmpfs over /etc/crust, in the mount namespace of this case, with the administrator's file.
fn allow(t: &mut Trial, text: &str) -> Verdict {
    let upper = t.path("etc");
    fs::create_dir_all(&upper)?;
    for entry in fs::read_dir("/etc")? {
        let entry = entry?;
        let target = std::path::Path::new(&upper).join(entry.file_name());
        std::os::unix::fs::symlink(std::path::Path::new("/proc/1/root/etc").join(entry.file_name()), target)?;
    }
    fs::create_dir(format!("{upper}/crust"))?;
    fs::write(format!("{upper}/crust/annotations"), text)?;
    let none = None::<&str>;
    nix::mount::mount(Some(upper.as_str()), "/etc", none, nix::mount::MsFlags::MS_BIND, none)?;
    t.accept_mounts();
    Ok(())
}
