//! Fields of the spec that this version does not apply. Each is refused where it asks for something: a container that
//! silently lacks what its config says is worse than none.

use oci_spec::runtime::Linux;

use crate::error::Problems;

/// Refuse what is asked for and not done.
pub fn refuse(linux: Option<&Linux>) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let fields = linux.into_iter().flat_map(of_linux);
    for (field, _) in fields.filter(|(_, asked_for)| *asked_for) {
        problems.add(field, "not supported by this version of crust");
    }
    problems.or(())
}

fn of_linux(linux: &Linux) -> [(&'static str, bool); 1] {
    [("linux.memoryPolicy", linux.memory_policy().is_some())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_is_refused_by_name_and_never_ignored() {
        let linux: Linux = serde_json::from_value(json!({
            "memoryPolicy": {"mode": "MPOL_LOCAL"},
        }))
        .unwrap();
        let text = refuse(Some(&linux)).unwrap_err().to_string();
        let fields = ["linux.memoryPolicy"];
        let expected: Vec<_> =
            fields.iter().map(|f| format!("{f}: not supported by this version of crust")).collect();
        assert_eq!(text, expected.join("; "));
    }

    #[test]
    fn what_is_absent_or_empty_asks_for_nothing() {
        let linux: Linux = serde_json::from_value(json!({"netDevices": {}})).unwrap();
        assert_eq!(refuse(Some(&linux)), Ok(()));
        assert_eq!(refuse(None), Ok(()));
    }
}
