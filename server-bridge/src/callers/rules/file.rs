//! Parser of the authorisation file (YAML): reports all problems at once, each with its line and field.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Deserialize;
use serde_saphyr::{MessageFormatter as _, Spanned, UserMessageFormatter};

use super::{Name, Rule, Rules};
use crate::callers::Verb;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    users: Vec<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    sources: Vec<Spanned<String>>,
    consumers: Vec<Spanned<String>>,
    verbs: Vec<Spanned<String>>,
}

/// The rules of a file, or what is wrong with it: one line for each problem.
pub(in super::super) fn parse(text: &str) -> Result<Rules, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = UserMessageFormatter.format_message(&error).into_owned();
        let message = message.lines().next().unwrap_or_default().to_owned();
        match error.location() {
            Some(at) => format!("line {}: {message}", at.line()),
            None => message,
        }
    })?;
    let mut problems = Vec::new();
    let names: usize = file.rules.iter().map(|rule| rule.value.names()).sum();
    if names > MAX_NAMES {
        problems.push(format!(
            "rules: name {names} callers, sources and consumers, at most {MAX_NAMES} are read"
        ));
    }
    let rules = file
        .rules
        .into_iter()
        .enumerate()
        .map(|(index, rule)| {
            rule.value
                .check(index, rule.referenced.line(), &mut problems)
        })
        .collect();
    if problems.is_empty() {
        Ok(Rules(rules))
    } else {
        Err(problems.join("; "))
    }
}

// === impl Entry ===

impl Entry {
    fn names(&self) -> usize {
        self.users.len() + self.groups.len() + self.sources.len() + self.consumers.len()
    }

    fn check(self, index: usize, line: u64, problems: &mut Vec<String>) -> Rule {
        let at = |field: &str| format!("rules[{index}].{field}");
        if self.users.is_empty() && self.groups.is_empty() {
            problems.push(format!(
                "line {line}: rules[{index}]: names neither users nor groups"
            ));
        }
        Rule {
            users: callers(&at("users"), self.users, problems),
            groups: callers(&at("groups"), self.groups, problems),
            sources: names(&at("sources"), self.sources, line, problems, |name| {
                crate::store::SourceName::new(name)
            }),
            consumers: names(&at("consumers"), self.consumers, line, problems, |name| {
                link::id::ConsumerName::new(name)
            }),
            verbs: names(&at("verbs"), self.verbs, line, problems, verb)
                .unwrap_or_else(|| Verb::ALL.iter().copied().collect()),
        }
    }
}

fn callers(at: &str, given: Vec<Spanned<String>>, problems: &mut Vec<String>) -> Vec<Name> {
    let mut names = Vec::with_capacity(given.len());
    for name in given {
        let line = name.referenced.line();
        match name.value.split_once('*') {
            None if name.value.is_empty() => {
                problems.push(format!("line {line}: {at}: must not be empty"));
            }
            None => names.push(Name::Exact(name.value)),
            Some((prefix, "")) => names.push(Name::Prefix(prefix.to_owned())),
            Some(_) => problems.push(format!(
                "line {line}: {at}: `*` stands at the end of a name only"
            )),
        }
    }
    names
}

/// `None` for `*`.
fn names<T: Ord, E: Display>(
    at: &str,
    given: Vec<Spanned<String>>,
    line: u64,
    problems: &mut Vec<String>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Option<BTreeSet<T>> {
    if given.is_empty() {
        problems.push(format!(
            "line {line}: {at}: is empty; write what it is for, or `['*']`"
        ));
    }
    if given.iter().any(|name| name.value == "*") {
        return None;
    }
    let mut names = BTreeSet::new();
    for name in given {
        match read(&name.value) {
            Ok(name) => {
                names.insert(name);
            }
            Err(error) => {
                let line = name.referenced.line();
                problems.push(format!("line {line}: {at}: {error}"));
            }
        }
    }
    Some(names)
}

fn verb(text: &str) -> Result<Verb, String> {
    let found = Verb::ALL.iter().find(|verb| verb.as_str() == text);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
        format!(
            "`{}` is none of {} and `*`",
            text.escape_debug(),
            known.join(", ")
        )
    })
}

// Each is compared at each call: microseconds.
const MAX_NAMES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_together_with_line_and_field() {
        let text = "rules:\n- users: ['a*b']\n  sources: [a]\n  consumers: [Not_ok]\n  verbs: [read]\n- sources: []\n  consumers: ['*']\n  verbs: ['*']\n";
        let problems = parse(text).unwrap_err();
        for part in [
            "line 2: rules[0].users: `*` stands at the end of a name only",
            "line 4: rules[0].consumers: ",
            "line 5: rules[0].verbs: `read` is none of get, list,",
            "line 6: rules[1]: names neither users nor groups",
            "line 6: rules[1].sources: is empty",
        ] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
        for (text, line) in [
            ("rules:\n- user: [a]\n", "line 2"),
            ("", ""),
            ("rules: 7", "line 1"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(line), "{problem}");
        }
        assert_eq!(parse("rules: []").unwrap(), Rules::default());
    }

    #[test]
    fn one_name_past_the_most_is_refused() {
        let rules = |count: usize| {
            let users = vec!["u"; count - 2].join(", ");
            format!(
                "rules:\n- users: [{users}]\n  sources: [a]\n  consumers: [x]\n  verbs: [get]\n"
            )
        };
        assert!(parse(&rules(MAX_NAMES)).is_ok());
        let refused = parse(&rules(MAX_NAMES + 1)).unwrap_err();
        assert!(refused.contains("at most 10000 are read"), "{refused}");
    }
}
