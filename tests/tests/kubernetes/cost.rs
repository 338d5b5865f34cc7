//! What bundles cost the API server: each request that an agent makes, counted exactly in the server's own log.
//!
//! Left out are those that do not depend on how many bundles there are: the lease, the ConfigMap of the agent's state,
//! which is written once in ten seconds at most, the two definitions, which are read at a start, and watches.
//!
//! Each test has a cluster of its own: what another agent may hold there is read before it is applied.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::crd::ManifestWork;
use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tests::api::{self, Change, config_map};
use tests::kubernetes::{Audit, AuditEntry, AuditPosition, Cluster};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::test_dir::TestDir;
use tests::wait::wait_for;
use tokio::time::sleep;
use uuid::Uuid;

use super::fixture::PATIENCE;

mod restart;

/// A region whose agent has a user of its own, by whom its requests are known.
struct Counted {
    region: Region,
    // Ends after the agent.
    cluster: Cluster,
    test_dir: TestDir,
    api: api::Api,
    audit: Audit,
    user: String,
    client: Client,
    namespace: String,
    works: String,
}

// === impl Counted ===

impl Counted {
    async fn new(name: &str) -> Result<Self> {
        let test_dir = TestDir::new(name)?;
        let cluster = Box::pin(Cluster::start(test_dir.path())).await?;
        let user = format!("{name}-{}", Uuid::new_v4());
        let everything = json!({
            "metadata": { "name": user },
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": user }],
        });
        let client = cluster.client().await?;
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        bindings
            .create(&PostParams::default(), &serde_json::from_value(everything)?)
            .await?;
        let mut region = RegionBuilder::new(name, BrokerKind::Sandbox)
            .on_cluster_by(&cluster.kubeconfig_for(&user)?)
            // A killed agent's successor does not wait.
            .agent_args(["--disable-leader-election"])
            .without_quotas()
            .start()
            .await?;
        let works = region.agent("cluster1")?.namespace.clone();
        let this = Self {
            api: region.api().await?,
            region,
            audit: cluster.audit().await?,
            user,
            client,
            namespace: cluster.namespace(name).await?,
            works: works.context("works in a cluster")?,
            cluster,
            test_dir,
        };
        // From here on the kind is watched, and an event comes back by the watch.
        let mark = this.mark().await?;
        let first = this.apply("first").await?;
        this.watches(mark, &["configmaps"]).await?;
        this.delete(&first).await?;
        Ok(this)
    }

    fn passed(self) {
        self.region.passed();
        drop(self.cluster);
        self.test_dir.passed();
    }

    fn map(&self, name: &str) -> Value {
        let mut map = config_map(name, "1");
        map["metadata"]["namespace"] = self.namespace.as_str().into();
        map
    }

    async fn post(&self, manifests: Vec<Value>) -> Result<String> {
        let change = Change::create("cluster1", manifests);
        Ok(self.api.create_bundle(&change).await?.id)
    }

    /// Creates a bundle of one ConfigMap, and waits until everybody says that it is applied.
    async fn apply(&self, name: &str) -> Result<String> {
        let id = self.post(vec![self.map(name)]).await?;
        self.is_applied(&id).await?;
        Ok(id)
    }

