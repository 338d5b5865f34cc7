//! `link`'s floors, read from its own crate documentation: imports point down or sideways, and never in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::nothing_in;
use crate::tree::{Text, rust};

#[test]
fn imports_inside_link_point_down() {
    let files = rust();
    let floors = floors(&files);
    let mut breaches = Vec::new();
    for import in imports(&files) {
        let Import {
            file,
            line,
            from,
            to,
            ..
        } = import;
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
    for import in imports(&files) {
        edges
            .entry(import.from_part)
            .or_default()
            .insert(import.to_part);
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
            breaches.push(format!(
                "link: `{start}` imports itself in a circle; it imports {:?}",
                edges[start]
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

/// One `crate::…` between two modules, outside tests.
struct Import {
    file: String,
    line: usize,
    /// The importing and the imported module of the crate root.
    from: String,
    to: String,
    /// The same with the module below, `iot/limits`, as far as the source names it: `iot` may use a `topic` that
    /// uses the limits of `iot`.
    from_part: String,
    to_part: String,
}

fn imports(files: &[Text]) -> Vec<Import> {
    let mut found = Vec::new();
    for file in files {
        let Some(inside) = file.path.strip_prefix("link/src/") else {
            continue;
        };
        if inside == "lib.rs" || file.is_test() {
            continue;
        }
        let mut parts = inside.trim_end_matches(".rs").split('/');
        let from = parts.next().unwrap_or_default();
        let from_part = parts
            .next()
            .map_or(from.to_owned(), |part| format!("{from}/{part}"));
        for (line, text) in file.product_lines() {
            let code = text.split("//").next().unwrap_or_default();
            for path in crate_paths(code) {
                let (to, part) = path.split_once("::").unwrap_or((&path, ""));
                if to == from {
                    continue;
                }
                found.push(Import {
                    file: file.path.clone(),
                    line,
                    from: from.to_owned(),
                    to: to.to_owned(),
                    from_part: from_part.clone(),
                    to_part: match is_module(to, part, files) {
                        true => format!("{to}/{part}"),
                        false => to.to_owned(),
                    },
                });
            }
        }
    }
    assert!(!found.is_empty(), "no import found: has `link` moved?");
    found
}

/// What follows each `crate::`: `module` or `module::item`.
fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            // One line of `use crate::{a::X, b}`; rustfmt breaks longer ones, which the house style avoids.
            Some(group) => found.extend(group.split(',').map(path)),
            None => found.push(path(rest)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn path(text: &str) -> String {
    let name = |text: &str| -> String {
        let word = |char: &char| char.is_alphanumeric() || *char == '_';
        text.trim_start().chars().take_while(word).collect()
    };
    let module = name(text);
    let rest = text.trim_start()[module.len()..].strip_prefix("::");
    match rest.map(name).filter(|item| !item.is_empty()) {
        Some(item) => format!("{module}::{item}"),
        None => module,
    }
}

/// Whether `module::part` is a module with a file of its own.
fn is_module(module: &str, part: &str, files: &[Text]) -> bool {
    let path = format!("link/src/{module}/{part}.rs");
    files.iter().any(|file| file.path == path)
}
