//! The repository as the checks see it: text files by path relative to its root.

use std::path::{Path, PathBuf};

/// A text file.
pub(crate) struct Text {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) content: String,
}

// === impl Text ===

impl Text {
    /// `(line number from 1, line)`.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.content
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is a file of tests only, by its place or name.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || ["tests.rs", "fixture.rs", "fixtures.rs"].contains(&name)
    }

    /// The lines before the first `#[cfg(test)]`, which the house order puts last.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member
        .parent()
        .expect("a member has a parent")
        .to_path_buf()
}

/// Every text file of the repository, leaving out what is built or downloaded.
pub(crate) fn texts() -> Vec<Text> {
    let root = root();
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(directory) = todo.pop() {
        let entries = std::fs::read_dir(&directory).expect("a readable directory");
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let kind = path.symlink_metadata().expect("metadata").file_type();
            // What cargo builds stands beside a manifest; a module may have that name too.
            let built = name == "target" && directory.join("Cargo.toml").is_file();
            if kind.is_dir() && !built && !SKIPPED.contains(&name.as_ref()) {
                todo.push(path);
            } else if kind.is_file()
                && name != ".git"
                && let Ok(content) = std::fs::read_to_string(&path)
            {
                let relative = path.strip_prefix(&root).expect("below the root");
                let path = relative.to_string_lossy().replace('\\', "/");
                found.push(Text { path, content });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every Rust source.
pub(crate) fn rust() -> Vec<Text> {
    texts().into_iter().filter(Text::is_rust).collect()
}

const SKIPPED: &[&str] = &[
    ".git",
    ".cache",
    "corpus",
    "artifacts",
    "node_modules",
    "sandbox-state",
];
