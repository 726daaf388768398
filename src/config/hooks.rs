//! `hooks` — programs that run at points of the container's life.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#posix-platform-hooks>

mod running;

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::running::{End, Running};
use crate::config::annotations::HookOutput;
use crate::error::{At, Error, Field, Problems, printable};
use crate::sys::process::Exit;
use crate::sys::spawn::{Program, spawn};
use crate::sys::{self, Errno, file, pipe};

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `prestart`: during create, in the runtime namespace, before `createRuntime`.
    Prestart,
    /// `createRuntime`: during create, in the runtime namespace.
    CreateRuntime,
    /// `createContainer`: during create, in the container namespace, with paths of the runtime's file system.
    CreateContainer,
    /// `startContainer`: during start, in the container.
    StartContainer,
    /// `poststart`: after the container process was started.
    Poststart,
    /// `poststop`: after the container was deleted.
    Poststop,
}

impl Kind {
    /// All, in the order in which they run.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// The word of config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// Where the hooks of this kind stand in config.json.
    pub fn field(self) -> Field {
        Field::new("hooks").key(self.name())
    }
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    path: PathBuf,
    /// All arguments, `argv[0]` included; empty means the path alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    /// `None` is the runtime's own environment, as runc and crun have it: hooks of network and GPU vendors look for
    /// their tools in its `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
}

/// All hooks of a container. Those that run after `create` are kept in the state file in this form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// `hooks.prestart`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// `hooks.createRuntime`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// `hooks.createContainer`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// `hooks.startContainer`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// `hooks.poststart`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// `hooks.poststop`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// Where they write to; `startContainer` hooks are the container's, and write to us.
    #[serde(skip_serializing_if = "HookOutput::is_ours")]
    pub output: HookOutput,
}

impl Hooks {
    /// Check the hooks of a config.
    pub fn parse(spec: Option<&oci_spec::runtime::Hooks>) -> Result<Self, Problems> {
        let mut hooks = Self::default();
        let mut problems = Problems::default();
        let Some(spec) = spec else { return Ok(hooks) };
        for kind in Kind::ALL {
            let listed = in_spec(spec, kind).iter().flatten().enumerate();
            let parsed =
                listed.filter_map(|(i, hook)| problems.keep(Hook::parse(hook, &kind.field().index(i))));
            *hooks.of_mut(kind) = parsed.collect();
        }
        problems.or(hooks)
    }

    /// The hooks of one kind, in the order in which they run.
    pub fn of(&self, kind: Kind) -> &[Hook] {
        match kind {
            Kind::Prestart => &self.prestart,
            Kind::CreateRuntime => &self.create_runtime,
            Kind::CreateContainer => &self.create_container,
            Kind::StartContainer => &self.start_container,
            Kind::Poststart => &self.poststart,
            Kind::Poststop => &self.poststop,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Vec<Hook> {
        match kind {
            Kind::Prestart => &mut self.prestart,
            Kind::CreateRuntime => &mut self.create_runtime,
            Kind::CreateContainer => &mut self.create_container,
            Kind::StartContainer => &mut self.start_container,
            Kind::Poststart => &mut self.poststart,
            Kind::Poststop => &mut self.poststop,
        }
    }

    /// Run the hooks of one kind in their order, and stop at the first that fails. Each gets the state on its standard
    /// input; a hook without `env` gets the environment that this process has.
    pub fn run(&self, kind: Kind, state: &[u8], cwd: Option<&Path>) -> Result<(), Error> {
        let surroundings = Surroundings { state, cwd, env: None, output: &self.output };
        self.each(kind, &surroundings).collect()
    }

    /// Run the `startContainer` hooks, in init. They are programs of the container, so one without `env` gets that of
    /// the container process: the runtime's own may hold what the container must not see.
    pub fn run_in_container(&self, state: &[u8], env: &[String]) -> Result<(), Error> {
        let output = &HookOutput::default();
        let surroundings = Surroundings { state, cwd: None, env: Some(env), output };
        self.each(Kind::StartContainer, &surroundings).collect()
    }

    /// Run every hook of one kind, even after one has failed, and tell of all failures: what the spec wants of
    /// `poststop`, whose failures are warnings.
    pub fn run_all(&self, kind: Kind, state: &[u8], cwd: Option<&Path>) -> Vec<Error> {
        let surroundings = Surroundings { state, cwd, env: None, output: &self.output };
        self.each(kind, &surroundings).filter_map(Result::err).collect()
    }

    fn each<'a>(
        &'a self,
        kind: Kind,
        surroundings: &'a Surroundings,
    ) -> impl Iterator<Item = Result<(), Error>> + 'a {
        let hooks = self.of(kind).iter().enumerate();
        hooks.map(move |(i, hook)| hook.run(&kind.field().index(i), surroundings))
    }
}

