//! `annotations` — what callers attach to a container; kept, and shown by `state`.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#annotations>

use std::collections::{BTreeMap, HashMap};

use crate::error::Problems;

/// Sorted, so that what is printed is the same each time.
pub type Annotations = BTreeMap<String, String>;

/// "Keys MUST NOT be an empty string." Unknown ones are kept without a meaning.
pub fn parse(annotations: Option<&HashMap<String, String>>) -> Result<Annotations, Problems> {
    let Some(annotations) = annotations else { return Ok(Annotations::new()) };
    if annotations.contains_key("") {
        return Err(Problems::one("annotations", "a key must not be empty"));
    }
    Ok(annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}
