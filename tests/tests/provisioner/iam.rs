//! The server's sign-in to the database by IAM: planned, made, checked, and left alone where the file says nothing of it.

use serde_json::{Value, json};
use tests::estate::Estate;

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_signs_in_by_iam_gets_all_but_its_user_and_drift_of_it_is_put_right() -> Result
{
    let estate = Estate::start("iam-auth", &[]).await?;
    estate.must(&["apply", "--yes"]).await?;
    estate.write_file(&format!("{}database: {{iamAuth: true}}\n", estate.file()))?;
    let shown = estate.must(&["plan"]).await?.stdout;
    assert!(shown.contains("iamAuth"), "{shown}");
    estate.must(&["apply", "--yes"]).await?;
    estate.must(&["plan", "--exit-code"]).await?;

    let database = database(&estate).await?;
    assert_eq!(database["IAMDatabaseAuthenticationEnabled"], "true");
    let id = database["DbiResourceId"].as_str().unwrap_or_default();
    assert!(id.starts_with("db-"), "{database}");
    let account = &estate.world.account("region").id;
    let user = format!(":{account}:dbuser:{id}/maestro_iam");
    let policy = policy(&estate).await?;
    assert!(
        policy.contains("rds-db") && policy.contains(&user),
        "{policy}"
    );
    let credentials = estate
        .world
        .secret("region", CREDENTIALS)
        .await?
        .unwrap_or_default();
    assert_eq!(credentials["iamUsername"], "maestro_iam");
    assert_eq!(credentials["username"], "maestro_admin");

    // Behind the region's back.
    switch(&estate, false).await?;
    let policy = json!({"RoleName": ROLE, "PolicyName": POLICY});
    estate
        .world
        .call("region", "iam", "DeleteRolePolicy", policy)
        .await?;
    let plan = estate.must(&["plan"]).await?.stdout;
    assert!(
        plan.contains("iamAuth") && plan.contains("policies"),
        "{plan}"
    );
    estate.must(&["apply", "--yes"]).await?;
    estate.must(&["plan", "--exit-code"]).await?;
    estate.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_switched_on_stays_until_the_file_says_off_and_that_is_told_as_disruptive()
-> Result {
    let estate = Estate::start("iam-auth-other", &[]).await?;
    estate.must(&["apply", "--yes"]).await?;
    switch(&estate, true).await?;
    estate.must(&["plan", "--exit-code"]).await?;
    estate.write_file(&format!("{}database: {{iamAuth: false}}\n", estate.file()))?;
    let plan = estate.must(&["plan"]).await?.stdout;
    assert!(
        plan.contains("refuses everybody who signs in with a token of IAM"),
        "{plan}"
    );
    estate.must(&["apply", "--yes"]).await?;
    let database = database(&estate).await?;
    assert_eq!(database["IAMDatabaseAuthenticationEnabled"], "false");
    estate.passed();
    Ok(())
}

async fn database(estate: &Estate) -> Result<Value> {
    let asked = json!({"DBInstanceIdentifier": "estate-maestro"});
    let found = estate
        .world
        .call("region", "rds", "DescribeDBInstances", asked)
        .await?;
    Ok(found["DBInstances"][0].clone())
}

async fn switch(estate: &Estate, on: bool) -> Result {
    let change = json!({
        "DBInstanceIdentifier": "estate-maestro",
        "EnableIAMDatabaseAuthentication": on.to_string(),
        "ApplyImmediately": "true",
    });
    estate
        .world
        .call("region", "rds", "ModifyDBInstance", change)
        .await?;
    Ok(())
}

/// The inline policy as IAM gives it.
async fn policy(estate: &Estate) -> Result<String> {
    let asked = json!({"RoleName": ROLE, "PolicyName": POLICY});
    let found = estate
        .world
        .call("region", "iam", "GetRolePolicy", asked)
        .await?;
    Ok(found.to_string().replace("%3A", ":").replace("%2F", "/"))
}

const CREDENTIALS: &str = "maestro/db-credentials";
const ROLE: &str = "estate-maestro-server";
const POLICY: &str = "database-connect";
