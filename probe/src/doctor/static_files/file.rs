//! The files, read and told apart; the only I/O of `--static`.

use std::io;
use std::path::{Path, PathBuf};

use link::fault::Finding;
use link::iot::Document;
use link::topic::Topics;
use region_file::{Region, Tree, input};
use serde_json::Value;

use super::kind::{Kind, candidates};
use super::misfit::{Misfit, findings};
use super::values::Values;
use super::{READ, REGION, VALUES};

/// What was read, by kind, each with the name of its file.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) regions: Vec<(String, Region)>,
    pub(super) values: Vec<(String, Values)>,
    pub(super) policies: Vec<(String, Document)>,
    pub(super) configs: Vec<(String, Config)>,
    /// Whether there is a region.yaml that is not valid.
    pub(super) has_bad_region: bool,
}

/// What is looked at of a `config.yaml`.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// Host and port as written.
    pub(super) broker: String,
    /// Absent: the default ones.
    pub(super) topics: Topics,
}

// A file that one kind took: what it is, and what does not fit.
struct Taken {
    kind: Kind,
    content: Content,
    misfits: Vec<Misfit>,
}

enum Content {
    Region(Option<Box<Region>>),
    Values(Box<Values>),
    Policy(Document),
    Config(Config),
}

// === impl Files ===

impl Files {
    /// Reads all of them, and says of each what it is or what is wrong with it.
    pub(super) fn read(paths: &[PathBuf], found: &mut Vec<Finding>) -> Self {
        let mut files = Self::default();
        for path in paths {
            let name = path.display().to_string();
            match input::read_text(path) {
                Ok(text) => files.take(&name, &text, path, found),
                Err(error) => found.push(unreadable(&name, &error)),
            }
        }
        files
    }

    /// The region, if there is one of it.
    pub(super) fn region(&self) -> Option<&Region> {
        match self.regions.as_slice() {
            [(_, region)] => Some(region),
            _ => None,
        }
    }

    fn take(&mut self, name: &str, text: &str, path: &Path, found: &mut Vec<Finding>) {
        let taken = match take(text, path) {
            Ok(taken) => taken,
            Err(misfit) => {
                let why = "what cannot be read is checked by nobody";
                found.extend(findings(READ, name, &[misfit], why));
                return;
            }
        };
        let (code, what, why) = words(taken.kind);
        if taken.misfits.is_empty() {
            found.push(Finding::ok(code, format!("`{name}` {what}")));
        } else {
            found.extend(findings(code, name, &taken.misfits, why));
        }
        let name = name.to_owned();
        match taken.content {
            Content::Region(Some(region)) => {
                for warning in region.warnings() {
                    let said = format!("`{name}`: {}: {}", warning.field, warning.what);
                    found.push(Finding::info(REGION, said).next(warning.fix));
                }
                self.regions.push((name, *region));
            }
            Content::Region(None) => self.has_bad_region = true,
            Content::Values(values) => self.values.push((name, *values)),
            Content::Policy(document) => {
                for warning in document.warnings() {
                    found.push(Finding::info(READ, format!("`{name}`: {warning}")));
                }
                self.policies.push((name, document));
            }
            Content::Config(config) => self.configs.push((name, config)),
        }
    }
}

fn words(kind: Kind) -> (link::fault::Code, String, &'static str) {
    match kind {
        Kind::Region => (
            REGION,
            "is a region's file, and valid".into(),
            "`provisioner` refuses the file, and does nothing",
        ),
        Kind::Values(chart) => (
            VALUES,
            format!("has values that the chart `{}` takes", chart.name()),
            "Helm refuses the values, or ignores a key that is misspelt in silence",
        ),
        Kind::Policy => (
            READ,
            "is an IoT policy".into(),
            "AWS IoT refuses the policy",
        ),
        Kind::Config => (
            READ,
            "is a configuration file of an agent or a bridge".into(),
            "the agent and the bridge refuse the file, and do not start",
        ),
    }
}

