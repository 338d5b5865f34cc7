//! The layers themselves: each source overrides the one before it, key by key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{self, Value};
use super::env::Env;
use super::key::Key;
use super::problem::{ConfigProblem, ConfigProblems, Origin};
use super::value::{Invalid, Scalar};
use crate::error::chain;
use crate::file::ReadError;
use crate::spelling::nearest;
use crate::telemetry::clip;

/// A value with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// What every source says about a set of keys, and what is wrong with it. Apply the sources from the weakest
/// (the file) to the strongest (the flags). An empty value means "not given" and clears what a weaker source said,
/// except in the environment, where an empty variable is as good as none.
pub struct Layers {
    keys: Vec<Key>,
    values: BTreeMap<&'static str, Setting<Scalar>>,
    problems: Vec<ConfigProblem>,
    /// A source could not be read, so that it is not known what is missing.
    unread: bool,
}

// === impl Layers ===

impl Layers {
    /// Layers over these keys, with nothing but their defaults.
    pub fn new(keys: &[Key]) -> Self {
        Self {
            keys: keys.to_vec(),
            values: BTreeMap::new(),
            problems: Vec::new(),
            unread: false,
        }
    }

    /// Adds the keys of one more section, so that one file may hold several.
    #[must_use]
    pub fn with_keys(mut self, keys: &[Key]) -> Self {
        self.keys.extend_from_slice(keys);
        self
    }

    /// Takes the values of a YAML or JSON file.
    pub fn file(&mut self, path: &Path) {
        let origin = Origin::File {
            path: path.to_owned(),
            line: 0,
        };
        match crate::file::read_text(path, MAX_FILE_BYTES) {
            Ok(text) => self.text(path, &text),
            Err(error) => {
                self.unread = true;
                let fix = match error {
                    ReadError::NotText => "write it as YAML",
                    ReadError::Io(_) => "check the path and the permissions",
                    ReadError::NotRegular(_) | ReadError::TooLarge { .. } => {
                        "check that it is the configuration file"
                    }
                };
                self.push(origin, chain(&error), fix);
            }
        }
    }

    /// Takes the values of YAML or JSON text; `path` names it in messages and its directory is where relative
    /// paths count from.
    pub fn text(&mut self, path: &Path, text: &str) {
        let at = |line| Origin::File {
            path: path.to_owned(),
            line,
        };
        let entries = match document::parse(text) {
            Ok(entries) => entries,
            Err(error) => {
                let fix = "write `key: value` lines and put unusual text in quotes";
                let what = if error.quotes {
                    "is not valid YAML".to_owned()
                } else {
                    format!("is not valid YAML: {}", error.message)
                };
                self.unread = true;
                return self.push(at(error.line), what, fix);
            }
        };
        for entry in entries {
            let origin = at(entry.line);
            match self.key(&entry.key) {
                Some(key) => match entry.value {
                    Value::Scalar(value) => self.set(key, value, origin),
                    Value::Null => {
                        self.values.remove(key.name);
                    }
                    Value::List | Value::EmptySection => self.push(
                        origin,
                        format!("`{}` takes a single value", entry.key),
                        format!("write {} ({})", key.kind.name(), key.meaning),
                    ),
                },
                None => self.unknown(&entry.key, &entry.value, origin),
            }
        }
    }

    /// Takes the values of the environment. Variables that no key names are not looked at.
    pub fn env(&mut self, env: &dyn Env) {
        for key in self.keys.clone() {
            let Some(name) = key.env else { continue };
            if let Some(value) = env.var(name).filter(|value| !value.trim().is_empty()) {
                self.set(key, Scalar::Text(value), Origin::Env(name.to_owned()));
            }
        }
    }

    /// Takes the value of one flag, if it was given. `flag` is how the person wrote it (`-h`), which need
    /// not be the key's own flag.
    ///
    /// # Panics
    /// The key is not one of these layers': a mistake in the program.
    pub fn flag(&mut self, key: &str, flag: &str, value: Option<&str>) {
        let known = self.key(key);
        assert!(
            known.is_some(),
            "flag `{flag}` names the unknown key `{key}`"
        );
        if let (Some(key), Some(value)) = (known, value) {
            self.set(
                key,
                Scalar::Text(value.to_owned()),
                Origin::Flag(flag.to_owned()),
            );
        }
    }

