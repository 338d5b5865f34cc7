//! All codes. MQ1 files and identity, MQ2 the way to the broker, MQ3 MQTT and the policy, MQ4 names, MQ5 the other end, MQ6 AWS
//! and the mount, MQ7 the database, MQ8 files before anything runs, MQ9 a bundle on its way.
// Long because it is one table.

use super::{Code, Entry};

/// The catalogue, in the order of the codes.
pub const CATALOGUE: &[Entry] = &[
    entry(
        100,
        "Certificate, key and CA are there and can be read",
        "A file cannot be used",
    ),
    entry(101, "Each file that is named exists", "A file is missing"),
    entry(102, "Each file is whole", "A file is empty or cut short"),
    entry(
        103,
        "Certificate, key and CA are PEM",
        "A file is no PEM (the whole secret as JSON, DER, or something else)",
    ),
    entry(
        104,
        "The files can be read by this process",
        "A file may not be read",
    ),
    entry(
        105,
        "Certificate, key and CA are of one version of the secret",
        "The mounted set is torn, or stale",
    ),
    entry(
        106,
        "The configuration beside the files is complete and valid",
        "The configuration cannot be used",
    ),
    entry(
        107,
        "The private key is its owner's alone",
        "Others may read the private key",
    ),
    entry(
        110,
        "The certificate can be used",
        "The certificate cannot be used",
    ),
    entry(
        111,
        "The key belongs to the certificate",
        "Key and certificate do not match",
    ),
    entry(
        112,
        "The certificate is valid now",
        "The certificate has expired, or is not valid yet",
    ),
    entry(
        113,
        "The certificate is valid for a while yet",
        "The certificate expires soon",
    ),
    entry(
        114,
        "AWS IoT Core takes this kind of key",
        "The kind of key is not taken",
    ),
    entry(
        120,
        "The clock here agrees with the other side's",
        "The clock is not known",
    ),
    entry(
        121,
        "The clock here agrees with the server's",
        "The clock here is wrong",
    ),
    entry(
        200,
        "The broker's name resolves",
        "The name cannot be looked up",
    ),
    entry(201, "The name exists", "There is no such name"),
    entry(
        202,
        "The endpoint is a `Data-ATS` endpoint",
        "The endpoint is the legacy one",
    ),
    entry(
        203,
        "The endpoint is of the account and region that the certificate is of",
        "The endpoint is another account's or region's",
    ),
    entry(
        210,
        "A connection to the broker can be made",
        "The broker cannot be reached",
    ),
    entry(211, "Port 8883 is open", "Port 8883 is blocked, 443 is not"),
    entry(
        212,
        "Something answers at the address",
        "No port answers: the way is blocked",
    ),
    entry(
        213,
        "Something listens at the port",
        "The connection was refused",
    ),
    entry(
        220,
        "TLS can be agreed with the broker",
        "The handshake failed",
    ),
    entry(
        221,
        "The peer speaks MQTT over TLS",
        "The peer speaks something else",
    ),
    entry(
        222,
        "Server name and ALPN are what the endpoint expects",
        "Server name or ALPN is not taken",
    ),
    entry(
        223,
        "ca.crt is the broker's authority",
        "ca.crt is not the broker's authority",
    ),
    entry(
        224,
        "Both sides have a version of TLS in common",
        "No version of TLS in common",
    ),
    entry(
        225,
        "The broker's certificate is for the name that was dialled",
        "The broker's certificate is for another name",
    ),
    entry(
        226,
        "The broker's certificate is valid now",
        "The broker's certificate is not valid at the time here",
    ),
    entry(
        300,
        "The broker takes CONNECT",
        "CONNECT was refused or not answered",
    ),
    entry(
        301,
        "The certificate is registered and active",
        "The certificate is not registered, inactive or revoked",
    ),
    entry(
        302,
        "A policy is attached to the certificate",
        "No policy is attached",
    ),
    entry(
        303,
        "The policy allows the client id",
        "The policy does not allow the client id",
    ),
    entry(
        304,
        "The client id is in use once",
        "The client id is in use twice",
    ),
    entry(
        305,
        "Connects are within the account's rates",
        "Connects are throttled",
    ),
    entry(
        310,
        "The policy refuses what is not this party's",
        "What the policy refuses is not known",
    ),
    entry(
        311,
        "A foreign client id is refused",
        "The policy allows foreign client ids",
    ),
    entry(
        312,
        "A foreign topic is refused for publishing",
        "The policy allows publishing to foreign topics",
    ),
    entry(
        313,
        "A foreign topic is refused for subscribing",
        "The policy allows subscribing to foreign topics",
    ),
    entry(
        314,
        "The broker answers the same each time",
        "A change of the policy is still spreading",
    ),
    entry(
        320,
        "The broker takes the subscription",
        "The subscription was refused",
    ),
    entry(
        321,
        "The policy allows the subscription",
        "The policy does not allow the subscription",
    ),
    entry(
        322,
        "The subscriptions are within the broker's numbers",
        "Too many filters",
    ),
    entry(
        323,
        "Topics are within the broker's numbers",
        "A topic is too long or too deep",
    ),
    entry(330, "The broker takes a message", "The message was refused"),
    entry(
        331,
        "The policy allows publishing",
        "The policy does not allow publishing",
    ),
    entry(
        332,
        "The message is within the broker's size",
        "The message is too large",
    ),
    entry(
        333,
        "The rate is within the broker's numbers",
        "The rate is too high",
    ),
    entry(340, "What is published comes back", "Nothing came back"),
    entry(
        341,
        "The policy allows receiving",
        "The policy does not allow receiving",
    ),
    entry(
        400,
        "Names and topics belong together",
        "Names and topics do not fit",
    ),
    entry(
        401,
        "The source id is the one of the topics",
        "The source id is not the topics'",
    ),
    entry(
        402,
        "The consumer is registered under this name",
        "The consumer is not registered",
    ),
    entry(500, "The other end is known", "The other end is not known"),
    entry(501, "The agent is connected", "The agent is not connected"),
    entry(
        502,
        "The agent is subscribed to its topic",
        "The agent is connected and not subscribed",
    ),
    entry(
        503,
        "The agent answers",
        "The agent is connected and does not answer",
    ),
    entry(
        504,
        "The agent applies what it gets",
        "The agent does not apply what it gets",
    ),
    entry(
        505,
        "Both ends have versions that fit",
        "The versions of the two ends do not fit",
    ),
    entry(
        510,
        "The region's API answers",
        "The region's API cannot be used",
    ),
    entry(600, "AWS can be asked", "AWS cannot be asked"),
    entry(
        601,
        "The pod has an identity",
        "The Pod Identity association is missing, or for another namespace or account",
    ),
    entry(
        602,
        "The role may be taken by pods",
        "The role does not trust Pod Identity",
    ),
    entry(
        603,
        "The role may read the secret",
        "The role may not read the secret",
    ),
    entry(604, "The secret exists", "The secret does not exist"),
    entry(
        605,
        "The synced Secret is there when the container starts",
        "The synced Secret is not there yet",
    ),
    entry(610, "The kubelet can mount the secret", "The mount fails"),
    entry(
        700,
        "The database can be used",
        "The database cannot be used",
    ),
    entry(
        701,
        "The database can be reached",
        "The database cannot be reached",
    ),
    entry(
        702,
        "The database's certificate is trusted",
        "The database's certificate is not trusted",
    ),
    entry(
        703,
        "The database lets the bridge in",
        "The database does not let the bridge in",
    ),
    entry(
        704,
        "The database's version and tables fit",
        "The database's version or tables do not fit",
    ),
    entry(
        800,
        "The files fit together before anything runs",
        "A file cannot be read or used",
    ),
    entry(801, "region.yaml is valid", "region.yaml is not valid"),
    entry(
        802,
        "The chart's values are valid",
        "The chart's values are not valid",
    ),
    entry(
        803,
        "The policies allow what the parties need",
        "A policy denies what a party needs",
    ),
    entry(
        804,
        "The policies allow no more than that",
        "A policy allows more than a party needs",
    ),
    entry(
        805,
        "The files name the same region, consumers and topics",
        "The files disagree",
    ),
    entry(
        900,
        "The bundle waits for nothing",
        "It is not known what the bundle waits for",
    ),
    entry(901, "The bundle can be sent", "The bundle is in quarantine"),
    entry(
        902,
        "A bridge that is connected owns the consumer",
        "No bridge sends for the consumer",
    ),
    entry(
        903,
        "Somebody is subscribed to the consumer's topic",
        "Nobody is subscribed to the consumer's topic",
    ),
    entry(904, "The agent is heard from", "The agent is away"),
    entry(
        905,
        "The agent was ever heard from",
        "The agent was never heard from",
    ),
    entry(
        906,
        "The agent takes the version",
        "The agent refuses the version",
    ),
    entry(
        907,
        "The agent reports on the version",
        "The agent does not report on the version",
    ),
    entry(
        908,
        "The objects can be applied",
        "An object cannot be applied",
    ),
    entry(
        909,
        "The applied objects are available",
        "An object is not available",
    ),
    entry(910, "The objects can be deleted", "A deletion waits"),
    entry(
        911,
        "The consumer's bundles are sent in their turn",
        "The bundle waits for its turn",
    ),
    entry(
        912,
        "The cluster holds no newer version than the store",
        "The cluster holds a newer version",
    ),
    entry(
        920,
        "What the verifier checks holds",
        "The verifier could not look",
    ),
    entry(
        921,
        "A canary comes back in time",
        "The canary did not come back",
    ),
    entry(922, "The ledger only goes forward", "The ledger went back"),
    entry(
        923,
        "Both ends hold the same",
        "The two ends hold different things",
    ),
    entry(
        924,
        "What was acknowledged is there",
        "Something acknowledged is missing",
    ),
];

const fn entry(number: u16, statement: &'static str, fault: &'static str) -> Entry {
    Entry {
        code: Code::new(number),
        statement,
        fault,
    }
}
