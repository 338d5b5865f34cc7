//! Links between the documents: the file is there, and so is the heading.

use std::path::{Component, Path, PathBuf};

use crate::nothing_in;
use crate::tree::{root, texts};

#[test]
fn links_in_documents_resolve() {
    let root = root();
    let mut breaches = Vec::new();
    for file in texts().iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in links(&file.content) {
            if let Some(what) = problem(&root, &file.path, &target) {
                breaches.push(format!("{}:{line}: `{target}` {what}", file.path));
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn links_and_headings_are_found() {
    let text = "# One `two` & three\n[a](b.md#c) ![i](x.png)\n```\n[no](no.md)\n```\n`[no](no)`\n";
    let targets: Vec<_> = links(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["b.md#c", "x.png"]);
    assert_eq!(anchors(text), ["one-two--three"]);
}

fn problem(root: &Path, from: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target
        .split_once('#')
        .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let here = Path::new(from);
    let joined = match path {
        "" => here.to_path_buf(),
        path => here.parent().unwrap_or(Path::new("")).join(path),
    };
    let Some(inside) = normal(&joined) else {
        return Some("leaves the repository");
    };
    let file = root.join(inside);
    if !file.exists() {
        return Some("is not there");
    }
    let anchor = anchor.filter(|_| file.extension().is_some_and(|extension| extension == "md"))?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let found = anchors(&text).iter().any(|heading| heading == anchor);
    (!found).then_some("has no such heading")
}

fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    Some(out)
}

/// `(line, target)` of every inline link outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        // Odd pieces are inline code.
        let outside: String = text.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for (at, _) in outside.match_indices("](") {
            let rest = &outside[at + 2..];
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            found.push((line, target.to_owned()));
        }
    }
    found
}

/// The anchors that renderers make of headings: lower case, spaces to hyphens, other signs dropped.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    prose(text)
        .into_iter()
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|char| char.is_alphanumeric() || " -_".contains(*char))
                .map(|char| if char == ' ' { '-' } else { char })
                .collect()
        })
        .collect()
}

/// The lines outside fenced code.
pub(crate) fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    text.lines()
        .enumerate()
        .filter_map(|(at, line)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            (!fenced && !fence).then_some((at + 1, line))
        })
        .collect()
}
