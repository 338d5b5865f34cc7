//! Whether the definitions of the agent's own kinds are there and fit, and waiting until what was just defined is served.
//!
//! An API server drops fields that a definition does not have, without a word. Another agent's definition of the same kind
//! would lose what this one must find again, so it is looked at before anything is written.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::{Api, Client};
use link::backoff::Backoff;
use link::error::Hint;
use tokio::time::{Instant, sleep};

use super::{error_message, hint, is_not_served, is_settling};

/// Why the definitions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is none.
    #[error("the definition `{0}` is not installed")]
    Missing(&'static str),
    /// It is another agent's.
    #[error("the definition `{definition}` is not this agent's: it drops `{field}`")]
    Drops {
        /// Which definition.
        definition: &'static str,
        /// What the API server would not store.
        field: String,
    },
    /// It cannot be read.
    #[error("read the definition `{definition}`: {}", error_message(.source))]
    Refused {
        /// Which definition.
        definition: &'static str,
        /// What the API server said; it is told with the operation.
        source: Box<kube::Error>,
    },
}

/// Looks whether the definitions are there and keep what the agent writes. Who may not read definitions is not told: what
/// they define will answer.
///
/// # Errors
/// See [`Unfit`].
pub async fn check(client: &Client) -> Result<(), Unfit> {
    let all: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (definition, field) in NEEDED {
        match all.get_opt(definition).await {
            Ok(Some(found)) if keeps_field(&found, field) => {}
            Ok(Some(_)) => {
                let field = field.join(".");
                return Err(Unfit::Drops { definition, field });
            }
            Ok(None) => return Err(Unfit::Missing(definition)),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {}
            Err(source) => {
                let source = Box::new(source);
                return Err(Unfit::Refused { definition, source });
            }
        }
    }
    Ok(())
}

/// Asks for objects of the agent's own kinds. Right after they were defined an API server does not serve them for a
/// moment: then it is asked again, for [`PATIENCE`] at most.
///
/// # Errors
/// The API server's last answer. That a definition is missing is answered at once.
pub async fn served<T, F>(client: &Client, mut ask: impl FnMut() -> F) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut backoff = Backoff::new(FIRST_STEP, LONGEST_STEP, LONGEST_STEP);
    loop {
        let error = match ask().await {
            Err(error) if is_settling(&error) || is_not_served(&error) => error,
            answer => return answer,
        };
        let missing =
            is_not_served(&error) && matches!(check(client).await, Err(Unfit::Missing(_)));
        if missing || Instant::now() >= deadline {
            return Err(error);
        }
        sleep(backoff.next_jittered(Duration::ZERO)).await;
    }
}

// === impl Unfit ===

impl Hint for Unfit {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some("install it: `agent crds | kubectl apply --server-side -f -`".into()),
            Self::Drops { .. } => Some(
                "bring it up to date, a Go agent works with it too: `agent crds | kubectl apply --server-side \
                 --force-conflicts -f -`"
                    .into(),
            ),
            Self::Refused { source, .. } => hint(source),
        }
    }
}

fn keeps_field(definition: &CustomResourceDefinition, field: &[&str]) -> bool {
    let mut versions = definition.spec.versions.iter();
    let version = versions.find(|version| version.name == VERSION);
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    schema.is_some_and(|schema| keeps(schema, field))
}

fn keeps(schema: &JSONSchemaProps, field: &[&str]) -> bool {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return true;
    }
    let Some((first, rest)) = field.split_first() else {
        return true;
    };
    let properties = schema.properties.as_ref();
    let property = properties.and_then(|properties| properties.get(*first));
    property.is_some_and(|property| keeps(property, rest))
}

const VERSION: &str = "v1";
// What other agents' definitions do not have, and ours cannot do without.
const NEEDED: [(&str, &[&str]); 2] = [
    (
        "manifestworks.work.open-cluster-management.io",
        &["status", "report"],
    ),
    (
        "appliedmanifestworks.work.open-cluster-management.io",
        &["spec", "agentID"],
    ),
];

