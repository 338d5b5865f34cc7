//! DescribeEndpoint.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Refusal};
use super::extract::Params;
use super::plane::Plane;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    endpoint_type: Option<String>,
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
