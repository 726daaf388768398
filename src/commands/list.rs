//! `list` — the containers of a runtime root.

use serde_json::{Value, json};

use crate::cli::{Global, List, ListFormat};
use crate::commands::{print, runtime_root, state};
use crate::container::Container;
use crate::container::dir::{Dir, RuntimeRoot};
use crate::container::id::ContainerId;
use crate::error::Error;
use crate::log;
use crate::sys::credentials;

/// `list`
pub fn run(global: &Global, command: &List) -> Result<(), Error> {
    let Some(root) = runtime_root::find(global)? else {
        return print(if command.format == ListFormat::Json { "null\n" } else { "" });
    };
    let mut ids = root.ids()?;
    if command.quiet {
        ids.retain(|id| {
            Dir::open(&root, id).and_then(|dir| dir.read("state.json")).is_ok_and(|state| state.is_some())
        });
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    // A container that is being made or deleted, or whose files are damaged, does not hide the others.
    let states: Vec<Value> = ids.into_iter().filter_map(|id| entry(&root, id)).collect();
    match command.format {
        ListFormat::Json if states.is_empty() => print("null\n"),
        ListFormat::Json => print(&format!("{}\n", Value::Array(states))),
        ListFormat::Table => print(&table(&states)),
    }
}

fn entry(root: &RuntimeRoot, id: ContainerId) -> Option<Value> {
    let loaded = Dir::open(root, &id).and_then(|dir| Container::load(id, dir));
    let described = loaded.and_then(|container| {
        let mut document = state::document(&container)?;
        let owner = container.state.owner;
        document["owner"] = json!(credentials::user_name(owner).unwrap_or_else(|| format!("#{owner}")));
        Ok(document)
    });
    described.inspect_err(|error| log::warn(&error.to_string())).ok()
}

/// Columns as wide as their widest cell, three spaces apart, as runc prints them.
fn table(states: &[Value]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from);
    let text = |state: &Value, key: &str| match &state[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = |state| ["id", "pid", "status", "bundle", "created", "owner"].map(|key| text(state, key));
    let rows: Vec<_> = std::iter::once(header).chain(states.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(9) + 3;
    let widths: Vec<_> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let state = json!({"id": "a-rather-long-id", "pid": 7, "status": "running", "bundle": "/b", "created": "now", "owner": "root"});
        let table = table(&[state]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0].find("PID"), lines[1].find('7'));
        assert_eq!(lines.len(), 2);
    }
}
