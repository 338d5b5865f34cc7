//! The addresses of listeners as people write them on a command line.

use std::net::{Ipv4Addr, SocketAddr};

/// A text that is not an address to listen on. Its text says what is wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// A port alone, as `8000` or `:8000`. Other programs take it for all interfaces or for loopback alone.
    #[error(
        "names a port but no address; write `127.0.0.1:{0}` for this machine only or `0.0.0.0:{0}` for all interfaces"
    )]
    PortAlone(u16),
    /// An address without a port.
    #[error("has no port; write it behind a colon, as in `{0}`")]
    NoPort(String),
    /// The port is not a number from 0 to 65535.
    #[error("has the port `{0}`; a port is a number from 0 to 65535, and 0 takes any free one")]
    Port(String),
    /// A host name other than `localhost`, or `*`.
    #[error(
        "names the host `{host}`; write the IP address of an interface, or `0.0.0.0:{port}` for all of them"
    )]
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// An IPv6 address that is not in brackets.
    #[error("is an IPv6 address without brackets; write it as in `[::1]:8000`")]
    Brackets,
    /// A URL.
    #[error("is a URL; write only address and port, as in `127.0.0.1:8000`")]
    Url,
}

/// Reads `ADDRESS:PORT` for a listener; a parser of values for clap. `localhost` is 127.0.0.1, and DNS is never asked.
///
/// # Errors
/// [`ListenAddressError`] says what to write instead. A port without an address is refused: whether others may
/// connect is to be said, not guessed.
pub fn listen_address(text: &str) -> Result<SocketAddr, ListenAddressError> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.contains("://") {
        return Err(ListenAddressError::Url);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse() {
            Ok(port) => ListenAddressError::PortAlone(port),
            Err(_) => without_port(text),
        });
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(ListenAddressError::Brackets);
    }
    let port: u16 = port.parse().map_err(|_| match text.ends_with(']') {
        true => without_port(text),
        false => ListenAddressError::Port(port.to_owned()),
    })?;
    match host {
        "" => Err(ListenAddressError::PortAlone(port)),
        _ if host.eq_ignore_ascii_case("localhost") => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => Err(ListenAddressError::Name {
            host: host.to_owned(),
            port,
        }),
    }
}

fn without_port(host: &str) -> ListenAddressError {
    ListenAddressError::NoPort(match host {
        "" => "127.0.0.1:8000".to_owned(),
        _ => format!("{host}:8000"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_taken() {
        for (text, expected) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:8000", "[::1]:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
            ("LOCALHOST:8000", "127.0.0.1:8000"),
            (" 10.0.0.1:80 ", "10.0.0.1:80"),
        ] {
            assert_eq!(listen_address(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        for (text, expected) in [
            (
                "8000",
                "write `127.0.0.1:8000` for this machine only or `0.0.0.0:8000`",
            ),
            (
                ":8000",
                "write `127.0.0.1:8000` for this machine only or `0.0.0.0:8000`",
            ),
            ("*:8000", "or `0.0.0.0:8000` for all of them"),
            ("bridge.example:8000", "names the host `bridge.example`"),
            ("127.0.0.1", "as in `127.0.0.1:8000`"),
            ("localhost", "as in `localhost:8000`"),
            ("", "as in `127.0.0.1:8000`"),
            ("[::1]", "as in `[::1]:8000`"),
            ("::1:8000", "as in `[::1]:8000`"),
            ("127.0.0.1:http", "has the port `http`"),
            ("127.0.0.1:70000", "has the port `70000`"),
            ("70000", "has no port"),
            ("http://localhost:8000", "is a URL"),
        ] {
            let error = listen_address(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
