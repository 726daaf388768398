//! On a tree of files that looks like resctrl. It does not make a group's files with its directory as the kernel does.

use std::fs;

use serde_json::json;

use super::*;

/// Removed on drop.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let tree = Self(std::env::temp_dir().join(format!("crust-resctrl-{name}-{}", std::process::id())));
        tree.write("schemata", "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n");
        tree.write("tasks", "");
        tree.write("info/L3/cbm_mask", "7ff\n");
        tree.write("info/L3/min_cbm_bits", "1\n");
        tree.write("info/L3/num_closids", "16\n");
        tree.write("info/last_cmd_status", "ok\n");
        fs::create_dir(tree.0.join("mon_groups")).unwrap();
        tree.with_group("gold", "    MB:0=20;1=70\n    L3:0=7f0;1=1f\n")
    }

    fn with_group(self, name: &str, schemata: &str) -> Self {
        self.write(&format!("{name}/schemata"), schemata);
        self.write(&format!("{name}/tasks"), "");
        fs::create_dir(self.0.join(name).join("mon_groups")).unwrap();
        self
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| error.to_string())
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    fn survey(&self, section: serde_json::Value) -> Result<(IntelRdt, Survey), String> {
        let plan = IntelRdt::parse(Some(&serde_json::from_value(section).unwrap())).unwrap().unwrap();
        let root = file::open_path(file::here(), &self.0, OFlag::O_DIRECTORY).unwrap();
        let id = ContainerId::parse("web").unwrap();
        let survey = Group::survey_in(self.0.clone(), root, &plan, &id).map_err(|e| e.to_string())?;
        Ok((plan, survey))
    }

    fn made(&self, section: serde_json::Value) -> Made {
        let (plan, survey) = self.survey(section).unwrap();
        survey.create(&plan).unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _gone_anyway = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_made_and_what_is_only_joined() {
    let tree = Tree::new("survey").with_group("web", "L3:0=1\n");
    for (section, path, existing, own) in [
        (json!({}), "web", Existing::Group, false),
        (json!({"closID": "gold"}), "gold", Existing::Group, false),
        (json!({"closID": "gold", "memBwSchema": "MB:1=70;0=20"}), "gold", Existing::Group, false),
        (json!({"closID": "/"}), "", Existing::Group, false),
        (json!({"closID": "new", "schemata": ["L3:0=1"]}), "new", Existing::Nothing, false),
    ] {
        let (_, survey) = tree.survey(section.clone()).unwrap();
        let found = (survey.group.path.to_str().unwrap(), survey.existing, survey.group.own);
        assert_eq!(found, (path, existing, own), "{section}");
    }
    let (_, survey) = Tree::new("own").survey(json!({"l3CacheSchema": "L3:0=1"})).unwrap();
    assert_eq!((survey.existing, survey.group.own), (Existing::Nothing, true));
}

#[test]
fn what_is_refused() {
    let tree = Tree::new("refused");
    tree.write("gold/mon_groups/web/tasks", "");
    for (section, expected) in [
        (json!({"closID": "none"}), "linux.intelRdt.closID: \"none\" is not a group in "),
        (
            json!({"closID": "gold", "l3CacheSchema": "L3:0=7ff"}),
            "linux.intelRdt: the group \"gold\" is there already, with \"MB:0=20;1=70 L3:0=7f0;1=1f\" and not \"L3:0=7ff\"",
        ),
        (json!({"closID": "/", "memBwSchema": "MB:0=10"}), "linux.intelRdt: the group \"\" is there already"),
        (json!({"closID": "gold", "enableMonitoring": true}), "linux.intelRdt.enableMonitoring: "),
    ] {
        let text = tree.survey(section).unwrap_err();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_group_of_its_own_goes_with_the_container() {
    let tree = Tree::new("lives");
    let made = tree.made(json!({}));
    tree.write("web/tasks", "");
    made.group.take(7).unwrap();
    assert_eq!(tree.text("web/tasks"), "7");
    let group = made.group.clone();
    made.keep();
    assert!(tree.has("web"));
    fs::remove_file(tree.0.join("web/tasks")).unwrap();
    group.delete().unwrap();
    assert!(!tree.has("web"));
    group.delete().unwrap();
    drop(tree.made(json!({})));
    assert!(!tree.has("web"));
}

#[test]
fn a_group_of_others_stays() {
    let tree = Tree::new("stays");
    let made = tree.made(json!({"closID": "gold", "enableMonitoring": true, "schemata": ["L3:0=7f1;1=1f"]}));
    assert!(tree.text("gold/schemata").starts_with("L3:0=7f1;1=1f\n"));
    assert!(made.group.take(7).unwrap_err().to_string().contains("mon_groups/web/tasks"));
    assert_eq!(tree.text("gold/tasks"), "7");
    let group = made.group.clone();
    made.keep();
    assert!(tree.has("gold/mon_groups/web"));
    group.delete().unwrap();
    assert!(tree.has("gold/tasks") && !tree.has("gold/mon_groups/web"));
}

#[test]
fn what_a_failure_has_made_is_undone_and_the_kernel_explains_it() {
    let tree = Tree::new("undone");
    tree.write("info/last_cmd_status", "Mask too small\n");
    let (plan, survey) = tree.survey(json!({"closID": "new", "l3CacheSchema": "L3:0=0"})).unwrap();
    let text = survey.create(&plan).unwrap_err().to_string();
    assert!(
        text.starts_with("linux.intelRdt.l3CacheSchema: ") && text.contains("(Mask too small)"),
        "{text}"
    );
    assert!(!tree.has("new"));
}

#[test]
fn counters_and_schemata_are_told() {
    let tree = Tree::new("stats");
    tree.write("gold/mon_groups/web/mon_data/mon_L3_01/llc_occupancy", "5\n");
    tree.write("gold/mon_groups/web/mon_data/mon_L3_00/llc_occupancy", "4096\n");
    tree.write("gold/mon_groups/web/mon_data/mon_L3_00/mbm_total_bytes", "70\n");
    tree.write("gold/mon_groups/web/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n");
    let monitoring = Some("web".to_owned());
    let group = Group { mount_point: tree.0.clone(), path: "gold".into(), own: false, monitoring };
    let expected = json!({
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff", "l3_cache_schema": "L3:0=7f0;1=1f",
        "mem_bw_schema_root": "MB:0=100;1=100", "mem_bw_schema": "MB:0=20;1=70",
        "mbm_stats": [{"mbm_total_bytes": 70}],
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 5}],
    });
    assert_eq!(serde_json::to_value(group.stats()).unwrap(), expected);
    let without = Group { monitoring: None, ..group };
    assert_eq!(serde_json::to_value(without.stats()).unwrap().get("cmt_stats"), None);
}

#[test]
fn a_change_is_made_whole_or_not_at_all() {
    let tree = Tree::new("change");
    let group = Group { mount_point: tree.0.clone(), path: "gold".into(), own: false, monitoring: None };
    let line = |text: &str| Line { field: "linux.intelRdt.memBwSchema".into(), text: text.into() };
    group.change(&[line("MB:0=99;1=99")]).unwrap();
    assert!(tree.text("gold/schemata").starts_with("MB:0=99;1=99\n"));
    let gone = Group { path: "none".into(), ..group };
    assert!(gone.change(&[line("MB:0=1")]).unwrap_err().to_string().contains("ENOENT"));
}
