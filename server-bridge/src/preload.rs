//! Registers consumers from a file at start (`--consumers FILE`): YAML or JSON, a list of names or of `{name, labels}`. Those
//! already registered are left alone, so the file may stay in place.
//!
//! A wrong file may be a secret one: no error shows anything of its content, only where in it the fault is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use link::error::Hint;
use link::id::ConsumerName;
use serde::Deserialize;
use uuid::Uuid;

use crate::store::{Labels, NewConsumer};
use crate::validate::{LABELS_BYTES, fit_labels};

/// Why the registrations cannot be used; nothing of the file is.
#[derive(Debug, thiserror::Error)]
pub enum PreloadError {
    /// The file cannot be read.
    #[error("read consumer registrations from `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a list of registrations.
    #[error("parse consumer registrations in `{}`: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        problem: String,
    },
    /// One entry has a name that cannot be a consumer's.
    #[error(
        "entry {entry} of consumer registrations in `{}` is no consumer name: 1 to 63 lower-case letters, digits and \
         `-`, which stands at neither end",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The entry, from 1.
        entry: usize,
    },
    /// One entry has labels that the API would refuse too.
    #[error(
        "entry {entry} of consumer registrations in `{}` has labels that no consumer may have: names and values take \
         at most {LABELS_BYTES} bytes together",
        path.display()
    )]
    Labels {
        /// The file.
        path: PathBuf,
        /// The entry, from 1.
        entry: usize,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Name(String),
    Full(Registration),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    name: String,
    #[serde(default)]
    labels: Labels,
}

/// Reads the file; ids are fresh and used only for consumers that are new.
///
/// # Errors
/// [`PreloadError`] names the file and the entry.
pub fn read(path: &Path) -> Result<Vec<NewConsumer>, PreloadError> {
    let text = regular(path).map_err(|source| PreloadError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// The text of a regular file of bounded length; a pipe or a device would never end.
fn regular(path: &Path) -> io::Result<String> {
    let refused = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
    // Looked at before it is opened, because opening a pipe waits for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(refused("it is not a regular file".into()));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refused(format!("it is longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<NewConsumer>, PreloadError> {
    let entries: Vec<Entry> = if text.trim().is_empty() {
        Vec::new()
    } else {
        serde_saphyr::from_str(text).map_err(|error| PreloadError::Parse {
            path: path.to_owned(),
            problem: place(&error),
        })?
    };
    let mut consumers = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let (name, labels) = match entry {
            Entry::Name(name) => (name, Labels::new()),
            Entry::Full(registration) => (registration.name, registration.labels),
        };
        let name = ConsumerName::new(name).map_err(|_| PreloadError::Name {
            path: path.to_owned(),
            entry: index + 1,
        })?;
        if !fit_labels(&labels) {
            return Err(PreloadError::Labels {
                path: path.to_owned(),
                entry: index + 1,
            });
        }
        consumers.push(NewConsumer {
            id: Uuid::new_v4().to_string(),
            name,
            labels,
        });
    }
    Ok(consumers)
}

/// What is wrong, by place alone: the parser's own text quotes the file.
fn place(error: &serde_saphyr::Error) -> String {
    let what = "it is not a list of names or of `{name, labels}`";
    match error.location() {
        Some(at) => format!("line {}, column {}: {what}", at.line(), at.column()),
        None => what.to_owned(),
    }
}

// 40 bytes a name: 100 000 consumers.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

impl Hint for PreloadError {
    fn hint(&self) -> Option<String> {
        Some("write one consumer per line, such as `- cluster1` or `- {name: cluster1, labels: {env: prod}}`".into())
    }
}

#[cfg(test)]
mod tests {
    use link::error::chain;

    use super::*;

    #[test]
    fn names_and_full_entries_may_be_mixed() {
        let text = "- cluster1\n- name: cluster2\n  labels: {env: prod}\n";
        let consumers = parse(Path::new("c.yaml"), text).unwrap();
        assert_eq!(consumers[0].name.as_str(), "cluster1");
        assert_eq!(consumers[1].labels["env"], "prod");
        assert_eq!(parse(Path::new("c.yaml"), "[\"a\"]").unwrap().len(), 1);
        assert_eq!(parse(Path::new("c.yaml"), "\n").unwrap().len(), 0);
    }

    #[test]
    fn a_bad_file_is_named_with_the_entry() {
        let error = parse(Path::new("c.yaml"), "- ok\n- Not_OK\n").unwrap_err();
        assert_eq!(
            chain(&error),
            "entry 2 of consumer registrations in `c.yaml` is no consumer name: 1 to 63 lower-case letters, digits \
             and `-`, which stands at neither end"
        );
        let many: Vec<String> = (0..300)
            .map(|number| format!("l{number}: {}", "v".repeat(60)))
            .collect();
        let text = format!("- {{name: a, labels: {{{}}}}}\n", many.join(", "));
        assert_eq!(
            chain(&parse(Path::new("c.yaml"), &text).unwrap_err()),
            "entry 1 of consumer registrations in `c.yaml` has labels that no consumer may have: names and values take \
             at most 16384 bytes together"
        );
        let error = parse(Path::new("c.yaml"), "- {nmae: a}\n").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("parse consumer registrations in `c.yaml`")
        );
        let error = read(Path::new("/nonexistent/c.yaml")).unwrap_err();
        assert!(chain(&error).ends_with("No such file or directory (os error 2)"));
    }

    #[test]
    fn no_error_shows_what_the_file_holds() {
        for text in [
            "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n",
            "SECRET",
            "- SECRET!",
            "- {SECRET: a}",
            "- {name: [SECRET]}",
            "- {name: a, labels: SECRET}",
            "- {name: a, labels: {a: [SECRET]}}",
            "- {name: a, labels: {SECRET: 1}}",
            "a: SECRET\n b: - SECRET",
            "\"SECRET",
            "- *SECRET",
            "- !SECRET a",
            "- a\n- a: SECRET\n  a: SECRET",
        ] {
            let error = parse(Path::new("c.yaml"), text).unwrap_err();
            let shown = format!("{} {error:?}", chain(&error));
            assert!(!shown.contains("SECRET"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_regular_file_and_what_does_not_end_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/zero"), scratch.path()] {
            let error = read(path).unwrap_err();
            assert!(chain(&error).ends_with("it is not a regular file"));
        }
        let fifo = scratch.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let error = read(&fifo).unwrap_err();
        assert!(chain(&error).ends_with("it is not a regular file"));
        let long = scratch.path().join("long");
        for (bytes, taken) in [(MAX_BYTES, true), (MAX_BYTES + 1, false)] {
            std::fs::write(&long, " ".repeat(usize::try_from(bytes).unwrap())).unwrap();
            assert_eq!(read(&long).is_ok(), taken);
        }
    }
}
