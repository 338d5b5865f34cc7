//! Public files of AWS: a GET over the SDK's HTTPS client, without credentials and without a signature.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;

use super::{AwsError, Outcome as _};

/// Reads the file at `path` of the server at `base`, such as `https://pricing.us-east-1.amazonaws.com`. One attempt.
///
/// # Errors
/// What kept it from being answered, or the status that is not 200.
pub(crate) async fn get(base: &str, path: &str) -> Result<Vec<u8>, AwsError> {
    // A public file has no region, but without one the metadata service of EC2 would be asked for it.
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .no_credentials()
        .load()
        .await;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_WITHIN)
        .operation_attempt_timeout(ANSWER_WITHIN)
        .build();
    let mut operation = Operation::builder()
        .service_name("public")
        .operation_name("Get")
        .behavior_version(BehaviorVersion::latest())
        .no_auth()
        .no_retry()
        .endpoint_url(base)
        .timeout_config(timeouts);
    if let Some(client) = config.http_client() {
        operation = operation.http_client(client);
    }
    if let Some(sleep) = config.sleep_impl() {
        operation = operation.sleep_impl(sleep);
    }
    let operation = operation
        .serializer(|path: String| {
            let mut request = HttpRequest::new(SdkBody::empty());
            request.set_method("GET")?;
            request.set_uri(path)?;
            Ok(request)
        })
        .deserializer(|answer: &HttpResponse| {
            let status = answer.status().as_u16();
            match answer.body().bytes() {
                Some(body) if status == 200 => Ok(body.to_vec()),
                _ => Err(OrchestratorError::operation(GetError::of(status))),
            }
        })
        .build();
    let answer = Box::pin(operation.invoke(path.to_owned())).await;
    answer.during("read", &format!("{base}{path}"))
}

/// Whether files can be read below this: an address with its scheme and host.
pub(crate) fn is_base(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    has_host && HttpRequest::new(SdkBody::empty()).set_uri(text).is_ok()
}

/// Another status than 200.
#[derive(Debug)]
struct GetError(ErrorMetadata);

// === impl GetError ===

impl GetError {
    fn of(status: u16) -> Self {
        let meta = ErrorMetadata::builder().message(format!("HTTP status {status}"));
        Self(meta.build())
    }
}

impl std::fmt::Display for GetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for GetError {}

impl ProvideErrorMetadata for GetError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
// The file of RDS has tens of megabytes.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with this; its address, and the request's first line.
    async fn answer(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let request = String::from_utf8(request).unwrap();
            assert!(
                !request.to_lowercase().contains("authorization"),
                "{request}"
            );
            request.lines().next().unwrap_or_default().to_owned()
        });
        (base, served)
    }

    #[tokio::test]
    async fn a_public_file_is_read_without_credentials() {
        let (base, served) = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        assert_eq!(get(&base, "/offers/index.json").await, Ok(b"{}".to_vec()));
        assert_eq!(served.await.unwrap(), "GET /offers/index.json HTTP/1.1");
    }

    #[test]
    fn a_base_has_a_scheme_and_a_host() {
        for good in [
            "https://pricing.us-east-1.amazonaws.com",
            "http://[::1]:8/a/",
        ] {
            assert!(is_base(good), "{good}");
        }
        for bad in [
            "nonsense",
            "",
            "https://",
            "https:///a",
            "ftp://a",
            "https://a b",
        ] {
            assert!(!is_base(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn another_status_is_an_error_that_names_the_file() {
        let (base, _served) = answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        let error = get(&base, "/nope").await.unwrap_err().to_string();
        assert_eq!(error, format!("read `{base}/nope`: HTTP status 404"));
    }
}
