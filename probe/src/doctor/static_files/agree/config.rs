//! A `config.yaml` against the region's file; pure.

use link::topic::Topics;

use super::super::file::Config;
use super::region::Named;
use super::{Compared, NAMES, side};

/// Compares the broker's place and the topics with the region's.
pub(super) fn check(of: Named<'_>, file: &str, config: &Config, compared: &mut Compared) {
    let Named { name, region } = of;
    let (host, port) = config
        .broker
        .rsplit_once(':')
        .unwrap_or((&config.broker, "8883"));
    // Of an endpoint of IoT Core: its name has the region. `{endpoint}` and other names say nothing.
    if let Some((_, rest)) = host.split_once(".iot.") {
        let place = rest.split('.').next().unwrap_or_default();
        compared.known(
            Some(side(file, "brokerHost (region)", place)),
            side(name, "region", region.region.clone()),
            ENDPOINT,
        );
    }
    let own = side(name, "broker.port", region.broker.port.to_string());
    compared.known(Some(side(file, "brokerHost (port)", port)), own, ENDPOINT);
    let scheme = &region.scheme;
    let topics = |topics: &Topics| [topics.source_events.clone(), topics.agent_events.clone()];
    let given = topics(&config.topics);
    let mut own = vec![scheme.bridge_topics()];
    own.extend(
        region
            .clusters
            .iter()
            .map(|cluster| scheme.agent_topics(&cluster.id)),
    );
    let near = own
        .iter()
        .find(|own| topics(own)[0] == given[0])
        .or(own.first());
    for ((field, given), own) in FIELDS
        .iter()
        .zip(given)
        .zip(near.map(topics).into_iter().flatten())
    {
        compared.known(
            Some(side(file, field, given)),
            side(name, "topics", own),
            NAMES,
        );
    }
}

const FIELDS: [&str; 2] = ["topics.sourceEvents", "topics.agentEvents"];

const ENDPOINT: &str = "the program dials another broker than the one that knows its certificate";
