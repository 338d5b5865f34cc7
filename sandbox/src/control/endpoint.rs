//! DescribeEndpoint, and DeleteConnection of the data plane behind it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Refusal};
use super::extract::{Params, Segment};
use super::plane::Plane;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    endpoint_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ending {
    #[serde(default)]
    clean_session: bool,
    #[serde(default)]
    prevent_will_message: bool,
}

/// Only `iot:Data-ATS` leads to the broker. The others are names that resolve nowhere, so that a client that asked for
/// the wrong one notices here.
pub(super) async fn describe(
    State(plane): State<Arc<Plane>>,
    Params(wanted): Params<Wanted>,
) -> Answer {
    // Without a type, IoT Core gives `iot:Data`.
    let address = match wanted.endpoint_type.as_deref() {
        Some("iot:Data-ATS") => plane.endpoint.as_str(),
        None | Some("iot:Data") => "data.iot.invalid",
        Some("iot:Data-Beta") => "data-beta.iot.invalid",
        Some("iot:CredentialProvider") => "credentials.iot.invalid",
        Some("iot:Jobs") => "jobs.iot.invalid",
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "endpointType `{other}` is not valid"
            )));
        }
    };
    Ok(Json(json!({ "endpointAddress": address })))
}

pub(super) async fn delete_connection(
    State(plane): State<Arc<Plane>>,
    Segment(client_id): Segment<String>,
    Params(ending): Params<Ending>,
) -> Result<(), Refusal> {
    if client_id.starts_with('$') || client_id.len() > link::iot::limits::CLIENT_ID_BYTES {
        return Err(Refusal::invalid(format!(
            "clientId `{client_id}` is not valid"
        )));
    }
    let broker = &plane.broker;
    let found = if ending.prevent_will_message {
        broker.disconnect_without_will(&client_id, ending.clean_session)
    } else {
        broker.disconnect(&client_id, ending.clean_session)
    };
    if found {
        return Ok(());
    }
    Err(Refusal::not_found(format!(
        "client `{client_id}` is not connected"
    )))
}
