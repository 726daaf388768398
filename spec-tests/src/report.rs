//! TAP on stdout.

use std::collections::BTreeMap;

use crate::verdict::{Stop, Verdict};

/// Counts what has been printed.
#[derive(Default)]
pub struct Report {
    number: usize,
    passed: usize,
    failed: usize,
    skips: BTreeMap<String, usize>,
}

impl Report {
    /// Print one result.
    pub fn add(&mut self, name: &str, verdict: &Verdict, diagnostics: &[String]) {
        self.number += 1;
        match verdict {
            Ok(()) => {
                self.passed += 1;
                println!("ok {} - {name}", self.number);
            }
            Err(Stop::Skipped(reason)) => {
                *self.skips.entry(reason.clone()).or_default() += 1;
                println!("ok {} - {name} # SKIP {reason}", self.number);
            }
            Err(Stop::Failed(text)) => {
                self.failed += 1;
                println!("not ok {} - {name}", self.number);
                for line in text.lines().chain(diagnostics.iter().flat_map(|text| text.lines())) {
                    println!("# {line}");
                }
            }
        }
    }

    /// Print the counts; whether nothing failed.
    pub fn end(&self) -> bool {
        let skipped: usize = self.skips.values().sum();
        println!("#");
        for (reason, count) in &self.skips {
            println!("# skipped {count}: {reason}");
        }
        println!("spec-tests: {} passed, {} failed, {skipped} skipped", self.passed, self.failed);
        self.failed == 0
    }
}
