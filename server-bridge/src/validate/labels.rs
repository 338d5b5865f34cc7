//! Limits of the labels of a consumer: any text, as Maestro takes it, small enough that a page of consumers can be held whole.

use link::telemetry::clip;
use serde_json::{Map, Value};

use super::{Invalid, Problem, SHOWN_BYTES, kind, problem, summary};
use crate::store::Labels;

/// Refuses labels with the paths of what is wrong.
pub(crate) fn check_labels(entries: &Map<String, Value>) -> Result<(), Invalid> {
    match problems(entries) {
        problems if problems.is_empty() => Ok(()),
        problems => Err(Invalid(summary(&problems))),
    }
}

/// Whether a consumer may have these labels.
pub(crate) fn fit_labels(labels: &Labels) -> bool {
    let entries = labels.iter();
    let entries = entries.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    problems(&entries.collect()).is_empty()
}

fn problems(entries: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in entries {
        if !value.is_string() {
            let path = format!("labels[{}]", clip(name, SHOWN_BYTES));
            problem(
                &mut problems,
                path,
                format!("must be a string, not {}", kind(value)),
            );
        }
    }
    let bytes: usize = entries
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > LABELS_BYTES {
        let message = format!("have {bytes} bytes together, at most {LABELS_BYTES} are kept");
        problem(&mut problems, "labels", message);
    }
    problems
}

/// Bytes of all names and values of one consumer: as many as a bundle's metadata may have.
pub(crate) const LABELS_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_taken_up_to_their_bytes_and_refused_one_past() {
        // 256 labels of 64 bytes.
        let mut labels: Labels = (0..256)
            .map(|number| (format!("l{number:03}"), "v".repeat(60)))
            .collect();
        assert!(fit_labels(&labels));
        labels.insert("l000".into(), "v".repeat(61));
        assert!(!fit_labels(&labels));
        for (name, value) in [("a b", "c d"), ("example.com/a", "")] {
            assert!(fit_labels(&[(name.into(), value.into())].into()), "{name}");
        }
    }
}
