//! How a case ends: `Ok`, or the reason why it stopped.

use std::fmt::Debug;

/// Why a case did not run to its end.
#[derive(Debug)]
pub enum Stop {
    /// The runtime did not do what was expected.
    Failed(String),
    /// The case cannot be decided here.
    Skipped(String),
}

/// The end of a case.
pub type Verdict<T = ()> = Result<T, Stop>;

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(format!("the test itself stumbled: {error}"))
    }
}

/// A failure with this text.
pub fn failed<T>(text: impl Into<String>) -> Verdict<T> {
    Err(Stop::Failed(text.into()))
}

/// A skip with this reason.
pub fn skipped<T>(reason: impl Into<String>) -> Verdict<T> {
    Err(Stop::Skipped(reason.into()))
}

/// `got` is `want`, or a failure that shows both.
pub fn equal<A: PartialEq<B> + Debug, B: Debug>(what: &str, got: A, want: B) -> Verdict {
    if got == want {
        return Ok(());
    }
    let short = |text: String| text.chars().take(600).collect::<String>();
    failed(format!("{what}: got {}, want {}", short(format!("{got:?}")), short(format!("{want:?}"))))
}

/// Stop with a failure unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return $crate::verdict::failed(format!($($text)+));
        }
    };
}
