//! User namespaces without a container: what `mount_setattr(2)` takes the mapping of a mount from.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::config::linux::id_mappings::IdMappings;
use crate::config::linux::namespaces::Kind;
use crate::error::{At, Error};
use crate::sys::clone::{self, Birth, Fork};
use crate::sys::file::{self, Mode, OFlag};
use crate::sys::process::{self, Pid};
use crate::sys::{proc, socket};

/// One namespace for each mapping, however many mounts have it.
#[derive(Debug, Default)]
pub struct UserNamespaces(Vec<(IdMappings, OwnedFd)>);

impl UserNamespaces {
    /// The namespace with this mapping.
    pub fn with(&mut self, mappings: &IdMappings) -> Result<BorrowedFd<'_>, Error> {
        let known = self.0.iter().position(|(of, _)| of == mappings);
        let index = match known {
            Some(index) => index,
            None => {
                self.0.push((mappings.clone(), make(mappings)?));
                self.0.len() - 1
            }
        };
        Ok(self.0[index].1.as_fd())
    }
}

/// Nothing but a process makes one. It ends when we have the namespace in our hands, or have ended ourselves.
fn make(mappings: &IdMappings) -> Result<OwnedFd, Error> {
    let name = "user namespace of a mount";
    let procfs = proc::open_procfs().at("host")?;
    let (ours, theirs) = socket::pair().at(name)?;
    match clone::clone(&Birth { flags: Kind::User.flag().bits() as u64, cgroup: None }).at(name)? {
        Fork::Child => {
            drop(ours);
            let _ends_with_the_other_end = file::read(&theirs, &mut [0], name);
            process::exit(0)
        }
        Fork::Parent(pid, _) => {
            drop(theirs);
            let namespace = mappings.write_for(pid, &procfs, None).and_then(|()| {
                file::open(&procfs, format!("{pid}/ns/user"), OFlag::O_RDONLY, Mode::empty()).at(name)
            });
            drop(ours);
            process::wait(Pid::from_raw(pid)).at(name)?;
            namespace
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::linux::id_mappings::IdMapping;
    use crate::error::Field;

    #[test]
    fn a_mapping_has_one_namespace() {
        let mut namespaces = UserNamespaces::default();
        let mut inode = |host| {
            let field = Field::new("f");
            let list = || vec![IdMapping { container: 0, host, size: 10 }];
            let mappings = IdMappings::of((&field, list()), (&field, list())).unwrap();
            namespaces.with(&mappings).map(|namespace| file::stat(namespace).unwrap().st_ino)
        };
        match inode(100_000) {
            Ok(first) => {
                assert_eq!(inode(100_000).unwrap(), first);
                assert_ne!(inode(200_000).unwrap(), first);
            }
            // Others' ids are not an ordinary user's to map.
            Err(error) => assert!(error.to_string().contains("EPERM"), "{error}"),
        }
    }
}
