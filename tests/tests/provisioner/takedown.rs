//! What a region made goes again, and nothing else does.

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::testbed::Testbed;

use super::{AGENT_POLICY, CLUSTER, SERVER_POLICY, statement};

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_region_leaves_the_accounts_as_they_were_but_for_add_ons_that_others_may_use()
-> Result {
    let other = "management-02";
    let testbed = Testbed::start("takedown", &[CLUSTER, other]).await?;
    foreign_resources(&testbed).await?;
    let before = everything(&testbed).await?;
    testbed.must(&["apply", "--yes"]).await?;
    let applied = everything(&testbed).await?;

    // One cluster goes, from both accounts, and nothing of the others.
    let registry = testbed.broker.registry();
    let theirs = registry.policy_targets("management-02-maestro-agent-policy")?;
    testbed
        .must(&["destroy", "--cluster", CLUSTER, "--yes"])
        .await?;
    let without = everything(&testbed).await?;
    assert_eq!(without[CLUSTER], with_addons(&before, &applied, CLUSTER));
    assert_eq!(without[other], applied[other]);
    assert_eq!(without["region"], applied["region"]);
    assert!(registry.policy(AGENT_POLICY).is_none());
    assert!(registry.thing("management-01-maestro-agent").is_none());
    assert!(registry.policy(SERVER_POLICY).is_some());
    assert_eq!(
        registry.policy_targets("management-02-maestro-agent-policy")?,
        theirs
    );
    assert_eq!(registry.certificates().len(), 2);

    // The cluster can come back, under a new certificate.
    testbed.must(&["apply", "--yes"]).await?;
    assert_eq!(everything(&testbed).await?, applied);

    let destroy = ["destroy", "--yes", "--delete-database", "testbed-maestro"];
    let gone = testbed.must(&destroy).await?;
    let stays = "stays, others on the cluster use it too";
    assert!(gone.stdout.contains(stays), "{}", gone.stdout);
    let by_hand =
        "others on the cluster may use it; by hand: aws eks delete-addon --cluster-name region";
    assert!(gone.stdout.contains(by_hand), "{}", gone.stdout);
    let after = everything(&testbed).await?;
    for account in ["region", CLUSTER, other] {
        assert_eq!(after[account], with_addons(&before, &applied, account));
    }
    assert!(registry.certificates().is_empty());
    assert!(registry.things().is_empty());
    let policies: Vec<_> = registry
        .policies()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(policies, ["theirs"]);

    let calls = testbed.aws.endpoint().mutations();
    let again = testbed.must(&destroy).await?;
    assert!(again.stdout.contains("0 removed"), "{}", again.stdout);
    assert_eq!(testbed.aws.endpoint().mutations(), calls);
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_in_an_account_without_credentials_is_told_and_can_be_removed_later() -> Result
{
    let testbed = Testbed::start("takedown_alone", &[CLUSTER]).await?;
    let before = everything(&testbed).await?;
    testbed.must(&["apply", "--yes"]).await?;
    let applied = everything(&testbed).await?;
    let registry = testbed.broker.registry();
    let identity = registry.policy_targets(AGENT_POLICY)?;
    assert_eq!(identity.len(), 1);

    // The region's operator, alone.
    let both = testbed.file();
    let alone = both.replace(&format!(", access: {{profile: {CLUSTER}}}"), "");
    assert_ne!(alone, both);
    testbed.write_file(&alone)?;
    let said = [
        "note: the account of `management-01` is left out",
        "certificate/maestro/agent-cert",
        "stays ACTIVE without a policy",
        "hint: run `provisioner destroy --cluster management-01`",
    ];
    // Before anybody agrees to anything.
    let destroy = ["destroy", "--delete-database", "testbed-maestro"];
    let asked = testbed.run(&destroy).await?;
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    for text in said {
        assert!(asked.stderr.contains(text), "{asked:?}");
    }
    assert_eq!(everything(&testbed).await?, applied);

    let destroy = [&destroy[..], &["--yes", "--json"]].concat();
    let gone = testbed.must(&destroy).await?;
    let told: Value = serde_json::from_str(&gone.stdout)?;
    let left = &told["unreached"][0];
    assert_eq!(left["scope"], CLUSTER);
    let certificate = "management-01 certificate/maestro/agent-cert";
    let resources = left["resources"].as_array().context("nothing is left")?;
    assert!(resources.iter().any(|it| it == certificate), "{left}");
    assert_eq!(everything(&testbed).await?[CLUSTER], applied[CLUSTER]);
    assert!(registry.policy(AGENT_POLICY).is_none());
    assert_eq!(registry.certificates().len(), 1);

    // With both accounts the rest goes.
    testbed.write_file(&both)?;
    let rest = ["destroy", "--cluster", CLUSTER, "--yes"];
    let rest = testbed.must(&rest).await?;
    assert!(!rest.stderr.contains("is left out"), "{rest:?}");
    assert!(registry.certificates().is_empty());
    let after = everything(&testbed).await?;
    assert_eq!(after[CLUSTER], with_addons(&before, &applied, CLUSTER));
    testbed.passed();
    Ok(())
}

/// An account as it was before, with the add-ons that were installed since.
fn with_addons(before: &Value, since: &Value, account: &str) -> Value {
    let mut expected = before[account].clone();
    expected["addons"] = since[account]["addons"].clone();
    expected
}

/// What others have in the same accounts.
async fn foreign_resources(testbed: &Testbed) -> Result {
    let call = async |service, operation, params| {
        let aws = &testbed.aws;
        aws.call("region", service, operation, params).await
    };
    let allow_all = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let policy = json!({ "policyName": "theirs", "policyDocument": allow_all });
    call("iot", "CreatePolicy", policy).await?;
    let secret = json!({ "Name": "maestro/theirs", "SecretString": "{}" });
    call("secretsmanager", "CreateSecret", secret).await?;
    let addon = json!({
        "clusterName": "region",
        "addonName": "eks-pod-identity-agent",
        "tags": { "team": "platform" },
    });
    call("eks", "CreateAddon", addon).await?;
    Ok(())
}

/// What is in all accounts, by the account's name.
async fn everything(testbed: &Testbed) -> Result<Value> {
    let mut all = json!({});
    for account in testbed.aws.accounts() {
        let mut inventory = testbed.aws.inventory(&account.name).await?;
        // AWS's own, which comes with the first database and stays.
        if let Some(groups) = inventory["parameterGroups"].as_object_mut() {
            groups.retain(|name, _| !name.starts_with("default."));
        }
        all[&account.name] = inventory;
    }
    Ok(all)
}
