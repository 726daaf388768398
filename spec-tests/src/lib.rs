//! The OCI runtime-spec, sentence by sentence, against any runtime with runc's command line.

#[macro_use]
pub mod verdict;
pub mod bundle;
pub mod call;
pub mod case;
pub mod cgroup;
pub mod host;
pub mod leftovers;
pub mod probe;
pub mod report;
pub mod runner;
pub mod sockets;
pub mod suite;
pub mod sys;
pub mod traced;
pub mod trial;
pub mod without;
