//! The calls: one address per service, or one for all of them.

use std::sync::OnceLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use jiff::Timestamp;
use link::clock::Clock;
use link::error::chain;
use link::http::client::{HttpAddress, HttpClient};
use link::iot::Document;
use link::telemetry::clip;
use link::tls::HttpsFiles;
use serde_json::Value;

use super::facts::{AttachedPolicy, CertificateState, ConnectionState, Known, Unknown};
use super::sign::Signer;

/// Calls AWS with some keys.
pub(crate) struct Aws {
    /// In place of the services' own addresses.
    pub(crate) endpoint: Option<HttpAddress>,
    pub(crate) region: String,
    /// The endpoint of MQTT, which is the data plane's too.
    pub(crate) data_host: String,
    pub(crate) keys: Credentials,
    pub(crate) within: Duration,
    /// The time of the first answer: the server's and the one here.
    pub(crate) date: OnceLock<(Timestamp, Timestamp)>,
}

/// One call.
struct Call<'a> {
    service: &'static str,
    host: String,
    method: Method,
    path: String,
    body: Bytes,
    headers: &'a [(&'static str, &'static str)],
}

/// An answer that is no success.
struct Refusal {
    kind: String,
    message: String,
}

// === impl Aws ===

impl Aws {
    /// Who the keys are of, as a resource name.
    pub(crate) async fn caller(&self) -> Known<String> {
        let call = Call {
            service: "sts",
            host: self.host("sts"),
            method: Method::POST,
            path: "/".into(),
            body: Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"),
            headers: &[
                ("content-type", "application/x-www-form-urlencoded"),
                ("accept", "application/json"),
            ],
        };
        let answer = self.json(call, "sts:GetCallerIdentity").await?;
        let arn = answer
            .pointer("/GetCallerIdentityResponse/GetCallerIdentityResult/Arn")
            .and_then(Value::as_str);
        arn.map(|arn| clip(arn, CLIP).into_owned())
            .ok_or_else(|| Unknown::Failed("sts:GetCallerIdentity: no `Arn` in the answer".into()))
    }

    /// The certificate with this id.
    pub(crate) async fn certificate(&self, id: &str) -> Known<CertificateState> {
        let call = self.control(Method::GET, format!("/certificates/{id}"));
        match self.send(call, "iot:DescribeCertificate").await? {
            Err(refusal) if refusal.kind == NOT_FOUND => Ok(CertificateState::Absent),
            Err(refusal) => Err(refusal.unknown("iot:DescribeCertificate")),
            Ok(answer) => {
                let action = "iot:DescribeCertificate";
                let certificate = &answer["certificateDescription"];
                Ok(CertificateState::Registered {
                    status: named(certificate, "status", action)?,
                    arn: named(certificate, "certificateArn", action)?,
                    modified: seconds(&certificate["lastModifiedDate"]),
                })
            }
        }
    }

    /// The policies that are attached to a certificate, each with its document in force.
    pub(crate) async fn policies(&self, certificate_arn: &str) -> Known<Vec<AttachedPolicy>> {
        let path = format!("/attached-policies/{}", escaped(certificate_arn));
        let call = self.control(Method::POST, path);
        let answer = self.json(call, "iot:ListAttachedPolicies").await?;
        let mut policies = Vec::new();
        // A certificate has ten at most (docs/IOT-CORE.md §1.2), which is one page.
        for policy in listed(&answer, "policies", "iot:ListAttachedPolicies")? {
            let name = named(policy, "policyName", "iot:ListAttachedPolicies")?;
            let call = self.control(Method::GET, format!("/policies/{}", escaped(&name)));
            let policy = self.json(call, "iot:GetPolicy").await?;
            let document = whole(&policy, "policyDocument", "iot:GetPolicy")?;
            policies.push(AttachedPolicy {
                document: Document::read(&document).named(name),
                modified: seconds(&policy["lastModifiedDate"]),
            });
        }
        Ok(policies)
    }

    /// The endpoint that clients of this account and region dial.
    pub(crate) async fn endpoint(&self) -> Known<String> {
        let path = "/endpoint?endpointType=iot%3AData-ATS".to_owned();
        let call = self.control(Method::GET, path);
        let answer = self.json(call, "iot:DescribeEndpoint").await?;
        named(&answer, "endpointAddress", "iot:DescribeEndpoint")
    }

