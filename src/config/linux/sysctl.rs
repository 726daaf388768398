//! `linux.sysctl` — kernel parameters of the container's namespaces.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#sysctl>

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::error::{At, Error, Field, Problems};
use crate::sys;

/// Which namespaces the container does not share with the caller: it creates them, or joins those of somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnNamespaces {
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Network.
    pub net: bool,
    /// Host and domain name.
    pub uts: bool,
    /// User ids and capabilities.
    pub user: bool,
}

impl OwnNamespaces {
    /// Of these namespaces.
    pub fn of(namespaces: &Namespaces) -> Self {
        let own = |kind| namespaces.is_own(kind);
        Self { ipc: own(Kind::Ipc), net: own(Kind::Network), uts: own(Kind::Uts), user: own(Kind::User) }
    }
}

/// Parameters that belong to the ipc namespace, beside everything below `fs.mqueue`.
const IPC: &[&str] = &["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// A parameter of a namespace: its path below `/proc/sys`, and its name in the config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parameter {
    path: PathBuf,
    key: String,
}

/// Parameters and their values, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctl(Vec<(Parameter, String)>);

impl Sysctl {
    /// Refuses parameters that are not of a namespace of the container's own, since they would change the host.
    pub fn parse(sysctl: Option<&HashMap<String, String>>, own: &OwnNamespaces) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut entries: Vec<(&String, &String)> = sysctl.into_iter().flatten().collect();
        // The order of the map is a matter of chance; that of errors and writes should not be.
        entries.sort();
        let mut parameters = Vec::new();
        for (key, value) in entries {
            let field = field(key);
            if value.contains(['\0', '\n']) {
                problems.add(field.clone(), format!("{value:?} has a line break or a NUL"));
            }
            match components(key).and_then(|parts| allow(key, &parts, own).map(|()| parts)) {
                Ok(parts) => {
                    parameters
                        .push((Parameter { path: parts.iter().collect(), key: key.clone() }, value.clone()));
                }
                Err(rule) => problems.add(field, rule),
            }
        }
        parameters.sort();
        for pair in parameters.windows(2) {
            if pair[0].0.path == pair[1].0.path {
                problems.add(field(&pair[1].0.key), format!("is the same parameter as {:?}", pair[0].0.key));
            }
        }
        problems.or(Self(parameters))
    }

    /// Whether nothing is to be written, so that no procfs with `sys` in it is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Write the parameters of the caller's namespaces. `procfs` is a procfs of ours, not the container's `/proc`, which
    /// the image could have made lead elsewhere (CVE-2025-52881).
    pub fn apply(&self, procfs: impl AsFd) -> Result<(), Error> {
        for (parameter, value) in &self.0 {
            let path = Path::new("sys").join(&parameter.path);
            let written = sys::proc_self::open_for_writing(procfs.as_fd(), &path)
                .and_then(|file| sys::file::write_once(file, value, &path));
            written.at(field(&parameter.key))?;
        }
        Ok(())
    }
}

fn field(key: &str) -> Field {
    Field::from(format!("linux.sysctl[{key:?}]"))
}

/// The parts of a name. As in `sysctl(8)`, the first separator decides: after a dot, slashes stand for dots that belong
/// to a part (`net.ipv4.conf.eth0/100.forwarding`), after a slash a dot is a dot.
fn components(key: &str) -> Result<Vec<String>, String> {
    let parts: Vec<String> = match key.chars().find(|c| matches!(c, '.' | '/')) {
        Some('/') => key.split('/').map(str::to_owned).collect(),
        _ => key.split('.').map(|part| part.replace('/', ".")).collect(),
    };
    match parts.iter().find(|part| matches!(part.as_str(), "" | "." | "..") || part.contains('\0')) {
        Some(bad) => Err(format!("{bad:?} cannot be a part of the name of a parameter")),
        None => Ok(parts),
    }
}

