//! Values of the configuration that are at the wrong key, as a password is that was pasted there.
//!
//! Every key has a shape that its values must have. What has another one may be anything, and is shown nowhere: neither in the
//! archive nor in a finding that would quote it. What has the shape stays, so a password that reads like a host name with a
//! port and stands at `brokerHost` is shown: nothing tells it from a host.

use std::ffi::OsStr;
use std::net::Ipv6Addr;
use std::path::Path;

use link::config::{Broker, Env, Key, ValueKind, entries, parse_duration, parse_host_port};
use link::spelling::nearest;

use super::REMOVED;

/// Texts that are shown nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Misplaced(Vec<String>);

// === impl Misplaced ===

impl Misplaced {
    /// Those of a configuration file.
    pub(crate) fn of_file(text: &str) -> Self {
        let mut all = Self::default();
        for (name, value) in entries(text) {
            match key(&name) {
                Some(key) if fits(key, &value) => {}
                Some(_) => all.push(&value),
                // Of an unknown key only the name is ever said.
                None => name
                    .split('.')
                    .filter(|part| !is_told(part))
                    .for_each(|part| all.push(part)),
            }
        }
        all
    }

    /// Those of the environment.
    pub(crate) fn of_environment(env: &dyn Env) -> Self {
        let mut all = Self::default();
        for key in Broker::KEYS {
            if let Some(value) = key.env.and_then(|name| env.var(name))
                && !fits(key, &value)
            {
                all.push(&value);
            }
        }
        all
    }

    /// Both.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        // A longer one first, because it may hold a shorter one.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self
    }

    /// Text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hidden = |text: String, one: &String| text.replace(one.as_str(), REMOVED);
        self.0.iter().fold(text.to_owned(), hidden)
    }

    // Whole, and without what a hint may cut off: a port, a scheme.
    fn push(&mut self, text: &str) {
        let text = text.trim();
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = bare.split([':', '/', '?']).next().unwrap_or_default();
        for text in text.lines().chain([bare, host]) {
            if text.len() >= SHORTEST && !self.0.iter().any(|known| known == text) {
                self.0.push(text.to_owned());
            }
        }
    }
}

/// The key of this name, whole or without its section.
pub(super) fn key(name: &str) -> Option<&'static Key> {
    let is_it = |key: &&Key| key.name == name || key.name.rsplit('.').next() == Some(name);
    Broker::KEYS.iter().find(is_it)
}

/// Whether a key's name may be shown: it is known, or a misspelling of one that is.
pub(super) fn is_told(name: &str) -> bool {
    let names: Vec<&str> = Broker::KEYS
        .iter()
        .flat_map(|key| key.name.split('.'))
        .collect();
    names.contains(&name) || nearest(name, &names).is_some()
}

/// Whether a value has the shape that its key asks for, so that it can be shown.
pub(super) fn fits(key: &Key, value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    if value.is_empty() {
        return true;
    }
    // The user's name is no secret of ours, and none of anybody's business.
    if key.secret || key.name == "username" || value.len() > LONGEST_VALUE {
        return false;
    }
    let is_short_number = value.len() <= 5 && value.chars().all(|c| c.is_ascii_digit());
    match key.kind {
        ValueKind::HostPort => is_host(value),
        ValueKind::Integer => is_short_number,
        // Nanoseconds of ten minutes have twelve digits.
        ValueKind::Duration => {
            parse_duration(value).is_some()
                || value.len() <= 12 && value.chars().all(|c| c.is_ascii_digit())
        }
        ValueKind::Path => is_path(value),
        ValueKind::Base64 => false,
        ValueKind::Text if key.name.starts_with("topics.") => is_topic(value),
        ValueKind::Text => RATES.contains(&value),
    }
}

