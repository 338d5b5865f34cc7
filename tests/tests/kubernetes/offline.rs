//! An agent without its broker, an agent without its API server, and an agent that has nothing to do.

use std::time::Duration;

use agent::crd::AppliedManifestWork;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::api::{self, Bundle, Change, config_map};
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, Region, RegionBuilder, Service};
use tests::test_dir::TestDir;
use tests::wait::{patient, wait_for};
use tokio::time::Instant;
use uuid::Uuid;

mod drift;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_restarted_without_its_broker_keeps_and_repairs_every_object() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let mut region = RegionBuilder::new("kubernetes-no-broker", BrokerKind::Sandbox)
        .on_cluster(cluster)
        .agent_args(SAME_AGAIN)
        .start()
        .await?;
    let view = View::open(cluster, "no-broker").await?;
    let api = region.api().await?;
    let mut bundles = Vec::new();
    for name in ["edited", "deleted", "left-alone", "told-of"] {
        bundles.push(view.post(&api, name).await?);
    }
    for bundle in &bundles {
        applied(&api, bundle, 1).await?;
    }
    let before = view.uids().await?;

    region.broker.kill().await?;
    region.agent("cluster1")?.service.restart()?;
    let service = &mut region.agent("cluster1")?.service;
    unready(service, &["broker"]).await?;
    view.edit("edited", json!({ "value": "drift" })).await?;
    view.shows("edited", "1").await?;
    view.objects
        .delete("deleted", &DeleteParams::default())
        .await?;
    view.shows("deleted", "1").await?;
    // Not in the manifest, and the bundle wants to know it.
    view.edit("told-of", json!({ "note": "seen" })).await?;
    let after = view.uids().await?;
    ensure!(after.len() == before.len(), "{before:?} {after:?}");
    for (name, uid) in &before {
        let kept = after.contains(&(name.clone(), uid.clone()));
        ensure!(kept != (name == "deleted"), "{name}: {before:?} {after:?}");
    }
    for bundle in &bundles {
        view.is_not_evicted(bundle).await?;
    }

    region.broker.restart().await?;
    region.ready().await?;
    wait_for("what was seen without a broker", PATIENCE, async || {
        let bundle = api.bundle(&bundles[3].id).await?.context("it is there")?;
        let told = bundle.status.to_string().contains(r#""seen""#);
        ensure!(told, "{:#}", bundle.status);
        anyhow::Ok(())
    })
    .await?;
    let change = Change::of(1, vec![view.manifest("left-alone", "2")]);
    api.change_bundle(&bundles[2].id, &change).await?;
    applied(&api, &bundles[2], 2).await?;
    view.shows("left-alone", "2").await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_posted_while_the_api_server_is_away_are_applied_when_it_is_back() -> Result<()> {
    let test_dir = TestDir::new("no-api-server")?;
    let mut cluster = Cluster::start(test_dir.path()).await?;
    let mut region = RegionBuilder::new("kubernetes-no-api-server", BrokerKind::Sandbox)
        .on_cluster(&cluster)
        // Who leads and cannot renew its lease in time ends.
        .agent_args(["--disable-leader-election"])
        .start()
        .await?;
    let view = View::open(&cluster, "no-api").await?;
    let api = region.api().await?;
    let kept = view.post(&api, "kept").await?;
    let gone = view.post(&api, "gone").await?;
    applied(&api, &kept, 1).await?;
    applied(&api, &gone, 1).await?;
    let uid = view.uid("kept").await?;

    // The agent runs on.
    cluster.stop_api().await?;
    let mut posted = Vec::new();
    for number in 0..5 {
        posted.push(view.post(&api, &format!("away-{number}")).await?);
    }
    let change = Change::of(1, vec![view.manifest("kept", "2")]);
    api.change_bundle(&kept.id, &change).await?;
    api.delete_bundle(&gone.id).await?;
    unready(&mut region.agent("cluster1")?.service, NO_API_SERVER).await?;
    cluster.start_api().await?;
    ready_again(&mut region).await?;
    for bundle in &posted {
        applied(&api, bundle, 1).await?;
    }
    applied(&api, &kept, 2).await?;
    absent(&api, &gone).await?;
    for number in 0..5 {
        view.shows(&format!("away-{number}"), "1").await?;
    }
    view.shows("kept", "2").await?;
    ensure!(view.uid("kept").await? == uid, "it is the same object");
    ensure!(view.objects.get_opt("gone").await?.is_none());

    // The agent starts meanwhile.
    cluster.kill_api()?;
    region.agent("cluster1")?.service.restart()?;
    let late = view.post(&api, "late").await?;
    unready(&mut region.agent("cluster1")?.service, NO_API_SERVER).await?;
    let change = Change::of(2, vec![view.manifest("kept", "3")]);
    api.change_bundle(&kept.id, &change).await?;
    cluster.start_api().await?;
    ready_again(&mut region).await?;
    applied(&api, &late, 1).await?;
    applied(&api, &kept, 3).await?;
    view.shows("late", "1").await?;
    view.shows("kept", "3").await?;
    ensure!(view.uid("kept").await? == uid, "it is the same object");
    region.passed();
    drop(cluster);
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_makes_less_than_one_request_a_second() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let user = format!("idle-{}", Uuid::new_v4());
    let everything = json!({
        "metadata": { "name": user },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": user }],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client().await?);
    bindings
        .create(&PostParams::default(), &serde_json::from_value(everything)?)
        .await?;
    let mut region = RegionBuilder::new("kubernetes-idle", BrokerKind::Sandbox)
        .on_cluster_by(&cluster.kubeconfig_for(&user)?)
        .start()
        .await?;
    let view = View::open(cluster, "idle").await?;
    let api = region.api().await?;
    let mut bundles = Vec::new();
    for number in 0..WORKS {
        bundles.push(view.post(&api, &format!("idle-{number}")).await?);
    }
    for bundle in &bundles {
        applied(&api, bundle, 1).await?;
    }
    let audit = cluster.audit().await?;
    let asked = async |seconds: u64| -> Result<Vec<String>> {
        let mark = audit.mark().await?;
        // What is looked at is that time itself.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let entries = audit.since(mark).await?;
        let ours = entries.into_iter().filter(|entry| entry.user == user);
        Ok(ours
            .map(|entry| format!("{} {}", entry.verb, entry.resource))
            .collect())
    };
    // Acknowledgements are noted a little later, all in one.
    let begun = Instant::now();
    while !asked(2).await?.is_empty() {
        ensure!(
            begun.elapsed() < patient(PATIENCE),
            "the agent does not settle"
        );
    }
    let asked = asked(IDLE_SECONDS).await?;
    println!("{} requests in {IDLE_SECONDS} s: {asked:?}", asked.len());
    ensure!((asked.len() as u64) < IDLE_SECONDS, "{asked:?}");
    region.passed();
    Ok(())
}

/// Waits until all are ready. Who leads and cannot renew its lease in time ends, and in a pod it is started again; on a slow
/// machine an API server takes longer to start than a lease lasts.
async fn ready_again(region: &mut Region) -> Result<()> {
    loop {
        let outcome = region.ready().await;
        let service = &mut region.agent("cluster1")?.service;
        match outcome {
            Err(_) if service.process().ended()?.is_some() => service.restart()?,
            outcome => return outcome,
        }
    }
}

/// The objects of one test.
struct View {
    objects: Api<ConfigMap>,
    records: Api<AppliedManifestWork>,
    namespace: String,
}

// === impl View ===

impl View {
    async fn open(cluster: &Cluster, prefix: &str) -> Result<Self> {
        let client = cluster.client().await?;
        let namespace = cluster.namespace(prefix).await?;
        Ok(Self {
            objects: Api::namespaced(client.clone(), &namespace),
            records: Api::all(client),
            namespace,
        })
    }

    fn manifest(&self, name: &str, value: &str) -> Value {
        let mut manifest = config_map(name, value);
        manifest["metadata"]["namespace"] = json!(self.namespace);
        manifest
    }

    /// Posts a bundle of one object that reports its `note`.
    async fn post(&self, api: &api::Api, name: &str) -> Result<Bundle> {
        let mut change = Change::create("cluster1", vec![self.manifest(name, "1")]);
        change.manifest_configs = vec![json!({
            "resourceIdentifier": {
                "group": "", "resource": "configmaps", "name": name, "namespace": self.namespace,
            },
            "feedbackRules": [{
                "type": "JSONPaths",
                "jsonPaths": [{ "name": "note", "path": ".data.note" }],
            }],
        })];
        Ok(api.create_bundle(&change).await?)
    }

    async fn edit(&self, name: &str, data: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "data": data }));
        self.objects
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    async fn shows(&self, name: &str, value: &str) -> Result<()> {
        let what = format!("`{name}` to be {value}");
        wait_for(&what, PATIENCE, async || {
            let object = self.objects.get_opt(name).await?.context("no object")?;
            let found = object.data.unwrap_or_default();
            let found = found.get("value").map(String::as_str);
            ensure!(found == Some(value), "{found:?}");
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    async fn uid(&self, name: &str) -> Result<String> {
        let object = self.objects.get(name).await?;
        object.metadata.uid.context("a uid")
    }

    async fn uids(&self) -> Result<Vec<(String, String)>> {
        let objects = self.objects.list_metadata(&ListParams::default()).await?;
        let objects = objects.items.into_iter().map(|object| {
            let metadata = object.metadata;
            Some((metadata.name?, metadata.uid?))
        });
        // The API server's own, in every namespace.
        let ours = objects.flatten();
        Ok(ours.filter(|(name, _)| name != ROOT_CA).collect())
    }

    async fn is_not_evicted(&self, bundle: &Bundle) -> Result<()> {
        let records = self.records.list(&ListParams::default()).await?;
        let ours: Vec<_> = records
            .items
            .into_iter()
            .filter(|record| record.spec.manifest_work_name == bundle.id)
            .collect();
        ensure!(ours.len() == 1, "{ours:?}");
        let status = ours[0].status.clone().unwrap_or_default();
        let going = &ours[0].metadata.deletion_timestamp;
        ensure!(
            status.eviction_start_time.is_none() && going.is_none(),
            "{ours:?}"
        );
        Ok(())
    }
}

async fn applied(api: &api::Api, bundle: &Bundle, version: i64) -> Result<()> {
    wait_for("the bundle to be applied", PATIENCE, async || {
        let bundle = api.bundle(&bundle.id).await?.context("it is there")?;
        ensure!(
            bundle.observed_version() == version && bundle.is("Applied") && bundle.is("Available"),
            "{:#}",
            bundle.status
        );
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

async fn absent(api: &api::Api, bundle: &Bundle) -> Result<()> {
    wait_for("the bundle to be gone", PATIENCE, async || {
        let bundle = api.bundle(&bundle.id).await?;
        let status = bundle.as_ref().map(|bundle| &bundle.status);
        ensure!(bundle.is_none(), "{status:#?}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

/// Waits until the service says that it is not ready, with all these words in one line.
async fn unready(service: &mut Service, words: &[&str]) -> Result<()> {
    let url = format!("{}/readyz", service.listening().await?.admin);
    wait_for("a failing check", PATIENCE, async || {
        let answer = reqwest::get(&url).await?;
        let status = answer.status().as_u16();
        let body = answer.text().await?;
        let mut lines = body.lines();
        let said = lines.any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(status == 503 && said, "{status}: {body}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

const NO_API_SERVER: &[&str] = &["kubernetes", "the Kubernetes API server does not answer"];

// A process that comes back under its old name need not wait until its own lease has run out.
const SAME_AGAIN: [&str; 2] = ["--leader-identity", "same-again"];

const ROOT_CA: &str = "kube-root-ca.crt";

const RBAC: &str = "rbac.authorization.k8s.io";

const WORKS: usize = 20;
const IDLE_SECONDS: u64 = 20;

const PATIENCE: Duration = Duration::from_secs(60);
