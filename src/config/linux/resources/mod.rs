//! `linux.resources` — what the container may use.
