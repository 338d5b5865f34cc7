//! The commands of a page of the documentation, run as they stand.
//!
//! A fenced block that begins with `sh NAME` is run by its name, once the test has made what the block needs. Where a
//! reader has to put in something of their own the page says a variable of the shell (`"$API"`), and the test sets it.
//! [`DocPage::all_run`] fails when the page has a block of shell commands that nobody ran, so that nothing can be printed there
//! which does not work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A page, and the shell that its reader sits at.
pub struct DocPage {
    /// With the page's path for messages.
    name: String,
    blocks: BTreeMap<String, String>,
    /// First lines of the blocks without a name.
    nameless: Vec<String>,
    run: Vec<String>,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
}

// === impl DocPage ===

impl DocPage {
    /// Opens a page, whose path is given from the root of the repository. Commands are run in `directory`, with the
    /// programs under test first in the search path.
    ///
    /// # Errors
    ///
    /// The page cannot be read, or two of its blocks have one name.
    pub fn open(page: &str, directory: &Path) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text =
            std::fs::read_to_string(root.join(page)).with_context(|| format!("read {page}"))?;
        let mut opened = Self {
            name: page.to_owned(),
            blocks: BTreeMap::new(),
            nameless: Vec::new(),
            run: Vec::new(),
            environment: BTreeMap::new(),
            directory: directory.to_owned(),
        };
        for (name, block) in blocks(&text) {
            if name.is_empty() {
                opened
                    .nameless
                    .push(block.lines().next().unwrap_or_default().to_owned());
                continue;
            }
            let twice = opened.blocks.insert(name.clone(), block);
            ensure!(twice.is_none(), "{page} has two blocks `sh {name}`");
        }
        let probe = crate::process::ProcessSpec::binary("probe")?;
        let probe = probe.command();
        let programs = Path::new(probe.get_program())
            .parent()
            .context("a directory")?;
        opened.prepend_path(programs);
        Ok(opened)
    }

    /// Puts a directory first into the search path.
    pub fn prepend_path(&mut self, directory: &Path) {
        let inherited = || std::env::var("PATH").unwrap_or_default();
        let path = self
            .environment
            .get("PATH")
            .cloned()
            .unwrap_or_else(inherited);
        self.set("PATH", &format!("{}:{path}", directory.display()));
    }

    /// Sets a variable of the shell.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// The blocks with their names.
    pub fn blocks(&self) -> impl Iterator<Item = (&str, &str)> {
        let blocks = self.blocks.iter();
        blocks.map(|(name, block)| (name.as_str(), block.as_str()))
    }

    /// Runs the block of this name and gives what it printed.
    ///
    /// # Errors
    ///
    /// There is no such block, or one of its commands fails; with what it said.
    pub async fn run(&mut self, name: &str) -> Result<String> {
        let block = self.blocks.get(name);
        let block = block.with_context(|| format!("{} has no block `sh {name}`", self.name))?;
        let block = block.clone();
        self.run.push(name.to_owned());
        let said = self.shell(&block).await;
        said.with_context(|| format!("run the block `sh {name}` of {}", self.name))
    }

    /// Runs commands that are not on the page in the same shell.
    ///
    /// # Errors
    ///
    /// One of them fails; with what it said.
    pub async fn shell(&self, text: &str) -> Result<String> {
        let mut command = tokio::process::Command::new("sh");
        let output = command
            .args(["-euc", text])
            .current_dir(&self.directory)
            .envs(&self.environment)
            .kill_on_drop(true)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status;
        ensure!(status.success(), "{text}\n{status}\n{said}{complained}");
        Ok(said)
    }

    /// Leaves blocks to another test, which runs them by these names.
    ///
    /// # Errors
    ///
    /// There is no such block.
    pub fn run_elsewhere(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            ensure!(
                self.blocks.contains_key(*name),
                "{} has no block `sh {name}`",
                self.name
            );
            self.run.push((*name).to_owned());
        }
        Ok(())
    }

    /// # Errors
    ///
    /// A block with a name was not run, by its name.
    pub fn all_run(&self) -> Result<()> {
        let left = self.blocks.keys().filter(|name| !self.run.contains(name));
        let left: Vec<_> = left.collect();
        ensure!(
            left.is_empty(),
            "blocks of {} that nobody ran: {left:?}",
            self.name
        );
        Ok(())
    }

    /// # Errors
    ///
    /// The page has shell commands in a block without a name, by the first line of each.
    pub fn all_named(&self) -> Result<()> {
        let nameless = &self.nameless;
        ensure!(
            nameless.is_empty(),
            "blocks of {} without a name: {nameless:?}",
            self.name
        );
        Ok(())
    }
}

/// The blocks of shell commands with their names, empty where there is none.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let inside = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let block: Vec<&str> = inside.collect();
        let (language, name) = fence.split_once(' ').unwrap_or((fence, ""));
        if language == "sh" {
            found.push((name.trim().to_owned(), block.join("\n")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_names_and_without() {
        let text = "a\n```sh one\nls\npwd\n```\n   ```sh\n   true\n   ```\n```json\n```sh\n";
        let expected = [("one", "ls\npwd"), ("", "   true")];
        let expected = expected.map(|(name, block)| (name.to_owned(), block.to_owned()));
        assert_eq!(blocks(text), expected);
    }
}
