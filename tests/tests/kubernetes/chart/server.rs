//! The server's chart by itself, with either store.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use super::{PATIENCE, REGION, accepted, next, rendered, strict, the, understood};

#[tokio::test]
async fn the_servers_chart_passes_the_strict_lint_and_refuses_wrong_values_by_name() -> Result<()> {
    let test_dir = TestDir::new("server-chart-lint")?;
    let wrong = [
        // SQLite has one writer.
        ("replicas=2", "replicas"),
        ("connections=0", "connections"),
        ("clientI=x", "clientI"),
        ("clientId=a/b", "clientId"),
        ("persistence.size=much", "size"),
        ("persistence.accessMode=ReadWriteMany", "accessMode"),
        ("secrets.certificate=", "certificate"),
        // An empty list would let everybody in.
        ("networkPolicy.apiFrom=null", "apiFrom"),
        ("store=mysql", "store"),
        ("store=postgres,replicas=17", "replicas"),
        ("store=postgres,replicas=8", "slots"),
        ("store=postgres,slots=0", "slots"),
        (
            "store=postgres,database.maxOpenConnections=3",
            "maxOpenConnections",
        ),
        ("store=postgres,secrets.database=", "secrets.database"),
        ("store=postgres,secrets.database=null", "database"),
        ("store=postgres,database.schema=A-B", "schema"),
        ("grpc.maxConnectionAge=long", "maxConnectionAge"),
        ("callers.insecur=true", "insecur"),
        ("callers.authorization.by=nobody", "by"),
        ("callers.issuer.url=http://issuer", "url"),
        // An empty database would empty every cluster.
        (
            "store=postgres,deleteUnknownWorks=true",
            "confirmDeleteUnknownWorks",
        ),
    ];
    strict(test_dir.path(), SERVER, &wrong).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_the_servers_chart() -> Result<()> {
    let test_dir = TestDir::new("server-chart-apply")?;
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.namespace("server-chart").await?;
    for values in [&ALL[..], &[REGION], &SHARED, &[REGION, "store=postgres"]] {
        let objects = rendered(test_dir.path(), SERVER, &namespace, values).await?;
        ensure!(objects.len() > 5, "{} objects", objects.len());
        accepted(&client, &objects).await?;
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_bridge_understands_the_arguments_of_the_chart() -> Result<()> {
    let test_dir = TestDir::new("server-chart-arguments")?;
    for values in [&ALL[..], &SHARED] {
        let objects = rendered(test_dir.path(), SERVER, "servers", values).await?;
        let pod = pod(&objects)?;
        understood(test_dir.path(), SERVER, &pod).await?;
        let before = pod.init_containers.unwrap_or_default();
        ensure!(before.is_empty() == (values == &ALL[..]), "{before:?}");
        for container in &before {
            migrates(test_dir.path(), container).await?;
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn services_and_probes_reach_the_ports_that_the_bridge_listens_on() -> Result<()> {
    let test_dir = TestDir::new("server-chart-ports")?;
    let objects = rendered(test_dir.path(), SERVER, "servers", &ALL).await?;
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
    ensure!(listens("grpc") == Some(8090));
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
        for port in spec.ports.into_iter().flatten() {
            let Some(IntOrString::String(target)) = port.target_port else {
                anyhow::bail!("it has no named target: {port:?}");
            };
            ensure!(listens(&target).is_some(), "nothing listens on `{target}`");
            reached.push(target);
        }
    }
    reached.sort();
    ensure!(reached == ["admin", "api", "grpc"], "{reached:?}");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn all_that_the_bridge_writes_is_on_a_volume_that_outlives_the_pod() -> Result<()> {
    let test_dir = TestDir::new("server-chart-volume")?;
    let objects = rendered(test_dir.path(), SERVER, "servers", &[REGION]).await?;
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
    let mut database = arguments.filter_map(|argument| argument.strip_prefix("--store=sqlite:"));
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
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn replicas_are_replaced_one_by_one_and_write_nowhere_but_into_the_database() -> Result<()> {
    let test_dir = TestDir::new("server-chart-shared")?;
    let objects = rendered(test_dir.path(), SERVER, "servers", &SHARED).await?;
    let deployment: Deployment = the(&objects, "Deployment")?;
    let spec = deployment.spec.context("it has a spec")?;
    ensure!(spec.replicas == Some(3), "{:?}", spec.replicas);
    let rolling = spec.strategy.and_then(|strategy| strategy.rolling_update);
    let rolling = rolling.context("it rolls")?;
    let step = (rolling.max_unavailable, rolling.max_surge);
    ensure!(step == (Some(IntOrString::Int(0)), Some(IntOrString::Int(1))));
    let budget: Value = the(&objects, "PodDisruptionBudget")?;
    ensure!(budget["spec"]["maxUnavailable"] == 1, "{budget}");
    ensure!(!objects.iter().any(|it| it["kind"] == "StatefulSet"));

    let pod = pod(&objects)?;
    let spread = pod.topology_spread_constraints.unwrap_or_default();
    ensure!(spread.len() == 2, "{spread:?}");
    // The pause before a stop, and `--shutdown-grace`.
    ensure!(pod.termination_grace_period_seconds > Some(5 + 25));
    let volumes = pod.volumes.unwrap_or_default();
    ensure!(
        volumes
            .iter()
            .all(|it| it.csi.is_some() || it.config_map.is_some() || it.projected.is_some())
    );
    let migrate = pod.init_containers.unwrap_or_default();
    let migrate = migrate.first().context("tables are migrated first")?;
    let server = pod.containers.first().context("it has a container")?;
    for container in [migrate, server] {
        ensure!(argument(container, "--db-schema=").as_deref() == Some("bridge_b"));
        ensure!(argument(container, "--db-iam-region=").is_some());
        let file = argument(container, "--db-rootcert=").context("it knows the authorities")?;
        let mounts = container.volume_mounts.iter().flatten();
        let mut below = mounts.filter(|it| file.starts_with(&format!("{}/", it.mount_path)));
        ensure!(below.next().is_some(), "{file} is not mounted");
        ensure!(argument(container, "--store=").as_deref() == Some("postgres"));
    }
    ensure!(argument(migrate, "--keep-alive=").is_none());
    ensure!(path_of(server.startup_probe.as_ref()) == Some("/readyz"));
    let ready = path_of(server.readiness_probe.as_ref()).context("it is asked for readiness")?;
    ensure!(
        ready == "/readyz?exclude=broker&exclude=broker-1&exclude=broker-2&exclude=broker-3",
        "{ready}"
    );
    ensure!(path_of(server.liveness_probe.as_ref()) == Some("/livez"));
    let service: Service = the(&objects, "Service")?;
    let published = service
        .spec
        .and_then(|spec| spec.publish_not_ready_addresses);
    ensure!(published != Some(true), "pods that stop would get requests");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn how_many_run_follows_from_the_store_and_none_is_a_number() -> Result<()> {
    let test_dir = TestDir::new("server-chart-replicas")?;
    for (values, kind, replicas) in [
        (vec![REGION], "StatefulSet", 1),
        (vec![REGION, "replicas=0"], "StatefulSet", 0),
        (vec![REGION, "store=postgres"], "Deployment", 2),
        (
            vec![REGION, "store=postgres", "replicas=0"],
            "Deployment",
            0,
        ),
        (
            vec![REGION, "store=postgres", "replicas=7"],
            "Deployment",
            7,
        ),
    ] {
        let objects = rendered(test_dir.path(), SERVER, "servers", &values).await?;
        let workload: Value = the(&objects, kind)?;
        ensure!(
            workload["spec"]["replicas"] == replicas,
            "{values:?}: {workload}"
        );
        let guarded = objects.iter().any(|it| it["kind"] == "PodDisruptionBudget");
        ensure!(guarded == (replicas > 1), "{values:?}");
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_is_not_mounted_is_not_asked_for() -> Result<()> {
    let test_dir = TestDir::new("server-chart-less")?;
    let less = [REGION, "secrets.consumers="];
    let objects = rendered(test_dir.path(), SERVER, "servers", &less).await?;
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
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn who_signs_in_with_a_role_has_no_password_mounted() -> Result<()> {
    let test_dir = TestDir::new("server-chart-iam")?;
    let values = [
        REGION,
        "store=postgres",
        "database.iamAuth=true",
        "secrets.databaseUserKey=iamUsername",
    ];
    let objects = rendered(test_dir.path(), SERVER, "servers", &values).await?;
    let class: Value = the(&objects, "SecretProviderClass")?;
    let files = class["spec"]["parameters"]["objects"].to_string();
    ensure!(!files.contains("db.password"), "{files}");
    ensure!(files.contains("path: iamUsername, objectAlias: db.user"));
    let pod = pod(&objects)?;
    understood(test_dir.path(), SERVER, &pod).await?;
    let before = pod.init_containers.unwrap_or_default();
    for container in before.iter().chain(&pod.containers) {
        ensure!(argument(container, "--db-iam-auth").is_some());
    }
    migrates(test_dir.path(), before.first().context("it migrates")?).await?;
    test_dir.passed();
    Ok(())
}

fn path_of(probe: Option<&Probe>) -> Option<&str> {
    probe?.http_get.as_ref()?.path.as_deref()
}

pub(super) fn pod(objects: &[Value]) -> Result<PodSpec> {
    let mut kinds = ["StatefulSet", "Deployment"].into_iter();
    let workload = kinds.find_map(|kind| the::<Value>(objects, kind).ok());
    let workload = workload.context("it has a workload")?;
    Ok(serde_json::from_value(
        workload["spec"]["template"]["spec"].clone(),
    )?)
}

/// Runs it here, where neither of its mounts is; that is found after the command line has been read.
async fn migrates(logs: &Path, container: &Container) -> Result<()> {
    let arguments = container.args.clone().unwrap_or_default();
    ensure!(arguments.starts_with(&["store".into(), "migrate".into()]));
    let program = ProcessSpec::binary(SERVER)?.label(next("migrate"));
    let output = program.args(&arguments).run(logs, PATIENCE).await?;
    let mounts = container.volume_mounts.iter().flatten();
    let mut missing = mounts.filter(|mount| output.stderr.contains(&mount.mount_path));
    ensure!(missing.next().is_some(), "{}", output.stderr);
    Ok(())
}

fn argument(container: &Container, flag: &str) -> Option<String> {
    let mut arguments = container.args.iter().flatten();
    arguments.find_map(|argument| argument.strip_prefix(flag).map(str::to_owned))
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
    "metrics.podMonitor.enabled=true",
    "serviceAccount.annotations.a=b",
    "extraArgs={--keep-alive=60}",
    "extraEnv[0].name=A",
];
// The same with a database.
const SHARED: [&str; 15] = [
    REGION,
    "store=postgres",
    "replicas=3",
    "slots=6",
    "connections=4",
    "database.maxOpenConnections=5",
    "database.caConfigMap=rds-ca-bundle",
    "database.notify=false",
    "database.schema=bridge_b",
    "deleteUnknownWorks=true",
    "confirmDeleteUnknownWorks=true",
    "networkPolicy.apiFrom[0].namespaceSelector.matchLabels.team=platform",
    "metrics.podMonitor.enabled=true",
    "extraArgs={--keep-alive=60,--db-iam-region=eu-west-1}",
    "extraEnv[0].name=A",
];
