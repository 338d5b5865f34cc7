//! Codes of faults, their pages and the code that says them agree, in both directions: no code without a page, no page
//! without a code, none that is said and is not in the catalogue, and none that nobody says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use link::fault::{CATALOGUE, Code, Entry};
use proc_macro2::{TokenStream, TokenTree};

use super::root;

#[test]
fn each_code_has_a_page_and_each_page_a_code() -> Result<()> {
    let mut wrong = Vec::new();
    for entry in CATALOGUE {
        let page = entry.code.page();
        match std::fs::read_to_string(root().join(&page)) {
            Ok(text) => wrong.extend(breaches(entry, &text).map(|what| format!("{page}: {what}"))),
            Err(error) => wrong.push(format!("{page}: {error}")),
        }
    }
    for file in std::fs::read_dir(root().join(PAGES))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let number = name
            .strip_prefix("MQ")
            .and_then(|it| it.strip_suffix(".md"));
        let known = match number.map(str::parse) {
            Some(Ok(number)) => Code::from_number(number).is_some(),
            _ => name == "README.md",
        };
        if !known {
            wrong.push(format!("{PAGES}/{name}: no code of the catalogue"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_list_of_pages_is_the_catalogue() -> Result<()> {
    let text = std::fs::read_to_string(root().join(PAGES).join("README.md"))?;
    let listed: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("| ["))
        .collect();
    let line = |entry: &Entry| format!("| [{0}]({0}.md) | {1} |", entry.code, entry.fault);
    let expected: Vec<_> = CATALOGUE.iter().map(line).collect();
    for line in &expected {
        ensure!(
            listed.contains(&line.as_str()),
            "{PAGES}/README.md lacks `{line}`"
        );
    }
    ensure!(
        listed == expected,
        "{PAGES}/README.md has more, or another order"
    );
    Ok(())
}

#[test]
fn what_is_said_is_in_the_catalogue_and_all_of_it_is_said() -> Result<()> {
    let mut said = Said::default();
    for member in std::fs::read_dir(root())? {
        let member = member?;
        let sources = member.path().join("src");
        if sources.is_dir() && member.file_name() != "tests" {
            said.directory(&sources)?;
        }
    }
    let unknown: Vec<_> = said
        .codes
        .iter()
        .chain(&said.named)
        .filter(|(number, _)| Code::from_number(**number).is_none())
        .map(|(number, file)| format!("MQ{number} in {file}"))
        .collect();
    ensure!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    let said: BTreeSet<u16> = said.codes.into_keys().collect();
    let silent: Vec<_> = CATALOGUE
        .iter()
        .map(|entry| entry.code)
        .filter(|code| !said.contains(&code.number()))
        .collect();
    ensure!(
        silent.is_empty(),
        "nobody says {silent:?}\nhint: let a check say it, or take it and its page away"
    );
    Ok(())
}

/// What a page lacks of its form.
fn breaches(entry: &Entry, text: &str) -> impl Iterator<Item = String> {
    let Entry {
        code,
        statement,
        fault,
    } = entry;
    let mut first = statement.chars();
    let small = first
        .next()
        .map(|it| it.to_lowercase())
        .into_iter()
        .flatten();
    let small: String = small.chain(first).collect();
    let title = format!("# {code}: {fault}");
    let holds = [*statement, &small].map(|text| format!("Holds when nothing is wrong: {text}."));
    let lines: Vec<&str> = text.lines().collect();
    let mut lacks = Vec::new();
    if lines.first() != Some(&title.as_str()) {
        lacks.push(format!("the title is not `{title}`"));
    }
    if !holds.iter().any(|it| lines.contains(&it.as_str())) {
        lacks.push(format!("lacks `{}`", holds[1]));
    }
    let said = lines.iter().any(|line| line.starts_with("Said by "));
    if !said {
        lacks.push("does not tell by whom it is said".to_owned());
    }
    let sections: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("## "))
        .collect();
    if sections != [&"## What is seen", &"## What it means", &"## What to do"] {
        lacks.push(format!("its sections are {sections:?}"));
    }
    lacks.into_iter()
}

/// Codes by the file that says them; of several, one.
#[derive(Default)]
struct Said {
    /// By `Code::new`.
    codes: BTreeMap<u16, String>,
    /// In texts, such as a hint that leads to another fault.
    named: BTreeMap<u16, String>,
}

/// What the tokens of one file hold.
#[derive(Default)]
pub(super) struct Tokens {
    codes: BTreeSet<u16>,
    named: BTreeSet<u16>,
    numbers: BTreeSet<u16>,
    /// Whether a code is made of a number that is written elsewhere in the file, such as in the arms of a `match`.
    chosen: bool,
}

// === impl Said ===

impl Said {
    /// Every source below a directory but tests, and the catalogue itself.
    fn directory(&mut self, directory: &Path) -> Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name == "fault" || name == "fault.rs" || name == "tests" || name == "tests.rs" {
                continue;
            }
            if path.is_dir() {
                self.directory(&path)?;
            } else if name.ends_with(".rs") {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)?;
        let mut tokens = Tokens::of(&text).with_context(|| shown.clone())?;
        if tokens.chosen {
            let known = |number: &u16| Code::from_number(*number).is_some();
            tokens
                .codes
                .extend(tokens.numbers.into_iter().filter(known));
        }
        let by = |number| (number, shown.clone());
        self.codes.extend(tokens.codes.into_iter().map(by));
        self.named.extend(tokens.named.into_iter().map(by));
        Ok(())
    }
}

// === impl Tokens ===

impl Tokens {
    /// Of a source.
    pub(super) fn of(text: &str) -> Result<Self> {
        let parsed: Result<TokenStream, _> = text.parse();
        let mut tokens = Self::default();
        tokens.read(parsed.map_err(|error| anyhow::anyhow!("{error}"))?);
        Ok(tokens)
    }

    /// Whether a code is there, by its number or in a text.
    pub(super) fn names(&self, code: u16) -> bool {
        self.numbers.contains(&code) || self.named.contains(&code)
    }

    /// Comments are no tokens; documentation is, and names codes that must exist. Modules of tests are left out.
    fn read(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let word = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let before = [4, 3, 2, 1].map(|back| at.checked_sub(back).map(word));
                    let before = before.map(Option::unwrap_or_default);
                    if before[2] == "mod" && before[3] == "tests" {
                        continue;
                    }
                    if before == ["Code", ":", ":", "new"] {
                        match group.stream().to_string().parse() {
                            Ok(number) => {
                                self.codes.insert(number);
                            }
                            Err(_) => self.chosen = true,
                        }
                    }
                    self.read(group.stream());
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    self.numbers.extend(text.parse::<u16>());
                    self.named.extend(named(&text));
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Codes that a text names.
fn named(text: &str) -> impl Iterator<Item = u16> {
    let after = text.split("MQ").skip(1);
    after.filter_map(|rest| rest.get(..3)?.parse().ok())
}

const PAGES: &str = "docs/faults";