    async fn is_applied(&self, id: &str) -> Result<()> {
        wait_for("the bundle to be applied", PATIENCE, async || {
            let bundle = self.api.bundle(id).await?.context("it is there")?;
            ensure!(bundle.is("Applied"), "{:#}", bundle.status);
            let work = self.works().get(id).await?;
            let conditions = work.status.unwrap_or_default().conditions;
            ensure!(conditions.iter().any(|it| it.kind == "Applied"));
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    /// Deletes a bundle, and waits until nobody knows it any more.
    async fn delete(&self, id: &str) -> Result<()> {
        self.api.delete_bundle(id).await?;
        wait_for("the bundle to be gone", PATIENCE, async || {
            ensure!(self.api.bundle(id).await?.is_none(), "it is in the bridge");
            let work = self.works().get_opt(id).await?;
            ensure!(work.is_none(), "its work is there");
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    /// Waits until these kinds were listed and are watched since then.
    async fn watches(&self, since: AuditPosition, kinds: &[&str]) -> Result<()> {
        wait_for("the watches", PATIENCE, async || {
            let entries = self.audit.since(since).await?;
            for &kind in kinds {
                let watched = entries.iter().any(|entry| {
                    let whole_kind = entry.resource == kind && entry.name.is_empty();
                    entry.user == self.user && entry.verb == "watch" && whole_kind
                });
                ensure!(watched, "{kind} are not watched");
            }
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    fn works(&self) -> Api<ManifestWork> {
        Api::namespaced(self.client.clone(), &self.works)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Now, once the agent asks for nothing more.
    async fn mark(&self) -> Result<AuditPosition> {
        let mut mark = self.audit.mark().await?;
        wait_for("the agent to rest", PATIENCE, async || {
            sleep(REST).await;
            let asked = self.asked_until_now(mark).await?;
            mark = self.audit.mark().await?;
            ensure!(asked.is_empty(), "{asked:?}");
            anyhow::Ok(())
        })
        .await?;
        Ok(mark)
    }

    /// What the agent asked for since then, in order, once it asks for nothing more: an effect may be seen before the log
    /// has its line.
    async fn asked(&self, since: AuditPosition) -> Result<Vec<String>> {
        let mut asked = self.asked_until_now(since).await?;
        wait_for("the agent to rest", PATIENCE, async || {
            sleep(REST).await;
            let now = self.asked_until_now(since).await?;
            let rests = now == asked;
            asked = now;
            ensure!(rests, "{asked:?}");
            anyhow::Ok(())
        })
        .await?;
        Ok(asked)
    }

    async fn asked_until_now(&self, since: AuditPosition) -> Result<Vec<String>> {
        let mut entries = self.audit.since(since).await?;
        entries.retain(|entry| entry.user == self.user && counts(entry));
        let what = |entry: AuditEntry| {
            let AuditEntry {
                verb,
                resource,
                subresource,
                ..
            } = entry;
            format!("{verb} {resource} {subresource}").trim().to_owned()
        };
        Ok(entries.into_iter().map(what).collect())
    }
}

fn counts(entry: &AuditEntry) -> bool {
    let is_state = entry.resource == "configmaps" && entry.name.starts_with("agent-");
    let is_discovery = entry.resource.is_empty() || entry.resource == "customresourcedefinitions";
    entry.verb != "watch" && entry.resource != "leases" && !is_state && !is_discovery
}

/// How often each was asked for.
fn tally(asked: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for what in asked {
        *counts.entry(what).or_default() += 1;
    }
    counts
}

fn times(number: usize, requests: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = tally(requests.iter().map(|&what| what.to_owned()).collect());
    counts.values_mut().for_each(|count| *count *= number);
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bundle_costs_four_requests() -> Result<()> {
    let counted = Counted::new("cost-bundle").await?;
    let mark = counted.mark().await?;
    counted.apply("one").await?;
    // Told after the third.
    assert_eq!(counted.asked(mark).await?, NEW);

    let mark = counted.mark().await?;
    let names: Vec<String> = (0..MANY).map(|number| format!("m{number}")).collect();
    try_join_all(names.iter().map(|name| counted.apply(name))).await?;
    assert_eq!(tally(counted.asked(mark).await?), times(MANY, &NEW));
    counted.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_costs_six_requests() -> Result<()> {
    let mut counted = Counted::new("cost-deletion").await?;
    let one = counted.apply("one").await?;
    let mark = counted.mark().await?;
    counted.delete(&one).await?;
    assert_eq!(counted.asked(mark).await?, GONE);

    let names: Vec<String> = (0..MANY).map(|number| format!("m{number}")).collect();
    let many = try_join_all(names.iter().map(|name| counted.apply(name))).await?;
    let mark = counted.mark().await?;
    try_join_all(many.iter().map(|id| counted.delete(id))).await?;
    assert_eq!(tally(counted.asked(mark).await?), times(MANY, &GONE));

    // Also by an agent that has nothing of it in memory.
    let old = counted.apply("old").await?;
    let mark = counted.mark().await?;
    counted.region.agent("cluster1")?.service.restart()?;
    let settled = counted.apply("settled").await?;
    // What it lists to begin with is no part of the deletion.
    let kinds = ["manifestworks", "appliedmanifestworks", "configmaps"];
    counted.watches(mark, &kinds).await?;
    let mark = counted.mark().await?;
    counted.delete(&old).await?;
    assert_eq!(counted.asked(mark).await?, GONE);
    counted.delete(&settled).await?;
    counted.passed();
    Ok(())
}

const NEW: [&str; 4] = [
    "create manifestworks",
    "create appliedmanifestworks",
    "patch configmaps",
    "patch manifestworks status",
];
const GONE: [&str; 6] = [
    // That it goes is durable before the source's message is acknowledged.
    "patch manifestworks",
    "delete configmaps",
    "delete appliedmanifestworks",
    "patch appliedmanifestworks",
    "delete manifestworks",
    "patch manifestworks",
];
// Longer than a pause between two requests of one pass.
const REST: Duration = Duration::from_millis(500);
const MANY: usize = 20;
const RBAC: &str = "rbac.authorization.k8s.io";
