//! Manifests may stand in a bundle in any order: what must be first is applied first, and no attempt fails on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use link::bundle::{Condition, Status};
use link::event::decode;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use tests::api::{Api, Change};
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, RegionBuilder};
use tests::seed;
use tests::session::Client;
use tests::wait::wait_for;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn manifests_in_any_order_are_applied_without_a_failed_attempt() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let mut rng = seed::rng("ordering");
    let mut region = RegionBuilder::new("kubernetes-ordering", BrokerKind::Sandbox)
        .on_cluster(cluster)
        .without_quotas()
        .start()
        .await?;
    let listener =
        StatusListener::start(region.peer("listener", &["maestro/consumers/+/agentevents"])?)
            .await?;
    let api = region.api().await?;
    let test = Test {
        api,
        name: format!("o{}", &Uuid::new_v4().simple().to_string()[..UNIQUE_DIGITS]),
    };
    let begun = Instant::now();
    let mut before = Vec::new();
    let mut all = BTreeSet::new();
    for batch in 0..ORDERS / BATCH {
        let ids = test.post(batch, &mut rng).await?;
        all.extend(ids.iter().cloned());
        test.applied(&ids).await?;
        // What is deleted goes while the next ones come, one batch at a time: other tests have namespaces to be emptied too.
        test.left(ids.len() + before.len()).await?;
        test.delete(&before).await?;
        before = ids;
    }
    test.left(before.len()).await?;
    test.delete(&before).await?;
    println!("{ORDERS} orders in {:?}", begun.elapsed());
    test.left(0).await?;
    println!("all of them gone after {:?}", begun.elapsed());
    listener.end().await?.none_failed(&all)?;
    region.passed();
    Ok(())
}

struct Test {
    api: Api,
    /// Part of every name that is not inside a namespace of its own.
    name: String,
}

/// Hears every status.
struct StatusListener {
    over: CancellationToken,
    heard: JoinHandle<Result<HeardStatuses>>,
}

/// Every status that was published, by bundle.
#[derive(Default)]
struct HeardStatuses(BTreeMap<String, Vec<Status>>);

// === impl Test ===

impl Test {
    /// Posts a batch of orders at once.
    async fn post(&self, batch: usize, rng: &mut StdRng) -> Result<Vec<String>> {
        let changes: Vec<Change> = (batch * BATCH..(batch + 1) * BATCH)
            .map(|order| {
                let kind = if order % OWN_KIND_EVERY == 0 {
                    format!("Own{order}")
                } else {
                    format!("Shared{batch}")
                };
                let mut manifests = self.manifests(order, &kind);
                manifests.shuffle(rng);
                Change::create("cluster1", manifests)
            })
            .collect();
        let posts = changes
            .iter()
            .map(|change| async { Ok(self.api.create_bundle(change).await?.id) });
        try_join_all(posts).await
    }

    async fn applied(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            wait_for("the bundle to be applied", PATIENCE, async || {
                let bundle = self.api.bundle(id).await?.context("it is there")?;
                ensure!(
                    bundle.is("Applied") && bundle.is("Available"),
                    "{:#}",
                    bundle.status
                );
                anyhow::Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn delete(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.api.delete_bundle(id).await?;
        }
        Ok(())
    }

    /// Waits until no more bundles than these are there.
    async fn left(&self, bundles: usize) -> Result<()> {
        let most = u64::try_from(bundles)?;
        wait_for("deleted bundles to be gone", LONG, async || {
            let left = self.api.bundles("size=1").await?;
            let first = left.items.first().map(|bundle| &bundle.status);
            ensure!(left.total <= most, "{} are left: {first:#?}", left.total);
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    /// In an order in which they could be applied one by one.
    fn manifests(&self, order: usize, kind: &str) -> Vec<Value> {
        let namespace = format!("{}-{order}", self.name);
        let group = format!("{}.tests.example", self.name);
        let inside = |api: &str, kind: &str| {
            json!({
                "apiVersion": api,
                "kind": kind,
                "metadata": { "name": "a", "namespace": namespace },
            })
        };
        let outside = |api: &str, kind: &str, name: &str| json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name } });
        let with = |mut object: Value, field: &str, value: Value| {
            object[field] = value;
            object
        };
        let plural = kind.to_lowercase();
        let definition = outside(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &format!("{plural}.{group}"),
        );
        let definition = with(
            definition,
            "spec",
            json!({
                "group": group,
                "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": plural },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": {
                        "type": "object",
                        "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                    }},
                }],
            }),
        );
        let deployment = json!({
            "replicas": 0,
            "selector": { "matchLabels": { "app": "a" } },
            "template": {
                "metadata": { "labels": { "app": "a" } },
                "spec": {
                    "serviceAccountName": "a",
                    "containers": [{ "name": "a", "image": "example/a" }],
                },
            },
        });
        let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]);
        let role = json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": namespace });
        let subjects = json!([{ "kind": "ServiceAccount", "name": "a", "namespace": namespace }]);
        let binding = with(
            inside(&format!("{RBAC}/v1"), "RoleBinding"),
            "roleRef",
            role,
        );
        vec![
            outside("v1", "Namespace", &namespace),
            definition,
            with(
                outside(&format!("{RBAC}/v1"), "ClusterRole", &namespace),
                "rules",
                rules,
            ),
            with(binding, "subjects", subjects),
            inside("v1", "ServiceAccount"),
            with(inside("v1", "ConfigMap"), "data", json!({ "value": "1" })),
            with(inside("apps/v1", "Deployment"), "spec", deployment),
            with(
                inside(&format!("{group}/v1"), kind),
                "spec",
                json!({ "value": order }),
            ),
        ]
    }
}

