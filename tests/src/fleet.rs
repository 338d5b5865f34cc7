//! What many bundles on many consumers should come to: a model of them, a writer that survives outages of the
//! bridge, and the comparison of API, directories and statuses with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::{Api, ApiError, Bundle, Change};
use crate::region::{Agent, Region};
use crate::wait::wait_for;

/// The bundles that should exist, by id.
#[derive(Clone, Debug, Default)]
pub struct ExpectedBundles(pub BTreeMap<String, ExpectedBundle>);

/// One bundle that should exist.
#[derive(Clone, Debug)]
pub struct ExpectedBundle {
    /// Whose it is.
    pub consumer: String,
    /// The version it has reached.
    pub version: i64,
    /// What it declares.
    pub manifests: Vec<Value>,
}

/// Writes through a bridge's API as it listens now, again and again until there is an answer, each time through the next
/// bridge.
#[derive(Clone, Debug)]
pub struct Writer {
    apis: watch::Receiver<Vec<Api>>,
    turn: Arc<AtomicUsize>,
}

// === impl ExpectedBundles ===

impl ExpectedBundles {
    /// Waits until API, directories and statuses of the region say what is expected.
    ///
    /// # Errors
    /// When they do not within `patience`; the message holds the first difference.
    pub async fn reached(&self, region: &mut Region, patience: Duration) -> Result<()> {
        let api = region.api().await?;
        wait_for(
            "the statuses of the newest versions",
            patience,
            async || self.compare_statuses(&api).await,
        )
        .await?;
        // A status follows its directory, so nothing is left to wait for.
        for (name, agent) in &region.agents {
            self.compare_directory(name, agent)?;
        }
        Ok(())
    }

    async fn compare_statuses(&self, api: &Api) -> Result<(), String> {
        let found = everything(api).await.map_err(|error| error.to_string())?;
        let unexpected: Vec<&Bundle> = found
            .values()
            .filter(|bundle| !self.0.contains_key(&bundle.id))
            .collect();
        if let Some(first) = unexpected.first() {
            return Err(format!(
                "{} bundles are still there, the first is {first:?}",
                unexpected.len()
            ));
        }
        let behind: Vec<String> = self
            .0
            .iter()
            .filter_map(|(id, bundle)| bundle.behind(id, found.get(id)))
            .collect();
        match behind.first() {
            None => Ok(()),
            Some(first) => Err(format!(
                "{} of {} bundles differ, the first: {first}",
                behind.len(),
                self.0.len()
            )),
        }
    }

    fn compare_directory(&self, consumer: &str, agent: &Agent) -> Result<()> {
        let mut left = files(&agent.target)?;
        for bundle in self.0.values().filter(|bundle| bundle.consumer == consumer) {
            for manifest in &bundle.manifests {
                let path = agent.file_of(manifest);
                let applied = agent.applied(manifest)?;
                if applied.as_ref() != Some(manifest) {
                    bail!("`{}` holds {applied:?}, not {manifest}", path.display());
                }
                left.remove(&path);
            }
        }
        match left.first() {
            None => Ok(()),
            Some(path) => bail!(
                "{} files are left over, the first is `{}`",
                left.len(),
                path.display()
            ),
        }
    }
}

// === impl ExpectedBundle ===

impl ExpectedBundle {
    fn behind(&self, id: &str, found: Option<&Bundle>) -> Option<String> {
        let Some(found) = found else {
            return Some(format!("bundle `{id}` is missing"));
        };
        let same = found.version == self.version
            && found.deleted_at.is_none()
            && found.observed_version() == self.version
            && found.is("Applied")
            && reported(&found.status) == self.names();
        (!same).then(|| format!("version {} of {found:?}", self.version))
    }

    fn names(&self) -> BTreeSet<&str> {
        let names = self.manifests.iter();
        names
            .filter_map(|manifest| manifest["metadata"]["name"].as_str())
            .collect()
    }
}

