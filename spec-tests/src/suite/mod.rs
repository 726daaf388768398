//! The cases, by section of the runtime-spec, and the contracts beyond it.

use crate::case::Case;
use crate::host::Need;

mod annotations;
mod apparmor;
mod callers_devices;
mod capabilities;
mod cgroup_places;
mod cgroups_path;
mod cli;
mod config_errors;
mod contract;
mod delete;
mod device_rules;
mod devices;
mod ends;
mod events;
mod exec;
mod exec_load;
mod exec_process;
mod exec_safety;
mod features;
mod hook_faults;
mod hooks;
mod idmap;
mod ids;
mod in_force;
mod kill;
mod lifecycle;
mod limits;
mod list;
mod log;
mod masked_paths;
mod memory_policy;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod personality;
mod preserve_fds;
mod process;
mod programs;
mod races;
mod readonly_paths;
mod resources;
mod rlimits;
mod root;
mod rootfs_propagation;
mod rootfs_traps;
mod rootless;
mod rootless_namespaces;
mod seccomp;
mod seccomp_listener;
mod selinux;
mod state;
mod sysctl;
mod systemd;
mod terminal;
mod update;
mod update_values;
mod usage;
mod user_namespace;

const SECCOMP: Need = Need::File("/proc/sys/kernel/seccomp");

fn all_need(mut cases: Vec<Case>, need: &Need) -> Vec<Case> {
    for case in &mut cases {
        case.needs.push(need.clone());
    }
    cases
}

/// The cases, by the beginning of their names, that need a command beyond the spec's operations.
const VERBS: &[(&str, &str)] = &[
    ("exec/", "exec"),
    ("features/", "features"),
    ("cli/update-", "update"),
    ("cli/ps-", "ps"),
    ("cli/events-", "events"),
    ("cli/checkpoint-", "checkpoint"),
];

/// Every case, in the order of the report.
pub fn all() -> Vec<Case> {
    let mut cases = every();
    for case in &mut cases {
        let verbs = VERBS.iter().filter(|(beginning, _)| case.name.starts_with(beginning));
        case.needs.extend(verbs.map(|(_, verb)| Need::Verb(verb)));
    }
    cases
}

fn every() -> Vec<Case> {
    [
        lifecycle::cases(),
        state::cases(),
        kill::cases(),
        contract::cases(),
        delete::cases(),
        ends::cases(),
        systemd::cases(),
        features::cases(),
        annotations::cases(),
        root::cases(),
        mounts::cases(),
        mount_options::cases(),
        idmap::cases(),
        process::cases(),
        rlimits::cases(),
        apparmor::cases(),
        selinux::cases(),
        callers_devices::cases(),
        capabilities::cases(),
        terminal::cases(),
        hooks::cases(),
        namespaces::cases(),
        net_devices::cases(),
        all_need(user_namespace::cases(), &Need::Namespace("user")),
        rootless::cases(),
        rootless_namespaces::cases(),
        devices::cases(),
        cgroups_path::cases(),
        cgroup_places::cases(),
        resources::cases(),
        limits::cases(),
        in_force::cases(),
        device_rules::cases(),
        sysctl::cases(),
        all_need(seccomp::cases(), &SECCOMP),
        all_need(seccomp_listener::cases(), &SECCOMP),
        rootfs_propagation::cases(),
        masked_paths::cases(),
        readonly_paths::cases(),
        memory_policy::cases(),
        personality::cases(),
        cli::cases(),
        log::cases(),
        list::cases(),
        usage::cases(),
        preserve_fds::cases(),
        update::cases(),
        update_values::cases(),
        events::cases(),
        exec::cases(),
        exec_load::cases(),
        exec_process::cases(),
        exec_safety::cases(),
        config_errors::cases(),
        ids::cases(),
        rootfs_traps::cases(),
        programs::cases(),
        hook_faults::cases(),
        races::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::case::Origin;

    #[test]
    fn every_case_has_its_own_name_and_a_sentence() {
        let mut names = BTreeSet::new();
        for case in all() {
            assert!(!case.sentence.is_empty(), "{} has no sentence", case.name);
            assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
        }
    }

    /// The names of cases in docs/spec-conformance.md; with `*` at the end, the beginnings of names.
    fn cited(page: &str) -> Vec<&str> {
        let quoted = page.split('`').skip(1).step_by(2);
        let is_name = |text: &&str| {
            let section = text.split_once('/').map_or("", |(section, _)| section);
            !section.is_empty()
                && section.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')
                && !text.contains(' ')
        };
        quoted.filter(is_name).collect()
    }

    fn stands_for(cited: &str, name: &str) -> bool {
        cited.strip_suffix('*').map_or(cited == name, |beginning| name.starts_with(beginning))
    }

    #[test]
    fn the_page_on_conformance_and_the_cases_agree() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec-conformance.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (cited, cases) = (cited(&page), all());
        let mut wrong = Vec::new();
        for name in &cited {
            if !cases.iter().any(|case| stands_for(name, &case.name)) {
                wrong.push(format!("{name} is no case"));
            }
        }
        for case in cases.iter().filter(|case| matches!(case.origin, Origin::Spec)) {
            if !cited.iter().any(|name| stands_for(name, &case.name)) {
                wrong.push(format!("{} is a sentence of the spec, and not on the page", case.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
