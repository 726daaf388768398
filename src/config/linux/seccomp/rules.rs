//! `linux.seccomp.syscalls` — actions for calls, and conditions on their arguments.

use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use crate::error::{Field, Problems};
use crate::sys;
use crate::sys::seccomp::{Action, Condition, Draft, Operator, Syscall};

/// The errno of an action that takes one and is given none.
const DEFAULT_ERRNO: u32 = libc::EPERM as u32;

/// The kernel's `MAX_ERRNO`: it cuts off what is above.
const MAX_ERRNO: u32 = 4095;

/// How many arguments a call has.
const ARGUMENTS: usize = 6;

/// The actions that are known, for `features`.
pub(super) const ACTIONS: [LinuxSeccompAction; 9] = {
    use LinuxSeccompAction::*;
    [
        ScmpActAllow,
        ScmpActErrno,
        ScmpActKill,
        ScmpActKillProcess,
        ScmpActKillThread,
        ScmpActLog,
        ScmpActNotify,
        ScmpActTrace,
        ScmpActTrap,
    ]
};

/// The comparisons that are known, for `features`.
pub(super) const OPERATORS: [LinuxSeccompOperator; 7] = {
    use LinuxSeccompOperator::*;
    [ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpLe, ScmpCmpLt, ScmpCmpMaskedEq, ScmpCmpNe]
};

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) field: Field,
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    conditions: Conditions,
}

/// What an argument must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Which one, from 0.
    pub(super) argument: u8,
    /// The mask of a masked comparison is inside.
    pub(super) operator: Operator,
    pub(super) datum: u64,
}

impl Comparison {
    pub(super) fn equal(argument: u8, datum: u64) -> Self {
        Self { argument, operator: Operator::Equal, datum }
    }
}

/// How the comparisons of an entry belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Conditions {
    /// All must hold.
    All(Vec<Comparison>),
    /// One is enough: an argument is named twice, which libseccomp cannot express in one rule. runc reads it so, and
    /// profiles rely on it.
    Any(Vec<Comparison>),
}

impl Rule {
    /// Lists of comparisons; the action is for a call for which all of one list hold.
    pub(super) fn alternatives(&self) -> Vec<&[Comparison]> {
        match &self.conditions {
            Conditions::All(comparisons) => vec![comparisons],
            Conditions::Any(comparisons) => comparisons.chunks(1).collect(),
        }
    }

    /// Names that libseccomp does not know are passed over: profiles are written for more than one version of it.
    pub(super) fn unknown_names(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| Syscall::named(name).is_none())
    }

    /// Have libseccomp know of the rule.
    pub(super) fn add_to(&self, draft: &mut Draft) -> sys::Result<()> {
        for syscall in self.names.iter().filter_map(|name| Syscall::named(name)) {
            for comparisons in self.alternatives() {
                let conditions = comparisons.iter();
                let conditions: Vec<Condition> =
                    conditions.map(|c| Condition::new(c.argument.into(), c.operator, c.datum)).collect();
                draft.add(syscall, self.action, &conditions)?;
            }
        }
        Ok(())
    }
}

/// The rules, each with the place in the config it came from.
pub(super) fn parse(syscalls: &[LinuxSyscall]) -> Result<Vec<Rule>, Problems> {
    let mut problems = Problems::default();
    let list = Field::new("linux.seccomp.syscalls");
    let rules = syscalls.iter().enumerate();
    let rules = rules.filter_map(|(i, syscall)| problems.keep(parse_rule(syscall, list.index(i)))).collect();
    problems.or(rules)
}