fn take(text: &str, path: &Path) -> Result<Taken, Misfit> {
    let tree = Tree::parse(text)?;
    let kinds = candidates(&tree.root);
    let taken = kinds
        .into_iter()
        .map(|kind| as_kind(kind, &tree, text, path));
    // Of several that know as many of its keys, the one that it fits best.
    let best = taken.min_by_key(|taken| match taken {
        Ok(taken) => taken.misfits.len(),
        Err(_) => usize::MAX,
    });
    best.unwrap_or_else(|| {
        Err(Misfit::new(
            "",
            "is no file that is known here by its keys",
            "give a region.yaml, values of the charts `agent` or `server-bridge`, an IoT policy document, or a \
             config.yaml",
        ))
    })
}

fn as_kind(kind: Kind, tree: &Tree, text: &str, path: &Path) -> Result<Taken, Misfit> {
    let (content, misfits) = match kind {
        Kind::Region => region(text, path),
        Kind::Values(chart) => {
            let (values, misfits) = Values::complete(chart, tree);
            (Content::Values(Box::new(values)), misfits)
        }
        Kind::Policy => policy(&tree.root, text)?,
        Kind::Config => (Content::Config(config(&tree.root)?), Vec::new()),
    };
    Ok(Taken {
        kind,
        content,
        misfits,
    })
}

fn region(text: &str, path: &Path) -> (Content, Vec<Misfit>) {
    let directory = path.parent().unwrap_or(Path::new(""));
    match Region::parse(text, directory) {
        Ok(region) => (Content::Region(Some(Box::new(region))), Vec::new()),
        Err(problems) => {
            let misfits = problems.problems.into_iter().map(Misfit::from);
            (Content::Region(None), misfits.collect())
        }
    }
}

fn policy(root: &Value, text: &str) -> Result<(Content, Vec<Misfit>), Misfit> {
    // `aws iot get-policy` has the document as a text, other tools as an object.
    let document = match root.get("policyDocument") {
        Some(Value::String(document)) => document.clone(),
        Some(document) => document.to_string(),
        None => text.to_owned(),
    };
    let document = Document::parse(&document).map_err(|error| {
        let what = format!(
            "is no IoT policy that can be read: {}",
            link::error::chain(&error)
        );
        Misfit::new(
            "",
            what,
            "write JSON as AWS IoT takes it, such as `provisioner` makes",
        )
    })?;
    let mut misfits = Vec::new();
    if let Err(error) = document.check_size() {
        let fix = "name client ids by length (`base-?`), or give the party fewer connections";
        misfits.push(Misfit::new("", format!("is too long: {error}"), fix));
    }
    Ok((Content::Policy(document), misfits))
}

fn config(root: &Value) -> Result<Config, Misfit> {
    let broker = root["brokerHost"].as_str().unwrap_or_default().to_owned();
    let topics = match root.get("topics") {
        None | Some(Value::Null) => Topics::default(),
        Some(topics) => serde_json::from_value(topics.clone()).map_err(|_| {
            Misfit::new(
                "topics",
                "are not as an agent or a bridge reads them",
                "write `sourceEvents` and `agentEvents`, and `sourceBroadcast` and `agentBroadcast` where they are used",
            )
        })?,
    };
    Ok(Config { broker, topics })
}

fn unreadable(name: &str, error: &io::Error) -> Finding {
    let (what, next) = match error.kind() {
        io::ErrorKind::NotFound => ("does not exist".into(), "correct the path"),
        io::ErrorKind::PermissionDenied => (
            "may not be read".into(),
            "let the user who runs this read it",
        ),
        io::ErrorKind::IsADirectory => ("is a directory".into(), "name the files in it"),
        io::ErrorKind::FileTooLarge => (
            "is larger than 4 MiB".into(),
            "give a region.yaml, values, a policy or a config.yaml: none is that large",
        ),
        io::ErrorKind::InvalidData => ("is not UTF-8 text".into(), "save it as UTF-8"),
        _ => (
            format!("cannot be read: {error}"),
            "check the file and its file system",
        ),
    };
    Finding::error(READ, format!("`{name}` {what}"))
        .why("what cannot be read is checked by nobody")
        .next(next)
}
