//! Whatever was changed behind the region's back is in the plan under its own name, and an apply puts it right or says
//! why it does not.

use std::collections::BTreeSet;

use anyhow::Context as _;
use sandbox::broker::CertificateState;
use serde_json::Value;
use tests::testbed::Testbed;

use super::{AGENT_POLICY, CLUSTER, SERVER_POLICY};

mod manual_changes;

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn every_attribute_changed_by_hand_is_planned_and_put_right_or_explained() -> Result {
    let testbed = Testbed::start("drift", &[CLUSTER]).await?;
    testbed.write_file(&format!("{}tags: {{team: maestro}}\n", testbed.file()))?;
    testbed.must(&["apply", "--yes"]).await?;
    let password = password(&testbed).await?;

    let mut expected = change_by_hand(&testbed).await?;
    expected.extend(detach_server(&testbed)?);
    switch_agent_off(&testbed)?;
    let undecided = BTreeSet::from([
        difference("region database/testbed-maestro", "storage"),
        difference(
            "management-01 certificate/maestro/agent-cert",
            "certificate",
        ),
    ]);
    let plan = testbed.plan().await?;
    assert_eq!(differing(&plan, "changes"), expected);
    assert_eq!(differing(&plan, "decide"), undecided);

    // Not all of it could be put right, and a script must notice.
    let applied = testbed.run(&["apply", "--yes"]).await?;
    assert_eq!(applied.status.code(), Some(1), "{applied:?}");
    for explained in [
        "RDS cannot shrink storage",
        "hint: set `database.storage` to 40 in the file",
        "the certificate in use is INACTIVE; somebody meant it",
        "hint: run `provisioner enroll management-01`",
    ] {
        assert!(applied.stdout.contains(explained), "{}", applied.stdout);
    }
    let plan = testbed.plan().await?;
    assert_eq!(differing(&plan, "changes"), BTreeSet::new());
    assert_eq!(differing(&plan, "decide"), undecided);
    assert_eq!(self::password(&testbed).await?, password);

    // A person settles the rest: the file follows the database, the cluster is enrolled anew.
    let wish = "tags: {team: maestro}\ndatabase: {storage: 40}\n";
    testbed.write_file(&format!("{}{wish}", testbed.file()))?;
    testbed.must(&["enroll", CLUSTER]).await?;
    testbed.must(&["plan", "--exit-code"]).await?;
    testbed.passed();
    Ok(())
}

/// Makes every change of the table; what the plan must show.
async fn change_by_hand(testbed: &Testbed) -> Result<BTreeSet<(String, String)>> {
    let mut expected = BTreeSet::new();
    for it in manual_changes::all(testbed).await? {
        let call = testbed
            .aws
            .call(it.account, it.service, it.operation, it.params);
        call.await?;
        let shows = it.shows.iter();
        expected.extend(shows.map(|(resource, attribute)| {
            difference(&format!("{} {resource}", it.account), attribute)
        }));
    }
    Ok(expected)
}

/// Takes the server's certificate off its policy and its thing.
fn detach_server(testbed: &Testbed) -> Result<[(String, String); 2]> {
    let registry = testbed.broker.registry();
    for certificate in registry.policy_targets(SERVER_POLICY)? {
        registry.detach_policy(&certificate, SERVER_POLICY)?;
        registry.detach_principal("testbed-maestro-server", &certificate)?;
    }
    let certificate = "region certificate/maestro/server-cert";
    Ok(["policy", "thing"].map(|attribute| difference(certificate, attribute)))
}

fn switch_agent_off(testbed: &Testbed) -> Result {
    let registry = testbed.broker.registry();
    for certificate in registry.policy_targets(AGENT_POLICY)? {
        registry.set_state(&certificate, CertificateState::Inactive)?;
    }
    Ok(())
}

async fn password(testbed: &Testbed) -> Result<Value> {
    let credentials = testbed.aws.secret("region", CREDENTIALS).await?;
    let credentials = credentials.context("the database has no credentials")?;
    Ok(credentials["password"].clone())
}

/// Every attribute that a plan lists under `changes` or `decide`, with its resource.
fn differing(plan: &Value, list: &str) -> BTreeSet<(String, String)> {
    let rows = plan["resources"].as_array().into_iter().flatten();
    let attributes = rows.flat_map(|row| {
        let differences = row[list].as_array().into_iter().flatten();
        differences.map(|one| difference(text(&row["resource"]), text(&one["attribute"])))
    });
    attributes.collect()
}

fn difference(resource: &str, attribute: &str) -> (String, String) {
    (resource.to_owned(), attribute.to_owned())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const CREDENTIALS: &str = "maestro/db-credentials";
