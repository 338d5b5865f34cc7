//! Certificates: from a signing request to deletion.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, NoContent, Refusal};
use super::extract::{Body, Params, Segment};
use super::names::CertificateId;
use super::page::{ListItem, Markers};
use super::plane::{Plane, epoch};
use super::settling::Resource;
use crate::broker::{Certificate, CertificateState, Fingerprint};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    certificate_signing_request: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Activation {
    #[serde(default)]
    set_as_active: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    new_status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Force {
    #[serde(default)]
    force_delete: bool,
}

/// Signs the key of a request. The same request makes another certificate each time.
pub(super) async fn create_from_csr(
    State(plane): State<Arc<Plane>>,
    Params(activation): Params<Activation>,
    Body(request): Body<Request>,
) -> Answer {
    let csr = &request.certificate_signing_request;
    if csr.len() > CSR_CHARACTERS {
        return Err(Refusal::invalid(format!(
            "certificateSigningRequest is longer than {CSR_CHARACTERS} characters"
        )));
    }
    let registry = plane.registry();
    let from = registry.clock().now() - BEFORE_NOW;
    let pem = plane.authority.sign_request(csr, from, END)?;
    let state = if activation.set_as_active {
        CertificateState::Active
    } else {
        CertificateState::Inactive
    };
    let id = registry.register_pem_as(&pem, state)?;
    plane.settling.made(Resource::Certificate, id.as_str());
    Ok(Json(json!({
        "certificateArn": plane.certificate_arn(&id),
        "certificateId": id,
        "certificatePem": pem,
    })))
}

pub(super) async fn describe(
    State(plane): State<Arc<Plane>>,
    Segment(CertificateId(id)): Segment<CertificateId>,
) -> Answer {
    let known = visible(&plane, &id)?;
    let mut description = summary(&plane, &id, &known);
    let more = json!({
        "certificatePem": known.pem,
        "ownedBy": plane.account(),
        "lastModifiedDate": epoch(known.modified),
        "customerVersion": 1,
        "validity": {
            "notBefore": epoch(known.not_before),
            "notAfter": epoch(known.not_after),
        },
    });
    if let (Value::Object(description), Value::Object(more)) = (&mut description, more) {
        description.extend(more);
    }
    Ok(Json(json!({ "certificateDescription": description })))
}

pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    Params(markers): Params<Markers>,
) -> Answer {
    let all = plane.registry().certificates();
    let all = all
        .iter()
        .filter(|(id, _)| plane.settling.sees(Resource::Certificate, id.as_str()));
    let all = all.map(|(id, known)| {
        ListItem::by_date(known.created, id.as_str(), summary(&plane, id, known))
    });
    markers.by_date("certificates", all.collect())
}

/// Leaving ACTIVE ends the connections; IoT Core takes minutes for it, the sandbox no time.
pub(super) async fn update(
    State(plane): State<Arc<Plane>>,
    Segment(CertificateId(id)): Segment<CertificateId>,
    Params(change): Params<Change>,
) -> NoContent {
    let state = match change.new_status.as_str() {
        "ACTIVE" => CertificateState::Active,
        "INACTIVE" => CertificateState::Inactive,
        "REVOKED" => CertificateState::Revoked,
        other => {
            return Err(Refusal::invalid(format!(
                "newStatus `{other}` is not ACTIVE, INACTIVE or REVOKED"
            )));
        }
    };
    Ok(plane.registry().set_state(&id, state)?)
}

pub(super) async fn delete(
    State(plane): State<Arc<Plane>>,
    Segment(CertificateId(id)): Segment<CertificateId>,
    Params(force): Params<Force>,
) -> NoContent {
    plane
        .settling
        .check_deletion(Resource::Certificate, id.as_str())?;
    Ok(plane
        .registry()
        .delete_certificate(&id, force.force_delete)?)
}

fn visible(plane: &Plane, id: &Fingerprint) -> Result<Certificate, Refusal> {
    let known = plane.registry().certificate(id);
    known
        .filter(|_| plane.settling.sees(Resource::Certificate, id.as_str()))
        .ok_or_else(|| Refusal::not_found(format!("no certificate `{id}`")))
}

fn summary(plane: &Plane, id: &Fingerprint, known: &Certificate) -> Value {
    json!({
        "certificateArn": plane.certificate_arn(id),
        "certificateId": id,
        "status": known.state.as_str(),
        "certificateMode": "DEFAULT",
        "creationDate": epoch(known.created),
    })
}

// For clients whose clocks are behind.
const BEFORE_NOW: Duration = Duration::from_secs(86_400);

/// 2049-12-31T23:59:59Z, when certificates that IoT Core signs end.
const END: Timestamp = Timestamp::constant(2_524_607_999, 0);

/// As in the API reference.
const CSR_CHARACTERS: usize = 4096;
