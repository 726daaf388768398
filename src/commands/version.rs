//! `--version`: the lines that dockerd and go-runc parse. No other line may hold the word.

use crate::container::state::OCI_VERSION;

/// Name and version, commit, version of the spec.
pub fn text() -> String {
    format!(
        "crust version {}\ncommit: {}\nspec: {OCI_VERSION}\nlibseccomp: {}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("CRUST_COMMIT").unwrap_or("unknown"),
        crate::sys::seccomp::library_version(),
    )
}
