//! Applying makes everything, applying again changes nothing.

use tests::estate::Estate;

type Result = std::result::Result<(), anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn applying_makes_everything_and_applying_again_plans_nothing() -> Result {
    let estate = Estate::start("apply_twice", &["management-01"]).await?;
    let made = estate.must(&["apply", "--yes"]).await?;
    println!("{}\n{}", made.stdout, made.stderr);
    let calls = estate.world.front().mutations();
    let plan = estate.must(&["plan", "--exit-code"]).await?;
    assert!(
        plan.stdout.contains("0 to create, 0 to change"),
        "{}",
        plan.stdout
    );
    estate.must(&["apply", "--yes"]).await?;
    assert_eq!(
        estate.world.front().mutations(),
        calls,
        "the second apply changed something"
    );
    estate.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_left_the_file_is_told_and_not_removed() -> Result {
    let estate = Estate::start("leftover", &["management-01"]).await?;
    estate.must(&["apply", "--yes", "--only", "region"]).await?;
    let file = estate.file();
    let without = file.split("managementClusters").next().unwrap_or_default();
    estate.write_file(without)?;
    let calls = estate.world.front().mutations();
    let plan = estate.must(&["plan"]).await?.stdout;
    assert!(
        plan.contains("thing `management-01-maestro-agent` is this region's"),
        "{plan}"
    );
    assert!(
        plan.contains("provisioner destroy --cluster management-01"),
        "{plan}"
    );
    assert_eq!(estate.world.front().mutations(), calls);
    estate.passed();
    Ok(())
}
