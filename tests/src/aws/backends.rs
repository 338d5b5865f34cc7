//! Carries a call out, whoever can: moto, the fake EKS or the sandbox. Nothing is counted or refused here, so this is
//! also the way behind a client's back.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, Method, header};
use reqwest::redirect;

use super::eks::Eks;
use super::form;
use super::refusal::{refuse, unknown};
use super::{Answer, Request};

/// What stands behind a [`super::Endpoint`].
#[derive(Clone, Debug)]
pub(super) struct Backends {
    http: reqwest::Client,
    moto: SocketAddr,
    /// The sandbox's control plane.
    iot: Option<SocketAddr>,
    /// The server that every RDS instance leads to.
    database: Option<SocketAddr>,
    pub(super) eks: Arc<Eks>,
}

// === impl Backends ===

impl Backends {
    pub(super) fn new(
        moto: SocketAddr,
        iot: Option<SocketAddr>,
        database: Option<SocketAddr>,
    ) -> reqwest::Result<Self> {
        link::tls::install_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            // A connection that the other side has just closed would look like a failure of AWS.
            .pool_max_idle_per_host(0)
            .build()?;
        let eks = Arc::default();
        Ok(Self {
            http,
            moto,
            iot,
            database,
            eks,
        })
    }

    /// The answer to a call, always one in the service's own words.
    pub(super) async fn carry_out(&self, request: &Request) -> Answer {
        let outcome = match request.service.as_str() {
            "iot" | "iotdata" => match self.iot {
                Some(iot) => self.forward(iot, request).await,
                None => return unknown(&request.service, &request.operation),
            },
            "eks" if Eks::takes(request) => return self.eks(request).await,
            _ => self.forward(self.moto, request).await,
        };
        match outcome {
            Ok(answer) if is_page(&answer) => unknown(&request.service, &request.operation),
            Ok(answer) if request.service == "rds" => self.leading(answer),
            Ok(answer) => answer,
            Err(error) => refuse(
                &request.service,
                503,
                "ServiceUnavailable",
                &error.without_url().to_string(),
            ),
        }
    }

    async fn eks(&self, request: &Request) -> Answer {
        if let Some(cluster) = Eks::cluster(request) {
            let path = format!("/clusters/{}", form::encode_segment(&cluster));
            let mut look = request.clone();
            look.method = Method::GET;
            look.target = path;
            look.body = Default::default();
            match self.forward(self.moto, &look).await {
                Ok(answer) if answer.status.is_success() => {}
                Ok(answer) => return answer,
                Err(_) => return refuse("eks", 503, "ServiceUnavailable", "moto does not answer"),
            }
        }
        if let Some(role) = Eks::role(request) {
            let mut parts = role.split(':');
            if parts.nth(4) != Some(&request.account) {
                return refuse(
                    "eks",
                    403,
                    "AccessDeniedException",
                    "Cross-account pass role is not allowed.",
                );
            }
            if !self.has_role(request, &role).await {
                let message = format!("Role provided in the request does not exist: {role}");
                return refuse("eks", 400, "InvalidParameterException", &message);
            }
        }
        self.eks.answer(request)
    }

    /// Puts the real server where moto's answer names one that is nowhere.
    fn leading(&self, answer: Answer) -> Answer {
        let (Some(database), Ok(text)) = (self.database, std::str::from_utf8(&answer.body)) else {
            return answer;
        };
        let (address, port) = (database.ip(), database.port());
        let endpoint = format!("<Address>{address}</Address><Port>{port}</Port>");
        let mut parts = text.split(OPEN);
        let mut body = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (_, rest) = part.split_once(CLOSE).unwrap_or(("", part));
            body.extend([OPEN, &endpoint, CLOSE, rest]);
        }
        Answer {
            body: body.into(),
            ..answer
        }
    }

    async fn has_role(&self, request: &Request, arn: &str) -> bool {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let fields = [
            ("Action", "GetRole"),
            ("Version", "2010-05-08"),
            ("RoleName", name),
        ];
        let look = Request {
            service: "iam".into(),
            operation: "GetRole".into(),
            ..Request::form(&request.account, "iam", &form::encode(fields))
        };
        let answer = self.forward(self.moto, &look).await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }

    async fn forward(&self, to: SocketAddr, request: &Request) -> reqwest::Result<Answer> {
        let mut headers = request.headers.clone();
        // The sandbox reads its own address nowhere, moto finds the service in the signature.
        for name in [
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
        ] {
            headers.remove(name);
        }
        if let Ok(account) = HeaderValue::from_str(&request.account) {
            headers.insert(ACCOUNT, account);
        }
        let url = format!("http://{to}{}", request.target);
        let sent = self
            .http
            .request(request.method.clone(), url)
            .headers(headers);
        let answer = sent.body(request.body.clone()).send().await?;
        let status = answer.status();
        let mut headers = answer.headers().clone();
        for name in [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
        ] {
            headers.remove(name);
        }
        let body = answer.bytes().await?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

// === impl Request ===

impl Request {
    /// A call of the query protocol.
    pub(super) fn form(account: &str, service: &str, form: &str) -> Self {
        let mut request = Self::bare(account, service);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, kind);
        request.method = Method::POST;
        request.body = form.to_owned().into();
        request
    }

    /// A call of the harness itself, without its contents.
    pub(super) fn bare(account: &str, service: &str) -> Self {
        let region = super::REGION;
        let mut headers = axum::http::HeaderMap::new();
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAHARNESS/20260101/{region}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            headers.insert(header::AUTHORIZATION, signature);
        }
        Self {
            account: account.into(),
            region: region.into(),
            service: service.into(),
            operation: String::new(),
            method: Method::GET,
            target: "/".into(),
            headers,
            body: Default::default(),
        }
    }
}

/// Whether this is a page of moto's framework rather than an answer: it has no such operation, or fell over it.
fn is_page(answer: &Answer) -> bool {
    !answer.status.is_success()
        && answer
            .body
            .trim_ascii_start()
            .starts_with(b"<!doctype html")
}

const ACCOUNT: HeaderName = HeaderName::from_static("x-moto-account-id");

const OPEN: &str = "<Endpoint>";
const CLOSE: &str = "</Endpoint>";

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_page_is_no_answer() {
        let page = Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/html",
            "<!doctype html>\n<html>",
        );
        assert!(is_page(&page));
        assert!(!is_page(&refuse("iam", 500, "ServiceFailure", "why")));
    }
}
