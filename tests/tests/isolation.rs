//! A consumer whose every publish is refused, or whose connection stalls, does not slow the others.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use link::iot::policy::{Document, PolicyAction};
use reqwest::Method;
use serde_json::json;
use tests::api::{Api, Change, config_map};
use tests::fleet::{ExpectedBundle, ExpectedBundles, everything};
use tests::region::{BRIDGE, BrokerKind, Network, Region, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_every_publish_is_refused_does_not_slow_the_others() -> Result<()> {
    let mut region = RegionBuilder::new("isolation-refused", BrokerKind::Sandbox)
        .agents(CONSUMERS)
        .start()
        .await?;
    let api = region.api().await?;
    refuse(&region)?;
    let mut sick = create(&api, SICK, PENDING).await?;
    wait_for("the first refusal", PATIENCE, async || {
        let page = region.bridge.metrics().await;
        let page = page.map_err(|error| format!("{error:#}"))?;
        match page.count("bridge_spec_events_total", &[("outcome", "refused")]) {
            0 => Err(format!("{:?}", page.names())),
            _ => Ok(()),
        }
    })
    .await?;
    let healthy = healthy(&api).await?;
    applied(&api, &healthy).await?;
    // A person who asks where it is stuck is told.
    let path = "/resource-bundles?size=65500&fields=ledger";
    let (_, text) = api.raw(Method::GET, path, None).await?;
    ensure!(text.contains("failure"), "{text}");
    // One that is not refused any more catches up by itself.
    let registry = region.broker.sandbox()?.registry();
    registry.put_policy(DENIED, Document::new(Vec::new()))?;
    sick.0.extend(healthy.0);
    sick.reached(&mut region, CATCH_UP).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_connection_stalls_does_not_slow_the_others() -> Result<()> {
    let mut region = RegionBuilder::new("isolation-stalled", BrokerKind::Sandbox)
        .agents(CONSUMERS)
        .network(Network::Retargetable)
        .start()
        .await?;
    let api = region.api().await?;
    region.proxies[SICK].stall();
    let mut sick = create(&api, SICK, PENDING).await?;
    let healthy = healthy(&api).await?;
    applied(&api, &healthy).await?;
    region.proxies[SICK].pass();
    sick.0.extend(healthy.0);
    sick.reached(&mut region, CATCH_UP).await?;
    region.passed();
    Ok(())
}

/// Denies the bridge the sick consumer's topic; a denial beats what its own policy allows.
fn refuse(region: &Region) -> Result<()> {
    let registry = region.broker.sandbox()?.registry();
    let denial = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Deny",
            "Action": PolicyAction::Publish.name(),
            "Resource": format!("arn:aws:iot:*:*:topic/maestro/consumers/{SICK}/sourceevents"),
        }],
    });
    registry.put_policy(DENIED, Document::parse(&denial.to_string())?)?;
    let bridges = registry
        .certificates()
        .into_iter()
        .filter(|(_, certificate)| certificate.policies.iter().any(|policy| policy == BRIDGE));
    for (fingerprint, _) in bridges {
        registry.attach_policy(&fingerprint, DENIED)?;
    }
    Ok(())
}

async fn healthy(api: &Api) -> Result<ExpectedBundles> {
    let mut expected = ExpectedBundles::default();
    for number in 0..EACH {
        for consumer in 2..=CONSUMERS {
            let name = format!("cluster{consumer}");
            let (id, bundle) = create_one(api, &name, number).await?;
            expected.0.insert(id, bundle);
        }
    }
    Ok(expected)
}

/// Waits for all healthy bundles, and makes sure that nothing of the sick consumer went through before them.
async fn applied(api: &Api, healthy: &ExpectedBundles) -> Result<()> {
    let found = wait_for("every healthy bundle to be applied", PATIENCE, async || {
        let found = everything(api).await.map_err(|error| error.to_string())?;
        let waiting: BTreeSet<&String> = healthy
            .0
            .keys()
            .filter(|id| !found.get(*id).is_some_and(|bundle| bundle.is("Applied")))
            .collect();
        match waiting.first() {
            None => Ok(found),
            Some(first) => Err(format!("{} wait, the first is `{first}`", waiting.len())),
        }
    })
    .await?;
    let sick = found
        .values()
        .filter(|bundle| bundle.consumer_name == SICK && bundle.observed_version() == 0);
    ensure!(
        sick.count() == PENDING,
        "the sick consumer got something, so it was not sick"
    );
    Ok(())
}

async fn create(api: &Api, consumer: &str, count: usize) -> Result<ExpectedBundles> {
    let mut expected = ExpectedBundles::default();
    for number in 0..count {
        let (id, bundle) = create_one(api, consumer, number).await?;
        expected.0.insert(id, bundle);
    }
    Ok(expected)
}

async fn create_one(api: &Api, consumer: &str, number: usize) -> Result<(String, ExpectedBundle)> {
    let name = format!("{consumer}-{number}");
    let change = Change {
        name: Some(name.clone()),
        ..Change::create(consumer, vec![config_map(&name, "one")])
    };
    let created = api.create_bundle(&change).await?;
    let bundle = ExpectedBundle {
        consumer: consumer.to_owned(),
        version: 1,
        manifests: change.manifests,
    };
    Ok((created.id, bundle))
}

const CONSUMERS: usize = 10;
const SICK: &str = "cluster1";
const DENIED: &str = "denied";

// Bundles of the sick consumer: four batches of its lane, twice what may be in flight on its connection.
const PENDING: usize = 200;
// Bundles of each other consumer.
const EACH: usize = 10;

// The healthy bundles alone take two seconds.
const PATIENCE: Duration = Duration::from_secs(30);
// The lane of a refused consumer waits up to a minute before it tries again.
const CATCH_UP: Duration = Duration::from_secs(120);
