//! From a row of Maestro's database to what the store keeps, or why it cannot be kept (docs/MAESTRO.md §5.5). Pure.
//!
//! What agents hold is left alone: a row is refused only for what the store or the wire cannot carry, not for what the API
//! would ask of a new bundle.

use std::collections::HashSet;

use jiff::Timestamp;
use link::id::{ConsumerName, SourceId};
use link::order::Version;

use super::event::{self, Spec};
use crate::delivery::status_of;
use crate::store::{
    Content, ImportedBundle, ImportedStatus, Json, Labels, NewConsumer, SourceName,
};
use crate::validate::{self, Envelope, id_problem};

/// A row of `consumers`.
#[derive(Debug)]
pub(super) struct ConsumerRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: Option<String>,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) deleted: bool,
}

/// A row of `resources`. Times are microseconds.
#[derive(Debug)]
pub(super) struct BundleRow {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) source: Option<String>,
    pub(super) consumer_name: Option<String>,
    pub(super) version: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) deleted_at: Option<i64>,
    pub(super) payload: Option<String>,
    pub(super) status: Option<String>,
}

/// What rows are held to.
#[derive(Debug)]
pub(super) struct RowRules<'r> {
    /// The source that the bridge will speak for, and its topics.
    pub(super) envelope: &'r Envelope,
    /// Consumers that can be kept, by name.
    pub(super) consumers: &'r HashSet<ConsumerName>,
}

/// A bundle that can be kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bundle: ImportedBundle,
    /// What was not taken of it, and what follows.
    pub(super) remark: Option<String>,
    /// The source that its status answers, if it has one.
    pub(super) answers: Option<String>,
}

/// A consumer as the store keeps it, with its times.
///
/// # Errors
/// Why it cannot be kept.
pub(super) fn consumer(row: &ConsumerRow) -> Result<(NewConsumer, Timestamp, Timestamp), String> {
    if row.deleted {
        return Err("it is deleted".into());
    }
    let name = ConsumerName::new(row.name.as_str()).map_err(|error| error.to_string())?;
    id(&row.id)?;
    // JSON's `null` is none, too.
    let labels: Option<Labels> = match &row.labels {
        None => None,
        Some(text) => serde_json::from_str(text)
            .map_err(|_| "its labels are no object of texts".to_owned())?,
    };
    let labels = labels.unwrap_or_default();
    if !validate::fit_labels(&labels) {
        let most = validate::LABELS_BYTES;
        return Err(format!("its labels have more than {most} bytes together"));
    }
    let new = NewConsumer {
        id: row.id.clone(),
        name,
        labels,
    };
    Ok((
        new,
        time("created_at", row.created_at)?,
        time("updated_at", row.updated_at)?,
    ))
}

/// A bundle as the store keeps it.
///
/// # Errors
/// Why it cannot be kept.
pub(super) fn bundle(row: &BundleRow, rules: &RowRules<'_>) -> Result<Kept, String> {
    id(&row.id)?;
    let name = row.name.clone().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| row.id.clone());
    if let Some(rule) = id_problem(&name) {
        return Err(format!("its name {rule}"));
    }
    let consumer = row.consumer_name.as_deref().unwrap_or_default();
    let consumer = ConsumerName::new(consumer).map_err(|error| error.to_string())?;
    if !rules.consumers.contains(&consumer) {
        return Err(format!("its consumer `{consumer}` is not there"));
    }
    let source = row.source.as_deref().unwrap_or_default();
    let source = SourceName::new(source).map_err(|error| error.to_string())?;
    let version = Version::new(row.version)
        .filter(|version| *version > Version::UNVERSIONED)
        .ok_or_else(|| {
            format!(
                "its version {} is not one from 1 to {}",
                row.version,
                i32::MAX
            )
        })?;
    let deleted_at = row
        .deleted_at
        .map(|at| time("deleted_at", at))
        .transpose()?;
    let Spec {
        metadata,
        content,
        origin,
    } = match row.payload.as_deref() {
        None => return Err("it has no payload".into()),
        Some(text) => event::spec(text).map_err(|problem| format!("its payload: {problem}"))?,
    };
    let content = match content {
        Some(content) => content,
        // A deletion carries none.
        None if deleted_at.is_some() => nothing(),
        None => return Err("its payload has no manifests".into()),
    };
    if deleted_at.is_none()
        && let Some(misfit) = validate::misfit(
            rules.envelope,
            &consumer,
            &row.id,
            (metadata.as_ref(), origin.as_ref()),
            &content,
        )
    {
        return Err(misfit);
    }
    let updated_at = time("updated_at", row.updated_at)?;
    let Reported {
        status,
        remark,
        answers,
    } = reported(row, &consumer, version, updated_at, &rules.envelope.source);
    Ok(Kept {
        bundle: ImportedBundle {
            id: row.id.clone(),
            name,
            source,
            consumer_name: consumer,
            version,
            created_at: time("created_at", row.created_at)?,
            updated_at,
            deleted_at,
            metadata,
            origin,
            content,
            status,
        },
        remark,
        answers,
    })
}

/// What a row tells of its status.
#[derive(Default)]
struct Reported {
    status: Option<ImportedStatus>,
    remark: Option<String>,
    answers: Option<String>,
}

/// A status that cannot be kept is no loss: without it the version is sent once more, and its agent reports on it.
fn reported(
    row: &BundleRow,
    consumer: &ConsumerName,
    version: Version,
    at: Timestamp,
    source: &SourceId,
) -> Reported {
    let mut reported = Reported::default();
    match status(row, consumer, version, at) {
        Ok(None) => {}
        Ok(Some((status, answers))) => {
            let foreign = answers.as_deref().filter(|owner| *owner != source.as_str());
            reported.remark = foreign.map(|owner| {
                format!("its status answers source `{owner}`: it is sent again, as `{source}`'s")
            });
            reported.status = foreign.is_none().then_some(status);
            reported.answers = answers;
        }
        Err(problem) => {
            reported.remark = Some(format!(
                "its status is left out, and it is sent again: {problem}"
            ));
        }
    }
    reported
}

/// The status as the store keeps it, and the source it answers.
fn status(
    row: &BundleRow,
    consumer: &ConsumerName,
    version: Version,
    at: Timestamp,
) -> Result<Option<(ImportedStatus, Option<String>)>, String> {
    let Some(text) = row.status.as_deref() else {
        return Ok(None);
    };
    let Some(told) = event::status(text, &row.id, consumer)? else {
        return Ok(None);
    };
    let update = status_of(consumer, &told.event, at)?;
    if update.version > version {
        return Err(format!(
            "it describes version {}, which Maestro's database does not have yet: is it older than its agents?",
            update.version
        ));
    }
    if update.deleted {
        return Err("it says that the bundle is deleted".into());
    }
    Ok(Some((update.into(), told.original_source)))
}

fn nothing() -> Content {
    Content {
        manifests: Json::from_value(&serde_json::Value::Array(Vec::new())),
        delete_option: None,
        manifest_configs: None,
        executer: None,
    }
}

fn id(id: &str) -> Result<(), String> {
    match id_problem(id) {
        None => Ok(()),
        Some(rule) => Err(format!("its id {rule}")),
    }
}

fn time(what: &str, micros: i64) -> Result<Timestamp, String> {
    Timestamp::from_microsecond(micros).map_err(|_| format!("its `{what}` is out of range"))
}