// === impl Writer ===

impl Writer {
    /// A writer that follows the bridges' addresses, one at least, through `apis`.
    pub fn new(apis: watch::Receiver<Vec<Api>>) -> Self {
        let turn = Arc::default();
        Self { apis, turn }
    }

    fn api(&self) -> Api {
        let apis = self.apis.borrow();
        apis[self.turn.fetch_add(1, Ordering::Relaxed) % apis.len()].clone()
    }

    /// Creates a bundle under this id.
    ///
    /// # Errors
    /// When the bridge refuses, or does not answer for a minute.
    pub async fn create(&self, id: &str, consumer: &str, manifests: &[Value]) -> Result<()> {
        let body = json!({ "id": id, "consumer_name": consumer, "manifests": manifests });
        // 409: an attempt whose answer was lost did it; nobody else takes this id.
        self.ask(Method::POST, "/resource-bundles", Some(body), &[201, 409])
            .await
            .map(drop)
    }

    /// Replaces the manifests of a bundle that nobody else changes; the version it has then.
    ///
    /// # Errors
    /// When the bridge refuses, or does not answer for a minute.
    pub async fn change(&self, id: &str, version: i64, manifests: &[Value]) -> Result<i64> {
        let path = format!("/resource-bundles/{id}");
        let body = serde_json::to_value(Change::of(version, manifests.to_vec()))?;
        let (status, _) = self
            .ask(Method::PATCH, &path, Some(body), &[200, 409])
            .await?;
        let (_, text) = self.ask(Method::GET, &path, None, &[200]).await?;
        let bundle: Bundle = serde_json::from_str(&text)?;
        // 409 after an attempt whose answer was lost: then it is ours that is stored.
        if bundle.version != version + 1
            || bundle.rest.get("manifests") != Some(&Value::from(manifests))
        {
            bail!("the change of version {version} answered {status} and left {bundle:?}");
        }
        Ok(bundle.version)
    }

    /// Marks a bundle for deletion.
    ///
    /// # Errors
    /// When the bridge refuses, or does not answer for a minute.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let path = format!("/resource-bundles/{id}");
        self.ask(Method::DELETE, &path, None, &[204, 404])
            .await
            .map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        good: &[u16],
    ) -> Result<(u16, String)> {
        let answered = wait_for(path, OUTAGE, async || {
            let api = self.api();
            match api.raw(method.clone(), path, body.as_ref()).await {
                Ok((status, text)) if status < 500 => Ok((status, text)),
                Ok((status, text)) => Err(format!("{status} {text}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
        if !good.contains(&answered.0) {
            bail!("{method} {path} answered {} {}", answered.0, answered.1);
        }
        Ok(answered)
    }
}

/// Every bundle there is, without contents.
///
/// # Errors
/// See [`ApiError`].
pub async fn everything(api: &Api) -> Result<BTreeMap<String, Bundle>, ApiError> {
    let query = "size=65500&fields=id,consumer_name,version,deleted_at,status";
    let page = api.bundles(query).await?;
    let found = page.items.into_iter();
    Ok(found.map(|bundle| (bundle.id.clone(), bundle)).collect())
}

/// Every file below a directory; none when it is not there.
///
/// # Errors
/// When it cannot be read.
pub fn files(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    if !directory.is_dir() {
        return Ok(found);
    }
    let listing = std::fs::read_dir(directory);
    for entry in listing.with_context(|| format!("list `{}`", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.insert(path);
        }
    }
    Ok(found)
}

/// The names of the objects a status speaks of.
fn reported(status: &Value) -> BTreeSet<&str> {
    let manifests = status["resourceStatus"].as_array();
    manifests
        .into_iter()
        .flatten()
        .filter_map(|manifest| manifest["resourceMeta"]["name"].as_str())
        .collect()
}

// A killed bridge is back within a second or two, on a busy machine within ten.
const OUTAGE: Duration = Duration::from_secs(60);
