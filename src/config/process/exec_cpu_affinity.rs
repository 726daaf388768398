//! `process.execCPUAffinity` — which CPUs a further process runs on. "This setting is not applicable to the container's
//! init process."
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use oci_spec::runtime::ExecCPUAffinity as Given;

use crate::config::number_list::{self, Mask, Wrong};
use crate::error::{At, Error, Problems};
use crate::sys::{is_missing, scheduling};

const FIELD: &str = "process.execCPUAffinity";

/// The kernel is built for no more CPUs than this.
const MOST_CPUS: usize = 8192;

/// CPUs before and after the process enters the container's cgroup; `None` leaves the choice to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecCpuAffinity {
    initial: Option<Mask>,
    last: Option<Mask>,
}

impl ExecCpuAffinity {
    /// Refuses ranges that end before they begin, and CPUs that no machine has.
    pub fn parse(affinity: Option<&Given>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let Some(given) = affinity else { return Ok(Self::default()) };
        let initial = problems.keep(mask("initial", given.initial().as_deref())).flatten();
        let last = problems.keep(mask("final", given.cpu_affinity_final().as_deref())).flatten();
        problems.or(Self { initial, last })
    }

    /// For the caller, which is about to bear the process: "before the transition to container's cgroup".
    pub fn apply_initial(&self) -> Result<(), Error> {
        self.initial
            .as_ref()
            .map_or(Ok(()), |mask| scheduling::set_affinity(mask).at(format!("{FIELD}.initial")))
    }

    /// For the process itself, "after the transition to container's cgroup".
    pub fn apply_final(&self) -> Result<(), Error> {
        match (&self.initial, &self.last) {
            (_, Some(mask)) => scheduling::set_affinity(mask).at(format!("{FIELD}.final")),
            // "If omitted or empty, runtime SHOULD NOT change process' CPU affinity".
            (Some(_), None) => Ok(()),
            (None, None) => reset(),
        }
    }
}

/// For a process that has entered the container's cgroup: all CPUs that it has there. Since Linux 6.2 the runtime's own
/// affinity would outlive the change, and containers would be held to the CPUs of the daemon that made them.
pub fn reset() -> Result<(), Error> {
    match scheduling::set_affinity(&[u64::MAX; MOST_CPUS / 64]) {
        // A filter around us: the caller's CPUs are what there is.
        Err(error) if is_missing(error.errno) => Ok(()),
        set => set.at("linux.resources.cpu.cpus"),
    }
}

/// `0-3,7`; the same as nothing if it is empty.
fn mask(key: &str, list: Option<&str>) -> Result<Option<Mask>, Problems> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
    number_list::parse(list, MOST_CPUS).map(Some).map_err(|wrong| {
        let rule = match wrong {
            Wrong::Form => "is not a list of CPUs like 0-3,7",
            Wrong::Order => "has a range that ends before it begins",
            Wrong::TooLarge => "has a CPU that no machine has: Linux knows CPUs from 0 to 8191",
        };
        Problems::one(format!("{FIELD}.{key}"), format!("{list:?} {rule}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let parse = |list| mask("final", Some(list)).map_err(|problems| problems.to_string());
        assert_eq!(parse("0-3,7"), Ok(Some(vec![0x8f])));
        assert_eq!(parse(""), Ok(None));
        for bad in ["3-1", "8192", "a"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
