//! `--preserve-fds` and socket activation: the descriptors of the caller that the program inherits, and no others.

use crate::error::{At, Error};
use crate::sys::{file, start};

/// The first descriptors after the standard ones, and what the program is to be told about them.
#[derive(Debug, Default)]
pub struct Inherited {
    /// How many.
    pub count: u32,
    /// `LISTEN_FDS` and its like, `sd_listen_fds(3)`.
    pub variables: Vec<String>,
}

/// Find the descriptors that are to be inherited, and let all others close with the next program.
pub fn descriptors(preserved: u32) -> Result<Inherited, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let activated = activated(variable("LISTEN_PID"), variable("LISTEN_FDS"), std::process::id);
    let mut variables = Vec::new();
    if activated > 0 {
        variables.push(format!("LISTEN_FDS={activated}"));
        variables.push("LISTEN_PID=1".into());
        variables.extend(variable("LISTEN_FDNAMES").map(|names| format!("LISTEN_FDNAMES={names}")));
    }
    let count = activated.saturating_add(preserved);
    for number in 0..count {
        // A number that is not open would be taken by the next file that we open ourselves.
        let is_callers = |number| file::is_open(number) && start::descriptor() != Some(number);
        if number > 1 << 20 || !is_callers(3 + number as i32) {
            return Err(Error::message(format!(
                "unable to stat preserved-fd {} (of {count}): it is not open",
                number + 1
            )));
        }
    }
    file::close_on_exec_from(3 + count).at("--preserve-fds")?;
    Ok(Inherited { count, variables })
}

/// The variables are for the process that they name alone.
fn activated(pid: Option<String>, count: Option<String>, own: impl Fn() -> u32) -> u32 {
    match (pid.map(|pid| pid.parse::<u32>()), count.map(|count| count.parse())) {
        (Some(Ok(pid)), Some(Ok(count))) if pid == own() => count,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_is_for_who_is_named() {
        let word = |text: &str| Some(text.to_string());
        assert_eq!(activated(word("7"), word("2"), || 7), 2);
        assert_eq!(activated(word("8"), word("2"), || 7), 0);
        assert_eq!(activated(None, word("2"), || 7), 0);
        assert_eq!(activated(word("7"), word("x"), || 7), 0);
    }
}
