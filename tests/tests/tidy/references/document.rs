//! A document as citations see it: its headings, numbered sections, numbered items and invariants.

use crate::links::{anchors, prose};

pub(super) struct Document<'t> {
    /// Lines outside fenced code.
    lines: Vec<&'t str>,
    anchors: Vec<String>,
}

// === impl Document ===

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            lines: prose(text).into_iter().map(|(_, line)| line).collect(),
            anchors: anchors(text),
        }
    }

    pub(super) fn has_anchor(&self, anchor: &str) -> bool {
        self.anchors.iter().any(|known| known == anchor)
    }

    pub(super) fn has_heading(&self, title: &str) -> bool {
        let mut headings = self.lines.iter().filter_map(|line| heading(line));
        headings.any(|(_, known)| known == title)
    }

    pub(super) fn has_section(&self, number: &str) -> bool {
        let mut headings = self.lines.iter().filter_map(|line| heading(line));
        headings.any(|(_, title)| numbered(title) == Some(number))
    }

    /// Whether the section, or the document, has a list item or a table row of this number.
    pub(super) fn has_item(&self, section: Option<&str>, number: u32) -> bool {
        let item = format!("{number}. ");
        let row = format!("| {number} |");
        let lines = section.map_or(&self.lines[..], |section| self.section(section));
        lines
            .iter()
            .any(|line| line.starts_with(&item) || line.starts_with(&row))
    }

    pub(super) fn has_invariant(&self, letter: char) -> bool {
        let row = format!("| {letter} |");
        self.lines.iter().any(|line| line.starts_with(&row))
    }

    /// The lines from a numbered heading to the next one of its level or above.
    fn section(&self, number: &str) -> &[&'t str] {
        let start = self.lines.iter().position(|line| {
            heading(line).is_some_and(|(_, title)| numbered(title) == Some(number))
        });
        let Some(start) = start else { return &[] };
        let level = heading(self.lines[start]).map_or(0, |(level, _)| level);
        let body = &self.lines[start + 1..];
        let end = body
            .iter()
            .position(|line| heading(line).is_some_and(|(other, _)| other <= level));
        &body[..end.unwrap_or(body.len())]
    }
}

/// The level and the title of a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    title
        .strip_prefix(' ')
        .filter(|_| level > 0)
        .map(|title| (level, title.trim()))
}

/// `1.2` of `1.2 Numbers`, `3` of `3. Retry`.
fn numbered(title: &str) -> Option<&str> {
    let number = title.split(' ').next()?.trim_end_matches('.');
    let digits = |char: char| char.is_ascii_digit() || char == '.';
    (number.starts_with(|char: char| char.is_ascii_digit()) && number.chars().all(digits))
        .then_some(number)
}

#[test]
fn sections_and_their_items_are_found() {
    let page =
        Document::new("## 1. One\n1. a\n### 1.1 Below\n| 2 | b |\n## 2. Two\n3. c\n| A | d |\n");
    assert!(page.has_section("1") && page.has_section("1.1") && !page.has_section("3"));
    assert!(page.has_item(Some("1"), 1) && page.has_item(Some("1"), 2));
    assert!(!page.has_item(Some("1"), 3) && page.has_item(None, 3));
    assert!(page.has_invariant('A') && !page.has_invariant('B'));
    assert!(page.has_heading("1.1 Below") && page.has_anchor("2-two"));
}
