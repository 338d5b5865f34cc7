//! Watched files: read at start, polled every few seconds, reloaded when their content changes and is valid.
//!
//! **Contract:** the receiver always holds what was last good. What cannot be read or used is said once per content, shown
//! as a metric, and changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use link::error::chain;
use link::file::read;
use prometheus::IntGauge;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tracing::{info, warn};

/// Contents of the files of one set, in the order of their paths, made into what is used; or what is wrong, in words that
/// hold nothing of the content.
pub(super) type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send>;

/// One set of files.
pub(super) struct Watched<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    /// What was seen last, good or bad; `None` when it could not be read.
    seen: Option<Digest>,
    problem: Option<String>,
    refused: IntGauge,
    published: watch::Sender<Arc<T>>,
}

/// Something that is looked at now and then.
pub(super) trait Look: Send {
    /// Reads again and takes what is new and good. Blocks on the file system.
    fn look(&mut self);
}

type Digest = [u8; 32];

// === impl Watched ===

impl<T: Send + Sync> Watched<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// What is wrong with them, with their names.
    pub(super) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        refused: IntGauge,
        parse: Parse<T>,
    ) -> Result<(watch::Receiver<Arc<T>>, Self), String> {
        let contents = contents(&paths)?;
        let first = parse(&contents).map_err(|problem| format!("{}: {problem}", named(&paths)))?;
        let (published, receiver) = watch::channel(Arc::new(first));
        let watched = Self {
            what,
            seen: Some(digest(&contents)),
            paths,
            parse,
            problem: None,
            refused,
            published,
        };
        Ok((receiver, watched))
    }

    fn refuse(&mut self, problem: String) {
        self.refused.set(1);
        if self.problem.as_deref() != Some(&problem) {
            warn!(
                files = named(&self.paths),
                "New files refused ({}), what is in use stays: {problem}", self.what
            );
            self.problem = Some(problem);
        }
    }
}

impl<T: Send + Sync> Look for Watched<T> {
    fn look(&mut self) {
        let contents = match contents(&self.paths) {
            Ok(contents) => contents,
            Err(problem) => {
                self.seen = None;
                return self.refuse(problem);
            }
        };
        let digest = digest(&contents);
        if self.seen == Some(digest) {
            return;
        }
        self.seen = Some(digest);
        match (self.parse)(&contents) {
            Ok(new) => {
                self.refused.set(0);
                self.problem = None;
                info!(files = named(&self.paths), "New {} in use", self.what);
                self.published.send_replace(Arc::new(new));
            }
            Err(problem) => self.refuse(problem),
        }
    }
}

fn contents(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let one = |path: &PathBuf| {
        read(path, MAX_BYTES).map_err(|error| format!("`{}` {}", path.display(), chain(&error)))
    };
    paths.iter().map(one).collect()
}

fn digest(contents: &[Vec<u8>]) -> Digest {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

fn named(paths: &[PathBuf]) -> String {
    let shown = |path: &PathBuf| format!("`{}`", Path::display(path));
    let names: Vec<String> = paths.iter().map(shown).collect();
    names.join(", ")
}

// A whole trust store is about 220 KiB, ten thousand rules less than a megabyte.
const MAX_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_changes_nothing_and_the_next_good_one_does() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        std::fs::write(&path, "1").unwrap();
        let refused = IntGauge::new("refused", "refused").unwrap();
        let parse = |contents: &[Vec<u8>]| {
            let text = String::from_utf8_lossy(&contents[0]).into_owned();
            text.parse::<u32>().map_err(|_| "is no number".to_owned())
        };
        let open = |path: &Path| {
            Watched::open(
                "number",
                vec![path.to_owned()],
                refused.clone(),
                Box::new(parse),
            )
        };
        let (number, mut watched) = open(&path).unwrap();
        for (content, expected, bad) in [("x", 1, 1), ("2", 2, 0), ("", 2, 1), ("2", 2, 0)] {
            std::fs::write(&path, content).unwrap();
            watched.look();
            assert_eq!((**number.borrow(), refused.get()), (expected, bad));
        }
        std::fs::remove_file(&path).unwrap();
        watched.look();
        assert_eq!((**number.borrow(), refused.get()), (2, 1));
        let error = open(&path).err().unwrap();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