    /// Whether a client id is connected, and why it went.
    pub(crate) async fn connection(&self, client_id: &str) -> Known<ConnectionState> {
        let call = self.data(format!("/connections/{}", escaped(client_id)));
        match self.send(call, "iot:GetConnection").await? {
            // Not within the last half hour.
            Err(refusal) if refusal.kind == NOT_FOUND => Ok(ConnectionState::default()),
            Err(refusal) => Err(refusal.unknown("iot:GetConnection")),
            Ok(answer) => {
                let connected = answer["connected"]
                    .as_bool()
                    .ok_or_else(|| lacks("connected", "iot:GetConnection"))?;
                let since = match connected {
                    true => &answer["connectedSince"],
                    false => &answer["disconnectedSince"],
                };
                Ok(ConnectionState {
                    connected,
                    since: since
                        .as_i64()
                        .and_then(|at| Timestamp::from_millisecond(at).ok()),
                    reason: answer["disconnectReason"]
                        .as_str()
                        .map(|reason| clip(reason, CLIP).into_owned()),
                })
            }
        }
    }

    /// What a client id is subscribed to.
    pub(crate) async fn subscriptions(&self, client_id: &str) -> Known<Vec<String>> {
        let path = format!(
            "/connections/{}/subscriptions?maxResults={SUBSCRIPTIONS}",
            escaped(client_id)
        );
        match self.send(self.data(path), "iot:ListSubscriptions").await? {
            Err(refusal) if refusal.kind == NOT_FOUND => Ok(Vec::new()),
            Err(refusal) => Err(refusal.unknown("iot:ListSubscriptions")),
            Ok(answer) => {
                let all = listed(&answer, "subscriptions", "iot:ListSubscriptions")?.iter();
                Ok(all.map(|one| text(one, "topicFilter")).collect())
            }
        }
    }

    /// Whether a secret exists; its value is not asked for.
    pub(crate) async fn secret(&self, id: &str) -> Known<bool> {
        let call = Call {
            service: "secretsmanager",
            host: self.host("secretsmanager"),
            method: Method::POST,
            path: "/".into(),
            body: Bytes::from(serde_json::json!({ "SecretId": id }).to_string()),
            headers: &[
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", "secretsmanager.DescribeSecret"),
            ],
        };
        match self.send(call, "secretsmanager:DescribeSecret").await? {
            Ok(answer) => named(&answer, "Name", "secretsmanager:DescribeSecret").map(|_| true),
            Err(refusal) if refusal.kind == NOT_FOUND => Ok(false),
            Err(refusal) => Err(refusal.unknown("secretsmanager:DescribeSecret")),
        }
    }

