//! A plan as a person reads it.

use std::fmt;

use serde_json::Value;

use super::{Plan, PlannedAction, ResourcePlan};

mod creation;

/// A plan as text: what changes and why, then one line that counts.
pub struct PlanTable<'a>(
    /// The plan.
    pub &'a Plan,
);

impl fmt::Display for PlanTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.0.resources.iter().filter(|row| is_worth_saying(row)) {
            write_row(f, row)?;
        }
        for note in &self.0.leftovers {
            writeln!(f, "note: {}\nhint: {}", note.text, note.hint)?;
        }
        let counts = self.0.counts();
        write!(
            f,
            "{} to create, {} to change, {} as they should be",
            counts.created, counts.updated, counts.kept
        )?;
        let more = [
            (counts.waiting, "still settling"),
            (counts.blocked, "in the way"),
            (counts.undecided, "to be decided by you"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

fn is_worth_saying(row: &ResourcePlan) -> bool {
    row.action != PlannedAction::Keep || !row.decide.is_empty() || !row.notes.is_empty()
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &ResourcePlan) -> fmt::Result {
    let resource = &row.resource;
    match &row.action {
        PlannedAction::Keep => writeln!(f, "  {resource}")?,
        PlannedAction::Create { after } => {
            writeln!(f, "+ {resource}")?;
            creation::write(f, after, &row.later)?;
        }
        PlannedAction::Update { changes, disrupts } => {
            writeln!(f, "~ {resource}")?;
            for change in changes {
                let (have, want) = (brief(&change.have), brief(&change.want));
                writeln!(f, "    {}: {have} -> {want}", change.attribute)?;
            }
            for what in disrupts {
                writeln!(f, "    disrupts: {what}")?;
            }
        }
        PlannedAction::Wait { state } => writeln!(f, "… {resource}: {state}")?,
        PlannedAction::Refuse { why, hint } => {
            writeln!(f, "! {resource}: {why}\n    hint: {hint}")?;
        }
        PlannedAction::Unknown { why, hint } => {
            writeln!(f, "? {resource}: {why}")?;
            if let Some(hint) = hint {
                writeln!(f, "    hint: {hint}")?;
            }
        }
    }
    for decide in &row.decide {
        let difference = &decide.difference;
        let (have, want) = (brief(&difference.have), brief(&difference.want));
        writeln!(
            f,
            "    {}: {have}, the file says {want}: {}",
            difference.attribute, decide.why
        )?;
        writeln!(f, "    hint: {}", decide.hint)?;
    }
    let later = match row.action {
        PlannedAction::Create { .. } => &[],
        _ => row.later.as_slice(),
    };
    for later in later {
        writeln!(
            f,
            "    {}: (known once {} is there)",
            later.attribute, later.waits_for
        )?;
    }
    for note in &row.notes {
        writeln!(f, "    note: {}\n    hint: {}", note.text, note.hint)?;
    }
    Ok(())
}

fn brief(value: &Value) -> String {
    match value {
        Value::Null => "(nothing)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
