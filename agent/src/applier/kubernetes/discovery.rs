//! Which kinds the API server knows: their plural, their scope, their path.
//!
//! Everything is read once in two requests; a group version in which a kind is missing is read again when the kind
//! is asked for, one at a time and at most once per [`PATIENCE`], or again and again while its kinds are just being
//! defined. Only what a path needs is kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::core::discovery::v2::{APIGroupDiscoveryList, APIResourceDiscovery};
use kube::{Client, Error};
use link::bundle::manifest::ObjectRef;
use tokio::time::Instant;

use super::resource::{Resource, api_version, is_watchable};
use super::server::within;
use crate::cluster::{is_not_served, is_settling};
use crate::keyed_lock::KeyedLock;

mod anew;
mod missing;

/// The kinds of the API server, as far as they were read.
pub(crate) struct Discovery {
    client: Client,
    // By `apiVersion`; a kind is found among a few dozen.
    versions: RwLock<HashMap<String, Vec<Arc<Resource>>>>,
    // When a group version was last asked for.
    asked: Times,
    // When a group version was last read again.
    read: Times,
    // Kinds that are just being defined, or groups of which that may be said, and until when they are waited for.
    expected: Times,
    // Plurals of kinds in versions that are not served any more.
    plurals: std::sync::Mutex<HashMap<String, String>>,
    locks: KeyedLock,
}

// === impl Discovery ===

impl Discovery {
    /// Reads everything.
    ///
    /// # Errors
    /// What the API server says. A server that does not tell everything at once is asked when a kind is needed.
    pub(crate) async fn read(client: Client) -> Result<Self, Error> {
        let (core, groups) = futures_util::try_join!(
            within(client.list_core_api_versions_aggregated()),
            within(client.list_api_groups_aggregated())
        )?;
        let mut versions = HashMap::new();
        for list in [core, groups] {
            extend(&mut versions, list);
        }
        Ok(Self::new(client, versions))
    }

    pub(super) fn new(client: Client, versions: HashMap<String, Vec<Arc<Resource>>>) -> Self {
        Self {
            client,
            versions: RwLock::new(versions),
            asked: Times::default(),
            read: Times::default(),
            expected: Times::default(),
            plurals: std::sync::Mutex::default(),
            locks: KeyedLock::default(),
        }
    }

    /// Finds the kind of an object, asking again for one that is not known.
    ///
    /// # Errors
    /// When the API server cannot be asked. `None` means that it surely does not know the kind.
    pub(crate) async fn find(&self, object: &ObjectRef) -> Result<Option<Arc<Resource>>, Error> {
        if let Some(known) = self.known(object) {
            return Ok(Some(known));
        }
        let api_version = api_version(&object.group, &object.version);
        loop {
            let locked = self.locks.of(&api_version).await;
            if let Some(known) = self.known(object) {
                return Ok(Some(known));
            }
            // Somebody may just have asked for another kind of the version.
            let expected = self.is_expected(&object.group, &object.kind);
            if !expected && recent(&self.asked, &api_version, PATIENCE) {
                return Ok(None);
            }
            // Not once more for each who waits.
            if !recent(&self.read, &api_version, STEP) {
                match self.read_version(&object.group, &object.version).await {
                    Err(error) if expected && is_settling(&error) => {}
                    read => read?,
                }
                lock(&self.read).insert(api_version.clone(), Instant::now());
            }
            let known = self.known(object);
            // The server tells of a definition before it serves the kind.
            if known.is_some() || !expected {
                lock(&self.asked).insert(api_version, Instant::now());
                return Ok(known);
            }
            drop(locked);
            tokio::time::sleep(STEP).await;
        }
    }

