//! The generated parts of `docs/CONFIGURATION.md` are what the code says: keys, metrics, and the help of every command.
//!
//! `UPDATE_DOCS=1 cargo test -p tests --test docs` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::config::{Broker, reference_table};
use tests::process::Spec;
use tests::scratch::Scratch;

#[test]
fn the_key_table_is_what_the_code_reads() -> Result<()> {
    hold("keys", &reference_table(Broker::KEYS))
}

#[test]
fn the_metrics_table_is_what_the_code_registers() -> Result<()> {
    let mut found = Vec::new();
    for member in ["link", "agent", "server-bridge"] {
        for file in sources(&root().join(member).join("src"))? {
            let text = std::fs::read_to_string(&file)?;
            let product = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            found.extend(metrics(product).into_iter().map(|metric| (member, metric)));
        }
    }
    found.sort();
    let mut table = String::from("| Metric | Labels | Meaning | Made in |\n|---|---|---|---|\n");
    for (member, metric) in found {
        let Metric { name, labels, help } = metric;
        let labels = if labels.is_empty() { "–" } else { &labels };
        let help = help.trim_end_matches('.');
        writeln!(table, "| `{name}` | {labels} | {help} | `{member}` |")?;
    }
    hold("metrics", &table)
}

#[tokio::test]
async fn the_help_texts_are_what_the_binaries_print() -> Result<()> {
    let scratch = Scratch::new("docs-help")?;
    let mut text = String::new();
    for binary in ["agent", "server-bridge", "probe", "provisioner", "sandbox"] {
        // In the order of the help: a command, its own commands, the next one.
        let mut todo: Vec<Vec<String>> = vec![Vec::new()];
        while let Some(verbs) = todo.pop() {
            let help = help(binary, &verbs, scratch.path()).await?;
            let command = format!("{binary} {}", verbs.join(" "));
            block(&mut text, command.trim_end(), &help)?;
            let below = self::verbs(&help).into_iter().rev();
            todo.extend(below.map(|verb| {
                let mut all = verbs.clone();
                all.push(verb);
                all
            }));
        }
    }
    hold("help", &text)?;
    scratch.passed();
    Ok(())
}

/// One metric as its source declares it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    name: String,
    labels: String,
    help: String,
}

/// Compares the part of the document called `name` with `fresh`, or writes it.
fn hold(name: &str, fresh: &str) -> Result<()> {
    let path = root().join("docs/CONFIGURATION.md");
    // Three tests write one file.
    static FILE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = FILE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let document = std::fs::read_to_string(&path)?;
    let begin = format!("<!-- generated: {name} -->\n");
    let end = format!("<!-- end of generated: {name} -->");
    let (before, rest) = document
        .split_once(&begin)
        .with_context(|| format!("`{begin}` is missing"))?;
    let (old, after) = rest
        .split_once(&end)
        .with_context(|| format!("`{end}` is missing"))?;
    let fresh = format!("\n{}\n\n", fresh.trim_end());
    if old != fresh && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{fresh}{end}{after}"))?;
        return Ok(());
    }
    let difference = old
        .lines()
        .zip(fresh.lines())
        .find(|(old, fresh)| old != fresh)
        .map_or_else(
            || "one is longer".to_owned(),
            |(old, fresh)| format!("the document says\n  {old}\nthe code says\n  {fresh}"),
        );
    ensure!(
        old == fresh,
        "the part `{name}` of docs/CONFIGURATION.md is out of date: {difference}\n\
         hint: run `UPDATE_DOCS=1 cargo test -p tests --test docs`, read the difference, commit it"
    );
    Ok(())
}

async fn help(binary: &str, verbs: &[String], logs: &Path) -> Result<String> {
    let label = format!("{binary}-{}", verbs.join("-"));
    // Help shows the environment's values and fits the terminal: neither may be this machine's.
    let spec = Spec::binary(binary)?
        .label(label)
        .env("COLUMNS", "100")
        .env("LOG_LEVEL", "")
        .env("LOG_FORMAT", "")
        .env("REGION_FILE", "")
        .env("AWS_REGION", "")
        .args(verbs)
        .arg("--help");
    let output = spec.run(logs, PATIENCE).await?;
    ensure!(
        output.status.success(),
        "`{binary} --help`: {}",
        output.stderr
    );
    Ok(output.stdout)
}

/// The subcommands a help text lists, without the two that are made by the argument parser.
fn verbs(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| !["help", "completions"].contains(verb))
        .map(str::to_owned)
        .collect()
}

fn block(text: &mut String, command: &str, help: &str) -> Result<()> {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    writeln!(
        text,
        "### `{command}`\n\n```text\n{}\n```\n",
        lines.join("\n")
    )?;
    Ok(())
}

/// Every `…::new("name", "help"` of a source, with the labels that follow.
fn metrics(source: &str) -> Vec<Metric> {
    let mut found = Vec::new();
    for (at, constructor) in source.match_indices("::new(") {
        let rest = source[at + constructor.len()..].trim_start();
        let Some((name, rest)) = literal(rest) else {
            continue;
        };
        // A message has a topic first, and no metric has one word for a name.
        let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
        if !name.contains('_') || !name.chars().all(plain) {
            continue;
        }
        let Some((help, rest)) = rest
            .trim_start()
            .strip_prefix(',')
            .and_then(|rest| literal(rest.trim_start()))
        else {
            continue;
        };
        found.push(Metric {
            name: name.to_owned(),
            labels: labels(rest, source),
            help: help.to_owned(),
        });
    }
    found
}

/// The label names after a metric's options: a list, or the variable `labels` of the same file.
fn labels(rest: &str, source: &str) -> String {
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    // Without the closing bracket of `Opts::new` this was the metric itself.
    let Some(rest) = rest.strip_prefix(')') else {
        return String::new();
    };
    let rest = rest.split(".buckets(").next().unwrap_or_default();
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    if rest.starts_with(".const_label(") {
        let names = rest.split(".const_label(\"").skip(1);
        return names
            .filter_map(|rest| rest.split('"').next())
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let list = if rest.starts_with("labels") || rest.is_empty() {
        source
            .split_once("labels = &[")
            .or_else(|| source.split_once("labels: &[&str] = &["))
            .map(|(_, list)| list)
    } else {
        rest.strip_prefix("&[")
    };
    let list = list.and_then(|list| list.split(']').next());
    let names = list.unwrap_or_default().split(',');
    names
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The string literal at the start, and what follows it.
fn literal(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_path_buf()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

const PATIENCE: Duration = Duration::from_secs(20);