/// What a hook gets that its section does not say.
struct Surroundings<'a> {
    state: &'a [u8],
    cwd: Option<&'a Path>,
    /// For a hook without `env`; `None` is the environment of this process.
    env: Option<&'a [String]>,
    output: &'a HookOutput,
}

fn in_spec(spec: &oci_spec::runtime::Hooks, kind: Kind) -> &Option<Vec<oci_spec::runtime::Hook>> {
    match kind {
        Kind::Prestart => spec.prestart(),
        Kind::CreateRuntime => spec.create_runtime(),
        Kind::CreateContainer => spec.create_container(),
        Kind::StartContainer => spec.start_container(),
        Kind::Poststart => spec.poststart(),
        Kind::Poststop => spec.poststop(),
    }
}

impl Hook {
    fn parse(spec: &oci_spec::runtime::Hook, field: &Field) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let path = spec.path();
        if !path.is_absolute() {
            problems.add(field.key("path"), format!("{path:?} is not absolute"));
        }
        if path.as_os_str().as_bytes().contains(&0) {
            problems.add(field.key("path"), "contains a NUL byte");
        }
        for (key, list) in [("args", spec.args()), ("env", spec.env())] {
            for (i, text) in list.iter().flatten().enumerate() {
                if text.contains('\0') {
                    problems.add(field.key(key).index(i), "contains a NUL byte");
                }
            }
        }
        let timeout = spec.timeout().and_then(|seconds| {
            if seconds <= 0 {
                problems.add(field.key("timeout"), format!("{seconds} is not greater than zero"));
            }
            // Longer than a century is no limit.
            u32::try_from(seconds).ok()
        });
        problems.or(Self {
            path: path.clone(),
            args: spec.args().clone().unwrap_or_default(),
            env: spec.env().clone(),
            timeout,
        })
    }

    fn run(&self, field: &Field, surroundings: &Surroundings) -> Result<(), Error> {
        let mut running = self.start(surroundings).at(field.clone())?;
        let why = match running.until_end(self.timeout).at(field.clone())? {
            End::Exited(Exit::Code(0)) => return Ok(()),
            End::Exited(exit) => exit.to_string(),
            End::TimedOut => {
                format!("hook ran past specified timeout of {}.0s", self.timeout.unwrap_or_default())
            }
        };
        let said = running.output();
        let said = if said.is_empty() { said } else { format!(", output: {said}") };
        Err(Error::Message(printable(&format!("{field}: {}: {why}{said}", self.path.display()))))
    }

    fn start(&self, surroundings: &Surroundings) -> sys::Result<Running> {
        let path = c_string(self.path.as_os_str().as_bytes())?;
        let args = match self.args.as_slice() {
            [] => vec![path.clone()],
            args => c_strings(args)?,
        };
        let env = match self.env.as_deref().or(surroundings.env) {
            Some(env) => c_strings(env)?,
            None => own_environment()?,
        };
        let cwd = surroundings.cwd.map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?;
        let stdin = pipe::readable(surroundings.state)?;
        let (output, theirs) = pipe::pipe()?;
        let append_to = |path: &Option<PathBuf>| path.as_ref().map(|path| file::append_to(path)).transpose();
        let (stdout, stderr) =
            (append_to(&surroundings.output.stdout)?, append_to(&surroundings.output.stderr)?);
        let pid = spawn(&Program {
            path: &path,
            args: &args,
            env: &env,
            cwd: cwd.as_deref(),
            stdin: stdin.as_fd(),
            stdout: stdout.as_ref().unwrap_or(&theirs).as_fd(),
            stderr: stderr.as_ref().unwrap_or(&theirs).as_fd(),
        })?;
        Ok(Running::new(pid, output))
    }
}

fn own_environment() -> sys::Result<Vec<CString>> {
    let entry = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        c_string(&[key.as_bytes(), b"=", value.as_bytes()].concat())
    };
    std::env::vars_os().map(entry).collect()
}

fn c_strings(texts: &[String]) -> sys::Result<Vec<CString>> {
    texts.iter().map(|text| c_string(text.as_bytes())).collect()
}

/// `parse` has refused every NUL; only a state file that was changed by hand still holds one.
fn c_string(bytes: &[u8]) -> sys::Result<CString> {
    let call = || format!("execve({:?})", String::from_utf8_lossy(bytes));
    CString::new(bytes).map_err(|_| sys::Error::new(call(), Errno::EINVAL))
}

#[cfg(test)]
mod tests;
