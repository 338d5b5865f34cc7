//! What a service answers when it refuses.
//!
//! EC2 has a list of errors in a `Response`, RDS one in an `ErrorResponse`. An answer with neither, as of a proxy in
//! between, has no code; its status decides whether it is tried again.

use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::apply_request_id;

use super::{Element, Malformed};

/// A refusal, or an answer that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    meta: ErrorMetadata,
}

// === impl QueryError ===

impl QueryError {
    pub(super) fn refused(status: u16, headers: &Headers, body: &[u8]) -> Self {
        let answer = Element::parse(body).ok();
        let error = answer.as_ref().and_then(error);
        let field = |name| error.and_then(|error| error.text(name));
        let mut meta = apply_request_id(ErrorMetadata::builder(), headers);
        match field("Code") {
            Some(code) => {
                meta = meta.code(code);
                if let Some(message) = field("Message") {
                    meta = meta.message(message);
                }
            }
            None => meta = meta.message(format!("HTTP status {status}, and no reason")),
        }
        Self { meta: meta.build() }
    }

    pub(super) fn malformed(why: &Malformed) -> Self {
        let meta = ErrorMetadata::builder().message(why.to_string());
        Self { meta: meta.build() }
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.meta.fmt(f)
    }
}

impl std::error::Error for QueryError {}

impl ProvideErrorMetadata for QueryError {
    fn meta(&self) -> &ErrorMetadata {
        &self.meta
    }
}

fn error(answer: &Element) -> Option<&Element> {
    let errors = answer.child("Errors").unwrap_or(answer);
    errors.child("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> QueryError {
        QueryError::refused(400, &Headers::new(), body.as_bytes())
    }

    #[test]
    fn both_kinds_of_errors_have_a_code_and_words() {
        let ec2 = "<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code>\
             <Message>The vpc ID 'vpc-1' does not exist</Message></Error></Errors>\
             <RequestID>1</RequestID></Response>";
        let error = refused(ec2);
        assert_eq!(error.code(), Some("InvalidVpcID.NotFound"));
        assert_eq!(error.message(), Some("The vpc ID 'vpc-1' does not exist"));
        let rds = r#"<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
            <Error><Type>Sender</Type><Code>DBInstanceNotFound</Code><Message>none</Message></Error>
            <RequestId>1</RequestId></ErrorResponse>"#;
        let error = refused(rds);
        assert_eq!(error.code(), Some("DBInstanceNotFound"));
        assert_eq!(error.message(), Some("none"));
        let bare = refused("<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>");
        assert_eq!((bare.code(), bare.message()), (Some("Throttling"), None));
    }

    #[test]
    fn an_answer_of_something_in_between_has_no_code_and_is_not_quoted() {
        for body in ["", "<html><body>Bad gateway</body></html>", "{\"a\":1}"] {
            let error = refused(body);
            assert_eq!(error.code(), None, "{body}");
            assert_eq!(error.message(), Some("HTTP status 400, and no reason"));
        }
    }

    #[test]
    fn the_request_is_named_as_the_header_says() {
        use aws_types::request_id::RequestId as _;
        let mut headers = Headers::new();
        headers.insert("x-amzn-requestid", "r-1");
        let error = QueryError::refused(403, &headers, b"");
        assert_eq!(error.meta().request_id(), Some("r-1"));
    }
}
