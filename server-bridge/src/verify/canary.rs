//! Canaries: one small bundle for each cluster, changed in each round, which has to come back as applied.

use std::time::Duration;

use futures_util::StreamExt as _;
use hyper::Method;
use link::clock::Clock;
use link::error::{Hint as _, chain};
use link::fault::Finding;
use link::http::client::{ApiClient, ApiError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::look::{self, SeenAgent, SeenBundle};
use super::memory::{Memory, lost};
use super::under_way::UnderWay;
use super::{CANARY, VerifyOptions, Violation};

/// What became of one cluster's canary.
#[derive(Default)]
pub(super) struct CanaryOutcome {
    pub(super) consumer: String,
    /// The id and version that the API acknowledged.
    pub(super) acknowledged: Option<(String, i64)>,
    /// How long it took, if it came back.
    pub(super) took: Option<Duration>,
    pub(super) note: Option<Finding>,
    pub(super) violations: Vec<Violation>,
    /// Somebody takes it away, or it is not there any more and that is told: nobody is to miss it.
    pub(super) is_gone: bool,
    started: Option<Instant>,
    agent: String,
}

// === impl CanaryOutcome ===

impl CanaryOutcome {
    /// Whether it was sent and says how the cluster is.
    pub(super) fn is_counted(&self) -> bool {
        self.acknowledged.is_some() && self.note.is_none()
    }

    fn no_longer(&mut self, finding: Finding) {
        self.note = Some(finding);
        self.started = None;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.started.is_some()
    }
}

/// Creates or changes the canary of each cluster that was looked at. What came of those that were tried, and the error that
/// concerns all of them, after which no other is tried: what was acknowledged before is not to be forgotten for that.
pub(super) async fn send(
    api: &ApiClient,
    options: &VerifyOptions,
    seen: &[(String, SeenAgent)],
    memory: &Memory,
    under_way: &UnderWay,
) -> (Vec<CanaryOutcome>, Result<(), ApiError>) {
    let sending = seen.iter().map(|(consumer, agent)| async move {
        let known = memory.canary(consumer);
        let mut outcome = CanaryOutcome {
            consumer: consumer.clone(),
            agent: how_it_is(agent),
            ..CanaryOutcome::default()
        };
        let sent = send_one(api, options, &mut outcome, agent, (known, under_way)).await;
        match sent {
            // Whether it was taken is not known: it stays under way.
            Err(error) if concerns_all(&error) => return Err(error),
            // What is refused for one cluster says nothing of the others.
            Err(error) => outcome.no_longer(refused(consumer, &error)),
            Ok(()) => {}
        }
        if !outcome.is_under_way() {
            under_way.ends(&id(options, consumer));
        }
        Ok(outcome)
    });
    let mut sending = futures_util::stream::iter(sending).buffer_unordered(AT_ONCE);
    let mut outcomes = Vec::new();
    while let Some(sent) = sending.next().await {
        match sent {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => return (outcomes, Err(error)),
        }
    }
    (outcomes, Ok(()))
}

async fn send_one(
    api: &ApiClient,
    options: &VerifyOptions,
    outcome: &mut CanaryOutcome,
    agent: &SeenAgent,
    (known, under_way): (Option<i64>, &UnderWay),
) -> Result<(), ApiError> {
    let consumer = outcome.consumer.clone();
    if agent.state == "never" {
        let seen = format!("No canary was sent to `{consumer}`: its agent was never heard from");
        outcome.note = Some(Finding::info(CANARY, seen));
        return Ok(());
    }
    let id = id(options, &consumer);
    let existing = look::bundles_by_id(api, std::slice::from_ref(&id)).await?;
    let existing = existing.into_iter().next();
    if let (None, Some(version)) = (&existing, known) {
        let seen = format!(
            "Bundle `{id}` of `{consumer}`, acknowledged at version {version}, is gone; only `verify --clean` or somebody's DELETE takes a canary away"
        );
        // A warning: a cluster that is taken out of service looks the same, and `--except` says that it is.
        outcome.violations.push(Violation {
            subject: id,
            finding: lost(Finding::warning(super::ACKNOWLEDGED, seen)),
        });
        outcome.is_gone = true;
        return Ok(());
    }
    if let Some(bundle) = &existing {
        if bundle.deleted_at.is_some() {
            outcome.is_gone = true;
            let seen = format!("No canary was sent to `{consumer}`: the last one is being deleted");
            outcome.note = Some(Finding::info(CANARY, seen));
            return Ok(());
        }
        if !is_ours(bundle, options, &consumer) {
            outcome.note = Some(foreign(&id));
            return Ok(());
        }
    }
    outcome.started = Some(Instant::now());
    // Before it is written: one that was sent and never answered may be there.
    under_way.begins(&id);
    match write(api, options, &consumer, &id, existing.as_ref()).await {
        Ok(version) => outcome.acknowledged = Some((id, version)),
        // Somebody else's verifier sends one under this name, too; or the consumer has just gone.
        Err(ApiError::Status { status: 409, .. } | ApiError::NotFound { .. }) => {
            let seen = format!(
                "No canary was sent to `{consumer}`: somebody else changed it at the same time"
            );
            outcome.no_longer(Finding::info(CANARY, seen));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Whether a bundle with a canary's id is one, so that it may be changed and deleted: whoever has a right to all bundles
/// has it to those of users, too.
pub(super) fn is_ours(bundle: &SeenBundle, options: &VerifyOptions, consumer: &str) -> bool {
    let name = options.canary.as_deref().unwrap_or_default();
    let [manifest] = bundle.manifests.as_slice() else {
        return false;
    };
    bundle.consumer_name == consumer
        && manifest["kind"] == "ConfigMap"
        && manifest["metadata"]["name"] == name
        && manifest["metadata"]["labels"][MARK] == MARKED
        && manifest["data"]["consumer"] == consumer
}

pub(super) fn foreign(id: &str) -> Finding {
    let seen = format!("`{id}` is somebody else's bundle; it was neither changed nor deleted");
    Finding::warning(CANARY, seen)
        .why("this cluster is not checked by a canary as long as its id is taken")
        .next("choose another --canary")
}

/// Nobody answers, or the caller is not known: there is nothing to be gained by trying the other clusters.
pub(super) fn concerns_all(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Http(_)
            | ApiError::Unauthorized { .. }
            | ApiError::Token { .. }
            | ApiError::NotToken { .. }
    )
}

fn refused(consumer: &str, error: &ApiError) -> Finding {
    let seen = format!("No canary was sent to `{consumer}`: {}", chain(error));
    let finding = Finding::warning(CANARY, seen).why("this cluster was not checked by a canary");
    finding.next(error.hint().unwrap_or_default())
}

async fn write(
    api: &ApiClient,
    options: &VerifyOptions,
    consumer: &str,
    id: &str,
    existing: Option<&SeenBundle>,
) -> Result<i64, ApiError> {
    let name = options.canary.as_deref().unwrap_or_default();
    let manifests = json!([{
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": options.namespace, "labels": {MARK: MARKED}},
        // Another text in each round, or nothing would be sent.
        "data": {"consumer": consumer, "round": uuid::Uuid::new_v4().to_string()},
    }]);
    let (method, path, body) = match existing {
        None => (
            Method::POST,
            "/resource-bundles".to_owned(),
            json!({"id": id, "consumer_name": consumer, "manifests": manifests}),
        ),
        Some(bundle) => (
            Method::PATCH,
            format!("/resource-bundles/{id}"),
            json!({"version": bundle.version, "manifests": manifests}),
        ),
    };
    let answer = api.call(method, &path, Some(&body)).await?;
    let version = answer.get("version").and_then(Value::as_i64);
    // Without its version nobody could tell whether what comes back is this canary.
    version.ok_or(ApiError::Foreign { path })
}

/// Waits for those that were sent, and notes of each whether it came back in time; those that are under way still when it
/// fails are not judged.
pub(super) async fn wait(
    api: &ApiClient,
    options: &VerifyOptions,
    sent: &mut [CanaryOutcome],
    (clock, under_way): (&Clock, &UnderWay),
) -> Result<(), ApiError> {
    let began = Instant::now();
    loop {
        let going = sent.iter().filter(|outcome| outcome.is_under_way());
        let ids = going.filter_map(|outcome| outcome.acknowledged.as_ref());
        let ids: Vec<String> = ids.map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        match look::bundles_by_id(api, &ids).await {
            Ok(bundles) => {
                for outcome in sent.iter_mut() {
                    judge(outcome, &bundles, options, clock);
                    if !outcome.is_under_way() {
                        under_way.ends(&id(options, &outcome.consumer));
                    }
                }
            }
            // Busy for a moment; nothing is said of canaries that nobody saw.
            Err(ApiError::Status { .. }) if began.elapsed() < options.within => {}
            Err(error) => return Err(error),
        }
        sleep(POLL).await;
    }
}

fn judge(
    outcome: &mut CanaryOutcome,
    bundles: &[SeenBundle],
    options: &VerifyOptions,
    clock: &Clock,
) {
    let (Some(started), Some((id, version))) = (outcome.started, &outcome.acknowledged) else {
        return;
    };
    let bundle = bundles.iter().find(|bundle| bundle.id == *id);
    let back = |bundle: &SeenBundle| {
        bundle.version >= *version
            && bundle.status_version == Some(bundle.version)
            && bundle.applied.as_deref() == Some("True")
    };
    let elapsed = started.elapsed();
    if bundle.is_none_or(|bundle| bundle.deleted_at.is_some()) {
        // Taken away, as when a cluster is taken out of service. One that vanished without that is missed in the next round.
        outcome.is_gone = bundle.is_some();
        let seen = format!("Canary `{id}` was taken away while it was under way");
        outcome.no_longer(Finding::info(CANARY, seen));
    } else if bundle.is_some_and(back) {
        outcome.took = Some(elapsed);
        outcome.started = None;
    } else if elapsed >= options.within {
        let consumer = &outcome.consumer;
        let seen = format!(
            "The canary of `{consumer}`, bundle `{id}` in version {version}, was not applied within {} s (at {}); {}; the agent is {}",
            options.within.as_secs_f32(),
            link::clock::rfc3339_seconds(clock.now()),
            where_it_is(bundle, *version),
            outcome.agent,
        );
        let finding = Finding::error(CANARY, seen)
            .why("what is published for this cluster now does not reach it, or the server does not hear of it")
            .next(format!("server-bridge explain {id}"));
        outcome.violations.push(Violation {
            subject: consumer.clone(),
            finding,
        });
        outcome.started = None;
    }
}

fn where_it_is(bundle: Option<&SeenBundle>, version: i64) -> String {
    let Some(bundle) = bundle else {
        return "it is not there any more".into();
    };
    if bundle.applied.as_deref() == Some("False") {
        return "the agent has it and could not apply it".into();
    }
    let entry = bundle.ledger.iter().find(|entry| entry.version == version);
    let Some(entry) = entry else {
        return format!("its version is {} now", bundle.version);
    };
    let hop = if entry.reported_at.is_some() {
        "the agent reported on it"
    } else if entry.broker_acked_at.is_some() {
        "the broker has taken it and nothing came back"
    } else if entry.published_at.is_some() {
        "it was sent, and the broker has not acknowledged it"
    } else {
        "the server has not sent it"
    };
    hop.into()
}

pub(super) fn id(options: &VerifyOptions, consumer: &str) -> String {
    format!(
        "{}-{consumer}",
        options.canary.as_deref().unwrap_or_default()
    )
}

fn how_it_is(agent: &SeenAgent) -> String {
    let mut text = if agent.state.is_empty() {
        "unknown".to_owned()
    } else {
        agent.state.clone()
    };
    if let Some(since) = &agent.since {
        text.push_str(&format!(" since {since}"));
    }
    if let Some(reason) = &agent.reason {
        text.push_str(&format!(" ({reason})"));
    }
    text
}

// Connections that the API gives to one caller without a thought.
const AT_ONCE: usize = 8;
pub(super) const POLL: Duration = Duration::from_millis(500);
// What no bundle of a user has by chance.
const MARK: &str = "app.kubernetes.io/managed-by";
const MARKED: &str = "server-bridge-verify";

#[cfg(test)]
mod tests;
