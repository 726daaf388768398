//! What lives between two invocations.

pub mod id;
pub mod status;
