//! The metrics that sources register, read from their text, as the table of the reference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// The table of every metric of the members that serve `/metrics`.
///
/// # Errors
/// When a source cannot be read.
pub(super) fn table(root: &Path) -> Result<String> {
    let mut found = Vec::new();
    for member in ["link", "agent", "server-bridge"] {
        for file in sources(&root.join(member).join("src"))? {
            let text = std::fs::read_to_string(&file)?;
            let product = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            found.extend(metrics(product).into_iter().map(|metric| (member, metric)));
        }
    }
    found.sort();
    let mut table = String::from("| Metric | Labels | Meaning | Made in |\n|---|---|---|---|\n");
    for (member, metric) in found {
        let Metric { name, labels, help } = metric;
        let labels = if labels.is_empty() { "–" } else { &labels };
        let help = help.trim_end_matches('.');
        writeln!(table, "| `{name}` | {labels} | {help} | `{member}` |")?;
    }
    Ok(table)
}

/// One metric as its source declares it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    name: String,
    labels: String,
    help: String,
}

/// Every `…::new("name", "help"` of a source, with the labels that follow.
fn metrics(source: &str) -> Vec<Metric> {
    let mut found = Vec::new();
    for (at, constructor) in source.match_indices("::new(") {
        let rest = source[at + constructor.len()..].trim_start();
        let Some((name, rest)) = literal(rest) else {
            continue;
        };
        // A message has a topic first, and no metric has one word for a name.
        let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
        if !name.contains('_') || !name.chars().all(plain) {
            continue;
        }
        let Some((help, rest)) = rest
            .trim_start()
            .strip_prefix(',')
            .and_then(|rest| literal(rest.trim_start()))
        else {
            continue;
        };
        found.push(Metric {
            name: name.to_owned(),
            labels: labels(rest, source),
            help: help.to_owned(),
        });
    }
    found
}

/// The label names after a metric's options: a list, or the variable `labels` of the same file.
fn labels(rest: &str, source: &str) -> String {
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    // Without the closing bracket of `Opts::new` this was the metric itself.
    let Some(rest) = rest.strip_prefix(')') else {
        return String::new();
    };
    let rest = rest.split(".buckets(").next().unwrap_or_default();
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    if rest.starts_with(".const_label(") {
        let names = rest.split(".const_label(\"").skip(1);
        return names
            .filter_map(|rest| rest.split('"').next())
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let list = if rest.starts_with("labels") || rest.is_empty() {
        source
            .split_once("labels = &[")
            .or_else(|| source.split_once("labels: &[&str] = &["))
            .map(|(_, list)| list)
    } else {
        rest.strip_prefix("&[")
    };
    let list = list.and_then(|list| list.split(']').next());
    let names = list.unwrap_or_default().split(',');
    names
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The string literal at the start, and what follows it.
fn literal(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_path_buf()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                found.push(path);
            }
        }
    }
    Ok(found)
}
