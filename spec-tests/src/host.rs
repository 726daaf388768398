//! What this machine and the runtime offer, read once; and what a case may need of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::call;
use crate::cgroup::{self, Hierarchy};

/// A condition of a case; where it does not hold, the case is skipped with its reason.
#[derive(Clone, Debug)]
pub enum Need {
    /// A cgroup v1 hierarchy with this controller.
    CgroupV1(&'static str),
    /// A file of a v1 controller, present in the root of its hierarchy.
    CgroupV1File(&'static str, &'static str),
    /// The unified hierarchy as the only one, with this controller (or any, if empty).
    CgroupV2(&'static str),
    /// This controller, whatever the version.
    Controller(&'static str),
    /// A capability in the bounding set, by number.
    Capability(u32, &'static str),
    /// A kernel of this version at least, major and minor, for what came with it.
    Kernel(u32, u32, &'static str),
    /// A kernel that has this namespace type.
    Namespace(&'static str),
    /// A runtime that claims this minor version of spec 1.x.
    SpecVersion(u32),
    /// This file or directory of the host.
    File(&'static str),
    /// This program in `$PATH`.
    Program(&'static str),
    /// A runtime that has this command.
    Verb(&'static str),
    /// The absence of this file or directory.
    NoFile(&'static str),
    /// An ordinary user as the caller; where the runner is root, the case gives its rights up.
    OrdinaryUser,
    /// A v2 cgroup with this controller that belongs to the caller, who is an ordinary user.
    Delegated(&'static str),
}

/// The facts.
pub struct Host {
    /// The mounted cgroup hierarchies.
    pub hierarchies: Vec<Hierarchy>,
    bounding: u64,
    minor: u32,
    runtime: PathBuf,
}

impl Host {
    /// Read the facts.
    pub fn read(runtime: &Path) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        Self {
            hierarchies: cgroup::hierarchies(),
            bounding: bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0),
            minor: spec_minor(runtime).unwrap_or(0),
            runtime: runtime.into(),
        }
    }

    /// The unified hierarchy is the only one.
    pub fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(|hierarchy| hierarchy.unified)
    }

    /// Why a case with these needs cannot be decided here.
    pub fn lacks(&self, needs: &[Need]) -> Option<String> {
        needs.iter().find_map(|need| self.missing(need))
    }

    fn missing(&self, need: &Need) -> Option<String> {
        match need {
            Need::CgroupV1(controller) => {
                self.v1(controller).is_none().then(|| format!("no cgroup v1 hierarchy with {controller}"))
            }
            Need::CgroupV1File(controller, file) => {
                let there = self.v1(controller).is_some_and(|hierarchy| hierarchy.mount.join(file).exists());
                (!there).then(|| format!("this kernel has no cgroup v1 file {file}"))
            }
            Need::CgroupV2(controller) => {
                let there = self.is_unified() && self.unified_has(controller);
                (!there).then(|| {
                    format!(
                        "no pure cgroup v2 with {}",
                        if controller.is_empty() { "it" } else { controller }
                    )
                })
            }
            Need::Controller(controller) => {
                let there =
                    self.v1(controller).is_some() || self.is_unified() && self.unified_has(controller);
                (!there).then(|| format!("no cgroup controller {controller}"))
            }
            Need::Capability(number, name) => {
                (self.bounding & (1 << number) == 0).then(|| format!("{name} is not in the bounding set"))
            }
            Need::Kernel(major, minor, what) => (kernel_version() < (*major, *minor))
                .then(|| format!("{what} came with Linux {major}.{minor}")),
            Need::Namespace(kind) => {
                (!Path::new("/proc/self/ns").join(kind).exists()).then(|| format!("no {kind} namespaces"))
            }
            Need::SpecVersion(minor) => (self.minor < *minor)
                .then(|| format!("the runtime implements spec 1.{}, this is of 1.{minor}", self.minor)),
            Need::Verb(verb) => (!self.has_verb(verb)).then(|| format!("the runtime has no {verb}")),
            Need::File(path) => (!Path::new(path).exists()).then(|| format!("no {path}")),
            Need::Program(name) => (!in_path(name)).then(|| format!("no program {name}")),
            Need::NoFile(path) => Path::new(path).exists().then(|| format!("there is {path}")),
            Need::OrdinaryUser => None,
            Need::Delegated(controller) => {
                let controllers = self.delegated().map(|path| call::text(&path.join("cgroup.controllers")));
                let there =
                    controllers.is_some_and(|text| text.split_whitespace().any(|word| word == *controller));
                (!there).then(|| format!("no cgroup with {controller} is delegated to an ordinary user"))
            }
        }
    }

    /// The cgroup around our own, if it is v2's and belongs to an ordinary user who calls. Controllers can be enabled
    /// for its children, since no process is in it.
    pub fn delegated(&self) -> Option<PathBuf> {
        let user = nix::unistd::geteuid();
        let unified = self.hierarchies.iter().find(|hierarchy| hierarchy.unified)?;
        let text = call::text(Path::new("/proc/self/cgroup"));
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let parent = unified.mount.join(own).parent()?.to_owned();
        let ours = fs::metadata(&parent).is_ok_and(|metadata| metadata.uid() == user.as_raw());
        (self.is_unified() && !user.is_root() && ours).then_some(parent)
    }

    fn has_verb(&self, verb: &str) -> bool {
        let help = Command::new(&self.runtime).args([verb, "--help"]).output();
        help.is_ok_and(|output| output.status.success())
    }

    fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }

    fn unified_has(&self, controller: &str) -> bool {
        // Devices have no controller of their own in v2: the runtime attaches a program.
        let unified = self.hierarchies.iter().find(|hierarchy| hierarchy.unified);
        let words =
            unified.and_then(|hierarchy| fs::read_to_string(hierarchy.mount.join("cgroup.controllers")).ok());
        let words = words.unwrap_or_default();
        let controller = if controller == "blkio" { "io" } else { controller };
        ["", "devices"].contains(&controller) || words.split_whitespace().any(|word| word == controller)
    }
}

fn kernel_version() -> (u32, u32) {
    let text = call::text(Path::new("/proc/sys/kernel/osrelease"));
    let mut numbers = text.split(['.', '-']).map_while(|word| word.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// The minor version of the line `spec: 1.x.y` of `--version`.
fn spec_minor(runtime: &Path) -> Option<u32> {
    let output = Command::new(runtime).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().find_map(|line| line.strip_prefix("spec:"))?;
    version.trim().split('.').nth(1)?.parse().ok()
}
