//! One home for IoT Core's numbers and for the grammar of topic filters: `link/src/iot`.
//!
//! What the tests prove, of product code outside that folder: no constant that cites `docs/IOT-CORE.md` is a number of its
//! own; no number of `limits.rs` that is told by its value alone (131 072 and the like) is written as a literal; no line
//! looks for both wildcards of MQTT. Of `limits.rs` itself: every constant is used. What they do not prove: that a small
//! number such as 8 or 50, without a citation, is not one of IoT Core's.

use std::collections::BTreeSet;

use crate::nothing_in;
use crate::tree::{Text, rust};

#[test]
fn one_home_for_iot_core_s_numbers() {
    let files = rust();
    let told_by_value: BTreeSet<u64> = declarations(limits(&files))
        .flat_map(|constant| integers(&constant.value).collect::<Vec<_>>())
        .filter(|value| *value >= TOLD_BY_VALUE)
        .collect();
    assert!(!told_by_value.is_empty(), "`{LIMITS}` has large numbers");
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| is_elsewhere(file)) {
        for constant in declarations(file) {
            if constant.comment.contains(DOCUMENT) && numbers(&constant.value).next().is_some() {
                breaches.push(format!(
                    "{}:{}: a number with {DOCUMENT} as its source; move it to `{LIMITS}` and use it from there",
                    file.path, constant.line
                ));
            }
        }
        for (line, text) in file.product_lines() {
            if integers(&code(text)).any(|value| told_by_value.contains(&value)) {
                breaches.push(format!(
                    "{}:{line}: a number of IoT Core; use the constant of `{LIMITS}`",
                    file.path
                ));
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn every_number_of_iot_core_is_used() {
    let files = rust();
    let own = limits(&files);
    let declared: Vec<_> = declarations(own)
        .map(|constant| (constant.line, constant.name))
        .collect();
    let mut used = BTreeSet::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        for (line, text) in file.product_lines() {
            let is_declaration =
                file.path == LIMITS && declared.iter().any(|(declared, _)| *declared == line);
            let code = code(text);
            let words = code
                .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
                .map(str::to_owned);
            if is_declaration {
                // What the value of another constant is made of counts.
                used.extend(words.skip_while(|word| word != "const").skip(2));
            } else {
                used.extend(words);
            }
        }
    }
    let breaches: Vec<_> = declared
        .iter()
        .filter(|(_, name)| !used.contains(name))
        .map(|(line, name)| format!("{LIMITS}:{line}: nothing uses `{name}`; remove it"))
        .collect();
    nothing_in(&breaches);
}

#[test]
fn one_home_for_the_grammar_of_topic_filters() {
    let mut breaches = Vec::new();
    for file in rust().iter().filter(|file| is_elsewhere(file)) {
        for (line, text) in file.product_lines() {
            let reads = |quote: char| {
                ["+", "#"]
                    .iter()
                    .all(|sign| text.contains(&format!("{quote}{sign}{quote}")))
            };
            if reads('\'') || reads('"') {
                breaches.push(format!(
                    "{}:{line}: reads the wildcards of a topic filter; use `link::iot::filter`",
                    file.path
                ));
            }
        }
    }
    nothing_in(&breaches);
}

/// A constant or static with what stands above it.
struct Constant {
    line: usize,
    name: String,
    comment: String,
    value: String,
}

fn limits(files: &[Text]) -> &Text {
    files
        .iter()
        .find(|file| file.path == LIMITS)
        .expect("IoT Core's numbers have a file")
}

/// Product code outside the home of the numbers.
fn is_elsewhere(file: &Text) -> bool {
    !file.is_test() && !file.path.starts_with(HOME)
}

fn declarations(file: &Text) -> impl Iterator<Item = Constant> {
    let lines: Vec<(usize, &str)> = file.product_lines().collect();
    let mut found = Vec::new();
    let mut comment = String::new();
    for (at, (line, text)) in lines.iter().enumerate() {
        let text = text.trim();
        if text.starts_with("//") {
            comment.push_str(text);
            continue;
        }
        if text.starts_with("#[") {
            continue;
        }
        if let Some(name) = declared(text) {
            let mut whole = String::new();
            for (_, text) in &lines[at..] {
                whole.push_str(&code(text));
                if text.trim_end().ends_with(';') {
                    break;
                }
            }
            let value = whole.split_once(" = ").map_or("", |(_, value)| value);
            found.push(Constant {
                line: *line,
                name: name.to_owned(),
                comment: std::mem::take(&mut comment),
                value: value.to_owned(),
            });
        }
        comment.clear();
    }
    found.into_iter()
}

/// The name of the constant that a line declares.
fn declared(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace().peekable();
    words.next_if(|word| word.starts_with("pub"));
    words.next_if(|word| ["const", "static"].contains(word))?;
    let name = words.next()?.strip_suffix(':')?;
    let is_constant = name.chars().all(|char| !char.is_lowercase());
    is_constant.then_some(name)
}

/// A line without comments and without the inside of strings.
fn code(text: &str) -> String {
    let text = text.split("//").next().unwrap_or_default();
    text.split('"').step_by(2).collect()
}

/// The number literals above 1, fractions among them; indices, signs and flags are nobody's numbers.
fn numbers(code: &str) -> impl Iterator<Item = String> {
    let code = code.replace("..", " ").replace('_', "");
    let words: Vec<String> = code
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '.')
        .filter(|word| word.parse().is_ok_and(|value: f64| value > 1.0))
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

fn integers(code: &str) -> impl Iterator<Item = u64> {
    numbers(code).filter_map(|word| word.parse().ok())
}

const HOME: &str = "link/src/iot";
const LIMITS: &str = "link/src/iot/limits.rs";
const DOCUMENT: &str = "IOT-CORE.md";

// A round number below, such as 2 048, is somebody else's as likely as IoT Core's.
const TOLD_BY_VALUE: u64 = 100_000;
