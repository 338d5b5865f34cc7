//! References resolve: a document that is cited is in the repository, and so is the section, the numbered item, the
//! heading or the invariant; a file or a module that a document names is there.
//!
//! What counts as a citation is in [`cite`]. Bare `§n` after a standard (`MQTT 5 §3.1`, `RFC 9110 §11`) is that standard's.

use std::collections::BTreeMap;

use self::cite::{Cited, citations};
use self::document::Document;
use crate::nothing_in;
use crate::tree::{Text, texts};

mod cite;
mod document;

#[test]
fn references_resolve() {
    let files = texts();
    let library = Library::new(&files);
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| !is_exempt(&file.path)) {
        for (line, cited) in citations(file) {
            if let Some(what) = library.problem(&file.path, &cited) {
                breaches.push(format!("{}:{line}: {what}", file.path));
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn sources_that_documents_name_are_there() {
    let files = texts();
    let library = Library::new(&files);
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| is_page(&file.path)) {
        for (line, text) in file.lines() {
            // Odd pieces are inline code.
            for name in text.split('`').skip(1).step_by(2) {
                if is_source(name) && !library.holds(name) {
                    breaches.push(format!("{}:{line}: no file `{name}`", file.path));
                }
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn modules_of_the_code_map_are_there() {
    let files = texts();
    let library = Library::new(&files);
    let map = files.iter().find(|file| file.path == ARCHITECTURE);
    let mut member = String::new();
    let mut breaches = Vec::new();
    for (line, text) in map.expect("the architecture's page").lines() {
        if text.starts_with("## ") {
            member.clear();
        }
        if let Some(title) = text.strip_prefix("### ") {
            let name = title
                .strip_prefix('`')
                .and_then(|rest| rest.split('`').next());
            member = name.unwrap_or_default().to_owned();
        }
        let Some(cell) = text.strip_prefix("| `").filter(|_| !member.is_empty()) else {
            continue;
        };
        let cell = cell.split(" |").next().unwrap_or_default();
        let modules = cell.split(", ").map(|module| module.trim_matches('`'));
        // A path is held to be there by the test above.
        for module in modules.filter(|module| !module.contains(['.', '/'])) {
            let path = format!("{member}/src/{}.rs", module.replace("::", "/"));
            if !library.holds(&path) {
                breaches.push(format!(
                    "{ARCHITECTURE}:{line}: no module `{module}`, that is `{path}`"
                ));
            }
        }
    }
    nothing_in(&breaches);
}

/// What may be cited.
struct Library<'t> {
    documents: BTreeMap<&'t str, Document<'t>>,
    /// Every file and its directories, each with `/` before it.
    paths: Vec<String>,
}

// === impl Library ===

impl<'t> Library<'t> {
    fn new(files: &'t [Text]) -> Self {
        let pages = files.iter().filter(|file| file.path.ends_with(".md"));
        Self {
            documents: pages
                .map(|file| (file.path.as_str(), Document::new(&file.content)))
                .collect(),
            paths: files.iter().map(|file| format!("/{}", file.path)).collect(),
        }
    }

    /// Whether a file's path ends with `name`, at a boundary.
    fn holds(&self, name: &str) -> bool {
        let end = format!("/{}", name.trim_start_matches('/'));
        self.paths.iter().any(|path| path.ends_with(&end))
    }

    /// The documents that may be meant by `name` in the file at `from`.
    fn named(&self, name: &str, from: &str) -> Vec<&Document<'t>> {
        let name = name.trim_start_matches("./").trim_start_matches("../");
        let name = name.trim_start_matches('/');
        let beside = from.rsplit_once('/').map(|(directory, _)| directory);
        let beside = beside.map(|directory| format!("{directory}/{name}"));
        let exact = self.documents.get(name);
        if let Some(document) = beside
            .and_then(|path| self.documents.get(path.as_str()))
            .or(exact)
        {
            return vec![document];
        }
        let end = format!("/{name}");
        let all = self.documents.iter();
        all.filter(|(path, _)| path.ends_with(&end))
            .map(|(_, document)| document)
            .collect()
    }

    fn problem(&self, from: &str, cited: &Cited) -> Option<String> {
        let (name, found): (_, &dyn Fn(&Document<'_>) -> bool) = match cited {
            Cited::Document { name, anchor } => (name, &move |document: &Document<'_>| {
                anchor
                    .as_ref()
                    .is_none_or(|anchor| document.has_anchor(anchor))
            }),
            Cited::Section { name, number } => (name, &move |document: &Document<'_>| {
                document.has_section(number)
            }),
            Cited::Item {
                name,
                section,
                number,
            } => (name, &move |document: &Document<'_>| {
                document.has_item(section.as_deref(), *number)
            }),
            Cited::Heading { name, title } => (name, &move |document: &Document<'_>| {
                document.has_heading(title)
            }),
            Cited::Invariant(letter) => {
                let architecture = self.documents.get(ARCHITECTURE)?;
                let known = architecture.has_invariant(*letter);
                return (!known).then(|| format!("{ARCHITECTURE} has no invariant {letter}"));
            }
            Cited::Nothing { number } => return Some(format!("§{number} of which document?")),
        };
        let documents = self.named(name, from);
        if documents.is_empty() {
            return Some(format!(
                "`{name}` is not in this repository; cite a document that is, or say the fact itself"
            ));
        }
        let resolved = documents.into_iter().any(found);
        (!resolved).then(|| format!("`{name}` has no {cited}"))
    }
}

/// The fixtures of these checks cite what is not there.
fn is_exempt(path: &str) -> bool {
    path.starts_with("tests/tests/tidy/") || path.ends_with(".lock")
}

fn is_page(path: &str) -> bool {
    path.ends_with(".md") && path != "CHANGELOG.md"
}

/// Whether a piece of inline code is a path to a source: no placeholder, no pattern, no command.
fn is_source(name: &str) -> bool {
    let plain =
        |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "_-./".contains(char);
    let kind = [".rs", ".go", ".proto", ".py", ".sql"];
    name.chars().all(plain)
        && kind
            .iter()
            .any(|end| name.len() > end.len() && name.ends_with(end))
}

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
