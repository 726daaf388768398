//! What a case writes into its config.json.

use std::fs;

use serde_json::{Value, json};

use super::Trial;
use crate::bundle::{self, PROBE};
use crate::verdict::Verdict;

impl Trial {
    /// Set a value of config.json.
    pub fn set(&mut self, pointer: &str, value: impl Into<Value>) -> &mut Self {
        bundle::set(&mut self.config, pointer, value.into());
        self
    }

    /// Append a value to an array of config.json.
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Self {
        self.set(&format!("{pointer}/-"), value)
    }

    /// Remove a value of config.json.
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        bundle::remove(&mut self.config, pointer);
        self
    }

    /// Let the container run the probe with these arguments.
    pub fn probe<S: AsRef<str>>(&mut self, arguments: &[S]) -> &mut Self {
        let arguments = arguments.iter().map(AsRef::as_ref);
        let all: Vec<&str> = std::iter::once(PROBE).chain(arguments).collect();
        self.set("/process/args", json!(all))
    }

    /// Add a namespace of the runtime's making, or to join.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        self.drop_namespace(kind);
        let entry =
            path.map_or_else(|| json!({ "type": kind }), |path| json!({ "type": kind, "path": path }));
        self.push("/linux/namespaces", entry)
    }

    /// Add a bind mount.
    pub fn bind(&mut self, source: &str, destination: &str, options: &[&str]) -> &mut Self {
        let entry =
            json!({ "destination": destination, "type": "none", "source": source, "options": options });
        self.push("/mounts", entry)
    }

    /// Add a mount of a new tmpfs.
    pub fn tmpfs(&mut self, destination: &str, options: &[&str]) -> &mut Self {
        let entry =
            json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options });
        self.push("/mounts", entry)
    }

    /// Take a namespace out of the list.
    pub fn drop_namespace(&mut self, kind: &str) -> &mut Self {
        if let Some(list) = self.config["linux"]["namespaces"].as_array_mut() {
            list.retain(|entry| entry["type"] != kind);
        }
        self
    }

    /// Write config.json.
    pub fn write_config(&self) -> Verdict {
        Ok(fs::write(self.bundle().join("config.json"), self.config.to_string())?)
    }
}
