//! Messages as the Go implementation writes and reads them, attribute by attribute (docs/MAESTRO.md §2–§4), for scripted peers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::bundle::Status;
use link::clock::{Clock, rfc3339_nanos};
use link::event::decode;
use link::message::Message;
use link::order::SequenceId;
use tokio_util::task::AbortOnDropHandle;

use crate::session::Client;

/// An event: id, source, specversion, type, time, clustername, then extensions in any order.
pub fn event(
    topic: &str,
    source: &str,
    kind: &str,
    extensions: &[(&str, &str)],
    data: Option<&str>,
) -> Message {
    let now = Clock::system().now();
    let mut properties: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| {
        properties.push((format!("ce-{name}"), value.to_owned()));
    };
    add("id", &uuid::Uuid::new_v4().to_string());
    add("source", source);
    add("specversion", "1.0");
    add("type", &format!("{}.{kind}", link::event::MANIFEST_BUNDLES));
    add("time", &rfc3339_nanos(now));
    add("clustername", "cluster1");
    for (name, value) in extensions {
        add(name, value);
    }
    Message {
        topic: topic.to_owned(),
        payload: data.unwrap_or_default().to_owned().into(),
        content_type: data.map(|_| "application/json".to_owned()),
        user_properties: properties,
        retain: false,
        expiry_seconds: None,
        extra: None,
    }
}

/// A bundle from the source `maestro` to the agent of `cluster1`; `action` such as `create_request`.
pub fn spec(
    id: &str,
    action: &str,
    version: i32,
    more: &[(&str, &str)],
    data: Option<&str>,
) -> Message {
    let version = version.to_string();
    let metadata = format!(
        r#"{{"name":"{id}","namespace":"cluster1","uid":"{id}","creationTimestamp":null,"labels":{{"team":"a"}}}}"#
    );
    let mut extensions = vec![
        ("resourceversion", version.as_str()),
        ("logtracing", TRACING),
        ("resourceid", id),
        ("metadata", &metadata),
        ("originalsource", ""),
    ];
    extensions.extend(more);
    let kind = format!("spec.{action}");
    event(SOURCE_TOPIC, "maestro", &kind, &extensions, data)
}

/// The deletion of a bundle, without data as the Go library sends it.
pub fn deletion(id: &str, version: i32) -> Message {
    let at = rfc3339_nanos(Clock::system().now());
    let more = [("deletiontimestamp", at.as_str())];
    spec(id, "delete_request", version, &more, None)
}

/// A source asks for statuses; `data` lists the hashes it holds.
pub fn status_request(data: &str) -> Message {
    let extensions = [("originalsource", "")];
    let kind = "status.resync_request";
    event(SOURCE_TOPIC, "maestro", kind, &extensions, Some(data))
}

/// The agent of `cluster1` says what it holds: `data` lists versions.
pub fn agent_list(data: &str) -> Message {
    let extensions = [("originalsource", "")];
    let kind = "spec.resync_request";
    event(AGENT_TOPIC, GO_AGENT, kind, &extensions, Some(data))
}

