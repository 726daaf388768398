//! Runtimes side by side, interleaved, and against the floor: the shortest sequence of system calls that makes the same
//! container. docs/performance.md says what the numbers mean.

pub mod bundle;
pub mod count;
pub mod machine;
pub mod measure;
pub mod report;
pub mod runtime;
pub mod scenario;
mod seccomp;
pub mod stepped;
mod traced;
pub mod view;

/// What went wrong, for a person to read.
pub type Result<T> = std::result::Result<T, String>;

/// Say what was attempted.
pub trait Attempt<T> {
    /// The error becomes a text that begins with this.
    fn attempt(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: std::fmt::Display> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}
