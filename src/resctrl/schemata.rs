//! The text of a `schemata` file: a line per resource, which gives each cache or memory controller a share.

use std::collections::BTreeMap;

/// What the lines give: the share of each resource's domains. Of two lines that give the same, the later counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Schemata(BTreeMap<(String, String), String>);

impl Schemata {
    /// Understand lines as the kernel shows them (`    L3:0=7ff;1=7ff`), and as they are written to it.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut shares = BTreeMap::new();
        for (resource, domains) in lines.into_iter().filter_map(|line| line.split_once(':')) {
            for (domain, share) in domains.split(';').filter_map(|domain| domain.split_once('=')) {
                let plain = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
                shares.insert((resource.trim().to_owned(), plain(domain)), plain(share));
            }
        }
        Self(shares)
    }

    /// Whether everything in here is so in the other as well.
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.0.iter().all(|(domain, share)| other.0.get(domain) == Some(share))
    }
}

/// The line of a resource, without its blanks.
pub fn line_of<'a>(text: &'a str, resource: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.split_once(':').is_some_and(|(name, _)| name.trim() == resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_compared_by_its_meaning() {
        let text = "    MB:0=100;1= 70\n    L3:0=007ff;1=1F0\nL3CODE:0=f\n";
        let found = Schemata::parse(text.lines());
        for (lines, expected) in [
            (&["L3:0=7ff;1=1f0"][..], true),
            (&["L3:1=1f0"], true),
            (&["L3:00=7FF", "MB:1=70"], true),
            (&["L3:0=7fe"], false),
            (&["L3:2=7ff"], false),
            (&["MB:0=100;1=100"], false),
            (&["L2:0=7ff"], false),
            (&["MB:0=50", "MB:0=100"], true),
            (&[], true),
        ] {
            assert_eq!(Schemata::parse(lines.iter().copied()).is_part_of(&found), expected, "{lines:?}");
        }
    }

    #[test]
    fn lines_by_their_resource() {
        let text = "    MB:0=100\n    L3:0=7ff\n";
        assert_eq!(line_of(text, "L3"), Some("L3:0=7ff"));
        assert_eq!(line_of(text, "MB"), Some("MB:0=100"));
        assert_eq!(line_of(text, "L2"), None);
    }
}