fn allow(key: &str, parts: &[String], own: &OwnNamespaces) -> Result<(), String> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (needed, has) = match parts[..] {
        ["kernel", "hostname"] => {
            return Err(format!(
                "sysctl {key:?} is not allowed: use the hostname field of the config instead"
            ));
        }
        ["kernel", "domainname"] => ("uts", own.uts),
        ["kernel", name] if IPC.contains(&name) => ("ipc", own.ipc),
        ["fs", "mqueue", _, ..] => ("ipc", own.ipc),
        ["net", _, ..] => ("network", own.net),
        ["user", _, ..] => ("user", own.user),
        _ => return Err(format!("sysctl {key:?} is not in a separate kernel namespace")),
    };
    if has {
        return Ok(());
    }
    Err(format!("sysctl {key:?} is not allowed: the container has no {needed} namespace of its own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: OwnNamespaces = OwnNamespaces { ipc: true, net: true, uts: true, user: true };

    fn parse(key: &str, own: &OwnNamespaces) -> Result<String, String> {
        let map = HashMap::from([(key.to_owned(), "1".to_owned())]);
        let sysctl = Sysctl::parse(Some(&map), own).map_err(|problems| problems.to_string())?;
        Ok(sysctl.0[0].0.path.display().to_string())
    }

    #[test]
    fn names_become_paths() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("kernel.msgmax", "kernel/msgmax"),
            ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced"),
            ("kernel/domainname", "kernel/domainname"),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
            ("user.max_user_namespaces", "user/max_user_namespaces"),
        ] {
            assert_eq!(parse(key, &ALL).as_deref(), Ok(path), "{key}");
        }
    }

    #[test]
    fn a_parameter_needs_its_namespace() {
        for (key, name) in [
            ("net.core.somaxconn", "network"),
            ("kernel.sem", "ipc"),
            ("fs.mqueue.msg_max", "ipc"),
            ("kernel.domainname", "uts"),
            ("user.max_net_namespaces", "user"),
        ] {
            let text = parse(key, &OwnNamespaces::default()).unwrap_err();
            assert!(text.ends_with(&format!("the container has no {name} namespace of its own")), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for key in [
            "vm.swappiness",
            "kernel.core_pattern",
            "kernel.sysrq",
            "kernel",
            "net",
            "fs.mqueue",
            "user",
            "networks.x",
            "kernel.msgmax.x",
            "Net.core.x",
        ] {
            let text = parse(key, &ALL).unwrap_err();
            assert_eq!(
                text,
                format!("linux.sysctl[{key:?}]: sysctl {key:?} is not in a separate kernel namespace")
            );
        }
        assert!(parse("kernel.hostname", &ALL).unwrap_err().contains("use the hostname field"));
        assert!(parse("kernel/hostname", &ALL).unwrap_err().contains("use the hostname field"));
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for key in [
            "",
            "net/../../../etc/passwd",
            "net./../kernel/core_pattern",
            "net..x",
            "/net/x",
            "net/x/",
            ".net",
            "net/./x",
            "net.//.x",
            "net.x\0y",
        ] {
            let text = parse(key, &ALL).unwrap_err();
            assert!(text.contains("cannot be a part"), "{key}: {text}");
        }
    }

    #[test]
    fn values_are_one_line_and_names_are_given_once() {
        let map = HashMap::from([("net.x".to_owned(), "1\n2".to_owned())]);
        let text = Sysctl::parse(Some(&map), &ALL).unwrap_err().to_string();
        assert_eq!(text, r#"linux.sysctl["net.x"]: "1\n2" has a line break or a NUL"#);
        let map = HashMap::from(["net.x", "net/x"].map(|key| (key.to_owned(), "1".to_owned())));
        let text = Sysctl::parse(Some(&map), &ALL).unwrap_err().to_string();
        assert_eq!(text, r#"linux.sysctl["net/x"]: is the same parameter as "net.x""#);
    }
}
