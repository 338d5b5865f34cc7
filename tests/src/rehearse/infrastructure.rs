//! Phase 1: `provisioner` makes everything, AWS has it, and a second look finds nothing to do.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{CLUSTERS, Rehearsal, expect};
use crate::aws::REGION;
use crate::testbed::Testbed;

pub(super) async fn check(rehearsal: &mut Rehearsal) -> Result<()> {
    begin(rehearsal).await?;
    let plan = rehearsal.provisioner(&["plan", "--exit-code"]).await?;
    expect("provisioner plan --exit-code", &plan, 2)?;
    rehearsal.must(&["apply", "--yes"]).await?;
    rehearsal.saw("`provisioner apply --yes` made everything");
    let again = rehearsal.provisioner(&["plan", "--exit-code"]).await?;
    expect("a second provisioner plan --exit-code", &again, 0)?;
    rehearsal.saw("a second `provisioner plan` is empty");
    let outputs: Value = serde_json::from_str(&rehearsal.must(&["outputs"]).await?)?;
    ensure!(
        outputs["pending"] == json!([]),
        "outputs lack {}",
        outputs["pending"]
    );
    database(rehearsal, &outputs).await?;
    things(rehearsal, &outputs).await?;
    secrets(rehearsal, &outputs).await
}

/// The file from `init`, which asks by name for what it lacks, filled in as a person does.
async fn begin(rehearsal: &mut Rehearsal) -> Result<()> {
    let account = rehearsal.testbed.aws.account("region").id.clone();
    let init = [
        "init",
        "--force",
        "--name",
        "testbed",
        "--region",
        REGION,
        "--account",
        &account,
    ];
    rehearsal.must(&init).await?;
    let plan = rehearsal.provisioner(&["plan"]).await?;
    expect("provisioner plan of an empty file", &plan, 2)?;
    ensure!(
        plan.stderr.contains("network.vpc"),
        "`network.vpc` is not asked for:\n{}",
        plan.stderr
    );
    let path = rehearsal.testbed.path().join("region.yaml");
    let filled = fill(&std::fs::read_to_string(path)?, &rehearsal.testbed)?;
    rehearsal.testbed.write_file(&filled)?;
    rehearsal.saw("`provisioner init` wrote a file that names what is missing");
    Ok(())
}

fn fill(template: &str, testbed: &Testbed) -> Result<String> {
    let prerequisites = &testbed.aws.account("region").prerequisites;
    let clusters: Vec<Value> = CLUSTERS
        .iter()
        .map(|id| {
            let account = &testbed.aws.account(id).id;
            json!({ "id": id, "account": account, "access": { "profile": id } })
        })
        .collect();
    let mut text = template.to_owned();
    for (line, value) in [
        ("  vpc:", json!(prerequisites.vpc)),
        ("  privateSubnets:", json!(prerequisites.subnets)),
        ("  cluster:", json!(prerequisites.cluster)),
        (
            "  securityGroups:",
            json!([prerequisites.cluster_security_group]),
        ),
        ("managementClusters:", Value::from(clusters)),
    ] {
        let old = text.lines().find(|found| found.starts_with(line));
        let old = old.with_context(|| format!("the template has no line `{line}`"))?;
        text = text.replacen(&format!("\n{old}\n"), &format!("\n{line} {value}\n"), 1);
    }
    // What only a laptop needs.
    let port = testbed.broker.local_addr().port();
    text.push_str(&format!(
        "\naccess: {{profile: region}}\nbroker: {{port: {port}, ca: ca.pem}}\nsecrets: {{recoveryDays: 0}}\n"
    ));
    Ok(text)
}

async fn database(rehearsal: &mut Rehearsal, outputs: &Value) -> Result<()> {
    let name = &outputs["rds_instance_id"];
    let asked = json!({ "DBInstanceIdentifier": name });
    let aws = &rehearsal.testbed.aws;
    let found = aws
        .call("region", "rds", "DescribeDBInstances", asked)
        .await?;
    // One instance comes as a list or alone, as XML has it.
    let found = found
        .pointer("/DBInstances/0")
        .or_else(|| found.pointer("/DBInstances/DBInstance"));
    let found = found.context("DescribeDBInstances shows no instance")?;
    for (field, wanted) in [
        ("DBInstanceStatus", "available"),
        ("Engine", "postgres"),
        ("StorageEncrypted", "true"),
        ("PubliclyAccessible", "false"),
    ] {
        let have = &found[field];
        let have = have
            .as_str()
            .map_or_else(|| have.to_string(), str::to_owned);
        ensure!(
            have == wanted,
            "{field} of database {name} is {have}, not {wanted}"
        );
    }
    let line = format!("database {name} is available, encrypted and not public");
    rehearsal.make_database().await?;
    rehearsal.saw(line);
    Ok(())
}

async fn things(rehearsal: &mut Rehearsal, outputs: &Value) -> Result<()> {
    let agents = outputs["maestro_agent_thing_names"].as_object();
    let agents = agents.context("outputs name the agents' things")?.values();
    let names: Vec<Value> = [outputs["maestro_server_thing_name"].clone()]
        .into_iter()
        .chain(agents.cloned())
        .collect();
    ensure!(names.len() == 1 + CLUSTERS.len(), "things: {names:?}");
    for name in names {
        let aws = &rehearsal.testbed.aws;
        let asked = json!({ "thingName": name });
        let found = aws
            .call("region", "iot", "DescribeThing", asked.clone())
            .await?;
        ensure!(found["thingName"] == name, "DescribeThing answers {found}");
        let found = aws
            .call("region", "iot", "ListThingPrincipals", asked)
            .await?;
        let principals = found["principals"].as_array().map_or(0, Vec::len);
        ensure!(
            principals == 1,
            "thing {name} has {principals} certificates"
        );
        rehearsal.saw(format!("thing {name} is there with one certificate"));
    }
    Ok(())
}

async fn secrets(rehearsal: &mut Rehearsal, outputs: &Value) -> Result<()> {
    let named = |key: &str| outputs[key].as_str().unwrap_or_default().to_owned();
    let server = [
        "maestro_server_mqtt_cert_secret_name",
        "maestro_server_config_secret_name",
        "maestro_db_credentials_secret_name",
        "maestro_consumers_secret_name",
    ];
    let agent = ["maestro/agent-cert", "maestro/agent-config"].map(str::to_owned);
    let accounts = CLUSTERS.map(|id| (id, agent.to_vec()));
    let accounts = [("region", server.map(named).to_vec())]
        .into_iter()
        .chain(accounts);
    for (account, mut wanted) in accounts {
        let aws = &rehearsal.testbed.aws;
        let found = aws
            .call(account, "secretsmanager", "ListSecrets", json!({}))
            .await?;
        let found = found["SecretList"].as_array().into_iter().flatten();
        let mut found: Vec<&str> = found.filter_map(|secret| secret["Name"].as_str()).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        ensure!(
            found == wanted,
            "secrets of {account} are {found:?}, not {wanted:?}"
        );
        rehearsal.saw(format!("account {account} holds {}", wanted.join(", ")));
    }
    Ok(())
}