fn is_host(value: &str) -> bool {
    let is_name = |host: &str| {
        host.split('.').all(|label| !label.is_empty())
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c))
    };
    match parse_host_port(value) {
        Ok((host, _)) => is_name(&host),
        // Without its port, a name of one word may be any word; and what stands in a port's place is one if it is a number.
        Err(_) => {
            let (host, port) = value.rsplit_once(':').unwrap_or((value, ""));
            let is_number = port.len() <= 6 && port.chars().all(|c| c.is_ascii_digit());
            let is_alone = is_number && !host.contains(':') && is_name(host);
            is_alone && (host.contains('.') || host == "localhost")
                || value.parse::<Ipv6Addr>().is_ok()
        }
    }
}

// One that is not there is a fault that has to be told, if it can be nothing else.
fn is_path(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let path = Path::new(value);
    let is_named = value.starts_with('/')
        || EXTENSIONS
            .iter()
            .any(|it| path.extension() == Some(OsStr::new(it)));
    is_named && value.chars().all(is_plain) || path.exists()
}

fn is_topic(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+$".contains(c);
    let last = value.rsplit('/').next().unwrap_or_default();
    value.chars().all(is_plain) && EVENTS.contains(&last)
}

const EVENTS: [&str; 4] = [
    "sourceevents",
    "agentevents",
    "sourcebroadcast",
    "agentbroadcast",
];

const EXTENSIONS: [&str; 4] = ["crt", "pem", "key", "cer"];

const RATES: [&str; 2] = ["iot-core", "unlimited"];

// A topic pattern has 256 bytes at most.
const LONGEST_VALUE: usize = 256;

// What is shorter is no secret, and would tear words apart.
const SHORTEST: usize = 4;

#[cfg(test)]
mod tests {
    use link::config::MapEnv;

    use super::*;

    #[test]
    fn a_value_is_shown_where_it_has_the_shape_of_its_key_and_nowhere_else() {
        for (name, value, shown) in [
            (
                "brokerHost",
                "a1-ats.iot.us-east-2.amazonaws.com:8883",
                true,
            ),
            ("brokerHost", "broker:8883", true),
            ("brokerHost", "localhost", true),
            ("brokerHost", "broker.example:99999", true),
            ("brokerHost", "fd00::1", true),
            ("brokerHost", "hunter2", false),
            ("brokerHost", "broker.example:hunter2", false),
            ("brokerHost", "me.too:hunter2:8883", false),
            ("brokerHost", "hunt!er2:8883", false),
            ("keepAlive", "12345", true),
            ("keepAlive", "123456", false),
            ("keepAlive", "hunter2", false),
            ("dialTimeout", "1m30s", true),
            ("dialTimeout", "hunter2", false),
            ("caFile", "/mnt/secrets-store/ca.crt", true),
            ("caFile", "/hunter+2==", false),
            ("caFile", "hunter2", false),
            ("clientKeyFile", "hunter2", false),
            ("caData", "aHVudGVyMg", false),
            (
                "topics.sourceEvents",
                "maestro/consumers/+/sourceevents",
                true,
            ),
            ("sourceEvents", "maestro/hunter2", false),
            ("rates", "unlimited", true),
            ("rates", "hunter2", false),
            ("username", "hunter2", false),
            ("password", "hunter2", false),
        ] {
            let found = key(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(fits(found, value), shown, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_misplaced_is_hidden_whole_and_in_parts() {
        let file =
            "brokerHost: mqtts://hunter2/x\nkeepAlive: s3cret-1\ns3cret-2: a\nbrokerHots: x\n";
        let env = MapEnv::from_iter([("MQTT_DIAL_TIMEOUT", "s3cret-4")]);
        let all = Misplaced::of_file(file).and(Misplaced::of_environment(&env));
        let text = "is `mqtts://hunter2/x`; write `hunter2:8883`; `keepAlive` is `s3cret-1`; unknown key `s3cret-2`; \
                    unknown key `brokerHots`; s3cret-4";
        assert_eq!(
            all.hide(text),
            "is `<removed>`; write `<removed>:8883`; `keepAlive` is `<removed>`; unknown key `<removed>`; \
             unknown key `brokerHots`; <removed>"
        );
    }
}
