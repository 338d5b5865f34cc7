//! Errors in the words of each protocol, as the AWS SDK reads them.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::{Answer, Protocol, Request, permission};

/// An error of a service.
pub(super) fn refuse(service: &str, status: u16, code: &str, message: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    match Protocol::of(service) {
        Protocol::Json => {
            let body = json!({ "__type": code, "message": message, "Message": message });
            Answer::new(status, "application/x-amz-json-1.1", body.to_string())
        }
        Protocol::Rest => {
            let body = json!({ "message": message });
            let mut answer = Answer::new(status, "application/json", body.to_string());
            if let Ok(code) = HeaderValue::from_str(code) {
                answer.headers.insert("x-amzn-errortype", code);
            }
            answer
        }
        Protocol::Query => {
            let side = if status.is_server_error() {
                "Receiver"
            } else {
                "Sender"
            };
            let message = escape(message);
            let body = format!(
                "<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>{REQUEST}</RequestId></ErrorResponse>"
            );
            Answer::new(status, "text/xml", body)
        }
        Protocol::Ec2 => {
            let message = escape(message);
            let body = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>{REQUEST}</RequestID></Response>"
            );
            Answer::new(status, "text/xml", body)
        }
    }
}

/// The caller lacks a permission.
pub(super) fn denied(request: &Request) -> Answer {
    let Request {
        account,
        service,
        operation,
        ..
    } = request;
    let action = permission(service, operation);
    let message = format!(
        "User: arn:aws:iam::{account}:user/moto is not authorized to perform: {action} on resource: * because no \
         identity-based policy allows the {action} action"
    );
    let (status, code) = match Protocol::of(service) {
        Protocol::Json => (400, "AccessDeniedException"),
        Protocol::Rest => (403, "AccessDeniedException"),
        Protocol::Query => (403, "AccessDenied"),
        Protocol::Ec2 => (403, "UnauthorizedOperation"),
    };
    refuse(service, status, code, &message)
}

/// Nobody behind the endpoint knows the operation. Status 400: a client must not try it again.
pub(super) fn unknown(service: &str, operation: &str) -> Answer {
    let message = format!("the AWS of the tests does not know {service}:{operation}");
    refuse(service, 400, "UnknownOperationException", &message)
}

/// A request without the header that SigV4 makes.
pub(super) fn unsigned() -> Answer {
    refuse(
        "sts",
        403,
        "MissingAuthenticationToken",
        "Request is missing Authentication Token",
    )
}

/// An access key that no account gave out.
pub(super) fn unknown_caller(service: &str) -> Answer {
    let code = match Protocol::of(service) {
        Protocol::Json | Protocol::Rest => "UnrecognizedClientException",
        Protocol::Query => "InvalidClientTokenId",
        Protocol::Ec2 => "AuthFailure",
    };
    let message = "The security token included in the request is invalid.";
    refuse(service, 403, code, message)
}

// === impl Answer ===

impl Answer {
    /// An answer of a given kind.
    pub(super) fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let kind = HeaderValue::from_static(kind);
        let headers = HeaderMap::from_iter([(axum::http::header::CONTENT_TYPE, kind)]);
        let body = body.into();
        Self {
            status,
            headers,
            body,
        }
    }

    /// 200 with JSON.
    pub(super) fn json(body: &serde_json::Value) -> Self {
        Self::new(StatusCode::OK, "application/json", body.to_string())
    }
}

/// Text inside XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const REQUEST: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_own_words() {
        let text = |service| {
            String::from_utf8(refuse(service, 400, "Code", "<why>").body.to_vec()).unwrap()
        };
        assert!(text("secretsmanager").contains(r#""__type":"Code""#));
        assert!(
            text("ec2")
                .starts_with("<Response><Errors><Error><Code>Code</Code><Message>&lt;why&gt;<")
        );
        assert!(
            text("rds").starts_with("<ErrorResponse><Error><Type>Sender</Type><Code>Code</Code>")
        );
        let rest = refuse("eks", 404, "Code", "why");
        assert_eq!(rest.status, 404);
        assert_eq!(rest.headers["x-amzn-errortype"], "Code");
    }
}
