//! Facts about the machine, read once and only read.

pub mod caller;

use caller::Caller;

use crate::cgroup::hierarchy::{Driver, Hierarchy};
use crate::cli::Rootless;
use crate::error::{At, Error};
use crate::sys::file::{self, OFlag};
use crate::sys::{self, Errno, capability, credentials, proc};

/// What `Plan::new` needs to know of the machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// The effective user id of this process, in its user namespace.
    pub euid: u32,
    /// Whether this process is in a user namespace that is not the initial one.
    pub in_user_namespace: bool,
    /// The user namespace of this process denies `setgroups(2)`.
    pub setgroups_denied: bool,
    /// The caller, unless he is root here.
    pub caller: Option<Caller>,
    /// What needs the rights of the machine's root may be left out: limits that nobody asked for (`--rootless`).
    pub rootless: bool,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The capabilities that can be granted: our bounding set, as a bit mask.
    pub bounding: u64,
    /// Our ambient capabilities, as a bit mask.
    pub ambient: u64,
    /// The signals that we ignore, since our caller does or we ourselves: bit 0 is signal 1.
    pub ignored_signals: u64,
    /// The number of the last capability that the kernel has.
    pub last_capability: Fact<u8>,
    /// AppArmor is enabled.
    pub apparmor: Fact,
    /// SELinux is enabled.
    pub selinux: Fact,
    /// Which cgroup directories there are.
    pub hierarchy: Hierarchy,
    /// Who is asked for new ones.
    pub driver: Driver,
    /// The annotations that the administrator allows, of those that need it. Read where a config has one of them.
    pub allowed_annotations: Vec<String>,
}

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// A fact that few configs ask for: it is looked up when one does.
#[derive(Clone, Copy, Debug)]
pub enum Fact<T = bool> {
    /// It is known.
    Known(T),
    /// This tells, and changes nothing.
    Ask(fn() -> T),
}

impl<T> Fact<T> {
    /// What is so.
    pub fn get(self) -> T {
        match self {
            Self::Known(fact) => fact,
            Self::Ask(fact) => fact(),
        }
    }
}

impl Fact {
    /// Whether it is so.
    pub fn holds(self) -> bool {
        self.get()
    }
}

fn exists(path: &str) -> bool {
    file::open_path(file::here(), path, OFlag::empty()).is_ok()
}

/// A file that the policy does not let us look at is there.
fn is_selinux_enabled() -> bool {
    match file::open_path(file::here(), "/sys/fs/selinux/enforce", OFlag::empty()) {
        Ok(_) => true,
        Err(error) => !matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR),
    }
}

fn is_apparmor_enabled() -> bool {
    // Inside of a container there is often no securityfs.
    let says_yes = |path: &str| file::read_text(file::here(), path).is_ok_and(|text| text.starts_with('Y'));
    exists("/sys/kernel/security/apparmor") || says_yes("/sys/module/apparmor/parameters/enabled")
}

impl Host {
    /// Read the facts. Changes nothing.
    pub fn read(rootless: Rootless) -> Result<Self, Error> {
        Ok(Self { hierarchy: Hierarchy::read()?, ..Self::read_without_cgroups(rootless)? })
    }

    /// The same for who makes no cgroup.
    pub fn read_without_cgroups(rootless: Rootless) -> Result<Self, Error> {
        let here = "host";
        let euid = credentials::effective_user();
        let status = proc::own_status().at(here)?;
        let in_user_namespace = proc::in_user_namespace().at(here)?;
        let kernel = proc::kernel_version().at(here)?;
        // Some calls are refused to who may not mount as if they were not there.
        let may_mount = euid == 0 && !in_user_namespace && status.bounding & CAP_SYS_ADMIN != 0;
        if status.unfiltered && may_mount {
            sys::has_all_calls_until(kernel);
        }
        Ok(Self {
            euid,
            in_user_namespace,
            setgroups_denied: in_user_namespace && proc::setgroups_denied().at(here)?,
            caller: (euid != 0).then(Caller::read),
            rootless: match rootless {
                Rootless::Auto => euid != 0 || in_user_namespace,
                Rootless::True => true,
                Rootless::False => false,
            },
            kernel,
            bounding: status.bounding,
            ambient: status.ambient,
            ignored_signals: status.ignored_signals,
            // One that cannot be dropped is said when that is tried.
            last_capability: Fact::Ask(|| capability::last_capability(0).unwrap_or(63)),
            apparmor: Fact::Ask(is_apparmor_enabled),
            selinux: Fact::Ask(is_selinux_enabled),
            hierarchy: Hierarchy::None,
            driver: Driver::default(),
            allowed_annotations: Vec::new(),
        })
    }

    /// Whether nothing that is done here takes a right of the machine's root.
    pub fn has_only_a_users_rights(&self) -> bool {
        self.euid != 0 || self.in_user_namespace
    }
}
