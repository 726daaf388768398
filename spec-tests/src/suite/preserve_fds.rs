//! runc's --preserve-fds, and the descriptors that a caller leaks.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::case::{Case, case};
use crate::trial::Trial;
use crate::verdict::{Verdict, equal};

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    vec![
        case("cli/preserve-fds").runc("--preserve-fds 2 passes 3 and 4 on, at the same numbers").run(|t| {
            let facts = with_open_files(t, "--preserve-fds 2", "3<one 4<two 5<three 7<four")?;
            let open = facts["descriptors"].as_object().cloned().unwrap_or_default();
            equal("numbers", open.keys().collect::<Vec<_>>(), vec!["0", "1", "2", "3", "4"])?;
            ensure!(open["3"].as_str().unwrap_or_default().ends_with("/one"), "3 is {}", open["3"]);
            ensure!(open["4"].as_str().unwrap_or_default().ends_with("/two"), "4 is {}", open["4"]);
            Ok(())
        }),
        case("cli/leaked-descriptors-are-closed")
            .runc("descriptors of the caller do not reach the container (the shim leaks one)")
            .run(|t| {
                let facts = with_open_files(t, "", "3<one 4<two 9<three")?;
                let numbers: Vec<String> = facts["descriptors"]
                    .as_object()
                    .map(|open| open.keys().cloned().collect())
                    .unwrap_or_default();
                equal("numbers", numbers, vec!["0", "1", "2"])
            }),
        case("cli/preserve-fds-missing")
            .runc("--preserve-fds with a descriptor that is not open is refused")
            .run(|t| {
                ensure!(with_open_files(t, "--preserve-fds 3", "3<one").is_err(), "create succeeded");
                t.nothing_left("after the refusal")
            }),
    ]
}

/// Create through a shell that opens files at given numbers.
fn with_open_files(t: &mut Trial, option: &str, redirections: &str) -> Verdict<Value> {
    for name in ["one", "two", "three", "four"] {
        fs::write(t.work.join(name), name)?;
    }
    t.write_config()?;
    let (bundle, pid_file) = (t.bundle().display().to_string(), t.path("pid"));
    let root = t.runtime_root().display().to_string();
    let line = format!(
        "exec {} --root {root} create --bundle {bundle} --pid-file {pid_file} {option} {} \
         {redirections}",
        t.program.display(),
        t.id
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(&t.work);
    t.execute_with(command, &t.container_streams())?.succeeded()?;
    t.start()?;
    t.wait()?;
    Ok(serde_json::from_str(&t.stdout())?)
}
