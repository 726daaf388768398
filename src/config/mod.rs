//! config.json, one file per section, named as the JSON key.

pub mod linux;
pub mod process;