    fn control(&self, method: Method, path: String) -> Call<'static> {
        Call {
            service: "iot",
            host: self.host("iot"),
            method,
            path,
            body: Bytes::new(),
            headers: &[],
        }
    }

    // Regions in China have a domain of their own.
    fn host(&self, service: &str) -> String {
        let region = &self.region;
        let domain = match region.starts_with("cn-") {
            true => "amazonaws.com.cn",
            false => "amazonaws.com",
        };
        format!("{service}.{region}.{domain}")
    }

    fn data(&self, path: String) -> Call<'static> {
        Call {
            service: "iotdata",
            host: self.data_host.clone(),
            method: Method::GET,
            path,
            body: Bytes::new(),
            headers: &[],
        }
    }

    // The first date that an answer carries.
    fn heard(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        let parsed = date.and_then(|date| jiff::fmt::rfc2822::parse(date.trim()).ok());
        if let Some(date) = parsed {
            let answered = Clock::system().now();
            let _ = self.date.set((date.timestamp(), answered));
        }
    }

    async fn json(&self, call: Call<'_>, action: &str) -> Known<Value> {
        let answer = self.send(call, action).await?;
        answer.map_err(|refusal| refusal.unknown(action))
    }

    async fn send(&self, call: Call<'_>, action: &str) -> Known<Result<Value, Refusal>> {
        let failed = |why: String| Unknown::Failed(format!("{action}: {why}"));
        let address = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => HttpAddress::parse(&format!("https://{}", call.host))
                .map_err(|error| failed(chain(&error)))?,
        };
        let base = address.to_string();
        let host = base.split('/').nth(2).unwrap_or_default().to_owned();
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = format!("{base}{}", call.path)
            .parse()
            .map_err(|_| failed(format!("`{}` is no path", call.path)))?;
        let headers = request.headers_mut();
        headers.insert(
            HOST,
            HeaderValue::from_str(&host).map_err(|error| failed(chain(&error)))?,
        );
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in call.headers {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let signer = Signer {
            service: call.service,
            region: &self.region,
            keys: &self.keys,
            now: Clock::system().now().into(),
        };
        signer.sign(&mut request).map_err(failed)?;
        let client = HttpClient::new(address, HttpsFiles::default())
            .map_err(|error| failed(chain(&error)))?
            .within(self.within)
            .answer_bytes(ANSWER_BYTES);
        let answer = client
            .send(request)
            .await
            .map_err(|error| failed(chain(&error)))?;
        let (parts, body) = answer.into_parts();
        self.heard(&parts.headers);
        let value = serde_json::from_slice(&body);
        if parts.status.is_success() {
            // A proxy or a sign-in page answers with a success too.
            return match value {
                Ok(value @ Value::Object(_)) => Ok(Ok(value)),
                _ => Err(failed("the answer is no object of JSON".into())),
            };
        }
        let value: Value = value.unwrap_or_default();
        let kind = parts
            .headers
            .get("x-amzn-errortype")
            .and_then(|value| value.to_str().ok())
            .or_else(|| value["__type"].as_str())
            .or_else(|| value.pointer("/Error/Code").and_then(Value::as_str))
            .unwrap_or_default();
        // `Name:http://…`, or `com.amazonaws…#Name`.
        let kind = kind.split(':').next().unwrap_or_default();
        let kind = kind.rsplit('#').next().unwrap_or_default();
        let message = ["message", "Message"]
            .iter()
            .find_map(|key| value[*key].as_str())
            .or_else(|| value.pointer("/Error/Message").and_then(Value::as_str));
        Ok(Err(Refusal {
            kind: match kind {
                "" => format!("status {}", parts.status.as_u16()),
                kind => kind.to_owned(),
            },
            message: message.unwrap_or_default().to_owned(),
        }))
    }
}

// === impl Refusal ===

impl Refusal {
    fn unknown(self, action: &str) -> Unknown {
        let (kind, message) = (clip(&self.kind, CLIP), clip(&self.message, CLIP));
        let words = format!("{action}: {kind}: {message}");
        // Which word the service has for it differs from one to the next.
        let refused = ["AccessDenied", "Forbidden", "Unauthorized", "NotAuthorized"];
        let signature = ["Token", "Signature", "Credential", "AccessKey"];
        match refused
            .iter()
            .chain(&signature)
            .any(|word| self.kind.contains(word))
        {
            true => Unknown::Refused(words),
            false => Unknown::Failed(words),
        }
    }
}

/// A name, or the like, without which an answer means nothing; none of AWS's is longer than what is kept.
fn named(value: &Value, key: &str, action: &str) -> Known<String> {
    Ok(clip(&whole(value, key, action)?, CLIP).into_owned())
}

/// A member without which an answer means nothing, whatever it is.
fn whole(value: &Value, key: &str, action: &str) -> Known<String> {
    let text = value[key].as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| lacks(key, action))
}

fn listed<'a>(value: &'a Value, key: &str, action: &str) -> Known<&'a Vec<Value>> {
    value[key].as_array().ok_or_else(|| lacks(key, action))
}

fn lacks(key: &str, action: &str) -> Unknown {
    Unknown::Failed(format!("{action}: no `{key}` in the answer"))
}

fn text(value: &Value, key: &str) -> String {
    clip(value[key].as_str().unwrap_or_default(), CLIP).into_owned()
}

// Dates are seconds with a fraction.
fn seconds(value: &Value) -> Option<Timestamp> {
    Timestamp::from_second(value.as_f64()? as i64).ok()
}

/// A name as one segment of a path.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

const NOT_FOUND: &str = "ResourceNotFoundException";

// The most that a page holds, by the API reference.
const SUBSCRIPTIONS: usize = 200;

// A resource name has 2 048 characters at most, a sentence of AWS a few hundred.
const CLIP: usize = 2_048;

// A policy document of 2 048 characters, in JSON in JSON, many times over.
const ANSWER_BYTES: usize = 1024 * 1024;
