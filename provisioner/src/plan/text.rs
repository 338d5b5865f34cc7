//! A plan as a person reads it.

use std::fmt;

use super::{Plan, PlannedAction, ResourcePlan};

use self::values::brief;

mod values;

/// A plan as text: what changes and why, then one line that counts.
pub struct PlanTable<'a> {
    plan: &'a Plan,
    // Whether creations are shown with their attributes.
    creations: bool,
}

// === impl PlanTable ===

impl<'a> PlanTable<'a> {
    /// With all that a creation sets.
    pub fn full(plan: &'a Plan) -> Self {
        let creations = true;
        Self { plan, creations }
    }

    /// Of creations only that something is not there.
    pub fn brief(plan: &'a Plan) -> Self {
        let creations = false;
        Self { plan, creations }
    }
}

impl fmt::Display for PlanTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self
            .plan
            .resources
            .iter()
            .filter(|row| is_worth_saying(row))
        {
            write_row(f, row, self.creations)?;
        }
        for note in &self.plan.leftovers {
            writeln!(f, "note: {}\nhint: {}", note.text, note.hint)?;
        }
        let counts = self.plan.counts();
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

fn write_row(f: &mut fmt::Formatter<'_>, row: &ResourcePlan, creations: bool) -> fmt::Result {
    let resource = &row.resource;
    match &row.action {
        PlannedAction::Keep => writeln!(f, "  {resource}")?,
        PlannedAction::Create { after } if creations => {
            writeln!(f, "+ {resource}")?;
            values::write_created(f, after, &row.later)?;
        }
        PlannedAction::Create { .. } => writeln!(f, "+ {resource}: is not there")?,
        PlannedAction::Update { changes, disrupts } => {
            writeln!(f, "~ {resource}")?;
            for change in changes {
                values::write_changed(f, change)?;
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
