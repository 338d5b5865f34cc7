//! The commands of every page in docs/faults, run as they stand where nothing is wrong: each must end with 0.
//!
//! A whole region is behind them: bridge and agent on the sandbox's broker and a PostgreSQL database, the broker's control
//! plane and moto as AWS, and a Kubernetes API server. Many pages have the same commands; each is run once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use link::fault::CATALOGUE;
use link::id::ConsumerName;
use link::iot::ArnPrefix;
use link::party::Party;
use link::topic::Scheme;
use sandbox::control::{Control, ControlConfig, RunningControl};
use sandbox::pki::Authority;
use serde_json::json;
use tests::api::{Change, config_map};
use tests::aws::{FakeAws, Iot};
use tests::doc_page::DocPage;
use tests::kubernetes::Cluster;
use tests::postgres::{PASSWORD, Server, USER};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::test_dir::workspace;
use tests::wait::{timeout, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_every_page_work_where_nothing_is_wrong() -> Result<()> {
    let healthy = Healthy::start().await?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut pages = Vec::new();
    for entry in CATALOGUE {
        let page = healthy.open(&entry.code.page())?;
        page.all_named()?;
        for (name, text) in page.blocks() {
            let place = format!("{} `sh {name}`", entry.code);
            texts.entry(text.to_owned()).or_default().push(place);
        }
        pages.push(page);
    }
    let page = pages.first().context("a page")?;
    let (alone, together): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|(text, _)| is_alone(text));
    let (alone, together) = tokio::join!(all(page, alone, 1), all(page, together, SIDE_BY_SIDE));
    let failed: Vec<_> = alone.into_iter().chain(together).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    healthy.region.passed();
    Ok(())
}

/// Runs commands, so many at once, and says which failed and on which pages.
async fn all(page: &DocPage, texts: Vec<(String, Vec<String>)>, at_once: usize) -> Vec<String> {
    let run = async |(text, places): (String, Vec<String>)| -> Option<String> {
        let why = match timeout(PATIENCE, page.shell(&text)).await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("{text}\nnot done within {} s", PATIENCE.as_secs()),
        };
        Some(format!("{}: {why}", places.join(", ")))
    };
    let outcomes = stream::iter(texts).map(run).buffer_unordered(at_once);
    outcomes.filter_map(std::future::ready).collect().await
}

/// Whether commands may see what others do at the same time: clients with one id, and canaries on their way.
fn is_alone(text: &str) -> bool {
    let all_stages =
        |line: &str| line.contains("probe doctor --identity") && !line.contains("--until");
    text.lines()
        .any(|line| all_stages(line) || line.contains("verify"))
}

/// A region in which nothing is wrong, with all that the pages name.
struct Healthy {
    region: Region,
    variables: Vec<(String, String)>,
    desk: PathBuf,
    /// Where the programs of others are.
    tools: PathBuf,
    _database: Server,
    _mount: tempfile::TempDir,
    _aws: FakeAws,
    _control: RunningControl,
}

// === impl Healthy ===

impl Healthy {
    async fn start() -> Result<Self> {
        let database = Server::start(&["max_connections=80"])?;
        let name = database.database()?;
        let mount = tempfile::tempdir()?;
        database.mount(mount.path(), &name)?;
        let region = RegionBuilder::new("faults", BrokerKind::Sandbox).postgres(mount.path());
        let (region, cluster) = tokio::join!(Box::pin(region.start()), Cluster::shared());
        let (mut region, cluster) = (region?, cluster?);
        let api = region.api().await?;
        let change = Change::create(CONSUMER, vec![config_map("kept", "one")]);
        let bundle = api.create_bundle(&change).await?.id;
        wait_for("the bundle's status", PATIENCE, async || {
            let bundle = api
                .bundle(&bundle)
                .await
                .map_err(|error| error.to_string())?;
            let applied = bundle.as_ref().is_some_and(|it| it.is("Available"));
            if applied {
                Ok(())
            } else {
                Err(format!("{bundle:?}"))
            }
        })
        .await?;

        let control = control(&region).await?;
        let aws = aws(&control).await?;
        let desk = region.test_dir.dir("desk")?;
        let tools = tools(&desk).await?;
        let files = static_files(&desk).await?;
        let namespace = cluster.namespace("faults").await?;
        let port = region.broker.address().port().to_string();
        let of_agent = region.agent(CONSUMER)?.mount.directory().to_owned();
        let url = region.bridge.listening().await?.api.context("an API")?;
        let mut variables = aws.env(ACCOUNT);
        for (name, value) in [
            // The first version of the AWS CLI has a name of its own for it.
            ("AWS_DEFAULT_REGION", tests::aws::REGION),
            ("AWS_PAGER", ""),
            ("KUBECONFIG", &cluster.kubeconfig().display().to_string()),
            ("KUBECACHEDIR", &desk.join("kubectl").display().to_string()),
            ("MOUNT", &of_agent.display().to_string()),
            ("API", &url),
            ("CONSUMER", CONSUMER),
            ("BUNDLE", &bundle),
            ("NAMESPACE", &namespace),
            ("HOST", "localhost"),
            ("PORT", &port),
            ("BRIDGE_MOUNT", &mount.path().display().to_string()),
            ("BRIDGE_DB_SSLMODE", "disable"),
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &database.port().to_string()),
            ("PGUSER", USER),
            ("PGPASSWORD", PASSWORD),
            ("PGDATABASE", &name),
            ("EKS_CLUSTER", ACCOUNT),
            ("SERVICE_ACCOUNT", "agent"),
            ("ROLE", "operator"),
            ("SECRET", SECRET),
        ] {
            variables.push((name.to_owned(), value.to_owned()));
        }
        for (name, file) in ["REGION_FILE", "VALUES_FILE", "POLICY_FILE"]
            .iter()
            .zip(files)
        {
            variables.push(((*name).to_owned(), file.display().to_string()));
        }
        Ok(Self {
            region,
            variables,
            desk,
            tools,
            _database: database,
            _mount: mount,
            _aws: aws,
            _control: control,
        })
    }

    fn open(&self, page: &str) -> Result<DocPage> {
        let mut page = DocPage::open(page, &self.desk)?;
        page.prepend_path(&self.tools);
        for (name, value) in &self.variables {
            page.set(name, value);
        }
        Ok(page)
    }
}