    /// Reads one group version again, because something says that it changed.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(crate) async fn read_version(&self, group: &str, version: &str) -> Result<(), Error> {
        let api_version = api_version(group, version);
        let read = if group.is_empty() {
            within(self.client.list_core_api_resources(version)).await
        } else {
            within(self.client.list_api_group_resources(&api_version)).await
        };
        let resources = match read {
            Ok(list) => list.resources,
            Err(error) if is_not_served(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let resources = resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'))
            .map(|resource| Arc::new(Resource::of(resource, group, version)))
            .collect();
        let before = self.write().insert(api_version, resources);
        for known in before.into_iter().flatten() {
            self.remember_plural(&known);
        }
        Ok(())
    }

    /// A kind was defined: it is not missing before it could be served.
    pub(crate) fn expect(&self, kind: &ObjectRef, span: Duration) {
        self.await_until(in_group(&kind.group, &kind.kind), Instant::now() + span);
    }

    /// Kinds of a group seem to be defined by somebody: for a while a missing one is worth asking for again.
    pub(crate) fn expect_any(&self, group: &str) {
        self.await_until(group.into(), Instant::now() + DEFINING);
        let of_group = |api_version: &str| {
            api_version
                .rsplit_once('/')
                .is_some_and(|(of, _)| of == group)
        };
        lock(&self.asked).retain(|asked, _| asked != group && !of_group(asked));
    }

    fn await_until(&self, key: String, until: Instant) {
        let mut expected = lock(&self.expected);
        let longest = expected.entry(key).or_insert(until);
        *longest = until.max(*longest);
    }

    /// Whether a kind is just being defined, as far as is known.
    pub(crate) fn is_expected(&self, group: &str, kind: &str) -> bool {
        let now = Instant::now();
        let mut expected = lock(&self.expected);
        expected.retain(|_, until| *until > now);
        expected.contains_key(group) || expected.contains_key(&in_group(group, kind))
    }

    /// What is known of an object's kind, without asking.
    pub(crate) fn known(&self, object: &ObjectRef) -> Option<Arc<Resource>> {
        self.search(&object.group, &object.version, |known| {
            known.kind == object.kind
        })
    }

    /// The kind with a plural, without asking; in another version of the group when that one is not served.
    pub(crate) fn by_plural(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<Arc<Resource>> {
        self.search(group, version, |known| known.plural == plural)
            .or_else(|| self.anywhere(|known| known.group == group && known.plural == plural))
            .or_else(|| {
                self.anywhere(|known| known.plural == plural && known.shares_objects_of(group))
            })
    }

    /// A kind by which an object can be reached, without asking: as it says, in another version of its group, or in
    /// another group that serves the same objects.
    pub(crate) fn serving(&self, object: &ObjectRef) -> Option<Arc<Resource>> {
        let (group, kind) = (object.group.as_str(), object.kind.as_str());
        self.known(object)
            .or_else(|| self.anywhere(|known| known.group == group && known.kind == kind))
            .or_else(|| self.anywhere(|known| known.kind == kind && known.shares_objects_of(group)))
    }

    fn search(
        &self,
        group: &str,
        version: &str,
        is: impl Fn(&Resource) -> bool,
    ) -> Option<Arc<Resource>> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let resources = versions.get(&api_version(group, version))?;
        resources.iter().find(|known| is(known)).cloned()
    }

    fn anywhere(&self, is: impl Fn(&Resource) -> bool) -> Option<Arc<Resource>> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.values().flatten().find(|known| is(known)).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Vec<Arc<Resource>>>> {
        self.versions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

type Times = std::sync::Mutex<HashMap<String, Instant>>;

fn recent(times: &Times, key: &str, span: Duration) -> bool {
    let mut times = lock(times);
    times.retain(|_, at| at.elapsed() < span);
    times.contains_key(key)
}

fn lock(times: &Times) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

fn extend(versions: &mut HashMap<String, Vec<Arc<Resource>>>, list: APIGroupDiscoveryList) {
    for group in list.items {
        let name = group
            .metadata
            .and_then(|meta| meta.name)
            .unwrap_or_default();
        for version in group.versions {
            let of = version.version.unwrap_or_default();
            let read = |resource: APIResourceDiscovery| {
                Some(Arc::new(Resource {
                    group: name.clone(),
                    version: of.clone(),
                    kind: resource.response_kind?.kind?,
                    plural: resource.resource?,
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    watchable: is_watchable(&resource.verbs),
                }))
            };
            let resources = version.resources.into_iter().filter_map(read).collect();
            versions.insert(api_version(&name, &of), resources);
        }
    }
}

fn in_group(group: &str, kind: &str) -> String {
    format!("{group}/{kind}")
}

/// How soon the API server is asked again for a group version in which a kind was missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
// How long a kind is waited for that somebody else seems to define.
const DEFINING: Duration = Duration::from_secs(3);
/// How often it is asked for meanwhile.
pub(crate) const STEP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
