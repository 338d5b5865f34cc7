//! Applying makes everything, applying again changes nothing.

use tests::testbed::Testbed;

type Result = std::result::Result<(), anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn applying_makes_everything_and_applying_again_plans_nothing() -> Result {
    let testbed = Testbed::start("apply_twice", &["management-01"]).await?;
    let made = testbed.must(&["apply", "--yes"]).await?;
    println!("{}\n{}", made.stdout, made.stderr);
    let calls = testbed.aws.endpoint().mutations();
    let plan = testbed.must(&["plan", "--exit-code"]).await?;
    assert!(
        plan.stdout.contains("0 to create, 0 to change"),
        "{}",
        plan.stdout
    );
    testbed.must(&["apply", "--yes"]).await?;
    assert_eq!(
        testbed.aws.endpoint().mutations(),
        calls,
        "the second apply changed something"
    );
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_left_the_file_is_told_and_not_removed() -> Result {
    let testbed = Testbed::start("leftover", &["management-01"]).await?;
    testbed
        .must(&["apply", "--yes", "--only", "region"])
        .await?;
    let file = testbed.file();
    let without = file.split("managementClusters").next().unwrap_or_default();
    testbed.write_file(without)?;
    let calls = testbed.aws.endpoint().mutations();
    let plan = testbed.must(&["plan"]).await?.stdout;
    assert!(
        plan.contains("thing `management-01-maestro-agent` is this region's"),
        "{plan}"
    );
    assert!(
        plan.contains("provisioner destroy --cluster management-01"),
        "{plan}"
    );
    assert_eq!(testbed.aws.endpoint().mutations(), calls);
    testbed.passed();
    Ok(())
}
