//! Any bytes as a config.json: a plan, or problems that fit on a line.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use crust::bundle::Bundle;
use crust::cli::Rootless;
use crust::config::Plan;
use crust::host::Host;
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<Host> = LazyLock::new(|| Host::read(Rootless::Auto).expect("a host"));

fn one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "a line with control characters: {text:?}");
}

fuzz_target!(|bytes: &[u8]| {
    match Bundle::pinned(PathBuf::from("/bundle"), bytes.to_vec()) {
        Err(error) => one_line(&error.to_string()),
        Ok(bundle) => {
            bundle.warnings.iter().for_each(|warning| one_line(warning));
            if let Err(problems) = Plan::new(&bundle.spec, &bundle.path, bundle.problems, &HOST) {
                problems.to_string().lines().for_each(one_line);
            }
        }
    }
});
