//! The table in Markdown, and the chart.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::measure::Sample;
use crate::runtime::FLOOR;
use crate::scenario::{How, Outcome, Scenario, median};
use crate::{Attempt, Result};

/// A row with its results.
pub struct Row {
    /// What was measured.
    pub scenario: Scenario,
    /// By the runtimes' names.
    pub outcomes: BTreeMap<String, Outcome>,
}

/// Where the table stands in the page.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// The samples of a quiet machine, if there are enough of them; whether there are.
fn calm(samples: &[Sample]) -> (Vec<Sample>, bool) {
    let quiet: Vec<Sample> = samples.iter().copied().filter(|sample| sample.quiet).collect();
    if quiet.len() >= 5 || quiet.len() == samples.len() { (quiet, true) } else { (samples.to_vec(), false) }
}

impl Row {
    /// What the values are in: microseconds, or KiB.
    fn text(&self, value: f64) -> String {
        match self.scenario.how {
            How::Memory(_) => format!("{value:.0} KiB"),
            How::Bind(_) => format!("{value:.1} µs"),
            How::Many(..) => format!("{:.0} ms", value / 1000.0),
            _ => format!("{:.2} ms", value / 1000.0),
        }
    }

    fn value(&self, name: &str, value: fn(&Sample) -> f64) -> Option<f64> {
        let (samples, _) = calm(&self.outcomes.get(name)?.samples);
        (!samples.is_empty()).then(|| median(&samples, value))
    }

    /// The floor, or where it cannot do this, the first runtime.
    fn reference(&self, names: &[String]) -> Option<String> {
        [FLOOR.to_owned()].iter().chain(names).find(|name| self.outcomes.contains_key(*name)).cloned()
    }

    fn cell(&self, name: &str, names: &[String]) -> String {
        let wall: fn(&Sample) -> f64 = |sample| sample.wall;
        let cpu: fn(&Sample) -> f64 = |sample| sample.cpu;
        let Some(value) = self.value(name, wall) else { return "–".into() };
        let mut cell = self.text(value);
        if let Some(reference) = self.reference(names).filter(|reference| reference != name) {
            let ratio = |of: fn(&Sample) -> f64| Some(self.value(name, of)? / self.value(&reference, of)?);
            if let Some(ratio) = ratio(wall) {
                let _ = write!(cell, ", ×{ratio:.2}");
            }
            if let Some(ratio) = ratio(cpu).filter(|ratio| ratio.is_finite()) {
                let _ = write!(cell, " (CPU ×{ratio:.2})");
            }
        }
        let quiet = self.outcomes.get(name).is_none_or(|outcome| calm(&outcome.samples).1);
        cell + if quiet { "" } else { " *" }
    }

    fn counts(&self, names: &[String], what: &str, of: impl Fn(&Outcome) -> Option<f64>) -> Option<String> {
        let cells: Vec<Option<f64>> = names.iter().map(|name| of(self.outcomes.get(name)?)).collect();
        cells.iter().any(Option::is_some).then(|| {
            let cells = cells.iter().map(|cell| cell.map_or("–".into(), |number| format!("{number:.0}")));
            format!("| {} of {} | {} |\n", what, self.scenario.what, cells.collect::<Vec<_>>().join(" | "))
        })
    }
}

/// The whole table.
pub fn table(rows: &[Row], names: &[String], machine: &str) -> String {
    let mut text = format!("{machine}\n\n| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for row in rows {
        let cells: Vec<String> = names.iter().map(|name| row.cell(name, names)).collect();
        let _ = writeln!(text, "| {} | {} |", row.scenario.what, cells.join(" | "));
    }
    let counted =
        |row: &&Row| matches!(row.scenario.how, How::Run(_) | How::Exec | How::State | How::Lifecycle);
    for row in rows.iter().filter(counted) {
        let of = |value: fn(&Sample) -> f64| {
            move |outcome: &Outcome| (!outcome.samples.is_empty()).then(|| median(&outcome.samples, value))
        };
        let lines = [
            row.counts(names, "system calls", |outcome| outcome.calls.map(|calls| calls as f64)),
            row.counts(names, "page faults", of(|sample| sample.faults)),
            row.counts(names, "context switches", of(|sample| sample.switches)),
            row.counts(names, "peak memory in KiB", of(|sample| sample.memory)),
        ];
        lines.into_iter().flatten().for_each(|line| text.push_str(&line));
    }
    text + "\nMedians. × is the ratio to the floor, or where it has no such command, to the first runtime; `*`: the machine was never quiet.\n"
}

/// Put the table in its place in a page.
pub fn update(page: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page).attempt(page.display())?;
    let place = text.split_once(BEGIN).zip(text.split_once(END));
    let Some(((before, _), (_, after))) = place else {
        return Err(format!("{}: has no place for the table", page.display()));
    };
    std::fs::write(page, format!("{before}{BEGIN}\n{table}{END}{after}")).attempt(page.display())
}

/// A bar for each runtime in the rows that take time.
pub fn chart(rows: &[Row], names: &[String]) -> String {
    const COLORS: [&str; 6] = ["#9aa0a6", "#c2410c", "#2563eb", "#16a34a", "#9333ea", "#ca8a04"];
    let timed = |row: &&Row| !matches!(row.scenario.how, How::Memory(_) | How::Bind(_) | How::HostMounts(_));
    let (mut bars, mut y) = (String::new(), 40);
    for row in rows.iter().filter(timed) {
        let values: Vec<Option<f64>> =
            names.iter().map(|name| row.value(name, |sample| sample.wall)).collect();
        let largest = values.iter().flatten().copied().fold(1.0, f64::max);
        let _ =
            writeln!(bars, "<text x=\"10\" y=\"{}\">{}</text>", y + 12, row.scenario.what.replace('`', ""));
        for (i, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            y += 16;
            let (width, color) = ((value / largest * 420.0).max(1.0), COLORS[i % COLORS.len()]);
            let _ = writeln!(
                bars,
                "<rect x=\"90\" y=\"{y}\" width=\"{width:.0}\" height=\"12\" fill=\"{color}\"/>\
                 <text x=\"84\" y=\"{label}\" text-anchor=\"end\">{name}</text>\
                 <text x=\"{end:.0}\" y=\"{label}\">{text}</text>",
                name = names[i],
                label = y + 10,
                end = 95.0 + width,
                text = row.text(*value),
            );
        }
        y += 28;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"620\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"620\" height=\"{y}\" fill=\"#ffffff\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">Wall time, medians of interleaved runs: shorter is better</text>\n{bars}</svg>\n"
    )
}
