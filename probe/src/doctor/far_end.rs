//! The other end: is an agent there, is it subscribed, does it apply what it gets; pure. AWS and the region's API were asked
//! before.

use link::fault::{Code, Finding};

use super::api::{ApiFacts, PresenceFacts, Waiting};
use super::aws::facts::{AwsFacts, Unknown};
use super::evidence::Evidence;
use super::names;
use super::who::{Role, Who};

/// All that is known of it.
pub(crate) fn findings(evidence: &Evidence, who: &Who) -> Vec<Finding> {
    let mut found = Vec::new();
    match &evidence.api {
        None => {}
        Some(Err(why)) => found.push(
            Finding::error(API, format!("the region's API cannot be used: {why}"))
                .why("it alone knows what waits and whether agents answer")
                .next("check `--api`, its token and its CA; `curl` the same address"),
        ),
        Some(Ok(api)) => found.extend(of_api(api)),
    }
    let is_agent = matches!(who.role, Role::Agent(_));
    if is_agent {
        found.extend(of_aws(&evidence.aws, who));
    }
    if found.is_empty() {
        let (seen, next) = match (evidence.aws.was_asked(), is_agent) {
            (true, true) => (
                "not checked: AWS was asked in another account or region",
                "give `--api URL` (of the bridge), or credentials of the broker's account",
            ),
            // An operator's own client is no other end.
            (true, false) => (
                "not checked: it is not known which agent is meant",
                "give `--consumer NAME`, or `--api URL` (of the bridge)",
            ),
            (false, _) => (
                "not checked: neither the region's API nor AWS was asked",
                "give `--api URL` (of the bridge), or credentials of AWS",
            ),
        };
        found.push(Finding::info(OTHER, seen).next(next));
    }
    found
}

fn of_api(api: &ApiFacts) -> Vec<Finding> {
    let mut found = vec![Finding::ok(API, format!("`{}` answers", api.address))];
    let Some(consumer) = &api.consumer else {
        return found;
    };
    found.push(names::consumer(consumer));
    if !consumer.registered {
        return found;
    }
    match &api.presence {
        Some(presence) => found.extend(of_presence(presence)),
        None => {
            let why = match &api.no_presence {
                Some(why) => why.as_str(),
                None => "this bridge does not tell whether agents are connected",
            };
            found.push(Finding::info(CONNECTED, format!("not checked: {why}")));
        }
    }
    if let Some(waiting) = &api.waiting {
        found.push(of_waiting(waiting));
    } else if let Some(story) = &api.story {
        found.push(Finding::ok(OTHER, story.clone()));
    } else if let Some(why) = &api.no_story {
        let seen = format!("not checked whether anything waits: {why}");
        found.push(Finding::info(OTHER, seen));
    }
    found
}

fn of_presence(presence: &PresenceFacts) -> Vec<Finding> {
    let since = presence
        .since
        .as_ref()
        .map(|since| format!(" since {since}"))
        .unwrap_or_default();
    let heard = match &presence.last_heard {
        Some(at) => format!("it was heard last at {at}"),
        None => "it was never heard".to_owned(),
    };
    let reason = presence
        .reason
        .clone()
        .unwrap_or_else(|| "no reason is known".into());
    let mut found = vec![match presence.state.as_str() {
        "connected" => Finding::ok(CONNECTED, format!("the agent is connected{since}")),
        "idle" => Finding::ok(
            CONNECTED,
            format!("the agent is connected{since}, and has nothing to do"),
        ),
        "away" => Finding::error(
            CONNECTED,
            format!("the agent is away{since} ({reason}); {heard}"),
        )
        .why("what is published waits for it")
        .next(
            "look at its pod in the management cluster: `kubectl logs`, and `probe doctor` there",
        ),
        "never" => Finding::error(CONNECTED, "no agent of this consumer was ever heard")
            .why("it was not installed, has another consumer's name, or cannot connect")
            .next("run `probe doctor` in the management cluster"),
        _ => Finding::info(
            CONNECTED,
            format!("it is not known whether the agent is connected ({reason}); {heard}"),
        )
        .why("an agent of another kind says nothing of itself")
        .next("give credentials of AWS: GetConnection tells"),
    }];
    if let Some(version) = &presence.version {
        let here = env!("CARGO_PKG_VERSION");
        let finding = match major(version) == major(here) {
            true => Finding::ok(VERSIONS, format!("the agent is version {version}")),
            false => Finding::warning(
                VERSIONS,
                format!("the agent is version {version}, and this is {here}"),
            )
            .why("versions that are apart by a whole number may not know each other's extensions")
            .next("bring both ends to the same version, the bridge first"),
        };
        found.push(finding);
    }
    found
}

