//! Reads single values. Whoever typed a wrong one is told what it should be.

use std::time::Duration;

/// The one protocol version there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersion;

/// The oldest TLS version that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// How long the broker keeps the session, in seconds; [`u32::MAX`] is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpiry(pub u32);

/// A URL that may hold a password, which no `Debug` shows. It is taken as it is: an error of the argument parser
/// would show it.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlText(pub String);

impl std::fmt::Debug for UrlText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlText(...)")
    }
}

pub(super) fn url(text: &str) -> Result<UrlText, std::convert::Infallible> {
    Ok(UrlText(text.to_owned()))
}

pub(super) fn protocol_version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "5" | "mqttv5" => Ok(ProtocolVersion),
        "31" | "311" | "mqttv31" | "mqttv311" => Err(
            "probe speaks MQTT 5 only; use `mosquitto_pub -V mqttv311` for the older protocol"
                .into(),
        ),
        _ => Err("not a protocol version; only `mqttv5` (or `5`) is".into()),
    }
}

pub(super) fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "tlsv1.2" => Ok(TlsVersion::Tls12),
        "tlsv1.3" => Ok(TlsVersion::Tls13),
        "tlsv1.1" | "tlsv1" => {
            Err("too old: AWS IoT Core and this client take TLS 1.2 and 1.3".into())
        }
        _ => Err("not a TLS version; `tlsv1.2` and `tlsv1.3` are".into()),
    }
}

pub(super) fn quality(text: &str) -> Result<u8, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Err("AWS IoT Core has no QoS 2 and never answers it; use 1".into()),
        _ => Err("not a quality of service; 0 and 1 are".into()),
    }
}

pub(super) fn host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    // Nothing of it is shown: what is before the `@` may be a password.
    if text.contains('@') {
        return Err("holds a user name; give only the host".into());
    }
    if let Some((scheme, _)) = text.split_once("://") {
        let is_word = scheme.chars().all(|c| c.is_ascii_alphanumeric());
        return Err(match is_word {
            true => format!("give the host name without `{scheme}://`, or the URL with `-L`"),
            false => "is not a host name".into(),
        });
    }
    if text.contains(['/', ' ']) {
        return Err("is not a host name".into());
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_string());
    }
    if let Some((name, port)) = text.split_once(':')
        && self::port(port).is_ok()
    {
        return Err(format!("give the port on its own: `-h {name} -p {port}`"));
    }
    if text.contains(':') {
        return Err("is not a host name".into());
    }
    Ok(text.to_string())
}

pub(super) fn alpn(text: &str) -> Result<String, String> {
    match text.len() {
        1..=255 => Ok(text.to_owned()),
        _ => Err("not the name of a protocol, which has 1 to 255 bytes".into()),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err("not a port; a number from 1 to 65535 is".into()),
    }
}

pub(super) fn keep_alive(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(seconds) if (30..=1200).contains(&seconds) => Ok(seconds),
        _ => {
            Err("not a number of seconds from 30 to 1200, which is what AWS IoT Core grants".into())
        }
    }
}

pub(super) fn session_expiry(text: &str) -> Result<SessionExpiry, String> {
    match text {
        "-1" | "∞" => Ok(SessionExpiry(u32::MAX)),
        _ => text.parse().map(SessionExpiry).map_err(|_| {
            "not a number of seconds from 0 to 4294967294, nor `-1` for a session that does not expire".into()
        }),
    }
}

/// Seconds with an optional fraction, from 1 ms to a week.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = number_of_seconds(text)?;
    if (0.001..=604_800.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0.001 and 604800 seconds: there is always a deadline".into())
    }
}

/// Seconds between two looks: not so often that the looks are the load.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = number_of_seconds(text)?;
    if (0.2..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0.2 and 3600 seconds".into())
    }
}

/// A part of the name of a cluster.
pub(super) fn name_part(text: &str) -> Result<String, String> {
    let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    match !text.is_empty() && text.len() <= 63 && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("names of clusters are 1 to 63 of `a-z0-9-`".into()),
    }
}

/// Seconds with an optional fraction, up to a day.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    let seconds = number_of_seconds(text)?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0 and 86400 seconds".into())
    }
}

fn number_of_seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| "not a number of seconds".to_string())
}
