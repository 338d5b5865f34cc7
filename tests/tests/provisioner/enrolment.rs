//! A management cluster gets its identity from two parties who do not have each other's credentials, loses it at once,
//! and has no more rights than its own.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use sandbox::broker::CertificateState;
use serde_json::Value;
use tests::process::Output;
use tests::testbed::Testbed;

use super::{AGENT_POLICY, CLUSTER};

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_enrolled_by_two_parties_with_an_account_each() -> Result {
    let testbed = Testbed::start("two_parties", &[CLUSTER]).await?;
    // Neither file names the other party's credentials.
    let file = testbed.file();
    let region_file = file.replace(&format!(", access: {{profile: {CLUSTER}}}"), "");
    let cluster_file = file.replace("access: {profile: region}\n", "");
    assert_ne!(region_file, file);
    assert_ne!(cluster_file, file);

    testbed.write_file(&region_file)?;
    testbed.must(&["apply", "--yes"]).await?;
    let registry = testbed.broker.registry();
    assert!(registry.policy_targets(AGENT_POLICY)?.is_empty());

    testbed.write_file(&cluster_file)?;
    let mine = ["--only", CLUSTER, "apply", "--yes"];
    // The key is made and waits; what the region has to say is not known yet.
    testbed.run(&mine).await?;
    testbed.aws.endpoint().forget();
    let request = twice(&testbed, &["enroll", "request", CLUSTER]).await?;
    assert_eq!(accounts_called(&testbed), accounts(&testbed, &[CLUSTER]));

    testbed.write_file(&region_file)?;
    testbed.aws.endpoint().forget();
    let path = testbed.path().join("request.json");
    std::fs::write(&path, &request)?;
    let path = path.display().to_string();
    let signed = twice(&testbed, &["enroll", "sign", &path]).await?;
    assert_eq!(accounts_called(&testbed), accounts(&testbed, &["region"]));
    assert_eq!(registry.policy_targets(AGENT_POLICY)?.len(), 1);
    foreign_resources(&testbed, &request).await?;

    testbed.write_file(&cluster_file)?;
    testbed.aws.endpoint().forget();
    let path = testbed.path().join("signed.json");
    std::fs::write(&path, &signed)?;
    let path = path.display().to_string();
    let complete = ["enroll", "complete", &path];
    let first = testbed.must(&complete).await?;
    assert!(first.stdout.contains("is enrolled with"), "{first:?}");
    let before = testbed.aws.secret(CLUSTER, "maestro/agent-cert").await?;
    let second = testbed.must(&complete).await?;
    assert!(second.stdout.contains("already"), "{second:?}");
    assert_eq!(accounts_called(&testbed), accounts(&testbed, &[CLUSTER]));

    let after = testbed.aws.secret(CLUSTER, "maestro/agent-cert").await?;
    assert_eq!(after, before);
    let held = after.context("no identity")?;
    assert!(
        held["privateKey"]
            .as_str()
            .is_some_and(|key| !key.is_empty())
    );
    for document in [&request, &signed] {
        assert!(!document.contains("PRIVATE KEY"), "{document}");
    }
    let config = testbed.aws.secret(CLUSTER, "maestro/agent-config").await?;
    let config = config.context("no configuration")?;
    assert!(
        config["config"]
            .as_str()
            .is_some_and(|text| text.contains("brokerHost"))
    );

    // Seen by both together there is nothing left to do.
    testbed.write_file(&file)?;
    testbed.must(&["apply", "--yes"]).await?;
    assert_eq!(registry.policy_targets(AGENT_POLICY)?.len(), 1);
    assert_eq!(
        testbed.aws.secret(CLUSTER, "maestro/agent-cert").await?,
        Some(held)
    );
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_cluster_stays_out_until_it_is_enrolled_anew() -> Result {
    let testbed = Testbed::start("revoked", &[CLUSTER]).await?;
    testbed.must(&["apply", "--yes"]).await?;
    let registry = testbed.broker.registry();
    let old = registry.policy_targets(AGENT_POLICY)?;

    testbed.must(&["policy", "check"]).await?;
    testbed.must(&["policy", "check", "--live"]).await?;
    let allowed = "maestro/consumers/management-01/agentevents";
    testbed
        .must(&["policy", "explain", CLUSTER, "publish", allowed])
        .await?;
    let foreign = "maestro/consumers/management-02/agentevents";
    for live in [&[][..], &["--live"]] {
        let args = [&["policy", "explain", CLUSTER, "publish", foreign], live].concat();
        let denied = testbed.run(&args).await?;
        assert_eq!(denied.status.code(), Some(4), "{denied:?}");
        // The statement that would have to be added.
        assert!(denied.stdout.contains("iot:Publish"), "{denied:?}");
        let arn = format!("topic/{foreign}");
        assert!(denied.stdout.contains(&arn), "{denied:?}");
    }

    testbed.must(&["revoke", CLUSTER, "--yes"]).await?;
    let state = |certificate| registry.certificate(certificate).map(|it| it.state);
    assert_eq!(state(&old[0]), Some(CertificateState::Revoked));
    let applied = testbed.run(&["apply", "--yes"]).await?;
    assert_eq!(applied.status.code(), Some(1), "{applied:?}");
    assert!(
        applied.stdout.contains("REVOKED; somebody meant it"),
        "{applied:?}"
    );
    assert_eq!(registry.policy_targets(AGENT_POLICY)?, old);

    testbed.must(&["enroll", CLUSTER]).await?;
    let all = registry.policy_targets(AGENT_POLICY)?;
    let new: Vec<_> = all.iter().filter(|it| !old.contains(it)).collect();
    assert_eq!(new.len(), 1);
    assert_eq!(state(new[0]), Some(CertificateState::Active));
    assert_eq!(state(&old[0]), Some(CertificateState::Revoked));
    testbed.must(&["plan", "--exit-code"]).await?;

    let destroy = ["destroy", "--yes", "--delete-database", "testbed-maestro"];
    testbed.must(&destroy).await?;
    assert!(registry.certificates().is_empty());
    permissions_cover_every_call(&testbed).await?;
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_after_revoke_and_enroll_rotates_and_keeps_the_evidence() -> Result {
    for (name, revoke, state) in [
        (
            "rotate_revoked",
            &["revoke", CLUSTER, "--yes"][..],
            CertificateState::Revoked,
        ),
        (
            "rotate_deactivated",
            &["revoke", CLUSTER, "--deactivate", "--yes"][..],
            CertificateState::Inactive,
        ),
    ] {
        let testbed = Testbed::start(name, &[CLUSTER]).await?;
        testbed.must(&["apply", "--yes"]).await?;
        let registry = testbed.broker.registry();
        let evidence = registry.policy_targets(AGENT_POLICY)?;
        testbed.must(revoke).await?;
        testbed.must(&["enroll", CLUSTER]).await?;
        let all = registry.policy_targets(AGENT_POLICY)?;
        let enrolled = all.iter().find(|it| !evidence.contains(it));
        let enrolled = enrolled.context("nothing was enrolled")?;

        testbed
            .must(&["rotate", CLUSTER, "--insecure-without-proof"])
            .await?;
        assert!(
            registry.certificate(enrolled).is_none(),
            "{name}: not rotated"
        );
        let all = registry.policy_targets(AGENT_POLICY)?;
        assert_eq!(all.len(), 2, "{name}: {all:?}");
        for id in &all {
            let expected = match evidence.contains(id) {
                true => state,
                false => CertificateState::Active,
            };
            let found = registry.certificate(id).map(|it| it.state);
            assert_eq!(found, Some(expected), "{name}");
        }
        testbed.passed();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_waits_for_proof_also_where_the_old_certificate_carries_an_old_policy() -> Result
{
    let testbed = Testbed::start("rotate_renamed", &[CLUSTER]).await?;
    testbed.must(&["apply", "--yes"]).await?;
    let registry = testbed.broker.registry();
    let old = registry.policy_targets(AGENT_POLICY)?;
    // Nobody connects, so both certificates are in service.
    let rotate = ["rotate", CLUSTER, "--within", "1s"];
    let waits = testbed.run(&rotate).await?;
    assert_eq!(waits.status.code(), Some(3), "{waits:?}");

    let renamed = "names: {agentPolicy: another-policy}\n";
    testbed.write_file(&format!("{}{renamed}", testbed.file()))?;
    testbed.run(&["apply", "--yes"]).await?;
    assert_eq!(registry.policy_targets("another-policy")?.len(), 1);
    let waits = testbed.run(&rotate).await?;
    assert_eq!(waits.status.code(), Some(3), "{waits:?}");
    let found = registry.certificate(&old[0]).context("it was removed")?;
    assert_eq!(found.state, CertificateState::Active);
    assert!(registry.policy_targets(AGENT_POLICY)?.contains(&old[0]));

    testbed
        .must(&["rotate", CLUSTER, "--insecure-without-proof"])
        .await?;
    assert!(registry.certificate(&old[0]).is_none());
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_keeps_no_other_certificate_in_service() -> Result {
    let testbed = Testbed::start("revoke_both", &[CLUSTER]).await?;
    testbed.must(&["apply", "--yes"]).await?;
    let waits = testbed.run(&["rotate", CLUSTER, "--within", "1s"]).await?;
    assert_eq!(waits.status.code(), Some(3), "{waits:?}");
    let registry = testbed.broker.registry();
    let both = registry.policy_targets(AGENT_POLICY)?;
    assert_eq!(both.len(), 2);

    let endpoint = testbed.aws.endpoint();
    endpoint.fail_once("iot:UpdateCertificate", "CertificateStateException", 406);
    endpoint.forget();
    let revoked = testbed.must(&["revoke", CLUSTER, "--yes"]).await?;
    assert!(revoked.stderr.contains("may still be"), "{revoked:?}");
    for id in &both {
        let state = registry.certificate(id).map(|it| it.state);
        assert_eq!(state, Some(CertificateState::Revoked));
    }
    let ended = |call: &tests::aws::Call| call.operation == "DeleteConnection";
    assert!(endpoint.calls().iter().any(ended));
    testbed.passed();
    Ok(())
}

/// What `provisioner permissions` prints is enough for everything that was done so far.
async fn permissions_cover_every_call(testbed: &Testbed) -> Result {
    let printed = testbed.must(&["permissions"]).await?;
    let printed: BTreeMap<String, Value> = serde_json::from_str(&printed.stdout)?;
    for (scope, policy) in printed {
        let actions = policy["Statement"][0]["Action"].as_array();
        let actions: BTreeSet<_> = actions
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let account = &testbed.aws.account(&scope).id;
        let calls = testbed.aws.endpoint().calls();
        let calls = calls.iter().filter(|call| call.account == *account);
        let missing: BTreeSet<_> = calls
            .map(tests::aws::Call::action)
            .filter(|action| !actions.contains(action.as_str()))
            .collect();
        assert_eq!(missing, BTreeSet::new(), "in the account of `{scope}`");
    }
    Ok(())
}

/// Runs a command that prints a document twice; it must be the same.
async fn twice(testbed: &Testbed, args: &[&str]) -> Result<String> {
    let document = |output: Output| output.stdout;
    let first = document(testbed.must(args).await?);
    let calls = testbed.aws.endpoint().mutations();
    let second = document(testbed.must(args).await?);
    let (one, two): (Value, Value) = (
        serde_json::from_str(&first)?,
        serde_json::from_str(&second)?,
    );
    assert_eq!(one, two, "{args:?}");
    let again = testbed.aws.endpoint().mutations() - calls;
    // Attaching what is attached already is all that signing repeats.
    assert!(again <= 2, "{args:?} made {again} changes again");
    Ok(first)
}

/// Requests that do not belong to the cluster are refused, and nothing is issued.
async fn foreign_resources(testbed: &Testbed, request: &str) -> Result {
    let calls = testbed.aws.endpoint().mutations();
    for (field, value) in [("account", "000000000000"), ("region", "other")] {
        let mut strange: Value = serde_json::from_str(request)?;
        anyhow::ensure!(strange[field].is_string(), "{request}");
        strange[field] = value.into();
        let path = testbed.path().join("strange.json");
        std::fs::write(&path, strange.to_string())?;
        let path = path.display().to_string();
        let refused = testbed.run(&["enroll", "sign", &path]).await?;
        assert_eq!(refused.status.code(), Some(4), "{refused:?}");
        assert!(refused.stderr.contains(value), "{refused:?}");
    }
    assert_eq!(testbed.aws.endpoint().mutations(), calls);
    Ok(())
}

fn accounts_called(testbed: &Testbed) -> BTreeSet<String> {
    let calls = testbed.aws.endpoint().calls();
    calls.into_iter().map(|call| call.account).collect()
}

fn accounts(testbed: &Testbed, names: &[&str]) -> BTreeSet<String> {
    let ids = names
        .iter()
        .map(|name| testbed.aws.account(name).id.clone());
    ids.collect()
}
