//! Who calls what: the credential scope of SigV4 (`Credential=KEY/DATE/REGION/SERVICE/aws4_request`) and the places
//! where each protocol names the operation.

use axum::http::{HeaderMap, header, request::Parts};

use super::super::{Answer, Protocol, Request, form};
use super::rest_operation;

/// What the `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) access_key: String,
    pub(super) region: String,
    pub(super) service: String,
}

// === impl Scope ===

impl Scope {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (_, rest) = text
            .strip_prefix("AWS4-HMAC-SHA256")?
            .split_once("Credential=")?;
        let credential = rest.split([',', ' ']).next()?;
        let mut parts = credential.split('/');
        let access_key = parts.next()?.to_owned();
        let (_date, region, service) = (parts.next()?, parts.next()?, parts.next()?);
        let service = match service {
            "iotdevicegateway" => "iotdata",
            other => other,
        };
        (parts.next() == Some("aws4_request")).then(|| Self {
            access_key,
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

/// The operation that a request asks for; empty when it names none.
pub(super) fn operation(service: &str, parts: &Parts, body: &[u8]) -> String {
    match Protocol::of(service) {
        Protocol::Json => {
            let target = parts
                .headers
                .get("x-amz-target")
                .and_then(|value| value.to_str().ok());
            let name = target.and_then(|target| target.rsplit('.').next());
            name.unwrap_or_default().to_owned()
        }
        Protocol::Query | Protocol::Ec2 => {
            let fields = form::decode(&String::from_utf8_lossy(body));
            form::field(&fields, "Action").unwrap_or_default()
        }
        Protocol::Rest => rest_operation(service, parts),
    }
}

/// The key that an `AssumeRole` gave out, and the account of the role.
pub(super) fn assumed(request: &Request, answer: &Answer) -> Option<(String, String)> {
    let body = String::from_utf8_lossy(&answer.body);
    let (_, rest) = body.split_once("<AccessKeyId>")?;
    let (key, _) = rest.split_once("</AccessKeyId>")?;
    let fields = form::decode(&String::from_utf8_lossy(&request.body));
    let role = form::field(&fields, "RoleArn")?;
    let account = role.split(':').nth(4)?;
    Some((key.trim().to_owned(), account.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn scope(text: &'static str) -> Option<Scope> {
        Scope::of(&HeaderMap::from_iter([(
            header::AUTHORIZATION,
            HeaderValue::from_static(text),
        )]))
    }

    #[test]
    fn the_scope_is_read_from_the_signature() {
        let text = "AWS4-HMAC-SHA256 Credential=AKIA1/20260102/eu-west-1/iotdata/aws4_request, SignedHeaders=host, Signature=0";
        let found = scope(text).unwrap();
        assert_eq!(
            (
                found.access_key.as_str(),
                found.region.as_str(),
                found.service.as_str()
            ),
            ("AKIA1", "eu-west-1", "iotdata")
        );
    }

    #[test]
    fn anything_else_is_unsigned() {
        assert_eq!(scope("Bearer abc"), None);
        assert_eq!(
            scope("AWS4-HMAC-SHA256 Credential=AKIA1/20260102/eu-west-1/iot"),
            None
        );
        assert_eq!(Scope::of(&HeaderMap::new()), None);
    }
}