/// How long what was just defined is waited for; on a busy machine it takes a few seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_STEP: Duration = Duration::from_millis(100);
const LONGEST_STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;
    use crate::crd;

    /// A cluster with our definitions, or without any.
    fn cluster(defined: bool) -> Client {
        let service = service_fn(move |request: http::Request<Body>| {
            let all = crd::definitions();
            let mut all = all.iter();
            let asked = all.find(|it| {
                let name = it.metadata.name.as_deref().unwrap_or_default();
                request.uri().path().ends_with(&format!("/{name}"))
            });
            let (code, answer) = match asked.filter(|_| defined) {
                Some(found) => (200, serde_json::to_value(found).unwrap()),
                None => (404, status(404, "not found", &json!({"name": "n"}))),
            };
            let body = Body::from(answer.to_string().into_bytes());
            std::future::ready(http::Response::builder().status(code).body(body))
        });
        Client::new(service, "agent")
    }

    fn status(code: u16, message: &str, details: &Value) -> Value {
        let reason = if code == 404 { "NotFound" } else { "" };
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": code, "reason": reason, "message": message, "details": details,
        })
    }

    fn refusal(code: u16, message: &str) -> kube::Error {
        let status = status(code, message, &Value::Null);
        let status: kube::core::Status = serde_json::from_value(status).unwrap();
        kube::Error::Api(status.boxed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_just_defined_is_asked_for_until_it_is_served() {
        let client = cluster(true);
        let mut answers = [
            Err(refusal(404, "404 page not found")),
            Err(refusal(429, "storage is (re)initializing")),
            Err(refusal(
                503,
                "the server is currently unable to handle the request",
            )),
            Ok(7),
        ]
        .into_iter();
        let answer = served(&client, || std::future::ready(answers.next().unwrap())).await;
        assert_eq!(answer.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_nor_for_what_is_not_defined_or_refused() {
        let begun = Instant::now();
        for (defined, code) in [(false, 404), (true, 403)] {
            let ask = || std::future::ready(Err::<(), _>(refusal(code, "m")));
            served(&cluster(defined), ask).await.unwrap_err();
            assert!(begun.elapsed() < FIRST_STEP);
        }
        let ask = || std::future::ready(Err::<(), _>(refusal(429, "storage is (re)initializing")));
        served(&cluster(true), ask).await.unwrap_err();
        let waited = begun.elapsed();
        assert!(waited >= PATIENCE && waited < PATIENCE * 2, "{waited:?}");
    }

    #[test]
    fn our_definitions_keep_what_is_needed_and_that_of_a_hub_does_not() {
        for (definition, (name, field)) in crd::definitions().iter().zip(NEEDED) {
            assert_eq!(definition.metadata.name.as_deref(), Some(name));
            assert!(keeps_field(definition, field), "{name}");
        }
        let hub = json!({
            "metadata": {"name": NEEDED[0].0},
            "spec": {
                "group": "work.open-cluster-management.io",
                "scope": "Namespaced",
                "names": {"kind": "ManifestWork", "plural": "manifestworks"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"status": {"type": "object", "properties": {
                        "conditions": {"type": "array", "items": {"type": "object"}},
                    }}},
                }}}],
            },
        });
        let mut hub: CustomResourceDefinition = serde_json::from_value(hub).unwrap();
        assert!(!keeps_field(&hub, NEEDED[0].1));
        let schema = hub.spec.versions[0].schema.as_mut().unwrap();
        let schema = schema.open_api_v3_schema.as_mut().unwrap();
        schema.x_kubernetes_preserve_unknown_fields = Some(true);
        assert!(keeps_field(&hub, NEEDED[0].1));
        hub.spec.versions[0].name = "v2".into();
        assert!(!keeps_field(&hub, NEEDED[0].1));
    }
}
