//! Writes the harness's own calls and reads their answers, in the protocol of each service. No I/O.

use axum::http::Method;
use serde_json::{Map, Value};

use super::super::{Protocol, Request, form, rest, xml};

/// A call with parameters spelled as on the wire; `None` for an operation of no known path.
pub(super) fn request(
    account: &str,
    service: &str,
    operation: &str,
    mut params: Map<String, Value>,
) -> Option<Request> {
    let mut request = Request::bare(account, service);
    request.operation = operation.to_owned();
    match Protocol::of(service) {
        Protocol::Json => {
            let target = format!("{service}.{operation}").parse().ok()?;
            request.headers.insert("x-amz-target", target);
            request
                .headers
                .insert("content-type", "application/x-amz-json-1.1".parse().ok()?);
            request.method = Method::POST;
            request.body = Value::Object(params).to_string().into();
        }
        Protocol::Query | Protocol::Ec2 => {
            let mut fields = vec![("Action", operation), ("Version", version(service))];
            if matches!(service, "iam" | "sts") {
                fields.push(("ContentType", "JSON"));
            }
            let texts: Vec<_> = params
                .iter()
                .map(|(name, value)| (name, text(value)))
                .collect();
            fields.extend(
                texts
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
            let form = Request::form(account, service, &form::encode(fields));
            request = Request {
                operation: request.operation,
                ..form
            };
        }
        Protocol::Rest => {
            let (method, path) = rest::path(service, operation, &mut params)?;
            request.target = path;
            if method == Method::GET || method == Method::DELETE {
                let texts: Vec<_> = params
                    .iter()
                    .map(|(name, value)| (name, text(value)))
                    .collect();
                let query = form::encode(
                    texts
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_str())),
                );
                request.target += &format!("?{query}");
            } else {
                request
                    .headers
                    .insert("content-type", "application/json".parse().ok()?);
                request.body = Value::Object(params).to_string().into();
            }
            request.method = method;
        }
    }
    Some(request)
}

/// The answer without the wrapping of its protocol.
pub(super) fn read(service: &str, operation: &str, body: &str) -> Option<Value> {
    match Protocol::of(service) {
        Protocol::Ec2 => xml::to_json(body).ok(),
        Protocol::Query if service == "rds" => {
            let mut answer = xml::to_json(body).ok()?;
            let result = answer.get_mut(format!("{operation}Result"));
            Some(result.map_or(Value::Null, Value::take))
        }
        Protocol::Query => {
            let mut answer: Value = serde_json::from_str(body).ok()?;
            let response = answer.get_mut(format!("{operation}Response"))?;
            let result = response.get_mut(format!("{operation}Result"));
            Some(result.map_or(Value::Null, Value::take))
        }
        Protocol::Json | Protocol::Rest if body.trim().is_empty() => Some(Value::Null),
        Protocol::Json | Protocol::Rest => serde_json::from_str(body).ok(),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn version(service: &str) -> &'static str {
    match service {
        "ec2" => "2016-11-15",
        "iam" => "2010-05-08",
        "rds" => "2014-10-31",
        _ => "2011-06-15",
    }
}
