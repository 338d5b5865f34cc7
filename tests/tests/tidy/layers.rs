//! `link`'s floors, read from its own crate documentation: imports point down or sideways, and never in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::nothing_in;
use crate::tree::{Text, rust};

#[test]
fn imports_inside_link_point_down() {
    let files = rust();
    let floors = floors(&files);
    let mut breaches = Vec::new();
    for (file, line, from, to) in imports(&files) {
        match (floors.get(from.as_str()), floors.get(to.as_str())) {
            (Some(here), Some(there)) if there <= here => {}
            (Some(_), Some(_)) => breaches.push(format!(
                "{file}:{line}: `{from}` imports `{to}`, which is above it; move the shared part down"
            )),
            (None, _) => breaches.push(format!(
                "{file}:{line}: `{from}` is on no floor; add it to the list in `link/src/lib.rs`"
            )),
            // Not a module: an item that the crate root re-exports.
            (_, None) => {}
        }
    }
    nothing_in(&breaches);
}

#[test]
fn modules_of_link_do_not_import_in_circles() {
    let files = rust();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, _, from, to) in imports(&files) {
        edges.entry(from).or_default().insert(to);
    }
    let mut breaches = Vec::new();
    for start in edges.keys() {
        let mut reached = BTreeSet::new();
        let mut todo: Vec<&String> = edges[start].iter().collect();
        while let Some(module) = todo.pop() {
            if reached.insert(module) {
                todo.extend(edges.get(module).into_iter().flatten());
            }
        }
        if reached.contains(start) {
            let through: Vec<_> = edges[start]
                .iter()
                .filter(|next| reached.contains(next))
                .map(String::as_str)
                .collect();
            breaches.push(format!(
                "link/src/{start}.rs: imports itself in a circle, through one of {through:?}"
            ));
        }
    }
    nothing_in(&breaches);
}

/// Module name → floor, 0 lowest.
fn floors(files: &[Text]) -> BTreeMap<&str, usize> {
    let root = files
        .iter()
        .find(|file| file.path == "link/src/lib.rs")
        .expect("`link` has a crate root");
    let docs_end = root.content.find("\npub mod").unwrap_or(root.content.len());
    let docs = &root.content[..docs_end];
    let list = docs
        .split('`')
        .find(|span| span.contains('→'))
        .expect("`link/src/lib.rs` lists the floors between backticks, top first, with `→`");
    let floors: Vec<&str> = list.split('→').collect();
    let mut found = BTreeMap::new();
    for (height, floor) in floors.iter().rev().enumerate() {
        let names = floor.split(|char: char| !char.is_alphanumeric() && char != '_');
        found.extend(
            names
                .filter(|name| !name.is_empty())
                .map(|name| (name, height)),
        );
    }
    assert!(found.len() >= 10, "the list of floors is short: {found:?}");
    found
}

/// `(file, line, importing module, imported module)` for every `crate::x` outside tests, once per line and target.
fn imports(files: &[Text]) -> Vec<(String, usize, String, String)> {
    let mut found = Vec::new();
    for file in files {
        let Some(inside) = file.path.strip_prefix("link/src/") else {
            continue;
        };
        if inside == "lib.rs" || file.is_test() {
            continue;
        }
        let from = inside.split(['/', '.']).next().unwrap_or_default();
        for (line, text) in file.product_lines() {
            let code = text.split("//").next().unwrap_or_default();
            for to in crate_paths(code) {
                if to != from {
                    found.push((file.path.clone(), line, from.to_owned(), to));
                }
            }
        }
    }
    assert!(!found.is_empty(), "no import found: has `link` moved?");
    found
}

fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let name = |text: &str| -> String {
            text.trim_start()
                .chars()
                .take_while(|char| char.is_alphanumeric() || *char == '_')
                .collect()
        };
        match rest.strip_prefix('{') {
            // One line of `use crate::{a::X, b}`; rustfmt breaks longer ones, which the house style avoids.
            Some(group) => found.extend(group.split(',').map(name)),
            None => found.push(name(rest)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}