    /// Reads one key through a parser; `None` when it is not given and has no default, or when it was refused, which
    /// is then among the problems.
    pub fn read<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Scalar) -> Result<T, Invalid>,
    ) -> Option<Setting<T>> {
        let setting = self.get(key)?;
        match parse(&setting.value) {
            Ok(value) => Some(Setting {
                value,
                origin: setting.origin,
            }),
            Err(invalid) => {
                self.push(
                    setting.origin,
                    format!("`{key}` {}", invalid.what),
                    invalid.fix,
                );
                None
            }
        }
    }

    /// Reads a path. In a file a relative one counts from the file's directory, elsewhere from the working directory.
    pub fn read_path(&mut self, key: &str) -> Option<Setting<PathBuf>> {
        let setting = self.read(key, Scalar::text)?;
        let path = PathBuf::from(&setting.value);
        let value = match &setting.origin {
            Origin::File { path: file, .. } => file
                .parent()
                .map(|directory| directory.join(&path))
                .unwrap_or(path),
            _ => path,
        };
        Some(Setting {
            value,
            origin: setting.origin,
        })
    }

    /// Whether a source gave the key a value that is not empty.
    pub fn is_given(&self, key: &str) -> bool {
        self.values
            .get(key)
            .is_some_and(|setting| !setting.value.is_empty())
    }

    /// Where a key's value came from, if it is given and not the default.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key).map(|setting| &setting.origin)
    }

    /// Adds a problem found by the reader of a section, such as a missing key or two that exclude each other.
    pub fn problem(&mut self, problem: ConfigProblem) {
        self.problems.push(problem);
    }

    /// Adds the problem of a required key that is not given; the fix names every source that may give it.
    /// Nothing is added when a file could not be read: the key may well stand there.
    pub fn missing(&mut self, name: &str) {
        if self.unread {
            return;
        }
        let mut places = vec![format!("set `{name}` in the configuration file")];
        if let Some(key) = self.key(name) {
            places.extend(
                key.env
                    .map(|env| format!("the environment variable `{env}`")),
            );
            places.extend(key.flag.map(|flag| format!("the flag `{flag}`")));
        }
        let fix = match places.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => return,
        };
        self.problem(ConfigProblem::new(
            None,
            format!("`{name}` is missing"),
            fix,
        ));
    }

    /// Whether anything has been refused so far.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Ends the reading: the value, or every problem at once.
    ///
    /// # Errors
    /// [`ConfigProblems`] when anything was refused, even if the value could be made.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigProblems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            None if self.problems.is_empty() => {
                // A reader that gives up without a reason is a mistake in the program, but not a crash.
                let what = "a section could not be read, although no key was refused";
                Err(ConfigProblems::new(vec![ConfigProblem::new(
                    None, what, None,
                )]))
            }
            _ => Err(ConfigProblems::new(self.problems)),
        }
    }

    /// The value in force: the strongest source's, else the default; `None` when that is empty.
    fn get(&self, name: &str) -> Option<Setting<Scalar>> {
        let given = self
            .values
            .get(name)
            .cloned()
            .filter(|setting| !setting.value.is_empty());
        given.or_else(|| {
            let default = self.key(name)?.default?;
            Some(Setting {
                value: Scalar::Text(default.to_owned()),
                origin: Origin::Default,
            })
        })
    }

    fn set(&mut self, key: Key, value: Scalar, origin: Origin) {
        self.values.insert(key.name, Setting { value, origin });
    }

    fn key(&self, name: &str) -> Option<Key> {
        self.keys.iter().find(|key| key.name == name).copied()
    }

    fn unknown(&mut self, name: &str, value: &Value, origin: Origin) {
        // A file that is no configuration may have anything where a key is expected.
        let name = &*clip(name, KEY_BYTES);
        let section = format!("{name}.");
        if let Some(member) = self.keys.iter().find(|key| key.name.starts_with(&section)) {
            // `topics:` without members says nothing; anything else there is a mistake.
            if !matches!(value, Value::Null | Value::EmptySection) {
                let example = member.name.trim_start_matches(&section);
                let fix = format!("write `{example}: …` and the like below it, indented");
                self.push(origin, format!("`{name}` is a section"), fix);
            }
            return;
        }
        let known: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        match nearest(name, &known) {
            Some(near) => {
                let what = format!("unknown key `{name}` (did you mean `{near}`?)");
                self.problem(ConfigProblem::new(origin, what, None));
            }
            None => self.push(origin, format!("unknown key `{name}`"), "remove it"),
        }
    }

    fn push(&mut self, origin: Origin, what: impl Into<String>, fix: impl Into<String>) {
        self.problems
            .push(ConfigProblem::new(origin, what, fix.into()));
    }
}

// Twice the longest key there is.
const KEY_BYTES: usize = 64;

// A config file has a dozen lines; certificates in Base64 make it some tens of kilobytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
