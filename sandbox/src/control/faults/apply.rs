//! What the value of each fault does to the broker.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::SignedDuration;
use link::config::parse_duration;
use link::iot::limits::{FILTERS_PER_SUBSCRIBE, PAYLOAD_BYTES, SUBSCRIPTIONS, TOPIC_BYTES};

use super::super::plane::Plane;
use crate::broker::{
    AlpnRule, CertificateRefusal, CertificateState, FaultSettings, Front, Handshake, Port,
    PretendedState, Swallowed, Takeover, TlsVersion,
};
use crate::pki::{Authority, CertificateRequest, LOCAL_NAMES};

/// A value that a fault does not take.
pub(super) type Refused = String;

/// Switches a fault to a value, or off.
///
/// # Errors
/// When it does not take the value: with what it takes.
pub(super) fn set(plane: &Plane, name: &str, value: Option<&str>) -> Result<(), Refused> {
    if let Some(change) = registry_change(name, value)? {
        change(plane);
        return Ok(());
    }
    let change = match front_change(plane, name, value)? {
        Some(change) => change,
        None => settings_change(name, value)?,
    };
    plane.broker.faults().set(change);
    Ok(())
}

type Change = Box<dyn FnOnce(&mut FaultSettings)>;

type RegistryChange = Box<dyn FnOnce(&Plane)>;

/// Faults of the registry.
fn registry_change(name: &str, value: Option<&str>) -> Result<Option<RegistryChange>, Refused> {
    Ok(Some(match name {
        "certificate" => {
            let seems = value.map(pretended).transpose()?;
            Box::new(move |plane| {
                plane.registry().pretend(|pretence| {
                    pretence.states.clear();
                    pretence.states.extend(seems);
                });
            })
        }
        "no-policy" => {
            let names = set_of(value);
            Box::new(move |plane| {
                plane
                    .registry()
                    .pretend(|pretence| pretence.without_policy = names);
            })
        }
        "policy-delay" => {
            let delay = duration(value)?;
            Box::new(move |plane| plane.registry().set_policy_delay(delay))
        }
        "policy-spread" => {
            let spread = duration(value)?;
            Box::new(move |plane| plane.registry().set_policy_spread(spread))
        }
        _ => return Ok(None),
    }))
}

/// Faults before CONNECT.
fn front_change(plane: &Plane, name: &str, value: Option<&str>) -> Result<Option<Change>, Refused> {
    fn front(change: impl FnOnce(&mut Front) + 'static) -> Change {
        Box::new(|settings| change(&mut settings.front))
    }
    Ok(Some(match name {
        "server-certificate" => {
            let set = value.map(|value| identity(&plane.authority, value));
            let set = set.transpose()?;
            front(move |front| front.identity = set)
        }
        "server-name" => {
            let name = value.map(str::to_owned);
            front(move |front| front.server_name = name)
        }
        "tls-version" => {
            let version = match value {
                None => None,
                Some("1.2") => Some(TlsVersion::Tls12),
                Some("1.3") => Some(TlsVersion::Tls13),
                Some(_) => return Err("1.2 or 1.3".into()),
            };
            front(move |front| front.tls_version = version)
        }
        "alpn" => {
            let rule = match value {
                None => AlpnRule::Own,
                Some("required") => AlpnRule::Required,
                Some("foreign") => AlpnRule::Foreign,
                Some(_) => return Err("required or foreign".into()),
            };
            front(move |front| front.alpn = rule)
        }
        "port" => {
            let port = match value {
                None => Port::Open,
                Some("closed") => Port::Closed,
                Some("silent") => Port::Silent,
                Some(_) => return Err("closed or silent".into()),
            };
            front(move |front| front.port = port)
        }
        "handshake" => {
            let handshake = match value {
                None => Handshake::Normal,
                Some("closed") => Handshake::Closed,
                Some("unanswered") => Handshake::Unanswered,
                Some("plaintext") => Handshake::Plaintext,
                Some(_) => return Err("closed, unanswered or plaintext".into()),
            };
            front(move |front| front.handshake = handshake)
        }
        "certificate-refusal" => {
            let refusal = match value {
                None => CertificateRefusal::Answered,
                Some("silent") => CertificateRefusal::Silent,
                Some("handshake") => CertificateRefusal::Handshake,
                Some(_) => return Err("silent or handshake".into()),
            };
            front(move |front| front.certificate_refusal = refusal)
        }
        "certificate-dates" => {
            let check = flag(value, "checked")?;
            front(move |front| front.check_dates = check)
        }
        _ => return Ok(None),
    }))
}

