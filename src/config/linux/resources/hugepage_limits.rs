//! `linux.resources.hugepageLimits` — huge pages, in bytes.
//! <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#huge-page-limits>

use oci_spec::runtime::LinuxHugepageLimit;

use super::{Limit, Write};
use crate::error::{Field, Problems};
use crate::host::Host;

const FIELD: &str = "linux.resources.hugepageLimits";

/// A limit for each size of pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugepageLimits(Vec<(Field, PageSize, Limit)>);

/// A size as it is in the names of the kernel's files: `64KB`, `2MB`, `1GB`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PageSize(String);

impl HugepageLimits {
    /// Zero is a limit here, -1 lifts it. Which sizes there are, the kernel's files tell when the limit is applied.
    pub fn parse(spec: &[LinuxHugepageLimit], host: &Host) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut limits = Vec::new();
        for (i, entry) in spec.iter().enumerate() {
            let field = Field::new(FIELD).index(i);
            let size = problems.keep(PageSize::parse(&field, entry.page_size()));
            let limit = match entry.limit() {
                -1 => Limit::Unlimited,
                limit => Limit::At(u64::try_from(limit).unwrap_or_else(|_| {
                    problems.add(field.key("limit"), format!("{limit} is not a size in bytes"));
                    0
                })),
            };
            limits.extend(size.map(|size| (field.key("limit"), size, limit)));
        }
        if !spec.is_empty() {
            problems.keep(host.hierarchy.require("hugetlb", FIELD));
        }
        problems.or(Self(limits))
    }

    /// What is used, and what is reserved (since Linux 5.7).
    pub fn v1(&self) -> Vec<Write> {
        self.column("limit_in_bytes", Limit::or_minus_one)
    }

    /// What is used, and what is reserved (since Linux 5.7).
    pub fn v2(&self) -> Vec<Write> {
        self.column("max", Limit::or_max)
    }

    fn column(&self, file: &str, value: impl Fn(Limit) -> String) -> Vec<Write> {
        let writes = self.0.iter().flat_map(|(field, PageSize(size), limit)| {
            let write = |file| Write::new(field.clone(), "hugetlb", file, value(*limit));
            [write(format!("hugetlb.{size}.{file}")), write(format!("hugetlb.{size}.rsvd.{file}")).or_skip()]
        });
        writes.collect()
    }
}

impl PageSize {
    fn parse(field: &Field, size: &str) -> Result<Self, Problems> {
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or("");
        let digits = number.len() <= 10 && number.bytes().all(|c| c.is_ascii_digit());
        if number.is_empty() || !digits || number.starts_with('0') {
            let rule = format!("{size:?} is not a size of pages as \"2MB\"");
            return Err(Problems::one(field.key("pageSize"), rule));
        }
        Ok(Self(size.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;

    fn parse(size: &str, limit: i64) -> Result<HugepageLimits, String> {
        let mut entry = LinuxHugepageLimit::default();
        entry.set_page_size(size.into()).set_limit(limit);
        HugepageLimits::parse(&[entry], &examples::v2()).map_err(|p| p.to_string())
    }

    #[test]
    fn both_accounts_are_limited() {
        let limits = parse("2MB", 4_194_304).unwrap();
        let files =
            |writes: Vec<Write>| -> Vec<_> { writes.into_iter().map(|w| w.file.into_owned()).collect() };
        assert_eq!(files(limits.v2()), ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]);
        assert_eq!(files(limits.v1()), ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"]);
        assert_eq!(limits.v1()[1].absent, super::super::Absent::Skip);
        assert_eq!(parse("1GB", -1).unwrap().v2()[0].value, "max");
        assert_eq!(parse("1GB", 0).unwrap().v2()[0].value, "0");
    }

    #[test]
    fn a_size_is_no_path() {
        for size in ["../../x", "2mb", "MB", "02MB", "2 MB", "", "-2MB", "2MBB"] {
            let text = parse(size, 1).unwrap_err();
            assert!(text.starts_with("linux.resources.hugepageLimits[0].pageSize: "), "{text}");
        }
        assert!(parse("2MB", -2).unwrap_err().contains("[0].limit: -2"));
    }
}
