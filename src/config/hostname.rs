//! `hostname` and `domainname` — the names of the container's UTS namespace.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md#hostname>

use crate::config::linux::namespaces::{Kind, Namespaces};
use crate::error::{At, Error, Problems};
use crate::sys::namespace;

/// The names to set; `None` leaves the namespace's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    hostname: Option<String>,
    domainname: Option<String>,
}

impl Names {
    /// Names need a UTS namespace of the container's own: the host is never renamed.
    pub fn parse(
        hostname: Option<&str>,
        domainname: Option<&str>,
        namespaces: &Namespaces,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        for (field, name) in [("hostname", hostname), ("domainname", domainname)] {
            let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
            if !namespaces.is_own(Kind::Uts) {
                problems.add(field, format!("{name:?} needs a uts namespace: unable to set {field} without a private UTS namespace"));
            }
            if name.len() > 64 {
                problems
                    .add(field, format!("{name:?} has {} bytes, the kernel takes at most 64", name.len()));
            }
        }
        let set = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(String::from);
        problems.or(Self { hostname: set(hostname), domainname: set(domainname) })
    }

    /// Set the names of this process's UTS namespace.
    pub fn apply(&self) -> Result<(), Error> {
        if let Some(name) = &self.hostname {
            namespace::set_hostname(name).at("hostname")?;
        }
        if let Some(name) = &self.domainname {
            namespace::set_domainname(name).at("domainname")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_a_namespace() {
        let none = Namespaces::default();
        assert!(Names::parse(Some("web"), None, &none).is_err());
        assert!(Names::parse(None, Some("example.org"), &none).is_err());
        assert!(Names::parse(Some(""), None, &none).is_ok());
    }

    #[test]
    fn the_kernels_limit_is_64_bytes() {
        let own = Namespaces::created(&[Kind::Uts]);
        assert!(Names::parse(Some(&"x".repeat(64)), None, &own).is_ok());
        assert!(Names::parse(Some(&"x".repeat(65)), None, &own).is_err());
    }
}
