//! Each fault from CONNECT on, made for real.

use std::time::Duration;

use anyhow::Result;
use link::fault::{Finding, Severity};
use link::iot::{Document, PolicyAction, Statement};
use sandbox::broker::CertificateState::{Active, Inactive, Revoked};
use sandbox::broker::Limits;

use crate::bed::{Bed, Mounted, assert_faults, faults, told};
use crate::setup::{CONSUMER, agent, bridge, operator, with_all, without};

const AGENT: [&str; 5] = ["--consumer", CONSUMER, "--take-over", "--watch", "0.01"];

#[tokio::test]
async fn nothing_is_wrong_with_each_party_that_has_its_own_policy() -> Result<()> {
    let bed = Bed::new("doctor-healthy").await?;
    let mount = bed.mounted(operator(&bed.arn())?, Active)?;
    let report = bed.doctor(&mount.path, &[]).await?;
    assert_faults(&report, &[]);
    for code in [300, 311, 312, 313, 320, 330, 340] {
        let found = report.findings.iter().find(|it| it.code.number() == code);
        let found = found.unwrap_or_else(|| panic!("MQ{code}: {:#?}", report.findings));
        assert_eq!(found.severity, Severity::Ok, "{found:?}");
    }
    // Of the other end nothing is known, which is said and no fault.
    let is_open = |it: &Finding| it.code.number() == 500 && it.severity == Severity::Info;
    assert!(
        report.findings.iter().any(is_open),
        "{:#?}",
        report.findings
    );
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    assert_faults(&bed.doctor(&mount.path, &AGENT).await?, &[]);
    let mount = bed.mounted(bridge(&bed.arn(), "maestro")?, Active)?;
    let options = ["--source", "maestro", "--take-over", "--watch", "0.01"];
    assert_faults(&bed.doctor(&mount.path, &options).await?, &[]);
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_does_not_connect_is_told_by_aws_and_ranked_without() -> Result<()> {
    let bed = Bed::new("doctor-certificate").await?;
    for state in [Inactive, Revoked] {
        let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, state)?;
        let report = bed.with_aws(&mount.path, &AGENT).await?;
        // The agent is not connected either.
        assert_faults(&report, &[301, 501]);
        assert!(told(&report, 301).contains(state.as_str()));
        let report = bed.doctor(&mount.path, &AGENT).await?;
        assert_faults(&report, &[300]);
        let candidates = told(&report, 300);
        assert!(candidates.contains("MQ301") && candidates.contains("MQ302"));
        assert!(candidates.contains("client/cluster-1-work-agent-client"));
    }
    let foreign = bed.mounted(operator(&bed.arn())?, Inactive)?;
    bed.broker
        .registry()
        .delete_certificate(&foreign.id, true)?;
    let report = bed.with_aws(&foreign.path, &[]).await?;
    assert_faults(&report, &[301]);
    assert!(told(&report, 301).contains("not registered"));
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn no_policy_and_a_policy_for_another_client_id_are_two_faults() -> Result<()> {
    let bed = Bed::new("doctor-policy").await?;
    let bare = bed.mounted(operator(&bed.arn())?, Active)?;
    bed.broker
        .registry()
        .detach_policy(&bare.id, &bare.policy)?;
    assert_faults(&bed.with_aws(&bare.path, &[]).await?, &[302]);
    assert_faults(&bed.doctor(&bare.path, &[]).await?, &[300]);

    let other = bed.mounted(agent(&bed.arn(), "cluster-2")?, Active)?;
    let report = bed.with_aws(&other.path, &AGENT).await?;
    let found = faults(&report);
    assert!(found.contains(&303) && !found.contains(&302), "{found:?}");
    let arn = format!("{}:client/cluster-1-work-agent-client", bed.arn());
    assert!(told(&report, 303).contains(&arn));
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_running_agent_is_left_alone_unless_it_may_be_taken_over() -> Result<()> {
    let bed = Bed::new("doctor-alone").await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    let rival = rival(&bed, &mount).await?;
    let consumer = ["--consumer", CONSUMER];
    // Not known whether it is there: said, and nothing is done to it.
    let report = bed.doctor(&mount.path, &consumer).await?;
    assert_faults(&report, &[300]);
    assert!(told(&report, 300).contains("--take-over"));
    assert_eq!(rival.lost(), 0);
    // AWS says that it is there.
    let report = bed.with_aws(&mount.path, &consumer).await?;
    assert!(!faults(&report).contains(&300), "{:#?}", report.findings);
    assert_eq!(rival.lost(), 0);
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn another_process_with_the_client_id_is_found_by_the_takeover() -> Result<()> {
    let bed = Bed::new("doctor-rival").await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    let rival = rival(&bed, &mount).await?;
    let options = ["--consumer", CONSUMER, "--take-over", "--watch", "5"];
    let report = bed.doctor(&mount.path, &options).await?;
    assert_faults(&report, &[304]);
    assert!(told(&report, 304).contains("cluster-1-work-agent-client"));
    assert!(rival.lost() > 0);
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn connects_that_come_too_fast_are_told_apart_from_a_refusal() -> Result<()> {
    let hour = Duration::from_secs(3600);
    let slow =
        |config: &mut sandbox::broker::BrokerConfig| config.quotas.connect_every = Some(hour);
    let bed = Bed::with("doctor-throttled", slow).await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    assert_faults(&bed.doctor(&mount.path, &AGENT).await?, &[]);
    assert_faults(&bed.doctor(&mount.path, &AGENT).await?, &[305]);
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_a_policy_lacks_is_named_by_its_statement() -> Result<()> {
    let bed = Bed::new("doctor-lacks").await?;
    let whole = || agent(&bed.arn(), CONSUMER);
    let mount = bed.mounted(without(whole()?, PolicyAction::Subscribe), Active)?;
    let report = bed.doctor(&mount.path, &AGENT).await?;
    assert_faults(&report, &[321]);
    assert!(told(&report, 321).contains("topicfilter/maestro/consumers/cluster-1/sourceevents"));

    let mount = bed.mounted(without(whole()?, PolicyAction::Publish), Active)?;
    let report = bed.doctor(&mount.path, &AGENT).await?;
    assert_faults(&report, &[331]);
    assert!(told(&report, 331).contains("topic/maestro/consumers/cluster-1/agentevents"));

    // Only the way back shows it; an agent has none, and then the attached policies say it.
    let mount = bed.mounted(
        without(operator(&bed.arn())?, PolicyAction::Receive),
        Active,
    )?;
    let report = bed.doctor(&mount.path, &[]).await?;
    assert_faults(&report, &[341]);
    assert!(told(&report, 341).contains("iot:Receive"));
    let mount = bed.mounted(without(whole()?, PolicyAction::Receive), Active)?;
    assert!(faults(&bed.with_aws(&mount.path, &AGENT).await?).contains(&341));
    let report = bed.doctor(&mount.path, &AGENT).await?;
    assert_faults(&report, &[]);
    let unchecked = report.findings.iter().find(|it| it.seen.contains("MQ341"));
    assert_eq!(unchecked.map(|it| it.severity), Some(Severity::Info));
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_a_policy_must_refuse_is_tried() -> Result<()> {
    let bed = Bed::new("doctor-too-wide").await?;
    let arn = bed.arn();
    for (action, code) in [
        (PolicyAction::Connect, 311),
        (PolicyAction::Publish, 312),
        (PolicyAction::Subscribe, 313),
    ] {
        let mount = bed.mounted(with_all(agent(&arn, CONSUMER)?, action, &arn), Active)?;
        assert_faults(&bed.doctor(&mount.path, &AGENT).await?, &[code]);
    }
    // An operator's client id is made for each run: what a policy should allow is its pattern.
    let wide = with_all(operator(&arn)?, PolicyAction::Connect, &arn);
    let mount = bed.mounted(wide, Active)?;
    let report = bed.doctor(&mount.path, &[]).await?;
    assert_faults(&report, &[311]);
    let told = told(&report, 311);
    assert!(
        told.contains(":client/probe-*\"") && told.contains("`-i`"),
        "{told}"
    );
    let everything = Statement::allow(
        [
            PolicyAction::Connect,
            PolicyAction::Publish,
            PolicyAction::Subscribe,
            PolicyAction::Receive,
        ],
        ["*".to_owned()],
    );
    let mount = bed.mounted(Document::new(vec![everything]), Active)?;
    assert_faults(&bed.doctor(&mount.path, &AGENT).await?, &[311, 312, 313]);
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_policy_change_on_its_way_is_no_missing_statement() -> Result<()> {
    let bed = Bed::new("doctor-spreading").await?;
    let mount = bed.mounted(
        without(operator(&bed.arn())?, PolicyAction::Publish),
        Active,
    )?;
    let registry = bed.broker.registry();
    // Later than the first answer, earlier than the last: the doctor asks three times in three quarters of a second.
    registry.set_policy_delay(Duration::from_millis(400));
    registry.put_policy(&mount.policy, operator(&bed.arn())?)?;
    let found = faults(&bed.doctor(&mount.path, &[]).await?);
    // On a slow machine the change may have arrived before the first answer.
    assert!(found == [314] || found.is_empty(), "{found:?}");
    // By AWS it is said even when the broker's answers agree: what is attached allows what is refused.
    registry.set_policy_delay(Duration::from_secs(3600));
    let refused = bed.mounted(
        without(operator(&bed.arn())?, PolicyAction::Connect),
        Active,
    )?;
    registry.put_policy(&refused.policy, operator(&bed.arn())?)?;
    let report = bed.with_aws(&refused.path, &[]).await?;
    assert!(told(&report, 314).contains("minutes"));
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn numbers_of_the_broker_are_named_before_and_after_they_are_broken() -> Result<()> {
    let few = |config: &mut sandbox::broker::BrokerConfig| {
        config.limits = Limits {
            subscriptions: 0,
            ..Limits::IOT_CORE
        };
    };
    let bed = Bed::with("doctor-numbers", few).await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    assert!(faults(&bed.doctor(&mount.path, &AGENT).await?).contains(&322));

    let bed = Bed::new("doctor-numbers").await?;
    let mount = bed.mounted(operator(&bed.arn())?, Active)?;
    let deep = ["--topic", "test/1/2/3/4/5/6/7/8"];
    assert!(faults(&bed.doctor(&mount.path, &deep).await?).contains(&323));
    let large = bed.dir.path().join("bundle.json");
    let data = "x".repeat(140_000);
    let bundle = serde_json::json!({"manifests": [
        {"kind": "ConfigMap", "metadata": {"name": "big", "namespace": "a"}, "data": {"x": data}},
        {"kind": "ConfigMap", "metadata": {"name": "small", "namespace": "a"}},
    ]});
    std::fs::write(&large, bundle.to_string())?;
    let payload = ["--payload", large.to_str().unwrap_or_default()];
    let report = bed.doctor(&mount.path, &payload).await?;
    assert_faults(&report, &[332]);
    assert!(told(&report, 332).contains("ConfigMap a/big"));

    bed.broker.faults().set(|faults| faults.throttle = 1.0);
    let report = bed.doctor(&mount.path, &[]).await?;
    assert_faults(&report, &[333]);
    // What is refused for its rate says nothing of the policy.
    let is_open = |it: &Finding| it.code.number() == 310 && it.severity == Severity::Info;
    assert!(
        report.findings.iter().any(is_open),
        "{:#?}",
        report.findings
    );
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn topics_of_another_consumer_are_named_with_both_names() -> Result<()> {
    let bed = Bed::new("doctor-consumer").await?;
    // All that the topics need is allowed, so that nothing else is wrong.
    let mount = bed.mounted(agent(&bed.arn(), "cluster-2")?, Active)?;
    let config = bed.dir.path().join("config.yaml");
    let topics = "topics:\n  sourceEvents: maestro/consumers/cluster-2/sourceevents\n  agentEvents: maestro/consumers/cluster-2/agentevents\n";
    std::fs::write(&config, topics)?;
    let config = config.to_str().unwrap_or_default();
    let options = ["--config", config, "--consumer", CONSUMER, "--take-over"];
    let report = bed.doctor(&mount.path, &options).await?;
    assert_faults(&report, &[400]);
    let told = told(&report, 400);
    for part in [CONSUMER, "cluster-2", "config.yaml"] {
        assert!(told.contains(part), "{told}");
    }
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_source_that_is_not_the_topics_is_named_with_both_values() -> Result<()> {
    let bed = Bed::new("doctor-source").await?;
    let mount = bed.mounted(bridge(&bed.arn(), "maestro")?, Active)?;
    let config = bed.dir.path().join("config.yaml");
    let topics = "topics:\n  sourceEvents: sources/other/consumers/+/sourceevents\n  agentEvents: sources/other/consumers/+/agentevents\n";
    std::fs::write(&config, topics)?;
    let config = config.to_str().unwrap_or_default();
    let options = ["--config", config, "--source", "maestro"];
    let report = bed.doctor(&mount.path, &options).await?;
    let told = told(&report, 401);
    for part in ["maestro", "other", "config.yaml", "--source"] {
        assert!(told.contains(part), "{told}");
    }
    bed.dir.passed();
    Ok(())
}

/// A process that connects with the agent's client id, and again whenever it is thrown out.
async fn rival(bed: &Bed, mount: &Mounted) -> Result<crate::other_end::Rival> {
    let port = bed.broker.local_addr().port();
    crate::other_end::Rival::start(&bed.broker.handle(), mount, port).await
}
