//! `-L mqtts://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`, as mosquitto's clients take it.

use link::error::Hint;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port, if it names one.
    pub port: Option<u16>,
    /// The topic, if it names one.
    pub topic: Option<String>,
    /// Whether it names a user. Who that is, and any password, is dropped here.
    pub has_user: bool,
}

/// Why a URL is not taken. Shows nothing of it but its scheme: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `scheme://`.
    #[error("`-L` is no URL")]
    NoScheme,
    /// A scheme that is not spoken.
    #[error("`-L` begins with `{0}://`")]
    Scheme(String),
    /// No host.
    #[error("the URL of `-L` names no host")]
    Host,
    /// A port that is none.
    #[error("the URL of `-L` names no port from 1 to 65535 after its host")]
    Port,
}

// === impl BrokerUrl ===

impl std::str::FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        if !scheme.eq_ignore_ascii_case("mqtts") {
            let is_word = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
            return Err(if is_word {
                UrlError::Scheme(scheme.to_ascii_lowercase())
            } else {
                UrlError::NoScheme
            });
        }
        // A topic may hold an `@`, a password may not hold a `/`.
        let (authority, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or(UrlError::Host)?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(UrlError::Port),
            };
            (host, port)
        } else {
            match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            }
        };
        if host.is_empty() || host.contains(' ') {
            return Err(UrlError::Host);
        }
        let port = port
            .map(|port| port.parse().ok().filter(|port| *port != 0))
            .map(|port| port.ok_or(UrlError::Port));
        Ok(Self {
            host: host.to_owned(),
            port: port.transpose()?,
            topic: Some(topic.to_owned()).filter(|topic| !topic.is_empty()),
            has_user: user.is_some(),
        })
    }
}

// === impl UrlError ===

impl Hint for UrlError {
    fn hint(&self) -> Option<String> {
        let form = "`-L mqtts://HOST[:PORT]/TOPIC`";
        Some(match self {
            Self::Scheme(scheme) if scheme == "mqtt" => {
                format!("every connection uses TLS: give {form}; the port of TLS is 8883, not 1883")
            }
            Self::Scheme(scheme) if scheme == "ws" || scheme == "wss" => format!(
                "MQTT over WebSocket is not used: give {form}, on AWS IoT Core also with port 443"
            ),
            _ => format!("give {form}, or `-h HOST -p PORT -t TOPIC`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BrokerUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn host_port_and_topic_are_found_whatever_stands_around_them() {
        let url = |host: &str, port, topic: Option<&str>, has_user| {
            Ok(BrokerUrl {
                host: host.into(),
                port,
                topic: topic.map(Into::into),
                has_user,
            })
        };
        for (text, expected) in [
            ("mqtts://h/t", url("h", None, Some("t"), false)),
            ("MQTTS://h:1/a/b", url("h", Some(1), Some("a/b"), false)),
            (
                "mqtts://u:p@q@h:1/t@x",
                url("h", Some(1), Some("t@x"), true),
            ),
            (
                "mqtts://u@[::1]:8883/t",
                url("::1", Some(8883), Some("t"), true),
            ),
            ("mqtts://[::1]", url("::1", None, None, false)),
            ("mqtts://h/", url("h", None, None, false)),
            ("mqtts:///t", Err(UrlError::Host)),
            ("mqtts://u:p@/t", Err(UrlError::Host)),
            ("mqtts://h:0/t", Err(UrlError::Port)),
            ("mqtts://h:p/t", Err(UrlError::Port)),
            ("mqtts://[::1]8/t", Err(UrlError::Port)),
            ("h/t", Err(UrlError::NoScheme)),
            ("mqtt://h/t", Err(UrlError::Scheme("mqtt".into()))),
            ("wss://h/t", Err(UrlError::Scheme("wss".into()))),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in [
            "mqtt://u:secret@h/t",
            "mqtts://u:secret@h:port/t",
            "mqtts://u:secret@/t",
            "u:secret@h://t",
        ] {
            let error = parse(text).unwrap_err();
            let shown = format!("{error} {error:?} {}", error.hint().unwrap());
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
