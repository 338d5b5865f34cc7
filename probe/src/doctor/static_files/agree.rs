//! Whether the files name the same things; pure.
//!
//! What two files say of one thing is shown while it looks like a name: whatever else was written there is not.

mod config;
mod region;

use link::fault::Finding;

use super::file::Files;
use super::values::Chart;
use super::{AGREE, Asked, arn};

/// A side of a comparison: file, field and value.
#[derive(Clone, Debug)]
struct Side<'a> {
    file: &'a str,
    field: &'a str,
    value: String,
}

/// What was compared.
#[derive(Debug, Default)]
struct Compared {
    count: usize,
    found: Vec<Finding>,
    /// What could not be compared, and why.
    open: Vec<String>,
}

/// Compares what can be compared.
pub(super) fn check(asked: &Asked, files: &Files) -> Vec<Finding> {
    let mut compared = Compared::default();
    named(asked, files, &mut compared);
    match (files.regions.as_slice(), files.has_bad_region) {
        ([], true) => compared.open.push("region.yaml is not valid".into()),
        ([], false) => {}
        ([(name, region)], _) => {
            for (file, values) in &files.values {
                region::values(
                    region::Named { name, region },
                    file,
                    values,
                    asked,
                    &mut compared,
                );
            }
            for (file, document) in &files.policies {
                let written: Vec<_> = arn::written(std::slice::from_ref(document)).collect();
                let expected = region.arn_prefix();
                let other = written.iter().find(|arn| **arn != expected);
                let value = other.or(written.first());
                if let Some(value) = value {
                    let policy = side(file, "Resource", value.to_string());
                    compared.same(
                        policy,
                        side(name, "account and region", expected.to_string()),
                        RESOURCES,
                    );
                }
            }
            for (file, config) in &files.configs {
                config::check(region::Named { name, region }, file, config, &mut compared);
            }
        }
        (many, _) => compared.open.push(format!(
            "{} regions are given, with which nothing else is compared",
            many.len()
        )),
    }
    compared.finish()
}

// Names on the command line are a side too.
fn named(asked: &Asked, files: &Files, compared: &mut Compared) {
    for (file, values) in &files.values {
        let (key, asked, flag) = match values.chart {
            Chart::Agent => (
                "consumerName",
                asked.consumer.as_ref().map(ToString::to_string),
                "--consumer",
            ),
            Chart::Bridge => (
                "source",
                asked.source.as_ref().map(ToString::to_string),
                "--source",
            ),
        };
        if let (Some(asked), Some(value)) =
            (asked, values.text(&[key]).filter(|text| is_plain(text)))
        {
            compared.same(
                side(file, key, value),
                side("the command line", flag, asked),
                NAMES,
            );
        }
    }
    for (file, region) in &files.regions {
        if let Some(source) = &asked.source {
            let value = side(file, "server.source", region.server.source.to_string());
            compared.same(
                value,
                side("the command line", "--source", source.to_string()),
                NAMES,
            );
        }
        if let Some(consumer) = &asked.consumer {
            region::consumer(
                region::Named { name: file, region },
                "the command line",
                "--consumer",
                consumer.as_str(),
                compared,
            );
        }
    }
}

fn side<'a>(file: &'a str, field: &'a str, value: impl Into<String>) -> Side<'a> {
    Side {
        file,
        field,
        value: value.into(),
    }
}

// Whether it is known what will stand there: a template is filled in by Helm, and nothing is what others decide.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains("{{")
}

// A name, or how long it is.
fn shown(value: &str) -> String {
    let is_name = value.len() <= MAX_NAME
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:+@*$ ".contains(c));
    match is_name {
        true => format!("`{value}`"),
        false => format!("something else ({} bytes)", value.len()),
    }
}

// === impl Compared ===

impl Compared {
    /// Compares two sides.
    fn same(&mut self, one: Side<'_>, other: Side<'_>, why: &str) {
        let [(file, field, value), (other_file, other_field, expected)] =
            [one, other].map(|Side { file, field, value }| (file, field, value));
        self.count += 1;
        if value == expected {
            return;
        }
        let (value, expected) = (shown(&value), shown(&expected));
        let other_file = quoted(other_file);
        let said = format!(
            "`{file}` says {value} for `{field}`, and {other_file} says {expected} for `{other_field}`"
        );
        let next = format!("write {expected} in both, or {value}");
        self.found
            .push(Finding::error(AGREE, said).why(why).next(next));
    }

    /// Compares two sides of which the first may say nothing that is known here.
    fn known(&mut self, one: Option<Side<'_>>, other: Side<'_>, why: &str) {
        if let Some(one) = one.filter(|one| is_plain(&one.value)) {
            self.same(one, other, why);
        }
    }

    fn finish(self) -> Vec<Finding> {
        let mut found = self.found;
        if found.is_empty() && self.count > 0 {
            found.push(Finding::ok(
                AGREE,
                format!(
                    "the files agree in the {} things that were compared",
                    self.count
                ),
            ));
        }
        if self.count == 0 && self.open.is_empty() {
            let said = "not checked: only one file says anything of the region; give region.yaml with values, policies or config.yaml";
            found.push(Finding::info(AGREE, said));
        }
        let open = self
            .open
            .into_iter()
            .map(|why| Finding::info(AGREE, format!("not checked: {why}")));
        found.extend(open);
        found
    }
}

fn quoted(file: &str) -> String {
    match file {
        "the command line" => file.to_owned(),
        file => format!("`{file}`"),
    }
}

// Longer than any name that is compared; ARNs are the longest.
const MAX_NAME: usize = 300;

const NAMES: &str =
    "parts of a region that go by different names never meet, and nobody says an error";
const RESOURCES: &str = "a policy that speaks of another account or region allows nothing here";
