//! Checks the `Host` and `Origin` headers of a request, so that no web page in somebody's browser can use the API.
//!
//! A page in an operator's browser can send requests to loopback. It cannot choose the `Host` header, it cannot hide its
//! `Origin`, and without leave it cannot send JSON: each of the three is asked for here or in [`super::body`].

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use link::telemetry::clip;

use super::error::{ApiError, Code};

/// A name by which callers may address the API: a DNS name or an IP address, without scheme or port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// The text is no host name.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a host name or an IP address; write it without scheme and port, such as `server-bridge.prod.svc`"
)]
pub struct InvalidHostName(String);

/// The names the API answers to.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    names: Arc<BTreeSet<HostName>>,
    /// Whether any IP address will do: a name that somebody points at this server is not one.
    any_address: bool,
}

// === impl HostName ===

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Ok(address) = bare.parse::<IpAddr>() {
            Ok(Self(address.to_string()))
        } else if !name.is_empty() && name.len() <= 253 && name.chars().all(allowed) {
            Ok(Self(name))
        } else {
            Err(InvalidHostName(clip(text, 60).into_owned()))
        }
    }
}

// === impl Hosts ===

impl Hosts {
    /// Loopback always, so that a forwarded port works; addresses too when others than this machine can connect; and
    /// the names given.
    pub(super) fn new(listen: SocketAddr, names: Vec<HostName>) -> Self {
        Self {
            names: Arc::new(names.into_iter().collect()),
            any_address: !listen.ip().is_loopback(),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let Ok(name) = host.parse::<HostName>() else {
            return false;
        };
        match name.0.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || self.any_address => true,
            _ => name.0 == "localhost" || self.names.contains(&name),
        }
    }
}

/// Refuses unknown hosts and other origins.
pub(super) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match check(&hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    let text = |name| match headers.get(name) {
        Some(value) => value.to_str().map(Some),
        None => Ok(None),
    };
    // A request may name the server in its first line, which then counts (RFC 9112 §3.2.2).
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    let host = match (authority, text(header::HOST)) {
        (Some(authority), _) => authority,
        (None, Ok(Some(host))) => host,
        _ => {
            return Err(ApiError::bad_request(
                "header `Host` is missing or unreadable",
            ));
        }
    };
    if !hosts.knows(without_port(host)) {
        let shown = clip(host, SHOWN_BYTES);
        return Err(ApiError::new(
            Code::Forbidden,
            format!(
                "this server is not known as `{shown}`; start it with `--api-host NAME` for each name it has"
            ),
        ));
    }
    let origin = match text(header::ORIGIN) {
        Ok(None) => return Ok(()),
        Ok(Some(origin)) => origin,
        Err(_) => "",
    };
    let same = ["http://", "https://"]
        .iter()
        .filter_map(|scheme| origin.strip_prefix(scheme))
        .any(|from| from.eq_ignore_ascii_case(host));
    if same {
        return Ok(());
    }
    Err(ApiError::new(
        Code::Forbidden,
        "web pages of another origin may not use this API",
    ))
}

/// `[::1]:8000` → `[::1]`, `a:8000` → `a`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

const SHOWN_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn refused(hosts: &Hosts, host: &str, origin: Option<&str>) -> Option<String> {
        let mut request = Request::new(Body::empty());
        request
            .headers_mut()
            .insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert(header::ORIGIN, origin.parse().unwrap());
        }
        let checked = check(hosts, &request);
        checked.err().map(|error| error.reason().to_owned())
    }

    fn hosts(listen: &str, names: &[&str]) -> Hosts {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        Hosts::new(listen.parse().unwrap(), names)
    }

    #[test]
    fn loopback_and_the_names_given_are_known_with_any_port_and_no_other() {
        let local = hosts("127.0.0.1:8000", &["Bridge.prod.svc"]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.9.9.9:1",
            "localhost:18000",
            "LocalHost.",
            "[::1]:8000",
            "bridge.PROD.svc:80",
            "bridge.prod.svc.",
        ] {
            assert_eq!(refused(&local, host, None), None, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:8000",
            "[2001:db8::1]",
            "",
            "a b",
        ] {
            assert!(refused(&local, host, None).is_some(), "{host}");
        }
    }

    #[test]
    fn where_others_can_connect_addresses_are_known_and_names_are_not() {
        let open = hosts("0.0.0.0:8000", &["bridge"]);
        for host in ["10.0.0.1:8000", "[2001:db8::1]:8000", "bridge", "localhost"] {
            assert_eq!(refused(&open, host, None), None, "{host}");
        }
        let text = refused(&open, "evil.example:8000", None).unwrap();
        assert_eq!(
            text,
            "this server is not known as `evil.example:8000`; start it with `--api-host NAME` for each name it has"
        );
    }

    #[test]
    fn a_page_of_another_origin_is_refused_and_one_of_the_same_is_not() {
        let local = hosts("127.0.0.1:8000", &[]);
        let host = "localhost:8000";
        for origin in ["http://localhost:8000", "https://LOCALHOST:8000"] {
            assert_eq!(refused(&local, host, Some(origin)), None, "{origin}");
        }
        for origin in [
            "null",
            "http://localhost:8001",
            "http://evil.example",
            "http://localhost",
            "",
        ] {
            assert!(refused(&local, host, Some(origin)).is_some(), "{origin}");
        }
    }

    #[test]
    fn a_host_name_is_written_without_scheme_and_port() {
        for text in ["http://a", "a:80", "", "a/b", "*"] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        assert_eq!("[::1]".parse::<HostName>().unwrap(), HostName("::1".into()));
    }
}
