//! What a text cites: `X.md`, `X.md#heading`, `"Heading" in X.md`, `X.md §1.2–1.4`, `X.md §2 points 3 and 4`,
//! `rows 1 to 5 of X.md §6`, `invariant A`.
//!
//! A section belongs to the document that was named last in the same paragraph: comment lines that follow one another,
//! lines of a page up to a blank one, any other line by itself.

use std::fmt;

use crate::tree::Text;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cited {
    Document {
        name: String,
        anchor: Option<String>,
    },
    Section {
        name: String,
        number: String,
    },
    /// A numbered point of a list or row of a table.
    Item {
        name: String,
        section: Option<String>,
        number: u32,
    },
    Heading {
        name: String,
        title: String,
    },
    Invariant(char),
    /// A section without a document.
    Nothing {
        number: String,
    },
}

// === impl Cited ===

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document { anchor, .. } => {
                write!(f, "heading `#{}`", anchor.as_deref().unwrap_or_default())
            }
            Self::Section { number, .. } | Self::Nothing { number } => write!(f, "§{number}"),
            Self::Item {
                section, number, ..
            } => match section {
                Some(section) => write!(f, "point or row {number} in §{section}"),
                None => write!(f, "point or row {number}"),
            },
            Self::Heading { title, .. } => write!(f, "heading \"{title}\""),
            Self::Invariant(letter) => write!(f, "invariant {letter}"),
        }
    }
}

/// `(line, what is cited)`.
pub(super) fn citations(file: &Text) -> Vec<(usize, Cited)> {
    let own = file.path.ends_with(".md").then_some(file.path.as_str());
    paragraphs(file)
        .iter()
        .flat_map(|lines| Reader::new(own, lines).read())
        .collect()
}

type Paragraph<'t> = Vec<(usize, &'t str)>;

fn paragraphs(file: &Text) -> Vec<Paragraph<'_>> {
    let page = file.path.ends_with(".md");
    let mut all: Vec<Paragraph<'_>> = Vec::new();
    let mut open = false;
    for (line, text) in file.lines() {
        let (goes_on, text) = if page {
            (!text.trim().is_empty(), text)
        } else {
            let text = text.trim_start();
            let marks = ["//!", "///", "//", "#!", "#", "--"];
            let bare = marks.iter().find_map(|mark| text.strip_prefix(mark));
            (bare.is_some(), bare.unwrap_or(text))
        };
        match all.last_mut().filter(|_| open && goes_on) {
            Some(paragraph) => paragraph.push((line, text)),
            None => all.push(vec![(line, text)]),
        }
        open = goes_on;
    }
    all
}

