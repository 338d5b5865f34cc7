//! Where a server is, from a URL: scheme, host, port and what stands before each path. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::Hint;

/// A server over HTTP. `Display` is the URL, which holds no secret: one with a password is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    tls: bool,
    host: String,
    port: u16,
    base: String,
    anywhere: bool,
}

/// Why a URL is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpAddressError {
    /// Not an `http` or `https` URL with a host. The text is left out: there may be a password in it.
    #[error("the address is no URL that begins with `https://` or `http://`")]
    NotUrl,
    /// A port that there is not.
    #[error("the port of the address is none of 1 to 65535")]
    Port,
    /// A name and password, a query or a fragment.
    #[error("the address has {0}")]
    TooMuch(&'static str),
    /// Without TLS to another machine.
    #[error(
        "`http://{host}` is another machine, and everything sent there, tokens too, is readable on the way"
    )]
    NotLocal {
        /// Which one.
        host: String,
    },
}

// === impl HttpAddress ===

impl HttpAddress {
    /// Takes `https://` anywhere, `http://` to loopback only.
    ///
    /// # Errors
    /// [`HttpAddressError`].
    pub fn parse(text: &str) -> Result<Self, HttpAddressError> {
        let address = Self::parse_insecure(text)?;
        if !address.tls && !is_loopback(&address.host) {
            return Err(HttpAddressError::NotLocal { host: address.host });
        }
        Ok(Self {
            anywhere: false,
            ..address
        })
    }

    /// The same with `http://` anywhere, for callers that were told so by an option named `--insecure-…`.
    ///
    /// # Errors
    /// [`HttpAddressError`].
    pub fn parse_insecure(text: &str) -> Result<Self, HttpAddressError> {
        if text.contains('#') {
            return Err(HttpAddressError::TooMuch("a fragment (`#`)"));
        }
        let uri: Uri = text.parse().map_err(|_| HttpAddressError::NotUrl)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(HttpAddressError::NotUrl),
        };
        let authority = uri.authority().ok_or(HttpAddressError::NotUrl)?;
        if authority.as_str().contains('@') {
            return Err(HttpAddressError::TooMuch("a name or password (`@`)"));
        }
        if uri.query().is_some() {
            return Err(HttpAddressError::TooMuch("a query (`?`)"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(HttpAddressError::NotUrl);
        }
        // The library takes a port that there is not for none at all.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some(rest) if !rest.is_empty() => port(rest).ok_or(HttpAddressError::Port)?,
            _ if tls => 443,
            _ => 80,
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            base: uri.path().trim_end_matches('/').to_owned(),
            anywhere: true,
        })
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether a name may lead to this machine only.
    pub(super) fn is_local_only(&self) -> bool {
        !self.tls && !self.anywhere
    }

    /// The name, or the address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands before every path, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The value of the `Host` header.
    pub(super) fn host_header(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl FromStr for HttpAddress {
    type Err = HttpAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.base)
    }
}

// === impl HttpAddressError ===

impl Hint for HttpAddressError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotUrl => "write it as `https://HOST:PORT` or, on this machine, `http://127.0.0.1:8000`".into(),
            Self::Port => "write the port as `:8000`, or leave it out for 443, or 80 without TLS".into(),
            Self::TooMuch(_) => "write scheme, host, port and path only; a token comes from a file".into(),
            Self::NotLocal { .. } => {
                "use `https://`, or forward the port: `kubectl port-forward service/server-bridge 8000:8000`".into()
            }
        })
    }
}

/// `path` with the given parameters, each escaped.
pub fn query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = path.to_owned();
    for (number, (name, value)) in parameters.iter().enumerate() {
        text.push(if number == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, PARAMETER));
    }
    text
}

/// The number in `:8000`.
fn port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| *port > 0);
    port.filter(|_| is_number)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// RFC 3986's unreserved characters stay.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_this_machine_is_called() {
        for good in [
            "http://127.0.0.1:8000",
            "http://[::1]:8000/",
            "http://localhost",
            "https://bridge.example/x/",
        ] {
            assert!(HttpAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://bridge:8000",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
        ] {
            let refused = HttpAddress::parse(bad);
            assert!(
                matches!(refused, Err(HttpAddressError::NotLocal { .. })),
                "{bad}"
            );
            assert!(HttpAddress::parse_insecure(bad).is_ok());
        }
    }

    #[test]
    fn what_is_no_base_address_is_refused_without_being_repeated() {
        for bad in [
            "bridge:8000",
            "/x",
            "ftp://x",
            "https://",
            "https://me:secret@x",
            "https://x?token=secret",
            "https://x#secret",
        ] {
            let error = HttpAddress::parse(bad).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_port_that_there_is_not_is_refused() {
        for bad in [
            "https://x:70000",
            "https://x:0",
            "https://[::1]:65536/a",
            "http://127.0.0.1:",
        ] {
            assert_eq!(
                HttpAddress::parse(bad),
                Err(HttpAddressError::Port),
                "{bad}"
            );
        }
        assert_eq!(
            HttpAddress::parse("https://[::1]:65535").map(|it| it.port()),
            Ok(65535)
        );
    }

    #[test]
    fn an_address_is_shown_as_it_is_called() {
        let shown = |text: &str| HttpAddress::parse(text).unwrap().to_string();
        assert_eq!(shown("https://x:443/"), "https://x");
        assert_eq!(shown("http://[::1]:8000/a/"), "http://[::1]:8000/a");
    }

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(
            query("/x", &[("search", "name = 'a&b'"), ("page", "1")]),
            "/x?search=name%20%3D%20%27a%26b%27&page=1"
        );
    }
}