fn parse_rule(syscall: &LinuxSyscall, field: Field) -> Result<Rule, Problems> {
    let mut problems = Problems::default();
    if syscall.names().is_empty() {
        problems.add(field.key("names"), "must have at least one entry");
    }
    let notifies = syscall.action() == LinuxSeccompAction::ScmpActNotify;
    if notifies && syscall.names().iter().any(|name| name == "write") {
        let rule = "SCMP_ACT_NOTIFY cannot be used for the write syscall: init writes before anybody listens";
        problems.add(field.key("action"), rule);
    }
    let action = problems.keep(action(syscall.action(), syscall.errno_ret(), &field.key("errnoRet")));
    let arguments = syscall.args().as_deref().unwrap_or_default();
    let conditions = problems.keep(parse_conditions(arguments, &field.key("args")));
    match (action, conditions) {
        (Some(action), Some(conditions)) => {
            problems.or(Rule { field, names: syscall.names().clone(), action, conditions })
        }
        _ => Err(problems),
    }
}

/// An action with its errno. The spec: when the action doesn't support an errno, the runtime must fail. (runc does not.)
pub(super) fn action(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    field: &Field,
) -> Result<Action, Problems> {
    use LinuxSeccompAction as Given;
    let number = errno.unwrap_or(DEFAULT_ERRNO);
    let without_errno = match action {
        Given::ScmpActErrno if number <= MAX_ERRNO => {
            return Ok(Action::Errno(i32::try_from(number).unwrap_or(libc::EPERM)));
        }
        Given::ScmpActErrno => return Err(Problems::one(field.clone(), too_large(number, MAX_ERRNO))),
        Given::ScmpActTrace => {
            let message = u16::try_from(number);
            return message
                .map(Action::Trace)
                .map_err(|_| Problems::one(field.clone(), too_large(number, u16::MAX.into())));
        }
        Given::ScmpActKill | Given::ScmpActKillThread => Action::KillThread,
        Given::ScmpActKillProcess => Action::KillProcess,
        Given::ScmpActTrap => Action::Trap,
        Given::ScmpActNotify => Action::Notify,
        Given::ScmpActLog => Action::Log,
        Given::ScmpActAllow => Action::Allow,
    };
    match errno {
        None => Ok(without_errno),
        Some(errno) => {
            Err(Problems::one(field.clone(), format!("{errno} is of no use: {action} has no errno")))
        }
    }
}

fn too_large(number: u32, limit: u32) -> String {
    format!("{number} is more than {limit}")
}

fn parse_conditions(arguments: &[LinuxSeccompArg], field: &Field) -> Result<Conditions, Problems> {
    let mut problems = Problems::default();
    let mut conditions = Vec::new();
    let mut times_named = [0u32; ARGUMENTS];
    for (i, argument) in arguments.iter().enumerate() {
        let index = argument.index();
        match (times_named.get_mut(index), u8::try_from(index)) {
            (Some(times), Ok(number)) => {
                *times += 1;
                conditions.push(comparison(number, argument));
            }
            _ => {
                let rule = format!("{index} is more than 5: a system call has six arguments");
                problems.add(field.index(i).key("index"), rule);
            }
        }
    }
    let any = times_named.iter().any(|&times| times > 1);
    problems.or(if any { Conditions::Any(conditions) } else { Conditions::All(conditions) })
}

fn comparison(index: u8, argument: &LinuxSeccompArg) -> Comparison {
    use LinuxSeccompOperator as Given;
    let value = argument.value();
    let (operator, datum) = match argument.op() {
        Given::ScmpCmpNe => (Operator::NotEqual, value),
        Given::ScmpCmpLt => (Operator::Less, value),
        Given::ScmpCmpLe => (Operator::LessOrEqual, value),
        Given::ScmpCmpEq => (Operator::Equal, value),
        Given::ScmpCmpGe => (Operator::GreaterEqual, value),
        Given::ScmpCmpGt => (Operator::Greater, value),
        // Here `value` is the mask, and what must be left under it is the second value.
        Given::ScmpCmpMaskedEq => (Operator::MaskedEqual(value), argument.value_two().unwrap_or(0)),
    };
    Comparison { argument: index, operator, datum }
}
