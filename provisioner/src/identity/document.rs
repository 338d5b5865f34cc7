//! The documents of an enrolment across two accounts: a request one way, a signed certificate back. Neither holds a
//! secret, so they can go by mail; each names its region, party and account, and is refused where these differ.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use link::error::Hint;

/// The request for a certificate, made in the account that keeps the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollmentRequest {
    kind: RequestKind,
    version: u32,
    /// The region's name.
    pub region: String,
    /// Whose key it is: the management cluster's id, or `region` for the server's.
    pub party: String,
    /// Account that keeps the key.
    pub account: String,
    /// When the key was made.
    pub requested_at: Timestamp,
    /// The signing request, PEM.
    pub csr: String,
}

/// The region's account's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedEnrollment {
    kind: SignedKind,
    version: u32,
    /// The region's name.
    pub region: String,
    /// Whose certificate it is: the management cluster's id, or `region` for the server's.
    pub party: String,
    /// Account in which the certificate is registered.
    pub account: String,
    /// The certificate's id in IoT Core.
    pub certificate_id: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// The broker's host name.
    pub endpoint: String,
    /// Roots that the broker's certificate is checked against, PEM.
    pub ca: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum RequestKind {
    EnrollmentRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SignedKind {
    SignedEnrollment,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is bigger than any of ours.
    #[error("{what} of {bytes} bytes, at most {MAX_BYTES} are read")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// It is no such document.
    #[error("read {what}")]
    Json {
        /// Which document.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A later version of this command wrote it.
    #[error("{what} of version {found}, this command reads version {VERSION}")]
    Version {
        /// Which document.
        what: &'static str,
        /// Its version.
        found: u32,
    },
}

// === impl EnrollmentRequest ===

impl EnrollmentRequest {
    pub(crate) fn new(
        region: &str,
        party: String,
        account: &str,
        requested_at: Timestamp,
        csr: String,
    ) -> Self {
        Self {
            kind: RequestKind::EnrollmentRequest,
            version: VERSION,
            region: region.to_owned(),
            party,
            account: account.to_owned(),
            requested_at,
            csr,
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`DocumentError`] for anything that is not exactly one.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let request: Self = read("enrolment request", text)?;
        check_version("enrolment request", request.version)?;
        Ok(request)
    }

    /// The document as a file holds it.
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

// === impl SignedEnrollment ===

impl SignedEnrollment {
    pub(crate) fn new(request: &EnrollmentRequest, account: &str, issued: Issued) -> Self {
        Self {
            kind: SignedKind::SignedEnrollment,
            version: VERSION,
            region: request.region.clone(),
            party: request.party.clone(),
            account: account.to_owned(),
            certificate_id: issued.id,
            certificate: issued.pem,
            endpoint: issued.endpoint,
            ca: issued.ca,
        }
    }

    /// Reads a signed enrolment.
    ///
    /// # Errors
    /// [`DocumentError`] for anything that is not exactly one.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let signed: Self = read("signed enrolment", text)?;
        check_version("signed enrolment", signed.version)?;
        Ok(signed)
    }

    /// The document as a file holds it.
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

/// What the region's account adds to a request.
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) pem: String,
    pub(crate) endpoint: String,
    pub(crate) ca: String,
}

// === impl DocumentError ===

impl Hint for DocumentError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooLarge { .. } | Self::Json { .. } => {
                "give the file as `provisioner enroll` wrote it, unedited".into()
            }
            Self::Version { .. } => "use the same version of `provisioner` in both accounts".into(),
        })
    }
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, DocumentError> {
    let bytes = text.len();
    if bytes > MAX_BYTES {
        return Err(DocumentError::TooLarge { what, bytes });
    }
    serde_json::from_str(text).map_err(|source| DocumentError::Json { what, source })
}

fn check_version(what: &'static str, found: u32) -> Result<(), DocumentError> {
    match found {
        VERSION => Ok(()),
        found => Err(DocumentError::Version { what, found }),
    }
}

fn pretty(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

const VERSION: u32 = 1;

// A certificate is 1.5 KiB, a file of roots 3 KiB; a system's whole trust store would be 220 KiB.
const MAX_BYTES: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> EnrollmentRequest {
        let at = Timestamp::UNIX_EPOCH;
        let csr = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
        EnrollmentRequest::new("base", "management-01".into(), "222222222222", at, csr)
    }

    #[test]
    fn a_request_survives_the_way() {
        let text = request().to_json();
        assert_eq!(EnrollmentRequest::parse(&text).unwrap(), request());
        insta::assert_snapshot!(text, @r#"
        {
          "kind": "EnrollmentRequest",
          "version": 1,
          "region": "base",
          "party": "management-01",
          "account": "222222222222",
          "requestedAt": "1970-01-01T00:00:00Z",
          "csr": "-----BEGIN CERTIFICATE REQUEST-----\n"
        }
        "#);
    }

    #[test]
    fn a_document_of_another_kind_is_refused() {
        let error = SignedEnrollment::parse(&request().to_json()).unwrap_err();
        assert_eq!(error.to_string(), "read signed enrolment");
    }

    #[test]
    fn unknown_keys_and_later_versions_are_refused() {
        let text = request().to_json();
        let more = text.replacen('{', "{\"policy\": \"admin\",", 1);
        assert!(matches!(
            EnrollmentRequest::parse(&more),
            Err(DocumentError::Json { .. })
        ));
        let later = text.replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(
            EnrollmentRequest::parse(&later),
            Err(DocumentError::Version { found: 2, .. })
        ));
    }
}
