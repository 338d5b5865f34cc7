//! Consumer registrations from a file (`--consumers FILE`): YAML or JSON, a list of names or of
//! `{name, labels}`. Those already registered are left alone, so the file may stay in place.

use std::path::{Path, PathBuf};
use std::{fs, io};

use link::error::Hint;
use link::id::{ConsumerName, InvalidName};
use serde::Deserialize;
use uuid::Uuid;

use crate::store::{Labels, NewConsumer};

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
    #[error("entry {entry} of consumer registrations in `{}`", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The entry, from 1.
        entry: usize,
        /// The rule the name breaks.
        #[source]
        source: InvalidName,
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
    let text = fs::read_to_string(path).map_err(|source| PreloadError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<NewConsumer>, PreloadError> {
    let entries: Vec<Entry> = if text.trim().is_empty() {
        Vec::new()
    } else {
        serde_saphyr::from_str(text).map_err(|error| PreloadError::Parse {
            path: path.to_owned(),
            problem: error.to_string(),
        })?
    };
    let mut consumers = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let (name, labels) = match entry {
            Entry::Name(name) => (name, Labels::new()),
            Entry::Full(registration) => (registration.name, registration.labels),
        };
        let name = ConsumerName::new(name).map_err(|source| PreloadError::Name {
            path: path.to_owned(),
            entry: index + 1,
            source,
        })?;
        consumers.push(NewConsumer {
            id: Uuid::new_v4().to_string(),
            name,
            labels,
        });
    }
    Ok(consumers)
}

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
            "entry 2 of consumer registrations in `c.yaml`: consumer name `Not_OK` may hold only lower-case \
             letters, digits and `-`"
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
}