/// Faults of MQTT and of the clock.
fn settings_change(name: &str, value: Option<&str>) -> Result<Change, Refused> {
    macro_rules! assign {
        ($field:ident, $value:expr) => {{
            let value = $value;
            Box::new(move |settings: &mut FaultSettings| settings.$field = value)
        }};
    }
    Ok(match name {
        "deny-connect" => assign!(refuse_connects, set_of(value)),
        "deny-publish" => assign!(refuse_publishes, set_of(value)),
        "deny-subscribe" => assign!(refuse_subscribes, set_of(value)),
        "deny-receive" => assign!(refuse_receives, set_of(value)),
        "policy-flap" => assign!(policy_flap, probability(value)?),
        "takeover" => assign!(takeover, value.map(takeover).transpose()?),
        "stalled" => assign!(stalled, set_of(value)),
        "half-open" => assign!(half_open, set_of(value)),
        "swallow" => assign!(swallow, swallowed(value)?),
        "hold-acks" => assign!(hold_acks, set_of(value)),
        "throttle" => assign!(throttle, probability(value)?),
        "throttle-connect" => assign!(throttle_connects, probability(value)?),
        "quotas" => assign!(silent_quotas, flag(value, "silent")?),
        "max-filters" => assign!(max_filters, below(value, FILTERS_PER_SUBSCRIBE)?),
        "max-subscriptions" => assign!(max_subscriptions, below(value, SUBSCRIPTIONS)?),
        "max-payload" => assign!(max_payload, below(value, PAYLOAD_BYTES)?),
        "max-topic" => assign!(max_topic, below(value, TOPIC_BYTES)?),
        "clock-skew" => assign!(clock_skew, signed(value)?),
        "lifetime" => assign!(lifetime, range(value)?),
        "duplicate" => assign!(duplicate, probability(value)?),
        "reorder" => assign!(reorder, probability(value)?),
        "new-packet-id" => assign!(new_packet_id, probability(value)?),
        "first-delivery-gap" => assign!(first_delivery_gap, duration(value)?),
        "event-delay" => assign!(event_delay, range(value)?),
        "event-duplicate" => assign!(event_duplicate, probability(value)?),
        _ => return Err("nothing: it is not known".into()),
    })
}

/// A certificate for the broker that its clients should not take.
fn identity(authority: &Authority, value: &str) -> Result<crate::pki::Set, Refused> {
    let request = CertificateRequest::new(OTHER_NAME);
    let made = match value {
        "other-root" => Authority::new("another authority").and_then(|other| other.server(&[])),
        "other-name" => authority.server_as(&[OTHER_NAME], &request),
        "expired" => {
            let (from, until) = (
                request.not_before - SignedDuration::from_hours(48),
                request.not_before - SignedDuration::from_hours(24),
            );
            authority.server_as(&LOCAL_NAMES, &request.valid(from, until))
        }
        _ => return Err("other-root, other-name or expired".into()),
    };
    made.map_err(|error| error.to_string())
}

fn pretended(value: &str) -> Result<(String, PretendedState), Refused> {
    let (state, name) = value.split_once('@').unwrap_or((value, "*"));
    let state = match state {
        "inactive" => PretendedState::Registered(CertificateState::Inactive),
        "revoked" => PretendedState::Registered(CertificateState::Revoked),
        "unknown" => PretendedState::Unknown,
        _ => return Err("inactive, revoked or unknown, perhaps with @COMMON-NAME".into()),
    };
    if name.is_empty() {
        return Err("a common name after `@`, or none of both".into());
    }
    Ok((name.to_owned(), state))
}

