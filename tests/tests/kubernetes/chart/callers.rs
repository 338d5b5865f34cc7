//! Who may call a bridge that the chart runs: by default nobody without a token that was made for it, and every way to know
//! callers is one that the bridge understands.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::Value;
use tests::test_dir::TestDir;

use super::server::{SERVER, pod};
use super::{REGION, rendered, the, understood};

#[tokio::test]
async fn without_values_callers_are_known_to_the_cluster_and_only_the_bridge_can_ask_it()
-> Result<()> {
    let test_dir = TestDir::new("callers-default")?;
    for store in ["store=sqlite", "store=postgres"] {
        let values = [
            REGION,
            store,
            "sidecars[0].name=other",
            "sidecars[0].image=i",
        ];
        let objects = rendered(test_dir.path(), SERVER, "servers", &values).await?;
        let pod = pod(&objects)?;
        ensure!(pod.automount_service_account_token == Some(false));
        let before = pod.init_containers.iter().flatten();
        for container in before.chain(&pod.containers) {
            let own = container.name == SERVER;
            ensure!(holds_token(container) == own, "{}", container.name);
        }
        let server = pod.containers.first().context("it has a container")?;
        for flag in [
            "--token-review",
            "--token-audience=server-bridge",
            "--authorizer=sar",
        ] {
            ensure!(given(server, flag), "{flag}");
        }
        ensure!(!given(server, "--insecure-callers"));
        let binding: Value = the(&objects, "ClusterRoleBinding")?;
        ensure!(
            binding["roleRef"]["name"] == "system:auth-delegator",
            "{binding}"
        );
        let subject = &binding["subjects"][0];
        ensure!(subject["name"] == pod.service_account_name.as_deref().unwrap_or_default());
        ensure!(subject["namespace"] == "servers", "{binding}");
        understood(test_dir.path(), SERVER, &pod).await?;
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn every_way_to_know_callers_is_understood_and_asks_the_cluster_only_where_it_must()
-> Result<()> {
    let test_dir = TestDir::new("callers-ways")?;
    let rule = "callers.authorization.rules[0].groups={team},\
                callers.authorization.rules[0].sources={*},\
                callers.authorization.rules[0].consumers={*},\
                callers.authorization.rules[0].verbs={get,list}";
    let tls = "callers.tls.secret=tls";
    for (values, flag, asks) in [
        (vec!["callers.insecure=true"], "--insecure-callers", false),
        (
            vec!["callers.insecure=true", tls],
            "--insecure-callers",
            false,
        ),
        (
            vec![tls, "callers.clientCa.secret=ca"],
            "--authorizer=sar",
            true,
        ),
        (
            vec![tls, "callers.clientCa.configMap=ca", rule],
            "--client-ca-file=/etc/server-bridge/client-ca/ca.crt",
            false,
        ),
        (
            vec!["callers.issuer.url=https://issuer.example", rule],
            "--token-issuer=https://issuer.example",
            false,
        ),
        (
            vec![
                "callers.issuer.url=https://issuer.example",
                "callers.tokenReview=true",
                rule,
            ],
            "--token-review",
            true,
        ),
        (
            vec![rule],
            "--authorization-file=/etc/server-bridge/authorization/rules.yaml",
            true,
        ),
        (
            vec![tls, "callers.tls.grpcSecret=grpc"],
            "--grpc-tls-key-file=/etc/server-bridge/grpc-tls/tls.key",
            true,
        ),
        (
            vec!["grpc.enabled=false"],
            "--enable-grpc-server=false",
            true,
        ),
        (
            vec!["grpc.reflection=true", "grpc.maxConnectionAge=30m"],
            "--grpc-reflection",
            true,
        ),
    ] {
        let all = [&[REGION][..], &values].concat();
        let objects = rendered(test_dir.path(), SERVER, "servers", &all).await?;
        let pod: PodSpec = pod(&objects)?;
        let server = pod.containers.first().context("it has a container")?;
        ensure!(given(server, flag), "{values:?}: no {flag}");
        ensure!(holds_token(server) == asks, "{values:?}");
        let bound = objects.iter().any(|it| it["kind"] == "ClusterRoleBinding");
        ensure!(bound == asks, "{values:?}");
        for file in files(server) {
            let mounts = server.volume_mounts.iter().flatten();
            let mut above = mounts.filter(|it| file.starts_with(&format!("{}/", it.mount_path)));
            ensure!(above.next().is_some(), "{values:?}: {file} is not mounted");
        }
        understood(test_dir.path(), SERVER, &pod).await?;
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn grpc_is_offered_by_service_and_network_policy_exactly_where_it_is_served() -> Result<()> {
    let test_dir = TestDir::new("callers-grpc")?;
    for (value, there) in [("grpc.port=9090", true), ("grpc.enabled=false", false)] {
        let objects = rendered(test_dir.path(), SERVER, "servers", &[REGION, value]).await?;
        let service: Value = the(&objects, "Service")?;
        let ports = service["spec"]["ports"].as_array().context("ports")?;
        let grpc = ports.iter().find(|port| port["name"] == "grpc");
        ensure!(grpc.is_some() == there, "{value}: {service}");
        ensure!(
            grpc.is_none_or(|it| it["port"] == 9090 && it["appProtocol"] == "kubernetes.io/h2c")
        );
        let policy: Value = the(&objects, "NetworkPolicy")?;
        let rules = policy["spec"]["ingress"].as_array().context("rules")?;
        let rule = rules.iter().find(|rule| rule["ports"][0]["port"] == "grpc");
        ensure!(rule.is_some() == there, "{value}: {policy}");
        // Never everybody.
        ensure!(rule.is_none_or(|rule| rule["from"].is_array()), "{policy}");
    }
    test_dir.passed();
    Ok(())
}

/// Whether it can call the Kubernetes API.
fn holds_token(container: &Container) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.any(|mount| mount.mount_path == "/var/run/secrets/kubernetes.io/serviceaccount")
}

fn given(container: &Container, flag: &str) -> bool {
    container
        .args
        .iter()
        .flatten()
        .any(|argument| argument == flag)
}

/// Files that it is given to know callers by.
fn files(container: &Container) -> Vec<String> {
    let arguments = container.args.iter().flatten();
    let paths = arguments.filter_map(|argument| argument.split_once("=/etc/server-bridge/"));
    paths
        .map(|(_, file)| format!("/etc/server-bridge/{file}"))
        .collect()
}
