//! Events about works, as people see them.

use std::time::Duration;

use agent::applier::{ApplierError, ApplierErrorKind};
use agent::cluster::{ClusterOptions, prepare};
use agent::crd::{ManifestWork, ManifestWorkSpec};
use agent::events::Recorder;
use agent::health::Health;
use anyhow::{Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use link::bundle::manifest::ObjectRef;
use link::clock::Clock;
use link::supervise::Restarts;
use prometheus::Registry;
use tests::kubernetes::Cluster;
use tests::wait::wait_for;
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

fn options(cluster: &Cluster, namespace: &str) -> ClusterOptions {
    ClusterOptions {
        kubeconfig: Some(cluster.kubeconfig().to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ClusterOptions::new(namespace)
    }
}

fn map() -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "shop".into(),
        name: "map".into(),
    }
}

fn refused() -> ApplierError {
    ApplierError {
        kind: ApplierErrorKind::Refused,
        message: "apply ConfigMap shop/map: admission webhook says no".into(),
    }
}

#[tokio::test]
async fn same_trouble_is_one_event_with_a_count_at_its_work() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("events").await?;
    if let Err(failure) = prepare(options(cluster, &namespace)).await {
        bail!("{failure}");
    }
    let connection = options(cluster, &namespace)
        .connect(
            &Registry::new(),
            &Restarts::unregistered(),
            Health::ignored(),
        )
        .await?;
    let works: Api<ManifestWork> = Api::namespaced(connection.client.clone(), &namespace);
    let list = ListParams::default();
    wait_for("the kind", PATIENCE, async || works.list(&list).await).await?;
    let work = ManifestWork::new("work-1", ManifestWorkSpec::default());
    let uid = works
        .create(&PostParams::default(), &work)
        .await?
        .metadata
        .uid;
    let recorder = Recorder::start(
        &connection,
        &Registry::new(),
        &Restarts::unregistered(),
        Clock::system(),
    )?;

    for _ in 0..2 {
        recorder.trouble(&"work-1".into(), &map(), &refused());
    }
    let events: Api<Event> = Api::namespaced(connection.client.clone(), &namespace);
    let event = wait_for("a count", PATIENCE, async || {
        let events = events.list(&ListParams::default()).await;
        let events = events.map_err(|error| error.to_string())?.items;
        let counted = events.iter().find(|event| event.series.is_some()).cloned();
        counted.ok_or_else(|| format!("{events:?}"))
    })
    .await?;
    assert_eq!(event.series.map(|series| series.count), Some(2));
    assert_eq!(event.reason.as_deref(), Some("Refused"));
    let regarding = event.regarding.unwrap_or_default();
    assert_eq!(regarding.uid, uid);
    assert_eq!(
        event.related.and_then(|related| related.name).as_deref(),
        Some("map")
    );
    let all = events.list(&ListParams::default()).await?.items;
    assert_eq!(all.len(), 1, "{all:?}");

    let mut kubectl = Command::new("kubectl");
    kubectl.arg("--kubeconfig").arg(cluster.kubeconfig());
    let args = [
        "describe",
        "manifestwork",
        "work-1",
        "--namespace",
        &namespace,
    ];
    let output = kubectl.args(args).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("admission webhook says no"), "{text}");
    Ok(())
}

#[tokio::test]
async fn agent_that_may_not_write_events_stops_trying() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("no-events").await?;
    let user = format!("user-of-{namespace}");
    let options = ClusterOptions {
        kubeconfig: Some(cluster.kubeconfig_for(&user)?),
        ..options(cluster, &namespace)
    };
    let connection = options
        .connect(
            &Registry::new(),
            &Restarts::unregistered(),
            Health::ignored(),
        )
        .await?;
    let audit = cluster.audit().await?;
    let mark = audit.mark().await?;
    let recorder = Recorder::start(
        &connection,
        &Registry::new(),
        &Restarts::unregistered(),
        Clock::system(),
    )?;
    let attempts = async || {
        let entries = audit.since(mark).await.map_err(|error| error.to_string())?;
        let ours = entries
            .iter()
            .filter(|entry| entry.user == user && entry.resource == "events");
        Ok::<_, String>(ours.count())
    };
    wait_for("an attempt", PATIENCE, async || {
        recorder.trouble(&"work-1".into(), &map(), &refused());
        (attempts().await? > 0)
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    })
    .await?;
    for work in 0..20 {
        recorder.trouble(&format!("work-{work}").as_str().into(), &map(), &refused());
    }
    // Whatever it still did would stand in the log before this request.
    cluster.client().await?.apiserver_version().await?;
    assert_eq!(attempts().await.map_err(anyhow::Error::msg)?, 1);
    Ok(())
}
