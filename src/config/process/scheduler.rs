//! `process.scheduler` — when the container process runs.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process>

use oci_spec::runtime as spec;
use spec::{LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy};

use crate::error::{At, Error, Problems};
use crate::sys::process::Pid;
use crate::sys::scheduling::{self, Attributes};
use crate::sys::{self, Errno};

const FIELD: &str = "process.scheduler";

/// The attributes for `sched_setattr(2)`; `None` leaves the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduler(Option<Attributes>);

impl Scheduler {
    /// Refuses values that do not belong to the policy (`sched(7)`): the kernel would pass over most of them.
    pub fn parse(scheduler: Option<&spec::Scheduler>) -> Result<Self, Problems> {
        let Some(given) = scheduler else { return Ok(Self(None)) };
        let mut problems = Problems::default();
        let mut refuse = |key: &str, rule: String| problems.add(format!("{FIELD}.{key}"), rule);
        let policy = *given.policy();
        let (nice, priority) = (given.nice().unwrap_or(0), given.priority().unwrap_or(0));
        let times =
            [("runtime", given.runtime()), ("deadline", given.deadline()), ("period", given.period())]
                .map(|(key, time)| (key, time.unwrap_or(0)));

        if policy == Policy::SchedIso {
            refuse("policy", "SCHED_ISO is reserved, and implemented by no Linux".into());
        }
        match policy {
            Policy::SchedOther | Policy::SchedBatch if !(-20..=19).contains(&nice) => {
                refuse("nice", format!("{nice} is not between -20 and 19"));
            }
            // Callers give one with any policy, and the kernel passes over it.
            _ => {}
        }
        match policy {
            Policy::SchedFifo | Policy::SchedRr if !(1..=99).contains(&priority) => {
                refuse("priority", format!("{priority} is not between 1 and 99"));
            }
            Policy::SchedFifo | Policy::SchedRr => {}
            _ if priority != 0 => refuse("priority", format!("has no meaning for {policy}")),
            _ => {}
        }
        for (key, time) in times {
            if time != 0 && policy != Policy::SchedDeadline {
                refuse(key, format!("has no meaning for {policy}"));
            }
        }
        let [runtime, deadline, period] = times.map(|(_, time)| time);
        if policy == Policy::SchedDeadline {
            if runtime > deadline {
                refuse("runtime", format!("{runtime} is more than the deadline {deadline}"));
            }
            // Without a period the deadline is one.
            if period != 0 && deadline > period {
                refuse("deadline", format!("{deadline} is more than the period {period}"));
            }
        }
        let flags = given.flags().iter().flatten().fold(0, |flags, flag| flags | flag_bit(*flag));
        problems.or(Self(Some(Attributes {
            policy: number(policy),
            flags,
            nice,
            priority: priority.unsigned_abs(),
            runtime,
            deadline,
            period,
        })))
    }

    /// Schedule another process. By the parent: a real-time policy is for whoever has `CAP_SYS_NICE` in the initial user
    /// namespace, and a process of `SCHED_DEADLINE` may not fork any more.
    pub fn write_for(self, pid: Pid) -> Result<(), Error> {
        let Some(attributes) = self.0 else { return Ok(()) };
        let set = scheduling::set_scheduler(pid, attributes).map_err(|error| {
            match (error.errno, attributes.policy) {
                // Kernels with CONFIG_RT_GROUP_SCHED.
                (Errno::EPERM, 1 | 2) => {
                    let hint = "does its cgroup have linux.resources.cpu.realtimeRuntime?";
                    sys::Error::new(format!("{} ({hint})", error.call), error.errno)
                }
                (Errno::EPERM, 6) => {
                    let hint = "SCHED_DEADLINE takes all CPUs: does linux.resources.cpu.cpus leave some out?";
                    sys::Error::new(format!("{} ({hint})", error.call), error.errno)
                }
                _ => error,
            }
        });
        set.at(FIELD)
    }
}

/// As in `linux/sched.h`.
fn number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

/// As in `linux/sched.h`.
fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: serde_json::Value) -> Result<Scheduler, String> {
        let scheduler: spec::Scheduler = serde_json::from_value(json).unwrap();
        Scheduler::parse(Some(&scheduler)).map_err(|problems| problems.to_string())
    }

    #[test]
    fn each_policy_has_its_values() {
        let fifo = parse(json!({"policy": "SCHED_FIFO", "priority": 7})).unwrap();
        assert_eq!(fifo, Scheduler(Some(Attributes { policy: 1, priority: 7, ..Attributes::default() })));
        let batch = parse(json!({"policy": "SCHED_BATCH", "nice": -5})).unwrap();
        assert_eq!(batch, Scheduler(Some(Attributes { policy: 3, nice: -5, ..Attributes::default() })));
        let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 2_000_000, "period": 3_000_000,
            "flags": ["SCHED_FLAG_RECLAIM"]});
        assert_eq!(parse(deadline).unwrap().0.unwrap().flags, 2);
        assert_eq!(Scheduler::parse(None), Ok(Scheduler(None)));
    }

    #[test]
    fn what_belongs_to_another_policy_is_refused() {
        for (json, field) in [
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "scheduler.nice"),
            (json!({"policy": "SCHED_OTHER", "priority": 1}), "scheduler.priority"),
            (json!({"policy": "SCHED_RR"}), "scheduler.priority"),
            (json!({"policy": "SCHED_FIFO", "priority": -1}), "scheduler.priority"),
            (json!({"policy": "SCHED_IDLE", "runtime": 1}), "scheduler.runtime"),
            (json!({"policy": "SCHED_DEADLINE", "runtime": 3, "deadline": 2}), "scheduler.runtime"),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 1}),
                "scheduler.deadline",
            ),
            (json!({"policy": "SCHED_ISO"}), "scheduler.policy"),
        ] {
            let text = parse(json.clone()).unwrap_err();
            assert!(text.contains(field), "{json}: {text}");
        }
    }
}