/// The agent of `cluster1` tells a status of a version, as the `step`th of this millisecond; `hash` is what it takes for
/// the status's hash.
pub fn agent_status(id: &str, version: i32, step: u16, hash: &str, data: &str) -> Message {
    let version = version.to_string();
    let sequence = SequenceId::from_parts(Clock::system().now(), 1, step).to_string();
    let metadata = format!(r#"{{"name":"{id}","uid":"{id}","creationTimestamp":null}}"#);
    let extensions = [
        ("statushash", hash),
        ("somethingnew", "ignored"),
        ("sequenceid", &sequence),
        ("resourceversion", &version),
        ("resourceid", id),
        ("originalsource", "maestro"),
        ("metadata", &metadata),
        ("logtracing", "{}"),
    ];
    let kind = "status.update_request";
    event(AGENT_TOPIC, GO_AGENT, kind, &extensions, Some(data))
}

/// Sends a message to somebody who must be listening.
///
/// # Errors
/// When nobody is, or the session is closed.
pub async fn send(peer: &Client, message: Message) -> Result<()> {
    let ack = peer.session.publish(message).await?.await?;
    ensure!(ack.matched, "somebody listens");
    Ok(())
}

/// The next event whose type has these words after the data type; others are taken and forgotten.
///
/// # Errors
/// When none comes in time, or one is no event.
pub async fn next(peer: &mut Client, words: &str) -> Result<Message> {
    let next = async {
        loop {
            let delivery = peer.inbound.recv().await.context("the session is open")?;
            let message = delivery.message.clone();
            delivery.ack();
            decode(&message)?;
            if kind(&message).contains(&format!("manifestbundles.{words}")) {
                return Ok(message);
            }
        }
    };
    let waited = crate::wait::timeout(PATIENCE, next).await;
    waited.with_context(|| format!("wait for `{words}`"))?
}

/// The next status of a bundle that says what is looked for, with its message; others are taken and forgotten.
///
/// # Errors
/// When none comes in time; the message holds the last one of this bundle.
pub async fn status(
    peer: &mut Client,
    id: &str,
    is_it: impl Fn(&Message, &Status) -> bool,
) -> Result<(Message, Status)> {
    let mut last = String::from("none");
    loop {
        let message = next(peer, "status.").await;
        let message = message.with_context(|| format!("the last status of `{id}`: {last}"))?;
        if value(&message, "resourceid") != Some(id) {
            continue;
        }
        let status: Status = serde_json::from_slice(&message.payload)?;
        if is_it(&message, &status) {
            return Ok((message, status));
        }
        last = String::from_utf8_lossy(&message.payload).into_owned();
    }
}

/// The status that says that a version was applied.
///
/// # Errors
/// See [`status`].
pub async fn applied(peer: &mut Client, id: &str, version: i32) -> Result<(Message, Status)> {
    let version = version.to_string();
    status(peer, id, |message, status| {
        let is_true = |kind: &str| status.condition(kind).is_some_and(|it| it.is_true());
        value(message, "resourceversion") == Some(&version)
            && is_true("Applied")
            && is_true("Available")
    })
    .await
}

/// The status that says that a bundle is gone.
///
/// # Errors
/// See [`status`].
pub async fn deleted(peer: &mut Client, id: &str) -> Result<Message> {
    let (message, _) = status(peer, id, |_, status| status.is_deleted()).await?;
    Ok(message)
}

/// Answers each creation of a bundle for `cluster1` with a status of its version, as its agent would, until it is dropped or
/// nothing has come for [`next`]'s time. The peer subscribes to [`SOURCE_TOPIC`].
pub fn answering(mut peer: Client) -> AbortOnDropHandle<Result<()>> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut step: u16 = 0;
        loop {
            let created = next(&mut peer, "spec.create_request").await?;
            let id = value(&created, "resourceid").context("a bundle has an id")?;
            let version = value(&created, "resourceversion").context("a bundle has a version")?;
            step = (step + 1) % STEPS;
            let message = agent_status(id, version.parse()?, step, HASH, STATUS);
            send(&peer, message).await?;
        }
    }))
}

/// The event's type.
pub fn kind(message: &Message) -> &str {
    value(message, "type").unwrap_or_default()
}

/// One of its attributes.
pub fn value<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let found = message.user_properties.iter();
    found
        .filter_map(|(key, value)| Some((key.strip_prefix("ce-")?, value)))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.as_str())
}

/// The names of its attributes.
pub fn attributes(message: &Message) -> BTreeSet<&str> {
    let properties = message.user_properties.iter();
    properties
        .filter_map(|(key, _)| key.strip_prefix("ce-"))
        .collect()
}

/// Names written one after the other, to compare with [`attributes`].
pub fn names(names: &'static str) -> BTreeSet<&'static str> {
    names.split(' ').collect()
}

/// What every bundle carries in its attribute `logtracing`.
pub const TRACING: &str = r#"{"logging.open-cluster-management.io/op-id":"7"}"#;

/// A request for what somebody misses.
pub const REQUEST: &str = "id source specversion type time clustername originalsource";
/// A bundle.
pub const SPEC: &str = "id source specversion type time clustername originalsource resourceid resourceversion metadata logtracing";
/// The status of a bundle that was applied; ours adds the last two for the ledger of our own bridge, a Go source stores
/// and ignores them.
pub const APPLIED_STATUS: &str = "id source specversion type time clustername originalsource resourceid resourceversion sequenceid statushash metadata logtracing receivedat appliedat";
/// The status of a bundle that is gone.
pub const DELETED_STATUS: &str = "id source specversion type time clustername originalsource resourceid resourceversion sequenceid statushash metadata logtracing receivedat";

/// Where the agent of `cluster1` speaks.
pub const AGENT_TOPIC: &str = "maestro/consumers/cluster1/agentevents";
/// Where it is spoken to.
pub const SOURCE_TOPIC: &str = "maestro/consumers/cluster1/sourceevents";

/// A status of a bundle that was applied, and what an agent takes for its hash.
pub const STATUS: &str = r#"{"conditions":[{"type":"Applied","status":"True","lastTransitionTime":"2026-08-01T10:05:00Z","reason":"R","message":"m"}]}"#;
/// See [`STATUS`].
pub const HASH: &str = "19160e865d66707ae6e11c6a9f4212591683633cd12fbadf797ef90f78036641";

// What a sequence id has room for within a millisecond.
const STEPS: u16 = 1 << 12;

const GO_AGENT: &str = "cluster1-work-agent";

const PATIENCE: Duration = Duration::from_secs(30);
