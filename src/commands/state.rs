//! `state` — print what a container is and does.

use serde_json::{Value, json};

use crate::cli::Global;
use crate::commands::{print, runtime_root};
use crate::container::Container;
use crate::error::Error;

/// `state`
pub fn run(global: &Global, id: &str) -> Result<(), Error> {
    let (id, dir) = runtime_root::container(global, id)?;
    let document = document(&Container::load(id, dir)?)?;
    let text = serde_json::to_string_pretty(&document).map_err(|e| Error::message(e.to_string()))?;
    print(&text)
}

/// The spec's state, and what runc adds to it and callers read.
pub fn document(container: &Container) -> Result<Value, Error> {
    let status = container.observe()?;
    let mut document = container.state.document(status, container.pid(status));
    document["rootfs"] = json!(container.state.rootfs);
    document["created"] = json!(container.state.created);
    document["owner"] = json!("");
    Ok(document)
}
