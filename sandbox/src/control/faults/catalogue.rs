//! The faults by name, with the codes that a diagnosis should give.

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knob {
    pub(super) name: &'static str,
    /// What it takes as a value, for a person.
    pub(super) values: &'static str,
    /// The value when none is given; `None` when one must be.
    pub(super) default: Option<&'static str>,
    /// What goes wrong.
    pub(super) what: &'static str,
    /// Numbers of the codes of `link::fault`; none for what only disturbs.
    pub(super) codes: &'static [u16],
}

// === impl Knob ===

impl Knob {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KNOBS.iter().find(|knob| knob.name == name)
    }
}

const ALL: Option<&str> = Some("*");

/// All faults, by what they are about.
pub(super) const KNOBS: &[Knob] = &[
    knob(
        "port",
        "closed | silent",
        Some("silent"),
        "The first port refuses connections, or answers nothing; one for ALPN stays open",
        &[211, 212, 213],
    ),
    knob(
        "handshake",
        "closed | unanswered | plaintext",
        Some("closed"),
        "What comes in place of TLS at the first port",
        &[220, 221],
    ),
    knob(
        "server-certificate",
        "other-root | other-name | expired",
        Some("other-root"),
        "Another server certificate is shown",
        &[223, 225, 226],
    ),
    knob(
        "server-name",
        "NAME",
        Some("other.iot.invalid"),
        "Only this server name is taken, and none at all is not",
        &[222],
    ),
    knob(
        "alpn",
        "required | foreign",
        Some("required"),
        "ALPN `x-amzn-mqtt-ca` must be offered, or is refused",
        &[222],
    ),
    knob(
        "tls-version",
        "1.2 | 1.3",
        None,
        "One version of TLS only",
        &[224],
    ),
    knob(
        "clock-skew",
        "[-]DURATION",
        Some("10m"),
        "The time in answers over HTTP and HTTPS is off",
        &[121],
    ),
    knob(
        "certificate-dates",
        "checked",
        Some("checked"),
        "A client certificate that is not valid now is refused in the handshake",
        &[112],
    ),
    knob(
        "certificate",
        "inactive | revoked | unknown [@COMMON-NAME]",
        Some("inactive"),
        "Certificates seem to be in this state",
        &[301],
    ),
    knob(
        "certificate-refusal",
        "silent | handshake",
        Some("silent"),
        "A certificate that is not ACTIVE gets no CONNACK, or an alert in the handshake",
        &[301],
    ),
    knob(
        "no-policy",
        "COMMON-NAME,…",
        ALL,
        "Certificates seem to have no policy",
        &[302],
    ),
    knob(
        "deny-connect",
        "CLIENT-ID,…",
        ALL,
        "The policy seems to deny CONNECT",
        &[303],
    ),
    knob(
        "deny-subscribe",
        "CLIENT-ID,…",
        ALL,
        "The policy seems to deny subscriptions",
        &[321],
    ),
    knob(
        "deny-publish",
        "CLIENT-ID,…",
        ALL,
        "The policy seems to deny publishing",
        &[331],
    ),
    knob(
        "deny-receive",
        "CLIENT-ID,…",
        ALL,
        "The policy seems to deny Receive: messages do not come",
        &[341],
    ),
    knob(
        "policy-flap",
        "PROBABILITY",
        Some("0.5"),
        "The policy seems to deny now and then",
        &[314],
    ),
    knob(
        "policy-spread",
        "DURATION",
        Some("8m"),
        "An edit of a policy is seen by ever more decisions for so long",
        &[314],
    ),
    knob(
        "policy-delay",
        "DURATION",
        Some("8m"),
        "An edit of a policy is seen so late",
        &[314],
    ),
    knob(
        "takeover",
        "CLIENT-ID[@DURATION]",
        None,
        "A second client takes the id, so long after each connect",
        &[304],
    ),
    knob(
        "throttle-connect",
        "PROBABILITY",
        Some("1"),
        "CONNECT is refused for its rate",
        &[305],
    ),
    knob(
        "swallow",
        "connect | subscribe | publish | ping | delivery, …",
        Some("connect"),
        "These get no answer, and nothing is closed",
        &[300, 320, 330, 340],
    ),
    knob(
        "stalled",
        "CLIENT-ID,…",
        ALL,
        "Connections neither read nor write",
        &[503],
    ),
    knob(
        "half-open",
        "CLIENT-ID,…",
        ALL,
        "The broker takes connections for lost, while their sockets stay open",
        &[501],
    ),
    knob(
        "hold-acks",
        "CLIENT-ID,…",
        ALL,
        "PUBACKs are kept back",
        &[330],
    ),
    knob(
        "max-filters",
        "NUMBER below 8",
        Some("1"),
        "Fewer filters in one SUBSCRIBE",
        &[322],
    ),
    knob(
        "max-subscriptions",
        "NUMBER below 50",
        Some("1"),
        "Fewer subscriptions of a connection",
        &[322],
    ),
    knob("max-topic", "BYTES", Some("16"), "Shorter topics", &[323]),
    knob(
        "max-payload",
        "BYTES",
        Some("1024"),
        "Smaller payloads",
        &[332],
    ),
    knob(
        "throttle",
        "PROBABILITY",
        Some("1"),
        "Publishes count as over the rate",
        &[333],
    ),
    knob(
        "quotas",
        "silent",
        Some("silent"),
        "What is over a rate is dropped without a word, bytes too",
        &[333],
    ),
    knob(
        "lifetime",
        "FROM..TO",
        Some("10s..60s"),
        "New connections end after so long",
        &[],
    ),
    knob(
        "duplicate",
        "PROBABILITY",
        Some("0.5"),
        "Messages come twice",
        &[],
    ),
    knob(
        "reorder",
        "PROBABILITY",
        Some("0.5"),
        "Messages change places",
        &[],
    ),
    knob(
        "new-packet-id",
        "PROBABILITY",
        Some("0.5"),
        "A redelivery takes a new packet id",
        &[],
    ),
    knob(
        "first-delivery-gap",
        "DURATION",
        Some("3s"),
        "A pause between SUBACK and the first message",
        &[],
    ),
    knob(
        "event-delay",
        "FROM..TO",
        Some("0s..5s"),
        "Lifecycle events come late, in any order",
        &[],
    ),
    knob(
        "event-duplicate",
        "PROBABILITY",
        Some("0.5"),
        "Lifecycle events come twice",
        &[],
    ),
];

const fn knob(
    name: &'static str,
    values: &'static str,
    default: Option<&'static str>,
    what: &'static str,
    codes: &'static [u16],
) -> Knob {
    Knob {
        name,
        values,
        default,
        what,
        codes,
    }
}
