//! The faults of the broker by name, below `/sandbox/faults`: a path of the sandbox alone, without a signature.
//!
//! An answer comes when the fault is in effect. What is listed as set is what was set here; what a test sets by
//! [`crate::broker::Faults`] is not. Nothing of it is saved: faults end with the process.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use link::fault::Code;
use link::spelling::nearest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::catalogue::{KNOBS, Knob};
use super::extract::{Body, Segment};
use super::plane::Plane;

mod apply;
mod catalogue;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    value: Option<String>,
}

/// Why a fault was not set.
#[derive(Debug)]
struct Problem(StatusCode, String);

/// `GET` and `DELETE` of all, `PUT` and `DELETE` of one.
pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/sandbox/faults", get(list).delete(clear_all))
        .route("/sandbox/faults/{name}", put(set).delete(clear))
}

async fn list(State(plane): State<Arc<Plane>>) -> Json<Value> {
    let set = plane.faults();
    let faults = KNOBS.iter().map(|knob| {
        let codes = knob.codes.iter().filter_map(|number| {
            let entry = Code::from_number(*number)?.entry()?;
            Some(json!({ "code": entry.code, "fault": entry.fault }))
        });
        json!({
            "name": knob.name,
            "value": set.get(knob.name),
            "values": knob.values,
            "default": knob.default,
            "what": knob.what,
            "codes": codes.collect::<Vec<_>>(),
        })
    });
    Json(json!({ "faults": faults.collect::<Vec<_>>() }))
}

async fn set(
    State(plane): State<Arc<Plane>>,
    Segment(name): Segment<String>,
    Body(setting): Body<Setting>,
) -> Result<Json<Value>, Problem> {
    let knob = named(&name)?;
    let value = setting.value.as_deref().or(knob.default);
    let Some(value) = value else {
        return Err(bad(format!(
            "fault `{name}` needs a value: {}",
            knob.values
        )));
    };
    if has_empty(value) {
        return Err(bad(format!(
            "fault `{name}` does not take an empty value, but {}",
            knob.values
        )));
    }
    apply::set(&plane, knob.name, Some(value)).map_err(|takes| {
        bad(format!(
            "fault `{name}` does not take `{value}`, but {takes}"
        ))
    })?;
    plane.faults().insert(knob.name, value.to_owned());
    in_effect(&plane).await?;
    Ok(Json(json!({ "name": name, "value": value })))
}

async fn clear(
    State(plane): State<Arc<Plane>>,
    Segment(name): Segment<String>,
) -> Result<(), Problem> {
    clear_one(&plane, named(&name)?)?;
    in_effect(&plane).await
}

async fn clear_all(State(plane): State<Arc<Plane>>) -> Result<(), Problem> {
    KNOBS.iter().try_for_each(|knob| clear_one(&plane, knob))?;
    in_effect(&plane).await
}

/// All but the port's take effect as they are set.
async fn in_effect(plane: &Plane) -> Result<(), Problem> {
    let waiting = plane.broker.faults().port_is_as_set();
    timeout(IN_EFFECT_WITHIN, waiting).await.map_err(|_| {
        let message =
            "the port is not yet as it is set; hint: see what the sandbox's log says of it";
        Problem(StatusCode::SERVICE_UNAVAILABLE, message.into())
    })
}

fn clear_one(plane: &Plane, knob: &Knob) -> Result<(), Problem> {
    // One that is off may still be on by a test's hand.
    apply::set(plane, knob.name, None).map_err(bad)?;
    plane.faults().remove(knob.name);
    Ok(())
}

fn named(name: &str) -> Result<&'static Knob, Problem> {
    Knob::named(name).ok_or_else(|| {
        let names: Vec<&str> = KNOBS.iter().map(|knob| knob.name).collect();
        let near = nearest(name, &names).map(|near| format!("; did you mean `{near}`?"));
        let message = format!("there is no fault `{name}`{}", near.unwrap_or_default());
        Problem(StatusCode::NOT_FOUND, message)
    })
}

// An empty name would match nothing, and the fault would seem to be on.
fn has_empty(value: &str) -> bool {
    value.split(',').any(|part| part.trim().is_empty())
}

fn bad(message: String) -> Problem {
    Problem(StatusCode::BAD_REQUEST, message)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, Json(json!({ "message": message }))).into_response()
    }
}

// Loopback takes milliseconds.
const IN_EFFECT_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_no_empty_part_and_a_body_no_unknown_member() {
        for empty in ["", " ", "a,", ",a", "a,,b"] {
            assert!(has_empty(empty), "{empty}");
        }
        assert!(!has_empty("a,b") && !has_empty("*"));
        let parsed = serde_json::from_str::<Setting>;
        assert!(parsed(r#"{"value": "a"}"#).is_ok() && parsed("{}").is_ok());
        assert!(parsed(r#"{"valeu": "a"}"#).is_err());
    }

    #[test]
    fn every_code_is_in_the_catalogue_and_every_name_is_there_once() {
        for (at, knob) in KNOBS.iter().enumerate() {
            for code in knob.codes {
                assert!(Code::from_number(*code).is_some(), "{}: {code}", knob.name);
            }
            let later = &KNOBS[at + 1..];
            assert!(
                later.iter().all(|other| other.name != knob.name),
                "{}",
                knob.name
            );
        }
    }
}