/// Reads one paragraph, word by word.
struct Reader<'t> {
    words: Vec<(usize, &'t str)>,
    /// With quotation marks, for headings: `(line, text)`.
    lines: &'t [(usize, &'t str)],
    document: Option<&'t str>,
    section: Option<String>,
    /// The index of the last word of a citation.
    last: Option<usize>,
    found: Vec<(usize, Cited)>,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn new(own: Option<&'t str>, lines: &'t [(usize, &'t str)]) -> Self {
        let apart = |char: char| char.is_whitespace() || "()[]{}<>|\"'`\\*".contains(char);
        let words = lines.iter().flat_map(|(line, text)| {
            text.split(apart)
                .filter(|word| !bare(word).is_empty())
                .map(|word| (*line, word))
        });
        Self {
            words: words.collect(),
            lines,
            document: own,
            section: None,
            last: None,
            found: Vec::new(),
        }
    }

    fn read(mut self) -> Vec<(usize, Cited)> {
        for at in 0..self.words.len() {
            let (line, word) = self.words[at];
            let word = bare(word);
            if let Some(name) = document(word) {
                self.note_document(at, line, name);
            } else if word.starts_with('§') {
                self.note_sections(at, line, word);
            } else if ["rule", "rules", "point", "points", "row", "rows"].contains(&word) {
                self.items(at);
            } else if ["invariant", "invariants"].contains(&word) {
                self.invariants(at);
            }
        }
        self.headings();
        self.found
    }

    fn note_document(&mut self, at: usize, line: usize, name: &'t str) {
        let (name, anchor) = name
            .split_once('#')
            .map_or((name, None), |(name, anchor)| (name, Some(anchor)));
        self.document = Some(name);
        self.section = None;
        self.last = Some(at);
        let cited = Cited::Document {
            name: name.to_owned(),
            anchor: anchor.map(str::to_owned),
        };
        self.found.push((line, cited));
    }

    fn note_sections(&mut self, at: usize, line: usize, word: &str) {
        let before = |back: usize| at.checked_sub(back).map(|at| self.words[at].1);
        let standard = before(2) == Some("RFC") || before(2) == Some("MQTT");
        if standard {
            return;
        }
        for number in word.split(['–', '-']) {
            let number = number.trim_matches('§').to_owned();
            let cited = match self.document {
                Some(name) => Cited::Section {
                    name: name.to_owned(),
                    number: number.clone(),
                },
                None => Cited::Nothing {
                    number: number.clone(),
                },
            };
            self.found.push((line, cited));
            self.section = Some(number);
        }
        self.last = Some(at);
    }

    /// `rule 3`, `points 4, 5 and 7–9`: of what was cited just before, or of the document that `of` names just after.
    fn items(&mut self, at: usize) {
        let mut numbers = Vec::new();
        let mut next = at + 1;
        while let Some(&(_, word)) = self.words.get(next) {
            let parts: Option<Vec<u32>> = bare(word)
                .split(['–', '-'])
                .map(|part| part.parse().ok())
                .collect();
            match parts {
                Some(parts) => numbers.extend(parts),
                None if ["to", "and"].contains(&word) && !numbers.is_empty() => {}
                None => break,
            }
            next += 1;
        }
        let after = |at: usize| self.words.get(at).map(|&(_, word)| bare(word));
        let (name, section) = if self.last.is_some() && self.last == at.checked_sub(1) {
            (self.document, self.section.clone())
        } else if after(next) == Some("of") {
            let section = after(next + 2).and_then(|word| word.strip_prefix('§'));
            (
                after(next + 1).and_then(document),
                section.map(str::to_owned),
            )
        } else {
            (None, None)
        };
        let Some(name) = name else { return };
        let line = self.words[at].0;
        self.found.extend(numbers.into_iter().map(|number| {
            let cited = Cited::Item {
                name: name.to_owned(),
                section: section.clone(),
                number,
            };
            (line, cited)
        }));
    }

    fn invariants(&mut self, at: usize) {
        for &(line, word) in &self.words[at + 1..] {
            let word = bare(word);
            let mut letters = word.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) if letter.is_ascii_uppercase() => {
                    self.found.push((line, Cited::Invariant(letter)));
                }
                _ if word == "and" => {}
                _ => break,
            }
        }
    }

    /// `"Heading" in X.md`.
    fn headings(&mut self) {
        let texts: Vec<_> = self.lines.iter().map(|(_, text)| text.trim()).collect();
        let text = texts.join(" ").replace('\\', "");
        let line = self.lines.first().map_or(0, |(line, _)| *line);
        for (at, _) in text.match_indices("\" in ") {
            let title = text[..at].rsplit('"').next().unwrap_or_default();
            let name = text[at + 5..].split([' ', ':', ',', ';']).next();
            let name = name.map(|word| bare(word.trim_matches('`')));
            if let Some(name) = name.and_then(document) {
                let cited = Cited::Heading {
                    name: name.to_owned(),
                    title: title.to_owned(),
                };
                self.found.push((line, cited));
            }
        }
    }
}

/// A word without the signs around it.
fn bare(word: &str) -> &str {
    word.trim_end_matches([',', '.', ';', ':'])
}

/// The document that a word names: not a placeholder, and of an address the part from `docs/` on.
fn document(word: &str) -> Option<&str> {
    let word = match word.find("://") {
        Some(_) => &word[word.find("/docs/")? + 1..],
        None => word,
    };
    let name = word.split('#').next().unwrap_or_default();
    let stem = name.strip_suffix(".md")?;
    let stem = stem.rsplit('/').next().unwrap_or_default();
    // `docs/runbooks/ALERT.md` stands for each of them.
    (!stem.is_empty() && stem != "ALERT").then_some(word)
}

#[test]
fn citations_are_read_over_lines_and_ranges() {
    let read = |path: &str, content: &str| {
        let (path, content) = (path.to_owned(), content.to_owned());
        let cited = citations(&Text { path, content });
        let shown = |(line, cited): &(usize, Cited)| format!("{line} {cited}");
        cited.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        read(
            "a.rs",
            "//! One (docs/A.md §1.2–1.3, §2\n//! points 3 and 5–6). Two of §4.\ncode();\n// §9, MQTT 5 §3.1\n"
        ),
        [
            "1 heading `#`",
            "1 §1.2",
            "1 §1.3",
            "1 §2",
            "2 point or row 3 in §2",
            "2 point or row 5 in §2",
            "2 point or row 6 in §2",
            "2 §4",
            "4 §9",
        ]
    );
    assert_eq!(
        read(
            "a.rs",
            "// rows 2 to 6 of docs/A.md §6, invariants A and B.\n"
        ),
        [
            "1 point or row 2 in §6",
            "1 point or row 6 in §6",
            "1 heading `#`",
            "1 §6",
            "1 invariant A",
            "1 invariant B",
        ]
    );
    assert_eq!(
        read("a.md", "[b §1](B.md#one), \"Two words\" in C.md\n"),
        [
            "1 §1",
            "1 heading `#one`",
            "1 heading `#`",
            "1 heading \"Two words\"",
        ]
    );
}
