//! Definitions of kinds: applied means that the kind can be used, because the next manifest may be of that kind.

use std::time::Duration;

use kube::Error;
use link::bundle::manifest::ObjectRef;
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::{Done, Task, Wrote};
use crate::applier::ApplierError;
use crate::applier::kubernetes::discovery::Discovery;
use crate::applier::kubernetes::explain::explain;
use crate::applier::kubernetes::resource::DEFINITIONS_GROUP;
use crate::cluster::{is_not_served, is_settling};

/// Whether an object is refused because its kind was defined a moment ago: no path leads to it yet, or its storage is being
/// made.
pub(super) fn is_too_early(error: &Error, kind: &ObjectRef, discovery: &Discovery) -> bool {
    (is_not_served(error) || is_settling(error)) && discovery.is_expected(&kind.group, &kind.kind)
}

/// Whether an object defines a kind.
pub(super) fn is_definition(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition" && ObjectRef::of(object).group == DEFINITIONS_GROUP
}

impl Task<'_> {
    /// Waits until the kinds that a definition defines are served; a bounded time, and not at all when another definition
    /// has taken a name.
    pub(super) async fn wait_until_defined(
        &self,
        mut definition: Value,
    ) -> Result<Done, ApplierError> {
        let spec = definition["spec"].clone();
        let group = spec["group"].as_str().unwrap_or_default();
        let deadline = Instant::now() + ESTABLISHED_WITHIN;
        let mut step = FIRST_STEP;
        while !is_established(&definition)
            && !is_name_taken(&definition)
            && Instant::now() < deadline
        {
            tokio::time::sleep(step).await;
            step = (step * 2).min(LONGEST_STEP);
            let read = self.inner.server.get(&self.path).await;
            match read.map_err(|error| explain(&error, "get", self.object))? {
                Some(read) => definition = read,
                None => break,
            }
        }
        if is_established(&definition) {
            let discovery = &self.inner.discovery;
            let new = kinds(&spec).into_iter();
            let new: Vec<ObjectRef> = new.filter(|it| discovery.known(it).is_none()).collect();
            for kind in &new {
                discovery.expect(kind, EXPECTED_FOR);
            }
            for kind in &new {
                let found = discovery.find(kind).await;
                found.map_err(|error| explain(&error, "look up the kind of", kind))?;
            }
            if !new.is_empty() {
                self.inner.index.defined(group);
            }
        } else {
            let object = self.object;
            warn!(object = %object, "{object} is applied and its kind is not served yet");
        }
        Ok(Done {
            object: Some(definition),
            wrote: Wrote::Nothing,
        })
    }
}

fn is_established(definition: &Value) -> bool {
    has_condition(definition, "Established", "True")
}

fn is_name_taken(definition: &Value) -> bool {
    has_condition(definition, "NamesAccepted", "False")
}

fn has_condition(definition: &Value, kind: &str, status: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == kind && condition["status"] == status)
}

// What is served under the definition, as objects without a name.
fn kinds(spec: &Value) -> Vec<ObjectRef> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter(|version| version["served"] == true)
        .map(|version| ObjectRef {
            group: text(&spec["group"]),
            version: text(&version["name"]),
            kind: text(&spec["names"]["kind"]),
            ..ObjectRef::default()
        })
        .collect()
}

// A busy API server takes seconds.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);
// What answers for a kind may lag behind what says that it is established.
const EXPECTED_FOR: Duration = Duration::from_secs(10);
const FIRST_STEP: Duration = Duration::from_millis(20);
const LONGEST_STEP: Duration = Duration::from_millis(500);
