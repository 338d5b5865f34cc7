//! Every strategy with every delete option and every kind of executor, from REST to the objects and back: what a
//! bundle makes of objects when it comes, changes, meets somebody else's edit, and goes.

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, from_value, json};
use tests::api::Change;
use tests::wait::wait_for;

use self::rows::{DELETIONS, Deletion, EXECUTORS, Executor, STRATEGIES, Strategy};
use crate::fixture::{
    ABSENT, APPLIED, Fixture, MANIFEST_APPLIED, NOT_APPLIED, PATIENCE, PostedBundle, SOMEBODY,
    until, values,
};

mod finished;
mod rows;

/// One cell of the matrix.
struct Case<'a> {
    fixture: &'a Fixture,
    name: String,
    strategy: &'static Strategy,
    deletion: &'static Deletion,
    executor: &'static Executor,
}

#[tokio::test(flavor = "multi_thread")]
async fn strategies_delete_options_and_executors_do_what_they_say_together() -> Result<()> {
    let fixture = Fixture::new("matrix").await?;
    allow(&fixture, ALLOWED).await?;
    let mut cases = Vec::new();
    for strategy in STRATEGIES {
        for deletion in DELETIONS {
            for executor in EXECUTORS {
                cases.push(Case {
                    name: format!("{}-{}-{}", strategy.name, deletion.name, executor.name),
                    fixture: &fixture,
                    strategy,
                    deletion,
                    executor,
                });
            }
        }
    }
    let count = cases.len();
    let failures: Vec<String> = stream::iter(cases)
        .map(async |case| {
            let outcome = case.run().await;
            outcome
                .map_err(|error| format!("{}: {error:#}", case.name))
                .err()
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failure| failure)
        .collect()
        .await;
    ensure!(
        failures.is_empty(),
        "{} of {count} cases:\n{}",
        failures.len(),
        failures.join("\n")
    );
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn executor_that_got_its_rights_applies_the_next_version() -> Result<()> {
    let fixture = Fixture::new("executor-later").await?;
    let bundle = Change {
        manifests: vec![
            fixture.map("later", json!({ "value": "1" })),
            deployment(&fixture),
        ],
        executer: Some(executer(&fixture, ALLOWED)),
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    let namespace = &fixture.namespace;
    bundle
        .says(&[
            ("Applied", NOT_APPLIED),
            ("0/Applied", &refused("", "configmaps", namespace, "later")),
            (
                "1/Applied",
                &refused("apps", "deployments", namespace, "web"),
            ),
        ])
        .await?;
    allow(&fixture, ALLOWED).await?;
    let map = fixture.map("later", json!({ "value": "2" }));
    // The API server's authorizer may not know the role yet, and a refusal counts for a minute.
    wait_for("the rights", PATIENCE, async || {
        bundle
            .change(vec![map.clone(), deployment(&fixture)])
            .await?;
        bundle.shows(async |_| Ok(())).await?;
        let found = crate::fixture::condition(&bundle.bundle().await?, "0/Applied");
        ensure!(found == MANIFEST_APPLIED, "{found}");
        anyhow::Ok(())
    })
    .await?;
    bundle
        .says(&[
            ("Applied", NOT_APPLIED),
            (
                "1/Applied",
                &refused("apps", "deployments", namespace, "web"),
            ),
        ])
        .await?;
    bundle.goes().await?;
    ensure!(fixture.live(&map).await?.is_none(), "the map is gone");
    fixture.region.passed();
    Ok(())
}

// === impl Case ===

impl Case<'_> {
    async fn run(&self) -> Result<()> {
        if self.strategy.only_reads {
            for part in PARTS {
                let theirs = json!({ "value": "theirs", "shared": "theirs" });
                self.fixture.create(&self.map(part, theirs)).await?;
            }
        }
        let manifests = PARTS.map(|part| self.manifest(part, "1")).to_vec();
        let bundle = Change {
            manifests,
            manifest_configs: vec![self.config()],
            delete_option: self
                .deletion
                .option(|part| self.object(part), &self.fixture.namespace),
            executer: self
                .executor
                .account
                .map(|account| executer(self.fixture, account)),
            ..Change::default()
        };
        let bundle = self.fixture.post(bundle).await?;
        if self.executor.refused {
            self.is_refused(&bundle).await.context("refuse")?;
            bundle.goes().await.context("go")?;
            return self.nothing_happened().await;
        }
        self.creates(&bundle).await.context("create")?;
        self.updates(&bundle).await.context("update")?;
        self.meets_an_edit(&bundle).await.context("edit")?;
        bundle.goes().await.context("go")?;
        self.went().await.context("what is left")
    }

    async fn creates(&self, bundle: &PostedBundle<'_>) -> Result<()> {
        bundle
            .says(&[
                ("Applied", APPLIED),
                ("0/Applied", MANIFEST_APPLIED),
                ("3/Applied", MANIFEST_APPLIED),
            ])
            .await?;
        for part in PARTS {
            let (data, owners) = self.found(part).await?.context("the object is there")?;
            ensure!(data == self.strategy.created, "{part} is {data}");
            ensure!(
                owners == usize::from(!self.strategy.only_reads),
                "{part} has {owners} owners"
            );
        }
        Ok(())
    }

    /// The new version drops two of the four.
    async fn updates(&self, bundle: &PostedBundle<'_>) -> Result<()> {
        let manifests = ["going", "spared"].map(|part| self.manifest(part, "2"));
        bundle.change(manifests.to_vec()).await?;
        bundle.says(&[("Applied", APPLIED)]).await?;
        for part in ["going", "spared"] {
            let (data, _) = self.found(part).await?.context("the object is there")?;
            ensure!(data == self.strategy.updated, "{part} is {data}");
        }
        // The status may come before the pruned objects are gone.
        wait_for("pruning", PATIENCE, async || {
            self.left("dropped-going", "dropped-spared").await
        })
        .await?;
        Ok(())
    }

    async fn meets_an_edit(&self, bundle: &PostedBundle<'_>) -> Result<()> {
        let map = self.map("going", json!({}));
        let edit = json!({ "data": { "value": "edited", "shared": "edited" } });
        self.fixture.edit(&map, edit).await?;
        let wanted = self.strategy.edited;
        if wanted == EDITED {
            // Left alone, which is sure only once the agent has looked.
            bundle
                .shows(async |bundle| {
                    let value = values(bundle, 0)["value"]["string"].clone();
                    ensure!(value == "edited", "the agent saw {value}");
                    Ok(())
                })
                .await?;
        }
        if !self.strategy.conflict.is_empty() {
            let object = self.object("going");
            let namespace = &self.fixture.namespace;
            let fields = self.strategy.conflict;
            let words = format!(
                "False AppliedManifestFailed: Failed to apply manifest: apply ConfigMap {namespace}/{object}: \
                 conflict with `{SOMEBODY}`: {fields}; hint: set `force: true` to take these fields, \
                 leave them out of the manifest, or list them under `ignoreFields`"
            );
            bundle
                .says(&[
                    ("Applied", NOT_APPLIED),
                    ("0/Applied", &words),
                    ("1/Applied", MANIFEST_APPLIED),
                ])
                .await?;
        } else {
            bundle.says(&[("Applied", APPLIED)]).await?;
        }
        until(self.fixture, &map, "the edited object", |live| {
            data(live) == wanted
        })
        .await
    }

    async fn is_refused(&self, bundle: &PostedBundle<'_>) -> Result<()> {
        let namespace = &self.fixture.namespace;
        let words = PARTS.map(|part| refused("", "configmaps", namespace, &self.object(part)));
        bundle
            .says(&[
                ("Applied", NOT_APPLIED),
                ("0/Applied", &words[0]),
                ("1/Applied", &words[1]),
                ("2/Applied", &words[2]),
                ("3/Applied", &words[3]),
            ])
            .await
    }

    async fn nothing_happened(&self) -> Result<()> {
        let expected = self
            .strategy
            .only_reads
            .then(|| ("theirs/theirs".into(), 0));
        for part in PARTS {
            let found = self.found(part).await?;
            ensure!(found == expected, "{part} is {found:?}");
        }
        Ok(())
    }

    async fn went(&self) -> Result<()> {
        self.left("going", "spared").await
    }

    /// What a release leaves of an object, and of one that `SelectivelyOrphan` spares.
    async fn left(&self, going: &str, spared: &str) -> Result<()> {
        for (part, stays) in [
            (going, self.deletion.leaves),
            (spared, self.deletion.spares),
        ] {
            let owners = self.found(part).await?.map(|(_, owners)| owners);
            let expected = (stays || self.strategy.only_reads).then_some(0);
            ensure!(
                owners == expected,
                "{part}: owners {owners:?}, not {expected:?}"
            );
        }
        Ok(())
    }

    /// `value/shared` and the number of owners.
    async fn found(&self, part: &str) -> Result<Option<(String, usize)>> {
        let live = self.fixture.live(&self.map(part, json!({}))).await?;
        Ok(live.map(|live| {
            let owners = live["metadata"]["ownerReferences"].as_array();
            (data(&live), owners.map_or(0, Vec::len))
        }))
    }

    fn object(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn map(&self, part: &str, data: Value) -> Value {
        self.fixture.map(&self.object(part), data)
    }

    fn manifest(&self, part: &str, value: &str) -> Value {
        self.map(part, json!({ "value": value, "shared": value }))
    }

    fn config(&self) -> Value {
        let mut settings = json!({ "feedbackRules": [
            { "type": "JSONPaths", "jsonPaths": [{ "name": "value", "path": ".data.value" }] },
        ]});
        if let Some(strategy) = self.strategy.option() {
            settings["updateStrategy"] = strategy;
        }
        self.fixture
            .config("configmaps", &self.object("*"), settings)
    }
}

fn data(live: &Value) -> String {
    let text = |key: &str| live["data"][key].as_str().unwrap_or("none").to_owned();
    format!("{}/{}", text("value"), text("shared"))
}

fn deployment(fixture: &Fixture) -> Value {
    let labels = json!({ "app": "web" });
    let containers = json!([{ "name": "web", "image": "web" }]);
    let spec = json!({
        "replicas": 0,
        "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } },
    });
    fixture.manifest(
        "web",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec }),
    )
}

fn executer(fixture: &Fixture, name: &str) -> Value {
    let account = json!({ "namespace": fixture.namespace, "name": name });
    json!({ "subject": { "type": "ServiceAccount", "serviceAccount": account } })
}

/// The words of docs/MAESTRO.md §6.5.
fn refused(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    format!(
        "False AppliedManifestFailed: Failed to apply manifest: not allowed to apply the resource {group} {resource}, \
         {namespace} {name}, will try again in 1m0s"
    )
}

/// Lets a service account do what an executor needs for ConfigMaps.
async fn allow(fixture: &Fixture, account: &str) -> Result<()> {
    let verbs = ["create", "update", "patch", "get", "delete"];
    let role = json!({ "metadata": { "name": account }, "rules": [
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs },
    ]});
    let binding = json!({
        "metadata": { "name": account },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": fixture.namespace }],
    });
    let params = PostParams::default();
    Api::<Role>::namespaced(fixture.client.clone(), &fixture.namespace)
        .create(&params, &from_value(role)?)
        .await?;
    Api::<RoleBinding>::namespaced(fixture.client.clone(), &fixture.namespace)
        .create(&params, &from_value(binding)?)
        .await?;
    Ok(())
}

const PARTS: [&str; 4] = ["going", "spared", "dropped-going", "dropped-spared"];
const EDITED: &str = "edited/edited";
/// The service account with a role.
const ALLOWED: &str = "deployer";
/// More than the agent has workers.
const AT_ONCE: usize = 16;
