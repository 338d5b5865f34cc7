//! Requests to AWS, signed (Signature Version 4).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use hyper::Request;
use hyper::header::{HeaderName, HeaderValue};
use link::error::chain;

/// For which service and region, with which keys.
pub(crate) struct Signer<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) keys: &'a Credentials,
    pub(crate) now: SystemTime,
}

// === impl Signer ===

impl Signer<'_> {
    /// Adds the signature over all headers that are there, `host` among them.
    ///
    /// # Errors
    /// What the library said.
    pub(crate) fn sign(&self, request: &mut Request<Bytes>) -> Result<(), String> {
        let identity = self.keys.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| chain(&error))?
            .into();
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            })
            .collect();
        let uri = request.uri().to_string();
        let body = request.body().clone();
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri,
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(&body),
        )
        .map_err(|error| chain(&error))?;
        let (instructions, _) = sign(signable, &params)
            .map_err(|error| chain(&error))?
            .into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|error| chain(&error))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| chain(&error))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_request_is_signed_for_its_service_and_shows_no_key() {
        let keys = Credentials::new("id", "no-key-at-all", None, None, "test");
        let signer = Signer {
            service: "iotdata",
            region: "eu-west-1",
            keys: &keys,
            now: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = "https://example.com/connections/a".parse().unwrap();
        let host = HeaderValue::from_static("example.com");
        request.headers_mut().insert("host", host);
        signer.sign(&mut request).unwrap();
        let header = request.headers()["authorization"].to_str().unwrap();
        assert!(
            header.starts_with("AWS4-HMAC-SHA256 ")
                && header.contains("/20231114/eu-west-1/iotdata/aws4_request")
                && header.contains("host;x-amz-date"),
            "{header}"
        );
        assert!(!header.contains(keys.secret_access_key()));
    }
}
