//! `process` — the container process.
