//! Addresses to listen on, as people write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads an address to listen on, for a command line: `IP:PORT`, and besides `:PORT`, which is every address of this
/// machine as in Go, and `localhost:PORT`. Port 0 is a free one of the system's choice.
///
/// # Errors
/// What is wrong, and what to write instead; the text ends a sentence that quotes what was given.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let with_port = SocketAddr::new(ip, EXAMPLE_PORT);
        return Err(format!("the port is missing: write `{with_port}`"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "this is a port without an address: write `127.0.0.1:{text}` for this machine alone, or `0.0.0.0:{text}` for \
             every address it has"
        ));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!(
            "this is no IP address with a port: write it such as `127.0.0.1:{EXAMPLE_PORT}`"
        ));
    };
    let port: u16 = port.parse().map_err(|_| {
        format!("the port is a number from 0 to 65535: write it such as `127.0.0.1:{EXAMPLE_PORT}`")
    })?;
    match host {
        "" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        "*" => Err(format!(
            "write `0.0.0.0:{port}` for every address of this machine"
        )),
        _ if host.parse::<std::net::Ipv6Addr>().is_ok() => Err(format!(
            "an IPv6 address is in brackets: write `[{host}]:{port}`"
        )),
        _ => Err(format!(
            "a name is not looked up, because it may stand for several addresses: write an IP address of this machine such as \
             `127.0.0.1:{port}`, or `0.0.0.0:{port}` for every address it has"
        )),
    }
}

const EXAMPLE_PORT: u16 = 8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (text, address) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("[::1]:0", "[::1]:0"),
            (":8000", "0.0.0.0:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
        ] {
            assert_eq!(super::address(text), Ok(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_what_to_write() {
        for (text, told) in [
            (
                "8000",
                "write `127.0.0.1:8000` for this machine alone, or `0.0.0.0:8000`",
            ),
            ("10.0.0.1", "the port is missing: write `10.0.0.1:8000`"),
            ("[::1]", "the port is missing: write `[::1]:8000`"),
            ("::1", "the port is missing: write `[::1]:8000`"),
            ("::1:18083", "write `[::1]:18083`"),
            ("*:8000", "write `0.0.0.0:8000`"),
            ("bridge:8000", "a name is not looked up"),
            ("127.0.0.1:65536", "from 0 to 65535"),
            ("127.0.0.1:", "from 0 to 65535"),
            ("loopback", "write it such as `127.0.0.1:8000`"),
            ("", "write it such as `127.0.0.1:8000`"),
        ] {
            let refused = address(text).unwrap_err();
            assert!(refused.contains(told), "{text}: {refused}");
        }
    }
}
