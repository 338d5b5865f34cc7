//! `sandbox fault`: faults of a running sandbox by name, over its control plane.

use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use bytes::Bytes;
use link::cli::{printable, stdout_line};
use link::error::{Failure, Hint};
use link::http::client::{HttpAddress, HttpClient, HttpError};
use link::tls::HttpsFiles;
use serde_json::{Value, json};

/// Options of `sandbox fault`.
#[derive(Debug, clap::Args)]
pub(super) struct FaultArgs {
    /// Control plane of the sandbox, which `--control` starts
    #[arg(
        long,
        env = "AWS_ENDPOINT_URL_IOT",
        value_name = "URL",
        global = true,
        default_value = "http://127.0.0.1:8080",
        value_parser = control
    )]
    control: HttpAddress,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show all faults: what each does, what it is set to, and the code that a diagnosis should give
    List {
        /// Print the answer of the control plane
        #[arg(long)]
        json: bool,
    },
    /// Switch a fault on
    Set {
        /// Its name, perhaps with a value
        #[arg(value_name = "NAME[=VALUE]", value_parser = named)]
        fault: String,
    },
    /// Switch a fault off, or all
    Clear {
        /// Its name [default: all]
        #[arg(value_parser = named)]
        name: Option<String>,
    },
}

/// The control plane did not do it.
#[derive(Debug, thiserror::Error)]
enum FaultError {
    #[error("ask the control plane")]
    Unreachable(#[source] HttpError),
    #[error("ask the control plane at `{0}`: the answer is none of a sandbox's")]
    Foreign(HttpAddress),
    #[error("ask the control plane at `{0}`: it has cleared the fault, and it is on")]
    StillOn(HttpAddress),
    #[error("{0}")]
    Refused(String),
}

// === impl FaultArgs ===

impl FaultArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match &self.verb {
            Verb::List { json } => {
                let answer = self.call(Method::GET, "", None).await?;
                // Both ways: what is no list of faults is none in JSON either.
                let table = table(&answer).ok_or_else(|| self.foreign())?;
                let text = if *json { answer.to_string() } else { table };
                let _ = stdout_line(&text)?;
            }
            Verb::Set { fault } => {
                let (name, value) = match fault.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (fault.as_str(), None),
                };
                let body = json!({ "value": value });
                let answer = self.call(Method::PUT, name, Some(&body)).await?;
                let set = answer["value"].as_str().ok_or_else(|| self.foreign())?;
                let _ = stdout_line(&format!("{name}={}", printable(set)))?;
            }
            Verb::Clear { name } => {
                let name = name.as_deref();
                self.call(Method::DELETE, name.unwrap_or_default(), None)
                    .await?;
                // The answer is empty, as that of many a server is: whether it was a sandbox's shows in its list.
                let answer = self.call(Method::GET, "", None).await?;
                if !is_off(&answer, name).ok_or_else(|| self.foreign())? {
                    return Err(FaultError::StillOn(self.control.clone()).into());
                }
            }
        }
        Ok(())
    }

    /// One request to the faults, or to one of them.
    async fn call(
        &self,
        method: Method,
        name: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let plain = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        if !plain {
            return Err(Failure::misuse(FaultError::Refused(format!(
                "there is no fault `{name}`"
            ))));
        }
        let path = match name {
            "" => "/sandbox/faults".to_owned(),
            name => format!("/sandbox/faults/{name}"),
        };
        let (status, body) = self
            .exchange(method, &path, body)
            .await
            .map_err(FaultError::Unreachable)?;
        let body = match body.as_ref() {
            b"" => Value::Null,
            body => serde_json::from_slice(body).map_err(|_| self.foreign())?,
        };
        match (status, body["message"].as_str()) {
            (StatusCode::OK, _) => Ok(body),
            (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, Some(message)) => {
                Err(Failure::misuse(FaultError::Refused(printable(message))))
            }
            _ => Err(self.foreign().into()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let client = HttpClient::new(self.control.clone(), HttpsFiles::default())?
            .within(PATIENCE)
            .answer_bytes(ANSWER);
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Bytes::from(text));
        *request.method_mut() = method;
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let answer = client.send(request).await?;
        Ok((answer.status(), answer.into_body()))
    }

    fn foreign(&self) -> FaultError {
        FaultError::Foreign(self.control.clone())
    }
}

