//! Modules do not use each other in circles, at any level of any member.
//!
//! At each level the children of one module are the nodes. A use is drawn between those two children below which its two
//! ends lie, so `a::x` that uses `b::y` is an arrow `a → b`. A re-export is followed to the module that declares the name.
//! A module and its own ancestors may use each other: that is how a folder shares what its files have in common.

use std::collections::{BTreeMap, BTreeSet};

use crate::nothing_in;
use crate::syntax::{Module, Source, members};

#[test]
fn modules_do_not_use_each_other_in_circles() {
    let mut breaches = Vec::new();
    for (member, modules) in members() {
        for (level, arrows) in levels(&modules) {
            for circle in circles(&arrows) {
                let level = if level.is_empty() {
                    "the root".to_owned()
                } else {
                    level.join("::")
                };
                breaches.push(format!(
                    "{member}: below {level}, {} use each other in a circle; move what they share into a module below both:\n{}",
                    Vec::from_iter(&circle).iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
                    told(&circle, &arrows)
                ));
            }
        }
    }
    nothing_in(&breaches);
}

/// From child to child, with the uses that make the arrow.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

fn levels(modules: &BTreeMap<Module, Source>) -> BTreeMap<Module, Arrows> {
    let mut levels: BTreeMap<Module, Arrows> = BTreeMap::new();
    for (from, source) in modules {
        for used in &source.uses {
            let Some(to) = resolve(modules, from, used, 0) else {
                continue;
            };
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if common < from.len() && common < to.len() {
                let arrow = (from[common].clone(), to[common].clone());
                let arrows = levels.entry(from[..common].to_vec()).or_default();
                let what = format!("{}: {}", source.file, used.join("::"));
                arrows.entry(arrow).or_default().insert(what);
            }
        }
    }
    levels
}

/// The module that declares what `path`, written in `from`, names.
fn resolve(
    modules: &BTreeMap<Module, Source>,
    from: &[String],
    path: &[String],
    depth: usize,
) -> Option<Module> {
    let mut at = from.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (at, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                at.pop()?;
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    let relative = rest.len() == path.len();
    for (index, name) in rest.iter().enumerate() {
        let child = [at.as_slice(), std::slice::from_ref(name)].concat();
        if modules.contains_key(&child) {
            at = child;
            continue;
        }
        let behind = modules.get(&at)?.imports.get(name);
        if let Some(behind) = behind.filter(|behind| *behind != path && depth < MOST_REEXPORTS) {
            let full = [behind.as_slice(), &rest[index + 1..]].concat();
            return resolve(modules, &at, &full, depth + 1).or(Some(at));
        }
        // The name of another crate.
        return (!relative || index > 0).then_some(at);
    }
    Some(at)
}

/// The groups of nodes that reach each other.
fn circles(arrows: &Arrows) -> BTreeSet<BTreeSet<String>> {
    let nodes: BTreeSet<&String> = arrows.keys().map(|(from, _)| from).collect();
    let reached = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut todo = vec![start];
        while let Some(node) = todo.pop() {
            let next = arrows.keys().filter(|(from, _)| from == node);
            todo.extend(
                next.map(|(_, to)| to)
                    .filter(|to| reached.insert((*to).clone())),
            );
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        nodes.iter().map(|node| (*node, reached(node))).collect();
    let mut found = BTreeSet::new();
    for (node, others) in &reached {
        let back = |other: &&String| reached.get(other).is_some_and(|back| back.contains(*node));
        let circle: BTreeSet<String> = others.iter().filter(back).cloned().collect();
        if circle.contains(*node) {
            found.insert(circle);
        }
    }
    found
}

fn told(circle: &BTreeSet<String>, arrows: &Arrows) -> String {
    let inside = arrows
        .iter()
        .filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
    let lines = inside.map(|((from, to), uses)| {
        let some: Vec<&str> = uses.iter().take(SHOWN_USES).map(String::as_str).collect();
        format!(
            "    {from} → {to} ({} uses): {}",
            uses.len(),
            some.join("; ")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Re-exports of re-exports that are followed.
const MOST_REEXPORTS: usize = 8;
/// Of each arrow.
const SHOWN_USES: usize = 4;