fn takeover(value: &str) -> Result<Takeover, Refused> {
    let (client_id, every) = value.split_once('@').unwrap_or((value, "2s"));
    if client_id.is_empty() {
        return Err("a client id before `@`".into());
    }
    let every = duration(Some(every))?;
    if every < SHORTEST_TAKEOVER {
        return Err("a duration of 10ms at least".into());
    }
    Ok(Takeover {
        client_id: client_id.to_owned(),
        every,
    })
}

fn swallowed(value: Option<&str>) -> Result<BTreeSet<Swallowed>, Refused> {
    let words = value.into_iter().flat_map(|value| value.split(','));
    words
        .map(|word| match word {
            "connect" => Ok(Swallowed::Connect),
            "subscribe" => Ok(Swallowed::Subscribe),
            "publish" => Ok(Swallowed::Publish),
            "ping" => Ok(Swallowed::Ping),
            "delivery" => Ok(Swallowed::Delivery),
            _ => Err("connect, subscribe, publish, ping or delivery, with commas".to_owned()),
        })
        .collect()
}

fn set_of(value: Option<&str>) -> HashSet<String> {
    let words = value.into_iter().flat_map(|value| value.split(','));
    words.map(str::to_owned).collect()
}

fn flag(value: Option<&str>, word: &str) -> Result<bool, Refused> {
    match value {
        None => Ok(false),
        Some(value) if value == word => Ok(true),
        Some(_) => Err(word.to_owned()),
    }
}

fn probability(value: Option<&str>) -> Result<f64, Refused> {
    let parsed = value.map_or(Some(0.0), |value| value.parse().ok());
    parsed
        .filter(|value| (0.0..=1.0).contains(value))
        .ok_or_else(|| "a probability from 0 to 1".to_owned())
}

/// Less than IoT Core's own limit: with that or more nothing would be refused that is not refused anyway.
fn below(value: Option<&str>, limit: usize) -> Result<Option<usize>, Refused> {
    let parsed = value.map(str::parse).transpose();
    let parsed = parsed.ok().filter(|number| *number < Some(limit));
    parsed.ok_or_else(|| format!("a number below {limit}"))
}

fn duration(value: Option<&str>) -> Result<Duration, Refused> {
    let parsed = parse_duration(value.unwrap_or("0")).filter(|it| *it <= LONGEST);
    parsed.ok_or_else(|| "a duration such as 90s or 5m, 24h at most".to_owned())
}

fn signed(value: Option<&str>) -> Result<SignedDuration, Refused> {
    let text = value.unwrap_or("0");
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = parse_duration(rest).filter(|it| *it <= MOST_SKEW);
    let parsed = parsed.and_then(|it| SignedDuration::try_from(it).ok());
    let parsed = parsed.and_then(|it| it.checked_mul(sign));
    parsed.ok_or_else(|| "a duration such as 10m or -10m, 87600h at most".to_owned())
}

fn range(value: Option<&str>) -> Result<Option<(Duration, Duration)>, Refused> {
    let Some(value) = value else { return Ok(None) };
    let (from, to) = value.split_once("..").unwrap_or((value, value));
    let (from, to) = (duration(Some(from))?, duration(Some(to))?);
    if to < from {
        return Err("a range whose end is not before its beginning, such as 10s..60s".to_owned());
    }
    Ok(Some((from, to)))
}

// A moment that is further away cannot always be told as one.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

// Ten years: every certificate is invalid then, and the time is still one.
const MOST_SKEW: Duration = Duration::from_secs(87_600 * 60 * 60);

// Without a pause the rival would leave the broker no time.
const SHORTEST_TAKEOVER: Duration = Duration::from_millis(10);

const OTHER_NAME: &str = "other.iot.invalid";
