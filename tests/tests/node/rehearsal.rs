//! A deployment from an empty AWS to running pods: first in phases, then by the pages of the documentation, whose commands
//! are run as they stand.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::api::{Api, Change, config_map};
use tests::doc_page::DocPage;
use tests::node::Node;
use tests::ports::free_port;
use tests::process::ProcessSpec;
use tests::rehearse::{CLUSTERS, LATER, OnNode, keep_environment, passed};
use tests::test_dir::{TestDir, workspace};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_rehearsed_and_the_commands_of_the_pages_make_another() -> Result<()> {
    let mut on_node = OnNode::new(None);
    let reports = Box::pin(on_node.run(|_| ())).await;
    ensure!(reports.len() == 6 && passed(&reports), "{reports:#?}");
    ensure!(
        reports.iter().all(|report| !report.looked_at.is_empty()),
        "a phase looked at nothing: {reports:#?}"
    );
    on_node.clear().await?;
    on_node.end();

    let test_dir = TestDir::new("node-by-hand")?;
    let variables = test_dir.path().join("rehearsal.env");
    let mut done = None;
    let until = async {
        let outcome = Box::pin(by_hand(&variables)).await;
        done.insert(outcome).is_err()
    };
    Box::pin(keep_environment(&variables, true, until)).await?;
    done.context("it was gone through")??;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_rehearsal_without_root_fails_in_phase_1_and_says_what_is_missing() -> Result<()> {
    let test_dir = TestDir::new("node-rehearsal-nobody")?;
    // Whoever is in a name space of users alone is nobody there.
    let rehearse = ProcessSpec::installed("unshare", "run `apt-get install util-linux`")?
        .arg("--user")
        .arg(ProcessSpec::binary("rehearse")?.command().get_program())
        .args(["--node", "--json"]);
    let output = rehearse.run(test_dir.path(), PATIENCE).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let first = output.stdout.lines().next().context("a report")?;
    let first: serde_json::Value = serde_json::from_str(first)?;
    ensure!(first["verdict"] == "FAIL", "{first}");
    let error = first["error"].as_str().unwrap_or_default();
    ensure!(
        error.contains("a node cannot run on this machine: not root"),
        "{error}"
    );
    ensure!(
        output.stdout.matches("SKIPPED").count() == 5,
        "{}",
        output.stdout
    );
    test_dir.passed();
    Ok(())
}

/// What a person does in the other terminal.
async fn by_hand(variables: &Path) -> Result<()> {
    wait_for("the variables of the accounts", PATIENCE, async || {
        ensure!(variables.exists(), "no file");
        anyhow::Ok(())
    })
    .await?;
    let join =
        block("join-node")?.replace("target/rehearsal.env", &variables.display().to_string());
    let environment = DocPage::open("docs/DEPLOYING.md", &workspace())?
        .shell(&format!("{join}\nenv -0"))
        .await?;
    let environment: Vec<(&str, &str)> = environment
        .split('\0')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let home = environment.iter().find(|(name, _)| *name == "REHEARSAL");
    let home = Path::new(home.context("it names its directory")?.1);
    let open = |name: &str| -> Result<DocPage> {
        let mut page = DocPage::open(name, home)?;
        for (name, value) in &environment {
            page.set(name, value);
        }
        Ok(page)
    };
    let mut deploying = open("docs/DEPLOYING.md")?;
    let mut kubernetes = open("docs/KUBERNETES.md")?;
    deploying.all_named()?;
    kubernetes.all_named()?;

    make(&mut deploying).await?;
    let mut operations = open("docs/OPERATIONS.md")?;
    operations.run("scale").await?;
    operations.run("migrate-log").await?;
    let node = Node::shared().await?;
    let server = "app.kubernetes.io/name=server-bridge";
    let server = node.pod_ip("maestro-server", server).await?;
    let token = node.token("maestro-server", "operator").await?;
    let api = Api::with_token(&format!("http://{server}:8000"), &token)?;
    let change = Change::create(CLUSTERS[0], vec![config_map("hello", "1")]);
    let made = api.create_bundle(&change).await?;
    wait_for("a status", PATIENCE, async || {
        let bundle = api.bundle(&made.id).await?.context("it is there")?;
        ensure!(bundle.is("Applied"), "{:#}", bundle.status);
        anyhow::Ok(())
    })
    .await?;
    let said = kubernetes.run("works").await?;
    ensure!(said.contains(&made.id), "{said}");
    let said = kubernetes.run("permissions").await?;
    ensure!(
        said.contains("configmaps") && said.contains("ClusterRole"),
        "{said}"
    );
    kubernetes.set("OLD_BROKER", "old.test");
    kubernetes.run("adopt").await?;
    kubernetes.run("definitions").await?;
    deploying.run("adopt").await?;
    // As both pages say: while the agent runs.
    api.delete_bundle(&made.id).await?;
    wait_for("the end of the bundle", PATIENCE, async || {
        let left = api.bundle(&made.id).await?;
        ensure!(left.is_none(), "{left:?}");
        anyhow::Ok(())
    })
    .await?;
    deploying.run("uninstall").await?;

    // The same agent under another name, as its own page has it.
    kubernetes.run("install").await?;
    let agent = "app.kubernetes.io/name=agent,app.kubernetes.io/instance=agent";
    node.pod_ready("maestro-agent", agent).await?;
    kubernetes.all_run()?;
    node.helm(&[
        "uninstall",
        "agent",
        "--namespace",
        "maestro-agent",
        "--wait",
    ])
    .await?;
    deploying.run("destroy").await?;
    deploying.all_run()?;
    for namespace in ["maestro-agent", "maestro-server"] {
        node.kubectl(&["delete", "namespace", namespace]).await?;
    }
    Ok(())
}

/// From nothing to a server and an agent that talk.
async fn make(page: &mut DocPage) -> Result<()> {
    page.run("init").await?;
    page.shell(&block("fill-node")?).await?;
    page.run("permissions").await?;
    let plan = page.run("plan").await?;
    ensure!(plan.contains("+ "), "{plan}");
    page.run("apply").await?;
    page.run("enroll").await?;

    // A cluster that joins later, in the steps of two people.
    let later = format!(
        "echo '  - {{id: {LATER}, account: \"'\"$MANAGEMENT_03_ACCOUNT\"'\", access: {{profile: {LATER}}}}}' >> region.yaml\n\
         provisioner apply --yes --only region"
    );
    page.shell(&later).await?;
    page.set("CLUSTER", LATER);
    page.run("enroll-in-steps").await?;
    page.set("CLUSTER", CLUSTERS[0]);

    page.run("server").await?;
    page.run("callers").await?;
    page.run("agent").await?;
    page.run("argocd").await?;
    let port = free_port()?;
    page.set("PORT", &port.to_string());
    let said = page.run("check").await?;
    ensure!(said.contains(CLUSTERS[0]) && said.contains(LATER), "{said}");
    page.run("helm-test").await?;
    Ok(())
}

/// A block of the page about testing.
fn block(name: &str) -> Result<String> {
    let text = std::fs::read_to_string(workspace().join("docs/TESTING-END-TO-END.md"))?;
    let (_, rest) = text
        .split_once(&format!("```sh {name}\n"))
        .with_context(|| format!("the page has a block `{name}`"))?;
    let (block, _) = rest.split_once("```").context("it ends")?;
    Ok(block.to_owned())
}

// A node takes ten seconds, the accounts as many.
const PATIENCE: Duration = Duration::from_secs(120);
