//! One look at some clusters: their bundles, and what their agents reported before and after that.

use jiff::Timestamp;
use link::event::agent_report::HeldWorks;
use link::http::client::{ApiClient, ApiError, query};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What was seen of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) consumer: String,
    /// What was known of its agent before the bundles were read.
    pub(super) before: SeenAgent,
    /// Its bundles; `None` where there are too many to read them all.
    pub(super) bundles: Option<Vec<SeenBundle>>,
    /// What was known of its agent after that.
    pub(super) after: SeenAgent,
}

/// What the API knows of an agent (`GET /consumers?fields=presence`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SeenAgent {
    pub(super) state: String,
    pub(super) since: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) last_report_at: Option<Timestamp>,
    pub(super) works: Option<HeldWorks>,
}

/// What the API knows of a bundle.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SeenBundle {
    pub(super) id: String,
    pub(super) version: i64,
    #[serde(default)]
    pub(super) created_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) applied: Option<String>,
    #[serde(default)]
    pub(super) status_version: Option<i64>,
    #[serde(default)]
    pub(super) waiting_for: Option<String>,
    #[serde(default)]
    pub(super) ledger: Vec<SeenEntry>,
    /// Only of bundles that are looked for by their ids.
    #[serde(default)]
    pub(super) consumer_name: String,
    /// As `consumer_name`.
    #[serde(default)]
    pub(super) manifests: Vec<Value>,
}

/// One version's story.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct SeenEntry {
    pub(super) version: i64,
    #[serde(default)]
    pub(super) deletion: bool,
    pub(super) stored_at: Timestamp,
    #[serde(default)]
    pub(super) published_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) broker_acked_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) received_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) applied_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) reported_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) attempts: u32,
    #[serde(default)]
    pub(super) failed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    presence: Option<SeenAgent>,
}

/// The names of all consumers, in order; of more than [`MOST_CONSUMERS`] those that come first.
pub(super) async fn consumers(api: &ApiClient) -> Result<Vec<String>, ApiError> {
    let mut names = Vec::new();
    // One page more, to tell whether there are more than these.
    for page in 1..=MOST_CONSUMERS / PAGE + 1 {
        let (page, size) = (page.to_string(), PAGE.to_string());
        let parameters = [
            ("orderBy", "name"),
            ("fields", "name"),
            ("size", &size),
            ("page", &page),
        ];
        let items: Vec<Named> = items(api, &query("/consumers", &parameters)).await?;
        let full = items.len() == PAGE;
        names.extend(items.into_iter().map(|item| item.name));
        if !full {
            break;
        }
    }
    // The order of the database may be another one.
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Looks at one consumer, of whose agent this was known before: one after the other, so that the bundles of one only are
/// in memory. `None` if it is not there any more.
pub(super) async fn look(
    api: &ApiClient,
    consumer: String,
    before: SeenAgent,
) -> Result<Option<Look>, ApiError> {
    let bundles = bundles_of(api, &consumer).await?;
    let after = agents(api, std::slice::from_ref(&consumer)).await?;
    let after = after.into_iter().find(|(name, _)| *name == consumer);
    Ok(after.map(|(consumer, after)| Look {
        consumer,
        before,
        bundles,
        after,
    }))
}

/// What is known of the agents of these consumers, of [`AT_ONCE`] at most. One that is not there any more is left out.
pub(super) async fn agents(
    api: &ApiClient,
    names: &[String],
) -> Result<Vec<(String, SeenAgent)>, ApiError> {
    let size = names.len().to_string();
    let search = format!("name in ({})", quoted(names));
    let parameters = [
        ("search", search.as_str()),
        ("fields", "name,presence"),
        ("size", &size),
    ];
    let items: Vec<Named> = items(api, &query("/consumers", &parameters)).await?;
    let agent = |item: Named| (item.name, item.presence.unwrap_or_default());
    Ok(items.into_iter().map(agent).collect())
}

async fn bundles_of(api: &ApiClient, consumer: &str) -> Result<Option<Vec<SeenBundle>>, ApiError> {
    let mut bundles = Vec::new();
    // One page more, to tell whether there are more than these.
    for page in 1..=BUNDLE_PAGES + 1 {
        let search = format!("consumer_name={}", quote(consumer));
        let (page, size) = (page.to_string(), PAGE.to_string());
        let parameters = [
            ("search", search.as_str()),
            ("fields", BUNDLE_FIELDS),
            ("size", &size),
            ("page", &page),
        ];
        let items: Vec<SeenBundle> = items(api, &query("/resource-bundles", &parameters)).await?;
        let full = items.len() == PAGE;
        bundles.extend(items);
        if bundles.len() > MOST_OF_ONE {
            return Ok(None);
        }
        if !full {
            return Ok(Some(bundles));
        }
    }
    Ok(None)
}

/// The bundles with these ids that there are.
pub(super) async fn bundles_by_id(
    api: &ApiClient,
    ids: &[String],
) -> Result<Vec<SeenBundle>, ApiError> {
    let mut bundles = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        let size = some.len().to_string();
        let search = format!("id in ({})", quoted(some));
        let parameters = [
            ("search", search.as_str()),
            ("fields", CANARY_FIELDS),
            ("size", &size),
        ];
        let found: Vec<SeenBundle> = items(api, &query("/resource-bundles", &parameters)).await?;
        bundles.extend(found);
    }
    Ok(bundles)
}

/// The ids of the bundles whose ids begin so.
pub(super) async fn ids_beginning(api: &ApiClient, prefix: &str) -> Result<Vec<String>, ApiError> {
    let search = format!("id like {}", quote(&format!("{prefix}%")));
    let parameters = [
        ("search", search.as_str()),
        ("fields", "id,version"),
        ("size", "65000"),
    ];
    let found: Vec<SeenBundle> = items(api, &query("/resource-bundles", &parameters)).await?;
    let ids = found.into_iter().map(|bundle| bundle.id);
    // `_` in a pattern is any character.
    Ok(ids.filter(|id| id.starts_with(prefix)).collect())
}

async fn items<T: DeserializeOwned>(api: &ApiClient, path: &str) -> Result<Vec<T>, ApiError> {
    let mut page = api.get(path).await?;
    let items = page.get_mut("items").map(Value::take).unwrap_or_default();
    serde_json::from_value(items).map_err(|_| ApiError::Foreign { path: path.into() })
}

fn quoted(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    texts.join(",")
}

/// A text in a search; a quotation mark is doubled there.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

const BUNDLE_FIELDS: &str =
    "id,version,created_at,deleted_at,applied,status_version,waiting_for,ledger";
const CANARY_FIELDS: &str =
    "id,version,created_at,deleted_at,applied,status_version,ledger,consumer_name,manifests";
const PAGE: usize = 500;
/// The most consumers that are looked at.
pub(super) const MOST_CONSUMERS: usize = 50_000;
/// The most bundles of one cluster that are read.
pub(super) const MOST_OF_ONE: usize = 20_000;
const BUNDLE_PAGES: usize = MOST_OF_ONE / PAGE;
/// Half of the values that a search takes after `in`.
pub(super) const AT_ONCE: usize = 100;
