//! What a Terraform user expects: a plan that shows what is made, exit codes for scripts, a check of the file alone, and
//! refusals that name what is there.

use serde_json::Value;
use tests::testbed::Testbed;

use super::CLUSTER;

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_shows_what_is_made_and_warnings_come_with_the_plan_alone() -> Result {
    let testbed = Testbed::start("creation", &[CLUSTER]).await?;
    let prerequisites = &testbed.aws.account("region").prerequisites;
    let plan = testbed.must(&["plan"]).await?;
    let creates = "+ region database/testbed-maestro\n";
    let (_, database) = plan.stdout.split_once(creates).unwrap_or_default();
    let (database, _) = database.split_once("\n+ ").unwrap_or_default();
    for shown in [
        "+ instanceClass           = \"db.t4g.micro\"",
        "+ storage                 = 20",
        "+ engine                  = \"postgres\"",
        "+ engineVersion           = \"18\"",
        "+ multiAz                 = false",
        "+ deletionProtection      = false",
        "+ finalSnapshot           = false",
        "+ securityGroups          = (known once the security group is there)",
        "\"provisioner:region\": \"testbed\"",
    ] {
        assert!(database.contains(shown), "`{shown}`: {}", plan.stdout);
    }
    assert!(
        plan.stdout.contains(&prerequisites.subnets[0]),
        "{}",
        plan.stdout
    );
    let password = "+ content.password = (sensitive value)";
    assert!(plan.stdout.contains(password), "{}", plan.stdout);

    // The file of every testbed says so.
    let warning = "warning: secrets.recoveryDays: is 0";
    assert_eq!(plan.stderr.matches(warning).count(), 1, "{}", plan.stderr);
    for silent in [
        &["outputs", "--format", "helm"][..],
        &["cost"],
        &["permissions"],
        &["status"],
    ] {
        let output = testbed.run(silent).await?;
        assert!(
            !output.stderr.contains("recoveryDays"),
            "{silent:?}: {output:?}"
        );
    }

    let plan = testbed.must(&["plan", "--json"]).await?;
    let plan: Value = serde_json::from_str(&plan.stdout)?;
    assert_eq!(plan["formatVersion"], 1);
    assert_eq!(plan["warnings"][0]["field"], "secrets.recoveryDays");
    let rows = plan["resources"].as_array().into_iter().flatten();
    let mut databases = rows.filter(|row| row["resource"] == "region database/testbed-maestro");
    let after = databases.next().map(|row| (&row["action"], &row["after"]));
    let (action, after) = after.unwrap_or((&Value::Null, &Value::Null));
    assert_eq!(action, "create");
    assert_eq!(after["instanceClass"], "db.t4g.micro");
    assert_eq!(after["tags"]["provisioner:region"], "testbed");
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_of_a_plan_tells_changes_from_failures_and_from_nothing() -> Result {
    let testbed = Testbed::start("exit_code", &[]).await?;
    let code = async |args: &[&str], env: &[(&str, &str)]| -> Result<Option<i32>> {
        Ok(testbed.run_with(args, env).await?.status.code())
    };
    for flag in ["--exit-code", "--detailed-exitcode", "-detailed-exitcode"] {
        assert_eq!(code(&["plan", flag], &[]).await?, Some(2), "{flag}");
    }
    assert_eq!(code(&["plan"], &[]).await?, Some(0));
    let nowhere = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
    assert_eq!(code(&["plan", "--exit-code"], &nowhere).await?, Some(1));
    let absent = ["plan", "--exit-code", "--file", "nowhere.yaml"];
    assert_eq!(code(&absent, &[]).await?, Some(1));
    assert_eq!(
        code(&["plan", "--file", "nowhere.yaml"], &[]).await?,
        Some(2)
    );
    testbed.must(&["apply", "--yes"]).await?;
    assert_eq!(code(&["plan", "--exit-code"], &[]).await?, Some(0));
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_validated_without_aws_and_what_is_wrong_has_its_fix() -> Result {
    let testbed = Testbed::start("validate", &[CLUSTER]).await?;
    let endpoint = testbed.aws.endpoint();
    endpoint.forget();
    let valid = testbed.must(&["validate"]).await?;
    assert!(
        valid.stdout.contains("is valid, with a warning"),
        "{valid:?}"
    );
    assert!(
        valid.stderr.contains("warning: secrets.recoveryDays"),
        "{valid:?}"
    );
    assert!(endpoint.calls().is_empty());

    let account = &testbed.aws.account("region").id;
    let unquoted = testbed
        .file()
        .replace(&format!("\"{account}\""), "012345678901");
    testbed.write_file(&unquoted)?;
    let wrong = testbed.run(&["validate"]).await?;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(
        wrong.stderr.contains("account: is the number 12345678901"),
        "{wrong:?}"
    );
    assert!(
        wrong.stderr.contains("such as `\"012345678901\"`"),
        "{wrong:?}"
    );
    let wrong = testbed.run(&["validate", "--json"]).await?;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let told: Value = serde_json::from_str(&wrong.stdout)?;
    assert_eq!(told["valid"], false);
    assert_eq!(told["problems"][0]["field"], "account");

    let absent = testbed.run(&["validate", "--file", "nowhere.yaml"]).await?;
    assert_eq!(absent.status.code(), Some(2), "{absent:?}");
    assert!(
        absent
            .stderr
            .contains("`nowhere.yaml`: there is no such file"),
        "{absent:?}"
    );
    assert!(
        absent
            .stderr
            .contains("hint: name the region's file with `--file`"),
        "{absent:?}"
    );
    let directory = testbed.path().display().to_string();
    let directory = testbed.run(&["validate", "--file", &directory]).await?;
    assert!(
        directory.stderr.contains("it is a directory"),
        "{directory:?}"
    );
    assert!(endpoint.calls().is_empty());
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_or_profile_that_is_not_there_is_refused_with_the_names_that_are() -> Result {
    let testbed = Testbed::start("unknown_names", &[CLUSTER]).await?;
    for format in [
        "json",
        "helm",
        "argocd",
        "argocd-cluster",
        "argocd-values",
        "secret-provider-class",
        "sql",
    ] {
        let args = ["outputs", "--format", format, "--cluster", "nope"];
        let refused = testbed.run(&args).await?;
        assert_eq!(refused.status.code(), Some(2), "{format}: {refused:?}");
        assert!(
            refused.stderr.contains("no management cluster `nope`"),
            "{refused:?}"
        );
        assert!(
            refused.stderr.contains("name one of `management-01`"),
            "{refused:?}"
        );
    }
    let whole = testbed.run(&["outputs", "--cluster", CLUSTER]).await?;
    assert_eq!(whole.status.code(), Some(2), "{whole:?}");

    let refused = testbed.run(&["--profile", "nope", "plan"]).await?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("there is no AWS profile `nope`"),
        "{refused:?}"
    );
    for known in [format!("name one of `{CLUSTER}`"), "`region`,".to_owned()] {
        assert!(refused.stderr.contains(&known), "{refused:?}");
    }
    assert!(
        testbed
            .aws
            .endpoint()
            .calls()
            .iter()
            .all(|call| !call.mutating)
    );
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_is_not_known_is_said_and_a_price_list_that_is_away_leaves_the_dated_prices()
-> Result {
    let testbed = Testbed::start("prices", &[]).await?;
    let cost = testbed
        .must(&["cost", "--price-list=http://127.0.0.1:1"])
        .await?;
    assert!(
        cost.stderr.contains("the price list cannot be used"),
        "{cost:?}"
    );
    for unknown in cost.stdout.lines().filter(|line| line.contains("RDS: ")) {
        assert!(!unknown.trim_start().starts_with("0.00"), "{unknown}");
    }
    let other = testbed.file().replace(tests::aws::REGION, "me-central-1");
    testbed.write_file(&other)?;
    let cost = testbed.must(&["cost"]).await?;
    assert!(cost.stdout.contains("no price is known"), "{cost:?}");
    let zero = |line: &str| line.trim_start().starts_with("0.00");
    assert!(!cost.stdout.lines().any(zero), "{cost:?}");
    testbed.passed();
    Ok(())
}
