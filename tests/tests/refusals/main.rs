//! What an agent or a bridge must not believe is refused, counted and explained, and everything else goes on.

mod agent;
mod bridge;
mod manifests;

use std::time::Duration;

use anyhow::Result;
use link::message::Message;
use tests::peer_events;
use tests::region::{Region, Service};
use tests::session::Client;
use tests::wait::wait_for;

/// Publishes a message and waits until a service has counted it and, where that is given, explained it.
pub(crate) async fn counted(
    service: &mut Service,
    peer: &Client,
    message: Message,
    metric: &str,
    labels: &[(&str, &str)],
    explanation: Option<&str>,
) -> Result<()> {
    let before = service.metrics().await?.count(metric, labels);
    peer_events::publish(peer, message).await?;
    wait_for(&format!("{metric} {labels:?}"), PATIENCE, async || {
        let page = service.metrics().await;
        let now = page
            .map_err(|error| error.to_string())?
            .count(metric, labels);
        if now > before {
            Ok(())
        } else {
            Err(format!("counted {now}"))
        }
    })
    .await?;
    if let Some(explanation) = explanation {
        service.process().line_with(explanation, PATIENCE).await?;
    }
    Ok(())
}

/// Waits until a version of a bundle is applied, as REST shows it.
pub(crate) async fn applied(region: &mut Region, id: &str, version: i64) -> Result<()> {
    let api = region.api().await?;
    wait_for(
        "the status of the newest version",
        PATIENCE,
        async || match api.bundle(id).await {
            Ok(Some(bundle)) if bundle.observed_version() == version && bundle.is("Applied") => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    Ok(())
}

/// What a bridge counts of the events of agents.
pub(crate) const TAKEN: &str = "bridge_agent_events_total";

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
