//! Connections, as the data plane tells of them: GetConnection, ListSubscriptions, DeleteConnection.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, NoContent, Refusal};
use super::extract::{Params, Segment};
use super::names::ClientName;
use super::page::{ListItem, Tokens};
use super::plane::Plane;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    #[serde(default)]
    include_socket_information: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ending {
    #[serde(default)]
    clean_session: bool,
    #[serde(default)]
    prevent_will_message: bool,
}

/// A client that went is known for half an hour, or as long as its session; that it is unknown after that is assumed.
pub(super) async fn get(
    State(plane): State<Arc<Plane>>,
    Segment(ClientName(client_id)): Segment<ClientName>,
    Params(wanted): Params<Wanted>,
) -> Answer {
    let known = plane.broker.connection(&client_id);
    let known = known.ok_or_else(|| unknown(&client_id))?;
    let mut body = json!({
        "clientId": client_id,
        "connected": known.connected,
        "cleanSession": known.clean_session,
        "keepAliveDuration": known.keep_alive,
        "sessionExpiry": known.session_expiry.as_secs(),
    });
    if known.connected {
        body["connectedSince"] = known.connected_since.as_millisecond().into();
    }
    if let Some((at, reason)) = known.disconnected {
        body["disconnectedSince"] = at.as_millisecond().into();
        body["disconnectReason"] = reason.as_str().into();
    }
    if let Some(thing) = known.thing_name {
        body["thingName"] = thing.into();
    }
    if let Some((from, to)) = known.sockets.filter(|_| wanted.include_socket_information) {
        body["sourceIp"] = from.ip().to_string().into();
        body["sourcePort"] = from.port().into();
        body["targetIp"] = to.ip().to_string().into();
        body["targetPort"] = to.port().into();
    }
    Ok(Json(body))
}

/// Of a session without a connection too (assumed: a persistent session keeps its subscriptions).
pub(super) async fn list_subscriptions(
    State(plane): State<Arc<Plane>>,
    Segment(ClientName(client_id)): Segment<ClientName>,
    Params(tokens): Params<Tokens>,
) -> Answer {
    let filters = plane.broker.subscriptions(&client_id);
    let filters = filters.ok_or_else(|| unknown(&client_id))?;
    let filters = filters.iter().map(|(filter, qos)| {
        let item: Value = json!({ "topicFilter": filter, "qos": qos });
        ListItem::by_name(filter, item)
    });
    tokens.by_name_within("subscriptions", filters.collect(), SUBSCRIPTIONS)
}

pub(super) async fn delete(
    State(plane): State<Arc<Plane>>,
    Segment(ClientName(client_id)): Segment<ClientName>,
    Params(ending): Params<Ending>,
) -> NoContent {
    let broker = &plane.broker;
    let found = if ending.prevent_will_message {
        broker.disconnect_without_will(&client_id, ending.clean_session)
    } else {
        broker.disconnect(&client_id, ending.clean_session)
    };
    found.then_some(()).ok_or_else(|| unknown(&client_id))
}

fn unknown(client_id: &str) -> Refusal {
    Refusal::not_found(format!("client `{client_id}` is not connected"))
}

// Subscriptions on a page by default and at most, as in the API reference.
const SUBSCRIPTIONS: (usize, usize) = (20, 200);
