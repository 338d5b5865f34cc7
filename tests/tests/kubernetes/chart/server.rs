//! The server's chart by itself.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PodSpec, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use tests::kubernetes::Cluster;
use tests::scratch::Scratch;

use super::{REGION, accepted, rendered, strict, the, understood};

#[tokio::test]
async fn the_servers_chart_passes_the_strict_lint_and_refuses_wrong_values_by_name() -> Result<()> {
    let scratch = Scratch::new("server-chart-lint")?;
    let wrong = [
        // SQLite has one writer.
        ("replicas=2", "replicas"),
        ("connections=0", "connections"),
        ("clientI=x", "clientI"),
        ("clientId=a/b", "clientId"),
        ("persistence.size=much", "size"),
        ("persistence.accessMode=ReadWriteMany", "accessMode"),
        (
            "secretProviderClass.certificateSecret=",
            "certificateSecret",
        ),
        // An empty list would let everybody in.
        ("networkPolicy.apiFrom=null", "apiFrom"),
    ];
    strict(scratch.path(), SERVER, &wrong).await?;
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_the_servers_chart() -> Result<()> {
    let scratch = Scratch::new("server-chart-apply")?;
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.namespace("server-chart").await?;
    for values in [&ALL[..], &[REGION]] {
        let objects = rendered(scratch.path(), SERVER, &namespace, values).await?;
        ensure!(objects.len() > 5, "{} objects", objects.len());
        accepted(&client, &objects).await?;
    }
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn the_bridge_understands_the_arguments_of_the_chart() -> Result<()> {
    let scratch = Scratch::new("server-chart-arguments")?;
    let objects = rendered(scratch.path(), SERVER, "servers", &ALL).await?;
    understood(scratch.path(), SERVER, &pod(&objects)?).await?;
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn services_and_probes_reach_the_ports_that_the_bridge_listens_on() -> Result<()> {
    let scratch = Scratch::new("server-chart-ports")?;
    let objects = rendered(scratch.path(), SERVER, "servers", &ALL).await?;
    let pod = pod(&objects)?;
    let container = pod.containers.first().context("it has a container")?;
    let arguments = container.args.as_deref().unwrap_or_default();
    let listens = |name: &str| {
        let ports = container.ports.iter().flatten();
        let mut ports = ports.filter(|port| port.name.as_deref() == Some(name));
        let number = ports.next().map(|port| port.container_port);
        number.filter(|port| arguments.contains(&format!("--{name}-listen=0.0.0.0:{port}")))
    };
    ensure!(listens("api") == Some(8000) && listens("admin") == Some(8083));
    let probes = [&container.liveness_probe, &container.readiness_probe];
    for probe in probes {
        let probe = probe.as_ref().and_then(|probe| probe.http_get.as_ref());
        let port = &probe.context("it has both probes")?.port;
        ensure!(*port == IntOrString::String("admin".into()), "{port:?}");
    }
    let services = objects.iter().filter(|object| object["kind"] == "Service");
    let mut reached = Vec::new();
    for service in services {
        let service: Service = serde_json::from_value(service.clone())?;
        let spec = service.spec.context("it has a spec")?;
        let port = spec.ports.into_iter().flatten().next();
        let port = port.context("it has a port")?.target_port;
        let Some(IntOrString::String(port)) = port else {
            anyhow::bail!("it has no named target: {port:?}");
        };
        ensure!(listens(&port).is_some(), "nothing listens on `{port}`");
        reached.push(port);
    }
    reached.sort();
    ensure!(reached == ["admin", "api"], "{reached:?}");
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn all_that_the_bridge_writes_is_on_a_volume_that_outlives_the_pod() -> Result<()> {
    let scratch = Scratch::new("server-chart-volume")?;
    let objects = rendered(scratch.path(), SERVER, "servers", &[REGION]).await?;
    let set: StatefulSet = the(&objects, "StatefulSet")?;
    let spec = set.spec.context("it has a spec")?;
    ensure!(spec.replicas == Some(1), "{:?}", spec.replicas);
    let claims = spec.volume_claim_templates.unwrap_or_default();
    let claims: Vec<_> = claims
        .into_iter()
        .filter_map(|claim| claim.metadata.name)
        .collect();
    let pod = pod(&objects)?;
    let container = pod.containers.first().context("it has a container")?;
    let mounts = container.volume_mounts.iter().flatten();
    let mut kept = mounts.filter(|mount| claims.contains(&mount.name));
    let directory = &kept.next().context("the claim is mounted")?.mount_path;
    let arguments = container.args.iter().flatten();
    let mut database = arguments.filter_map(|argument| argument.strip_prefix("--db="));
    let database = database.next().context("it has a database")?;
    ensure!(
        database.starts_with(&format!("{directory}/")),
        "{database} is not below {directory}"
    );
    let security = container.security_context.as_ref();
    let security = security.context("it has a security context")?;
    ensure!(security.read_only_root_filesystem == Some(true));
    ensure!(
        pod.security_context
            .and_then(|security| security.run_as_non_root)
            == Some(true)
    );
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn what_is_not_mounted_is_not_asked_for() -> Result<()> {
    let scratch = Scratch::new("server-chart-less")?;
    let less = [
        REGION,
        "secretProviderClass.consumersSecret=",
        "secretProviderClass.databaseSecret=",
    ];
    let objects = rendered(scratch.path(), SERVER, "servers", &less).await?;
    let class: Value = the(&objects, "SecretProviderClass")?;
    let files = class["spec"]["parameters"]["objects"].to_string();
    ensure!(files.contains("config.yaml"), "{files}");
    for file in ["consumers.yaml", "db.password"] {
        ensure!(!files.contains(file), "{files}");
    }
    let pod = pod(&objects)?;
    let arguments = pod.containers.into_iter().flat_map(|it| it.args);
    let mut arguments = arguments.flatten();
    ensure!(!arguments.any(|argument| argument.starts_with("--consumers")));
    scratch.passed();
    Ok(())
}

fn pod(objects: &[Value]) -> Result<PodSpec> {
    let set: StatefulSet = the(objects, "StatefulSet")?;
    let pod = set.spec.and_then(|spec| spec.template.spec);
    pod.context("it has a pod")
}

pub(super) const SERVER: &str = "server-bridge";
// Everything that a value can add.
const ALL: [&str; 11] = [
    REGION,
    "source=other",
    "connections=4",
    "deleteUnknownWorks=true",
    "persistence.storageClass=gp3",
    "persistence.accessMode=ReadWriteOncePod",
    "networkPolicy.apiFrom[0].namespaceSelector.matchLabels.team=platform",
    "metrics.podMonitor=true",
    "serviceAccount.annotations.a=b",
    "extraArgs={--keep-alive=60}",
    "extraEnv[0].name=A",
];