/// The control plane of the region's broker.
async fn control(region: &Region) -> Result<RunningControl> {
    let any = "127.0.0.1:0".parse()?;
    let authority = Arc::new(Authority::new("control")?);
    let broker = region.broker.sandbox()?.clone();
    let control = ControlConfig::new(any, authority, broker);
    Ok(Control::bind(control).await?.start())
}

/// An account with that as its AWS IoT, a secret and an association.
async fn aws(control: &RunningControl) -> Result<FakeAws> {
    let iot = Iot {
        address: control.local_addr(),
        account: ArnPrefix::default().account,
    };
    let aws = FakeAws::start(Some(iot)).await?;
    let secret = json!({ "Name": SECRET, "SecretString": "{}" });
    aws.call(ACCOUNT, "secretsmanager", "CreateSecret", secret)
        .await?;
    Ok(aws)
}

/// A region's file, the values that follow from it for an agent's chart, and that agent's policy.
async fn static_files(desk: &Path) -> Result<[PathBuf; 3]> {
    let files = ["region.yaml", "values.yaml", "policy.json"].map(|name| desk.join(name));
    let [region, values, policy] = &files;
    std::fs::write(region, REGION)?;
    let outputs = [
        "outputs",
        "--format",
        "helm",
        "--cluster",
        CONSUMER,
        "--file",
    ];
    let spec = ProcessSpec::binary("provisioner")?
        .args(outputs)
        .arg(region);
    let output = spec.run(desk, PATIENCE).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    std::fs::write(values, output.stdout)?;
    let agent = Party::agent(&Scheme::default(), &ConsumerName::new(CONSUMER)?)?;
    let arn = ArnPrefix::new("us-east-1", "111111111111");
    std::fs::write(policy, agent.policy(&arn).to_json())?;
    Ok(files)
}

/// A directory with kubectl and the AWS CLI.
async fn tools(desk: &Path) -> Result<PathBuf> {
    let tools = desk.join("tools");
    std::fs::create_dir_all(&tools)?;
    for (name, fetch, argument) in [
        ("kubectl", "tests/helm/fetch", Some("kubectl")),
        ("aws", "tests/aws/cli", None),
    ] {
        let spec = ProcessSpec::at(name, workspace().join(fetch), "run `./test`").args(argument);
        let found = spec.run(desk, PATIENCE).await?;
        ensure!(found.status.success(), "{fetch}: {}", found.stderr);
        std::os::unix::fs::symlink(found.stdout.trim(), tools.join(name))?;
    }
    Ok(tools)
}

const CONSUMER: &str = "cluster1";

const ACCOUNT: &str = "region";

const SECRET: &str = "maestro/cluster1";

const REGION: &str = r#"
name: region
region: us-east-1
account: "111111111111"
network:
  vpc: vpc-0123456789abcdef0
  privateSubnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
eks:
  cluster: region
  securityGroups: [sg-0123456789abcdef0]
managementClusters:
  - {id: cluster1, account: "222222222222"}
"#;

// Two cores, and commands that mostly wait.
const SIDE_BY_SIDE: usize = 4;

const PATIENCE: Duration = Duration::from_secs(60);
