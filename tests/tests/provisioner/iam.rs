//! The server's sign-in to the database by IAM: planned, made, checked, and left alone where the file says nothing of it.

use serde_json::{Value, json};
use tests::testbed::Testbed;

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_signs_in_by_iam_gets_all_but_its_user_and_drift_of_it_is_put_right() -> Result
{
    let testbed = Testbed::start("iam-auth", &[]).await?;
    testbed.must(&["apply", "--yes"]).await?;
    testbed.write_file(&format!("{}database: {{iamAuth: true}}\n", testbed.file()))?;
    let shown = testbed.must(&["plan"]).await?.stdout;
    assert!(shown.contains("iamAuth"), "{shown}");
    testbed.must(&["apply", "--yes"]).await?;
    testbed.must(&["plan", "--exit-code"]).await?;

    let database = database(&testbed).await?;
    assert_eq!(database["IAMDatabaseAuthenticationEnabled"], "true");
    let id = database["DbiResourceId"].as_str().unwrap_or_default();
    assert!(id.starts_with("db-"), "{database}");
    let account = &testbed.aws.account("region").id;
    let user = format!(":{account}:dbuser:{id}/maestro_iam");
    let policy = policy(&testbed).await?;
    assert!(
        policy.contains("rds-db") && policy.contains(&user),
        "{policy}"
    );
    let credentials = testbed
        .aws
        .secret("region", CREDENTIALS)
        .await?
        .unwrap_or_default();
    assert_eq!(credentials["iamUsername"], "maestro_iam");
    assert_eq!(credentials["username"], "maestro_admin");

    // Behind the region's back.
    switch(&testbed, false).await?;
    let policy = json!({"RoleName": ROLE, "PolicyName": POLICY});
    testbed
        .aws
        .call("region", "iam", "DeleteRolePolicy", policy)
        .await?;
    let plan = testbed.must(&["plan"]).await?.stdout;
    assert!(
        plan.contains("iamAuth") && plan.contains("policies"),
        "{plan}"
    );
    testbed.must(&["apply", "--yes"]).await?;
    testbed.must(&["plan", "--exit-code"]).await?;
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_switched_on_stays_until_the_file_says_off_and_that_is_told_as_disruptive()
-> Result {
    let testbed = Testbed::start("iam-auth-other", &[]).await?;
    testbed.must(&["apply", "--yes"]).await?;
    switch(&testbed, true).await?;
    testbed.must(&["plan", "--exit-code"]).await?;
    testbed.write_file(&format!("{}database: {{iamAuth: false}}\n", testbed.file()))?;
    let plan = testbed.must(&["plan"]).await?.stdout;
    assert!(
        plan.contains("refuses everybody who signs in with a token of IAM"),
        "{plan}"
    );
    testbed.must(&["apply", "--yes"]).await?;
    let database = database(&testbed).await?;
    assert_eq!(database["IAMDatabaseAuthenticationEnabled"], "false");
    testbed.passed();
    Ok(())
}

async fn database(testbed: &Testbed) -> Result<Value> {
    let asked = json!({"DBInstanceIdentifier": "testbed-maestro"});
    let found = testbed
        .aws
        .call("region", "rds", "DescribeDBInstances", asked)
        .await?;
    Ok(found["DBInstances"][0].clone())
}

async fn switch(testbed: &Testbed, on: bool) -> Result {
    let change = json!({
        "DBInstanceIdentifier": "testbed-maestro",
        "EnableIAMDatabaseAuthentication": on.to_string(),
        "ApplyImmediately": "true",
    });
    testbed
        .aws
        .call("region", "rds", "ModifyDBInstance", change)
        .await?;
    Ok(())
}

/// The inline policy as IAM gives it.
async fn policy(testbed: &Testbed) -> Result<String> {
    let asked = json!({"RoleName": ROLE, "PolicyName": POLICY});
    let found = testbed
        .aws
        .call("region", "iam", "GetRolePolicy", asked)
        .await?;
    Ok(found.to_string().replace("%3A", ":").replace("%2F", "/"))
}

const CREDENTIALS: &str = "maestro/db-credentials";
const ROLE: &str = "testbed-maestro-server";
const POLICY: &str = "database-connect";
