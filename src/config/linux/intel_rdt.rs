//! `linux.intelRdt` — the part of the caches and of the memory bandwidth that the container may use.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#intelrdt>

use oci_spec::runtime::LinuxIntelRdt;

use crate::error::{Field, Problems};

/// The section's name.
pub const FIELD: &str = "linux.intelRdt";

/// Names that are files of a group: none can be a group in it.
pub const TAKEN: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Which group of resctrl the container is in, and what is written to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntelRdt {
    /// The class of service; `None` is one named as the container.
    pub clos: Option<Clos>,
    /// Lines that an existing group has to have, and a new one gets.
    pub checked: Vec<Line>,
    /// Lines that are written after those.
    pub schemata: Vec<Line>,
    /// Whether the container has counters of its own.
    pub monitoring: Monitoring,
}

/// A class of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clos {
    /// `/`: that of all who are in no other.
    Default,
    /// A directory of resctrl.
    Named(String),
}

/// A line of a `schemata` file, and the field that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// For errors.
    pub field: Field,
    /// Without the newline: `L3:0=ff;1=ff`.
    pub text: String,
}

/// Whether the container has counters of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitoring {
    /// It has.
    On,
    /// Those of its class of service are all there is.
    #[default]
    Off,
}

impl IntelRdt {
    /// `None` is "MUST NOT manipulate any `resctrl` pseudo-filesystems". Empty strings are what is absent.
    pub fn parse(section: Option<&LinuxIntelRdt>) -> Result<Option<Self>, Problems> {
        let Some(section) = section else { return Ok(None) };
        let mut problems = Problems::default();
        let clos = section.clos_id().as_deref().filter(|id| !id.is_empty());
        let clos = problems.keep(clos.map(clos_id).transpose()).flatten();
        let (l3, bandwidth) = (section.l3_cache_schema().as_deref(), section.mem_bw_schema().as_deref());
        let checked = problems.keep(lines(l3, bandwidth)).unwrap_or_default();
        let mut schemata = Vec::new();
        for (i, text) in section.schemata().iter().flatten().enumerate() {
            let field = Field::new("linux.intelRdt.schemata").index(i);
            if text.contains('\n') {
                problems.add(field, format!("{text:?} contains a newline: each element is a line"));
            } else if !text.is_empty() {
                schemata.push(Line { field, text: text.clone() });
            }
        }
        let monitoring = match section.enable_monitoring() {
            Some(true) => Monitoring::On,
            Some(false) | None => Monitoring::Off,
        };
        problems.or(Some(Self { clos, checked, schemata, monitoring }))
    }
}

/// The lines of `l3CacheSchema` and `memBwSchema`, in the order in which they are written. Older callers have put all
/// lines into the first.
pub fn lines(l3: Option<&str>, bandwidth: Option<&str>) -> Result<Vec<Line>, Problems> {
    let mut problems = Problems::default();
    let line = |field, text: &str| Line { field: Field::new(field), text: text.to_owned() };
    let l3 = l3.unwrap_or_default().lines().filter(|text| !text.trim().is_empty());
    let mut lines: Vec<Line> = l3.map(|text| line("linux.intelRdt.l3CacheSchema", text)).collect();
    let field = "linux.intelRdt.memBwSchema";
    match bandwidth.filter(|text| !text.is_empty()) {
        None => {}
        Some(text) if text.contains('\n') => problems.add(field, format!("{text:?} contains a newline")),
        Some(text) if !text.starts_with("MB:") => {
            problems.add(field, format!("{text:?} does not start with \"MB:\""));
        }
        Some(text) => lines.push(line(field, text)),
    }
    problems.or(lines)
}

fn clos_id(id: &str) -> Result<Clos, Problems> {
    if id == "/" {
        return Ok(Clos::Default);
    }
    let is_path = id.contains(['/', '\n', '\0']) || [".", ".."].contains(&id);
    if is_path || id.len() > 255 || TAKEN.contains(&id) {
        let rule = format!("{id:?} is not the name of a group in resctrl");
        return Err(Problems::one("linux.intelRdt.closID", rule));
    }
    Ok(Clos::Named(id.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(section: serde_json::Value) -> Result<IntelRdt, String> {
        let section: LinuxIntelRdt = serde_json::from_value(section).unwrap();
        IntelRdt::parse(Some(&section)).map(Option::unwrap).map_err(|problems| problems.to_string())
    }

    fn texts(lines: &[Line]) -> Vec<(String, &str)> {
        lines.iter().map(|line| (line.field.to_string(), line.text.as_str())).collect()
    }

    #[test]
    fn all_of_it() {
        let rdt = parse(json!({
            "closID": "gold", "memBwSchema": "MB:0=20;1=70", "l3CacheSchema": "L3:0=7f0;1=1f",
            "schemata": ["L2:0=f", "MB:0=30"], "enableMonitoring": true,
        }))
        .unwrap();
        assert_eq!(rdt.clos, Some(Clos::Named("gold".into())));
        let (l3, bandwidth) = ("linux.intelRdt.l3CacheSchema".into(), "linux.intelRdt.memBwSchema".into());
        assert_eq!(texts(&rdt.checked), [(l3, "L3:0=7f0;1=1f"), (bandwidth, "MB:0=20;1=70")]);
        let field = |i| format!("linux.intelRdt.schemata[{i}]");
        assert_eq!(texts(&rdt.schemata), [(field(0), "L2:0=f"), (field(1), "MB:0=30")]);
        assert_eq!(rdt.monitoring, Monitoring::On);
    }

    #[test]
    fn what_is_absent_or_empty() {
        assert_eq!(IntelRdt::parse(None), Ok(None));
        let empty = json!({"closID": "", "l3CacheSchema": "", "memBwSchema": "", "schemata": [""]});
        for section in [json!({}), empty, json!({"enableMonitoring": false, "enableCMT": true})] {
            assert_eq!(parse(section), Ok(IntelRdt::default()));
        }
        assert_eq!(parse(json!({"closID": "/"})).unwrap().clos, Some(Clos::Default));
    }

    #[test]
    fn older_callers_put_all_lines_into_the_first_schema() {
        let rdt = parse(json!({"l3CacheSchema": "L3:0=f\nMB:0=50\n", "memBwSchema": "MB:0=20"})).unwrap();
        let lines: Vec<_> = rdt.checked.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["L3:0=f", "MB:0=50", "MB:0=20"]);
    }

    #[test]
    fn what_is_refused() {
        for (section, field) in [
            (json!({"closID": "a/b"}), "closID"),
            (json!({"closID": ".."}), "closID"),
            (json!({"closID": "info"}), "closID"),
            (json!({"closID": "mon_groups"}), "closID"),
            (json!({"closID": "a\nb"}), "closID"),
            (json!({"memBwSchema": "L3:0=f"}), "memBwSchema"),
            (json!({"memBwSchema": "MB:0=20\nMB:1=20"}), "memBwSchema"),
            (json!({"schemata": ["L3:0=f", "MB:0=20\n"]}), "schemata[1]"),
        ] {
            let text = parse(section.clone()).unwrap_err();
            assert!(text.starts_with(&format!("linux.intelRdt.{field}: ")), "{section}: {text}");
        }
        let text = parse(json!({"closID": "/x", "memBwSchema": "x", "schemata": ["\n"]})).unwrap_err();
        assert_eq!(text.split("; ").count(), 3, "{text}");
    }
}