/// A control plane speaks plain HTTP, asks nobody who calls and is told no secret, so that an address on another machine
/// gives nothing away.
fn control(text: &str) -> Result<HttpAddress, String> {
    let address = HttpAddress::parse_insecure(text).map_err(|error| error.to_string());
    let reason = match address {
        Ok(address) if address.is_tls() => "a control plane speaks plain HTTP".to_owned(),
        Ok(address) => return Ok(address),
        Err(reason) => reason,
    };
    Err(format!(
        "{reason}; one is named like `http://127.0.0.1:8080`"
    ))
}

/// A fault with a name: an empty one, as of a variable that is not set, must not mean all.
fn named(text: &str) -> Result<String, String> {
    let (name, _) = text.split_once('=').unwrap_or((text, ""));
    match name {
        "" => Err("no name; `sandbox fault list` shows them all".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Whether a fault is off by the list, or all are without a name; none if it is no list.
fn is_off(answer: &Value, name: Option<&str>) -> Option<bool> {
    let faults = answer["faults"].as_array()?;
    let mut is_meant = faults.iter().filter(|fault| match name {
        Some(name) => fault["name"] == name,
        None => true,
    });
    Some(is_meant.all(|fault| fault["value"].is_null()))
}

/// Two lines for each fault.
fn table(answer: &Value) -> Option<String> {
    let faults = answer["faults"].as_array()?;
    let mut lines = Vec::new();
    for fault in faults {
        let (name, values) = (fault["name"].as_str()?, fault["values"].as_str()?);
        let set = fault["value"].as_str();
        let state = set.map_or_else(|| "off".to_owned(), |value| format!("ON: {value}"));
        let codes: Vec<String> = fault["codes"]
            .as_array()?
            .iter()
            .filter_map(|code| {
                let (code, fault) = (code["code"].as_str()?, code["fault"].as_str()?);
                Some(format!("{code} {fault}"))
            })
            .collect();
        lines.push(format!("{name:20} {state:16} {values}"));
        lines.push(format!("    {}", fault["what"].as_str()?));
        lines.extend(codes.into_iter().map(|code| format!("    → {code}")));
    }
    let lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    Some(lines.join("\n"))
}

// === impl FaultError ===

impl Hint for FaultError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable(..) => Some(
                "start the sandbox with `--control IP:PORT`, and name that with `--control URL`"
                    .into(),
            ),
            Self::StillOn(_) => {
                Some("somebody else may have set it meanwhile: clear it again".into())
            }
            Self::Foreign(_) => Some("name the address that `sandbox` printed as `control`".into()),
            Self::Refused(_) => Some("`sandbox fault list` shows all with their values".into()),
        }
    }
}

// More than the control plane gives a port to be as it was set.
const PATIENCE: Duration = Duration::from_secs(15);

// The list has some 10 KiB.
const ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_is_an_address_over_plain_http() {
        for good in ["http://127.0.0.1:1", "http://[::1]:1/", "http://localhost"] {
            assert!(control(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "127.0.0.1:1",
            "localhost:1",
            "https://127.0.0.1:1",
            "file:///x",
        ] {
            assert!(control(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_off_is_told_from_what_is_no_list_of_faults() {
        let list = json!({"faults": [{"name": "port", "value": "silent"}, {"name": "alpn", "value": null}]});
        assert_eq!(is_off(&list, Some("alpn")), Some(true));
        assert_eq!(is_off(&list, Some("port")), Some(false));
        assert_eq!(is_off(&list, None), Some(false));
        for foreign in [json!({}), json!([]), Value::Null] {
            assert_eq!(is_off(&foreign, None), None, "{foreign}");
            assert_eq!(table(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_printed() {
        let list = json!({"faults": [{
            "name": "a\u{1b}[2J", "values": "\u{202e}", "value": "\u{7}", "what": "x\ny",
            "codes": [{"code": "\u{9b}", "fault": "z"}],
        }]});
        let table = table(&list).unwrap();
        assert_eq!(table.lines().count(), 3, "{table:?}");
        assert!(
            table.lines().all(|line| printable(line) == line),
            "{table:?}"
        );
    }

    #[test]
    fn an_empty_name_does_not_mean_all() {
        assert!(named("").is_err() && named("=1").is_err());
        assert!(named("port").is_ok() && named("port=").is_ok());
    }
}