// What waits is told by the bridge, which has the codes of a bundle on its way.
fn of_waiting(waiting: &Waiting) -> Finding {
    let since = waiting
        .since
        .as_ref()
        .map(|since| format!(" since {since}"))
        .unwrap_or_default();
    let (code, what) = match waiting.code {
        Some(908..=910) => (APPLIES, "the agent does not bring about what it got"),
        Some(906) => (APPLIES, "the agent refuses what it gets"),
        Some(907) => (ANSWERS, "the agent does not answer"),
        Some(903) => (SUBSCRIBED, "nobody is subscribed to the consumer's topic"),
        Some(904 | 905) => (CONNECTED, "the agent is away"),
        Some(number) => (Code::from_number(number).unwrap_or(OTHER), "a bundle waits"),
        None => (OTHER, "a bundle waits"),
    };
    let told = waiting
        .code
        .map(|number| format!(" ({})", Code::new(number)))
        .unwrap_or_default();
    // One that waits for its turn, or for a first report, moves by itself.
    let finding = match waiting.code {
        Some(911) => Finding::info(code, format!("{what}{since}{told}")),
        _ => Finding::error(code, format!("{what}{since}{told}")),
    };
    finding.why(waiting.why.clone()).next(waiting.next.clone())
}

fn of_aws(facts: &AwsFacts, who: &Who) -> Vec<Finding> {
    let mut found = Vec::new();
    let connection = match &facts.connection {
        Ok(connection) => connection,
        // Said with AWS itself, or not asked for.
        Err(Unknown::NotAsked(_) | Unknown::Elsewhere(_)) => return found,
        Err(Unknown::Refused(words) | Unknown::Failed(words)) => {
            let seen = format!("not known whether the agent is connected: {words}");
            found.push(Finding::info(CONNECTED, seen));
            return found;
        }
    };
    let id = &who.own;
    if facts.lacks_certificate() && !connection.connected {
        // It knows of no connection of a certificate that it does not know.
        found.push(
            Finding::info(CONNECTED, format!("not known: AWS was asked{} in an account or region that does not have the certificate", facts.asked_as()))
                .next("give credentials of the account that the broker's endpoint is of"),
        );
        return found;
    }
    let since = connection
        .since
        .map(|at| format!(" since {at:.0}"))
        .unwrap_or_default();
    if connection.connected {
        found.push(Finding::ok(
            CONNECTED,
            format!("AWS: `{id}` is connected{since}"),
        ));
        if let Ok(filters) = &facts.subscriptions {
            found.push(subscriptions(filters, who));
        }
        return found;
    }
    match connection.reason.as_deref() {
        Some(reason @ ("DUPLICATE_CLIENTID" | "DUPLICATE_CLIENT_ID")) => found.push(
            Finding::error(IN_USE, format!("AWS: `{id}` went{since}, because another connection took its client id ({reason})"))
                .why("two processes with one client id throw each other out for ever")
                .next("look for a second agent with this certificate: an old pod, or a second cluster"),
        ),
        Some(reason) => found.push(
            Finding::error(CONNECTED, format!("AWS: `{id}` is not connected{since} ({reason})"))
                .why(why_gone(reason))
                .next("look at the agent's pod: `kubectl logs`, and `probe doctor` there"),
        ),
        None => found.push(
            Finding::error(CONNECTED, format!("AWS: `{id}` is not connected, and was not within the last half hour"))
                .why("AWS remembers for half an hour why a client went")
                .next("look at the agent's pod: `kubectl get pods`, `kubectl logs`"),
        ),
    }
    found
}

fn subscriptions(filters: &[String], who: &Who) -> Finding {
    let missing: Vec<&str> = who
        .filters
        .iter()
        .filter(|filter| !filters.contains(filter))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Finding::ok(
            SUBSCRIBED,
            format!("AWS: it is subscribed to `{}`", who.filters.join("`, `")),
        );
    }
    let has = match filters {
        [] => "nothing".to_owned(),
        filters => format!("`{}`", filters.join("`, `")),
    };
    Finding::error(
        SUBSCRIBED,
        format!("AWS: it is connected, and subscribed to {has}, not to `{}`", missing.join("`, `")),
    )
    .why("nothing that is published reaches it; a subscription that a policy refused looks like this")
    .next("compare the topics of its configuration and its policy (MQ321), then restart the agent")
}

fn why_gone(reason: &str) -> &'static str {
    match reason {
        "AUTH_ERROR" | "FORBIDDEN_ACCESS" => "certificate or policy did not allow what it did",
        "CLIENT_INITIATED_DISCONNECT" => "it left by itself: it was stopped or restarted",
        "MQTT_KEEP_ALIVE_TIMEOUT" | "CONNECTION_LOST" => "the network, or the process, fell silent",
        "THROTTLED" => "it went over a rate",
        "API_INITIATED_DISCONNECT" => "somebody ended the connection by the API",
        _ => "the broker's word for why it went",
    }
}

fn major(version: &str) -> Option<&str> {
    version.trim_start_matches('v').split('.').next()
}

const IN_USE: Code = Code::new(304);
const OTHER: Code = Code::new(500);
const CONNECTED: Code = Code::new(501);
const SUBSCRIBED: Code = Code::new(502);
const ANSWERS: Code = Code::new(503);
const APPLIES: Code = Code::new(504);
const VERSIONS: Code = Code::new(505);
const API: Code = Code::new(510);