// === impl StatusListener ===

impl StatusListener {
    async fn start(client: Client) -> Result<Self> {
        ensure!(client.session.ready().await, "the listener subscribes");
        let over = CancellationToken::new();
        let heard = tokio::spawn(hear(client, over.clone()));
        Ok(Self { over, heard })
    }

    async fn end(self) -> Result<HeardStatuses> {
        self.over.cancel();
        self.heard.await?
    }
}

// === impl HeardStatuses ===

impl HeardStatuses {
    fn none_failed(&self, expected: &BTreeSet<String>) -> Result<()> {
        let heard: BTreeSet<String> = self.0.keys().cloned().collect();
        ensure!(
            heard == *expected,
            "statuses of {} bundles, and not of {}",
            heard.len(),
            expected.len()
        );
        for (id, statuses) in &self.0 {
            let failed = statuses.iter().find(|status| !failures(status).is_empty());
            let failed = failed.map(failures).unwrap_or_default();
            ensure!(failed.is_empty(), "bundle {id}: {}", failed.join("; "));
            let applied = statuses
                .iter()
                .any(|status| status.condition("Applied").is_some());
            ensure!(applied, "bundle {id} was never applied");
        }
        Ok(())
    }
}

/// What could not be applied, of the work and of its manifests, and why.
fn failures(status: &Status) -> Vec<String> {
    let of = |whose: &str, conditions: &[Condition]| -> Vec<String> {
        let failed = conditions.iter();
        let failed = failed.filter(|it| it.kind == "Applied" && !it.is_true());
        failed
            .map(|it| format!("{whose} {}: {}", it.reason, it.message))
            .collect()
    };
    let mut failures = of("work", &status.conditions);
    for manifest in &status.resource_status {
        let meta = &manifest.resource_meta;
        failures.extend(of(
            &format!("{} {}", meta.kind, meta.name),
            &manifest.conditions,
        ));
    }
    failures
}

async fn hear(mut client: Client, over: CancellationToken) -> Result<HeardStatuses> {
    let mut heard = HeardStatuses::default();
    while let Some(delivery) = over
        .run_until_cancelled(client.inbound.recv())
        .await
        .flatten()
    {
        let event = decode(&delivery.message)?;
        // Requests of an agent are about no bundle.
        if let (Some(id), Some(data)) = (event.resource_id.clone(), &event.data) {
            let status = serde_json::from_slice(data)?;
            heard.0.entry(id).or_default().push(status);
        }
        delivery.ack();
    }
    client.shutdown().await?;
    Ok(heard)
}

// Other ones in each run. The namespace controller needs a second or more to empty the namespace of each.
const ORDERS: usize = 40;
const BATCH: usize = 20;
// The others of a batch share theirs.
const OWN_KIND_EVERY: usize = 5;

const RBAC: &str = "rbac.authorization.k8s.io";

const UNIQUE_DIGITS: usize = 6;

const PATIENCE: Duration = Duration::from_secs(60);
// A batch of namespaces, which their controller empties ten at a time, beside those of other tests.
const LONG: Duration = Duration::from_secs(180);
