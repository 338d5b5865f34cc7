//! `--bundle FILE`: what whoever helps needs to see, and nothing secret.
//!
//! **Invariant:** what goes in is chosen: the report, known keys of the configuration, descriptions of certificates, names of
//! environment variables, facts of the machine. No key, no value of a variable that is not listed here and of the shape that
//! it must have. All of it passes [`redact`] once more. The file is new, whole, and its owner's alone (0600).

mod machine;
mod tar;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use link::clock::Clock;
use link::error::Hint;
use link::fault::FindingsReport;
use link::id::ConsumerName;
use link::identity::Inspection;

use super::files::Looked;
use super::findings;
use crate::redact;

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The file cannot be made or written.
    #[error("write the archive `{}`", path.display())]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Writes the archive.
///
/// # Errors
/// The file system's; a file that exists is not overwritten.
pub(super) fn write(
    path: &Path,
    report: &FindingsReport,
    about: &str,
    looked: &Looked,
) -> Result<(), ArchiveError> {
    let of = |source| ArchiveError::Write {
        path: path.to_owned(),
        source,
    };
    let now = Clock::system().now().as_second();
    let mut archive = tar::Archive::new(u64::try_from(now).unwrap_or(0));
    let mut json = serde_json::to_value(report).unwrap_or_default();
    redact::value(&mut json);
    let json = serde_json::to_string_pretty(&json).unwrap_or_default();
    archive.add("doctor/report.json", json.as_bytes());
    for (name, text) in entries(report, about, looked) {
        // Names of files, variables and subjects may hold anything.
        let text = redact::shown(&redact::text(&text), MOST_OF_ENTRY) + "\n";
        archive.add(&format!("doctor/{name}"), text.as_bytes());
    }
    let mut file = create(path).map_err(of)?;
    let written = file.write_all(&archive.finish());
    written.and_then(|()| file.sync_all()).map_err(|error| {
        // A part of it is no help, and would be in the way of the next try.
        let _ = std::fs::remove_file(path);
        of(error)
    })
}

fn create(path: &Path) -> io::Result<File> {
    link::private::write_options().create_new(true).open(path)
}

/// Whether an archive can be written there, before anything is looked at: an empty file is made and taken away.
///
/// # Errors
/// The file system's; there is a file already, no directory for one, or no right to it.
pub(super) fn check(path: &Path) -> Result<(), ArchiveError> {
    let tried = create(path).and_then(|_| std::fs::remove_file(path));
    tried.map_err(|source| ArchiveError::Write {
        path: path.to_owned(),
        source,
    })
}

// === impl ArchiveError ===

impl Hint for ArchiveError {
    fn hint(&self) -> Option<String> {
        let Self::Write { source, .. } = self;
        Some(match source.kind() {
            io::ErrorKind::AlreadyExists => "give a name that is not taken: nothing is overwritten".into(),
            _ => "give a file in a directory that this user may write to, such as an `emptyDir` of the pod".into(),
        })
    }
}

fn entries(report: &FindingsReport, about: &str, looked: &Looked) -> Vec<(String, String)> {
    let mut text: String = report
        .findings
        .iter()
        .map(|finding| findings::text(finding) + "\n")
        .collect();
    text.push_str(&findings::summary(report, about));
    text.push('\n');
    let mut all = vec![
        ("report.txt".to_owned(), text),
        (
            "certificates.txt".to_owned(),
            certificates(&looked.inspection),
        ),
        ("files.txt".to_owned(), machine::files(looked)),
        (
            "environment.txt".to_owned(),
            machine::environment(std::env::vars_os()),
        ),
        ("machine.txt".to_owned(), machine::facts()),
        ("resolv.conf".to_owned(), machine::resolver()),
    ];
    for (index, file) in looked.configuration.iter().enumerate() {
        if let Some(text) = configuration(file) {
            all.push((format!("configuration-{}.txt", index + 1), text));
        }
    }
    all
}

fn configuration(file: &Path) -> Option<String> {
    let text = match link::file::read_text(file, MOST_BYTES) {
        Err(link::file::ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return None;
        }
        Err(error) => format!("({error})\n"),
        // A name and nothing else; whatever else is there may be anything.
        Ok(text) if file.ends_with("consumerName") => match ConsumerName::new(text.trim()) {
            Ok(name) => format!("{name}\n"),
            Err(_) => format!("(no name of a consumer, {} bytes)\n", text.len()),
        },
        Ok(text) => redact::configuration(&text),
    };
    Some(format!("# {}\n{text}", file.display()))
}

fn certificates(inspection: &Inspection) -> String {
    let mut text = String::new();
    match &inspection.certificate {
        Some(certificate) => {
            let _ = writeln!(text, "client certificate: {certificate}");
        }
        None => text.push_str("client certificate: cannot be read\n"),
    }
    for (subject, issuer) in &inspection.chain {
        let _ = writeln!(text, "sent: `{subject}` from `{issuer}`");
    }
    for subject in &inspection.authorities {
        let _ = writeln!(text, "trusted: `{subject}`");
    }
    for problem in &inspection.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    text
}

// More than any entry has, which reads bounded files.
const MOST_OF_ENTRY: usize = 4 * 1024 * 1024;

// As much as the configuration itself may have.
const MOST_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_or_has_no_directory_is_refused_first() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.tar");
        assert!(check(&file).is_ok() && check(Path::new("a-file-that-is-not-there.tar")).is_ok());
        std::fs::write(&file, "").unwrap();
        for refused in [
            file.as_path(),
            &directory.path().join("b/a.tar"),
            directory.path(),
        ] {
            assert!(check(refused).is_err(), "{}", refused.display());
        }
    }
}
