//! What is compared: runtimes with runc's command line, and the floor.

use std::path::{Path, PathBuf};

use crate::bundle::Workshop;
use crate::view::View;
use crate::{Result, measure};

/// Something that makes containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Its name in the table.
    pub name: String,
    /// The program.
    pub path: PathBuf,
}

/// The name of what all ratios are to.
pub const FLOOR: &str = "floor";

impl Runtime {
    /// `NAME=PATH`
    pub fn parse(word: &str) -> Option<Self> {
        let (name, path) = word.split_once('=')?;
        Some(Self { name: name.into(), path: path.into() })
    }

    /// Whether it is the floor, which knows `run` and `exec` only.
    pub fn is_floor(&self) -> bool {
        self.name == FLOOR
    }

    /// A command line: the floor's own, or the verb of a runtime.
    fn verb(&self, shop: &Workshop, verb: &[&str]) -> Vec<String> {
        let mut line = vec![self.path.display().to_string(), "--root".into()];
        line.push(shop.root().join(&self.name).display().to_string());
        line.extend(verb.iter().map(|word| (*word).to_owned()));
        line
    }

    /// `run`, in the foreground.
    pub fn run(&self, shop: &Workshop, view: View, bundle: &Path, id: &str, binds: usize) -> Vec<String> {
        let (rootfs, sources) = (shop.rootfs().display().to_string(), shop.sources().display().to_string());
        let binds = binds.to_string();
        if self.is_floor() {
            let words = [&self.path.display().to_string(), "run", view.name(), &rootfs, id, &binds, &sources];
            return words.map(Into::into).to_vec();
        }
        self.verb(shop, &["run", "--bundle", &bundle.display().to_string(), id])
    }

    /// `exec` of a program that ends at once. `init` is for the floor.
    pub fn exec(&self, shop: &Workshop, view: View, id: &str, init: i32) -> Vec<String> {
        if self.is_floor() {
            let words = [&self.path.display().to_string(), "exec", view.name(), &init.to_string(), id];
            return words.map(Into::into).to_vec();
        }
        self.verb(shop, &["exec", id, "/bin/true"])
    }

    /// `create`, with the pid of init written to a file.
    pub fn create(&self, shop: &Workshop, bundle: &Path, id: &str, pid_file: &Path) -> Vec<String> {
        let (bundle, pid_file) = (bundle.display().to_string(), pid_file.display().to_string());
        self.verb(shop, &["create", "--bundle", &bundle, "--pid-file", &pid_file, id])
    }

    /// `start`, `state`.
    pub fn of(&self, shop: &Workshop, verb: &str, id: &str) -> Vec<String> {
        self.verb(shop, &[verb, id])
    }

    /// `delete --force`
    pub fn delete(&self, shop: &Workshop, id: &str) -> Vec<String> {
        self.verb(shop, &["delete", "--force", id])
    }

    /// `--version`
    pub fn version(&self) -> Vec<String> {
        vec![self.path.display().to_string(), "--version".into()]
    }

    /// A container that stays, and its init.
    pub fn keep(&self, shop: &Workshop, bundle: &Path, id: &str) -> Result<i32> {
        let pid_file = shop.file(&format!("{id}.pid"));
        measure::silently(&self.create(shop, bundle, id, &pid_file))?;
        measure::silently(&self.of(shop, "start", id))?;
        measure::pid_in(&pid_file)
    }
}
