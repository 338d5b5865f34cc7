//! The agent's client: who it says it is, what it counts, and what it says when the API server goes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::cluster::{self, ClusterOptions};
use agent::health::Health;
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use link::error::Failure;
use link::supervise::Restarts;
use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};
use tests::kubernetes::Cluster;
use tests::proxy::RetargetableProxy;
use tests::test_dir::TestDir;
use tests::wait::wait_for;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

/// A proxied to the shared servers that a test can cut; its user may do everything.
pub(crate) struct ProxiedServer {
    pub(crate) proxy: RetargetableProxy,
    pub(crate) kubeconfig: PathBuf,
}

impl ProxiedServer {
    pub(crate) async fn open(cluster: &Cluster, test_dir: &TestDir) -> Result<Self> {
        let mut config: Value = serde_json::from_slice(&std::fs::read(cluster.kubeconfig())?)?;
        let server = &mut config["clusters"][0]["cluster"]["server"];
        let address = server
            .as_str()
            .and_then(|url| url.strip_prefix("https://"))
            .context("address of the API server")?;
        let proxy = RetargetableProxy::start(address.parse()?).await?;
        *server = json!(format!("https://{}", proxy.address()));
        let kubeconfig = test_dir.path().join(format!("{}.json", Uuid::new_v4()));
        std::fs::write(&kubeconfig, config.to_string())?;
        Ok(Self { proxy, kubeconfig })
    }

    pub(crate) fn options(&self) -> ClusterOptions {
        ClusterOptions {
            kubeconfig: Some(self.kubeconfig.clone()),
            ..ClusterOptions::new("tests")
        }
    }

    pub(crate) async fn connect(&self) -> Result<cluster::Cluster> {
        let registry = Registry::new();
        Ok(self
            .options()
            .connect(&registry, &Restarts::unregistered(), Health::ignored())
            .await?)
    }
}

#[tokio::test]
async fn audit_log_shows_the_agent_its_version_and_its_consumer() -> Result<()> {
    let servers = Cluster::shared().await?;
    let namespace = servers.namespace("audited").await?;
    let options = ClusterOptions {
        kubeconfig: Some(servers.kubeconfig().to_owned()),
        namespace: Some(namespace.clone()),
        ..ClusterOptions::new(&namespace)
    };
    let registry = Registry::new();
    let cluster = options
        .connect(&registry, &Restarts::unregistered(), Health::ignored())
        .await?;
    assert_eq!(cluster.namespace, namespace);
    let audit = servers.audit().await?;
    let mark = audit.mark().await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    maps.list(&ListParams::default()).await?;
    let user_agent = format!("agent/{} ({namespace})", env!("CARGO_PKG_VERSION"));
    let entries = audit.since(mark).await?;
    let ours = entries
        .iter()
        .filter(|entry| entry.user_agent == user_agent);
    assert_eq!(ours.count(), 1, "{entries:?}");
    let page = TextEncoder::new().encode_to_string(&registry.gather())?;
    assert!(
        page.contains(r#"rest_client_requests_total{code="200",method="GET"} 1"#),
        "{page}"
    );
    Ok(())
}

#[tokio::test]
async fn server_that_goes_fails_the_health_check_and_its_return_heals_it() -> Result<()> {
    let servers = Cluster::shared().await?;
    let test_dir = TestDir::new("connection")?;
    let proxied = ProxiedServer::open(servers, &test_dir).await?;
    let told: Arc<Mutex<Vec<Result<(), String>>>> = Arc::default();
    let health = Health::new({
        let told = told.clone();
        move |state| told.lock().unwrap().push(state)
    });
    let cluster = proxied
        .options()
        .connect(&Registry::new(), &Restarts::unregistered(), health)
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    maps.list(&ListParams::default()).await?;
    assert!(told.lock().unwrap().is_empty());

    proxied.proxy.refuse();
    proxied.proxy.break_all();
    let error = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(cluster::hint(&error).is_some(), "{error:?}");
    let why = told.lock().unwrap().last().cloned();
    assert!(
        matches!(&why, Some(Err(why)) if why.starts_with("the Kubernetes API server does not answer: ")),
        "{why:?}"
    );

    proxied.proxy.pass();
    wait_for("an answer", PATIENCE, async || {
        maps.list(&ListParams::default()).await
    })
    .await?;
    assert_eq!(told.lock().unwrap().last(), Some(&Ok(())));
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn broken_kubeconfig_is_said_with_its_file_and_the_next_step() -> Result<()> {
    let test_dir = TestDir::new("kubeconfig")?;
    let failure = async |path: PathBuf, context: Option<&str>| {
        let options = ClusterOptions {
            kubeconfig: Some(path),
            context: context.map(str::to_owned),
            ..ClusterOptions::new("tests")
        };
        let connected = options
            .connect(
                &Registry::new(),
                &Restarts::unregistered(),
                Health::ignored(),
            )
            .await;
        let failure = Failure::from(connected.err().context("an error")?);
        anyhow::Ok(format!(
            "{failure}\nhint: {}",
            failure.hint().unwrap_or_default()
        ))
    };
    let missing = failure(test_dir.path().join("missing"), None).await?;
    assert!(missing.contains("missing`: failed to read"), "{missing}");
    assert!(
        missing.contains("hint: check that the file is there"),
        "{missing}"
    );

    let servers = Cluster::shared().await?;
    let other = failure(servers.kubeconfig().to_owned(), Some("other")).await?;
    assert!(other.contains("kubectl config get-contexts"), "{other}");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused_in_words() -> Result<()> {
    let servers = Cluster::shared().await?;
    let test_dir = TestDir::new("authority")?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(servers.kubeconfig())?)?;
    let authority = tests::pki::Authority::new("another authority")?;
    let path = test_dir.path().join("ca.crt");
    std::fs::write(&path, authority.certificate_pem())?;
    let cluster = config["clusters"][0]["cluster"]
        .as_object_mut()
        .context("a cluster")?;
    cluster.remove("certificate-authority-data");
    cluster.insert("certificate-authority".into(), json!(path));
    let kubeconfig = test_dir.path().join("config");
    std::fs::write(&kubeconfig, config.to_string())?;
    let options = ClusterOptions {
        kubeconfig: Some(kubeconfig),
        ..ClusterOptions::new("tests")
    };
    let cluster = options
        .connect(
            &Registry::new(),
            &Restarts::unregistered(),
            Health::ignored(),
        )
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    let error = maps.list(&ListParams::default()).await.unwrap_err();
    let words = cluster::error_message(&error);
    assert!(words.contains("certificate"), "{words}");
    let hint = cluster::hint(&error).unwrap_or_default();
    assert!(hint.contains("certificate-authority-data"), "{hint}");
    test_dir.passed();
    Ok(())
}
