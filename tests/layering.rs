//! ARCHITECTURE.md has a table of which module may use which. This keeps the code to it, and it to the code.

use std::path::{Path, PathBuf};

/// Every second piece between backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn within(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What the code, without its tests and comments, names as `crate::…`.
fn used(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = lines.flat_map(|line| line.split("crate::").skip(1));
    let ends = |c: char| !c.is_alphanumeric() && c != '_' && c != ':';
    paths.map(|path| path.split(ends).next().unwrap().trim_end_matches(':')).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| module | may use |")).skip(2);
    let rows: Vec<(Vec<&str>, Vec<&str>)> = rows
        .map_while(|line| line.strip_prefix('|')?.split_once('|'))
        .map(|(modules, rest)| (names(modules), names(rest.split('|').next().unwrap())))
        .collect();
    let mut wrong = Vec::new();
    for path in sources(&root.join("src")) {
        let module = path.strip_prefix(root.join("src")).unwrap().with_extension("");
        let module = module.to_str().unwrap().trim_end_matches("/mod").replace('/', "::");
        if ["lib", "main"].contains(&module.as_str()) || module.ends_with("tests") {
            continue;
        }
        let fits =
            |modules: &[&str]| modules.iter().filter(|name| within(&module, name)).map(|n| n.len()).max();
        let (own, may_use) = rows.iter().max_by_key(|(modules, _)| fits(modules)).unwrap();
        if fits(own).is_none() {
            wrong.push(format!("{module} is not in the table"));
        }
        for used in used(&std::fs::read_to_string(&path).unwrap()) {
            if !own.iter().chain(may_use).any(|allowed| within(used, allowed)) {
                wrong.push(format!("{module} may not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
