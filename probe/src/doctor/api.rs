//! What the region's API knows of a consumer and its agent.
//!
//! **Contract:** members that are not there are not known; an older bridge has fewer of them.

use std::time::Duration;

use link::error::{Hint, chain};
use link::http::client::{ApiClient, ApiError, query};
use serde_json::Value;
use tokio::time::timeout;

use super::Context;

/// What it knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ApiFacts {
    /// Where it is.
    pub(crate) address: String,
    /// The consumer that was asked for.
    pub(crate) consumer: Option<ConsumerFacts>,
    /// What is known of its agent.
    pub(crate) presence: Option<PresenceFacts>,
    /// What waits for the consumer, if anything does.
    pub(crate) waiting: Option<Waiting>,
    /// How the consumer is, in one sentence.
    pub(crate) story: Option<String>,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConsumerFacts {
    pub(crate) name: String,
    pub(crate) registered: bool,
    /// Names of registered consumers, where this one is not among them.
    pub(crate) others: Vec<String>,
}

/// Its agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PresenceFacts {
    /// `connected`, `idle`, `away`, `never` or `unknown`.
    pub(crate) state: String,
    pub(crate) since: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) last_heard: Option<String>,
    pub(crate) version: Option<String>,
}

/// What waits longest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    /// Number of the fault.
    pub(crate) code: Option<u16>,
    pub(crate) since: Option<String>,
    pub(crate) why: String,
    pub(crate) next: String,
}

/// Asks; `None` where no API is named, an error where it cannot be used.
pub(crate) async fn ask(
    context: &Context,
    consumer: Option<&str>,
) -> Option<Result<ApiFacts, String>> {
    let flags = &context.args.far.api;
    if !flags.is_given() {
        return None;
    }
    let asked = async {
        let client = flags.client().map_err(|error| told(&error))?;
        Box::pin(facts(&client, consumer)).await
    };
    let within = context.share(ASK_WITHIN);
    Some(match timeout(within, asked).await {
        Ok(facts) => facts,
        Err(_) => Err(format!("no answer within {} s", within.as_secs())),
    })
}

async fn facts(client: &ApiClient, consumer: Option<&str>) -> Result<ApiFacts, String> {
    let mut facts = ApiFacts {
        address: client.address().to_string(),
        ..ApiFacts::default()
    };
    let Some(name) = consumer else {
        let list = query("/consumers", &[("size", "1")]);
        let list = client.get(&list).await.map_err(|error| told(&error))?;
        names_of(&list)?;
        return Ok(facts);
    };
    let registered = match client.get(&format!("/consumers/{name}")).await {
        Ok(consumer) if has_kind(&consumer) => true,
        Ok(_) => return Err(no_api("a consumer")),
        Err(ApiError::NotFound { .. }) => false,
        Err(error) => return Err(told(&error)),
    };
    let mut others = Vec::new();
    if registered {
        // An older bridge has neither; what is not known is said as such.
        let (presence, story) = (
            format!("/consumers/{name}/presence"),
            format!("/consumers/{name}/explain"),
        );
        let (presence, story) = tokio::join!(client.get(&presence), client.get(&story));
        facts.presence = presence.ok().map(|value| presence_of(&value));
        let story = story.ok();
        facts.story = story.as_ref().and_then(|story| text(story, &["state"]));
        facts.waiting = story.and_then(|story| waiting_of(&story["waiting"]));
    } else {
        let list = query("/consumers", &[("size", NAMES), ("fields", "id,name")]);
        // Anything answers 404; only who lists consumers knows that this one is none.
        let list = client.get(&list).await.map_err(|error| told(&error))?;
        others = names_of(&list)?;
    }
    facts.consumer = Some(ConsumerFacts {
        name: name.to_owned(),
        registered,
        others,
    });
    Ok(facts)
}

// The names of a list of consumers.
fn names_of(list: &Value) -> Result<Vec<String>, String> {
    let items = list["items"].as_array().filter(|_| has_kind(list));
    let items = items.ok_or_else(|| no_api("a list of consumers"))?;
    let names = items.iter().filter_map(|item| text(item, &["name"]));
    Ok(names.collect())
}

// Every object and list of the API says what it is.
fn has_kind(value: &Value) -> bool {
    value["kind"].is_string()
}

fn no_api(what: &str) -> String {
    format!("the answer is not {what}; another server than a bridge answers there")
}

fn presence_of(value: &Value) -> PresenceFacts {
    let report = ["report", "agent"]
        .iter()
        .map(|key| &value[*key])
        .find(|value| value.is_object())
        .unwrap_or(value);
    PresenceFacts {
        state: text(value, &["state"]).unwrap_or_else(|| "unknown".into()),
        since: text(value, &["since"]),
        reason: text(value, &["reason", "why"]),
        last_heard: text(
            value,
            &[
                "last_heard_at",
                "lastHeardAt",
                "heard_at",
                "heardAt",
                "last_seen_at",
                "lastSeenAt",
            ],
        ),
        version: text(report, &["version"]),
    }
}

fn waiting_of(value: &Value) -> Option<Waiting> {
    let code = text(value, &["code"])?;
    Some(Waiting {
        code: code.strip_prefix("MQ").and_then(|code| code.parse().ok()),
        since: text(value, &["since"]),
        why: text(value, &["why"]).unwrap_or_default(),
        next: text(value, &["next"]).unwrap_or_default(),
    })
}

// The first of these members that is a text.
fn text(value: &Value, keys: &[&str]) -> Option<String> {
    keys.iter()
        .find_map(|key| value[*key].as_str())
        .map(str::to_owned)
}

fn told(error: &ApiError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}"));
    format!("{}{}", chain(error), hint.unwrap_or_default())
}

// A page of names among which a near one is looked for.
const NAMES: &str = "500";

const ASK_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_older_bridge_does_not_say_is_not_known() {
        let presence = presence_of(&json!({}));
        assert_eq!(presence.state, "unknown");
        assert_eq!(waiting_of(&json!(null)), None);
        let waiting =
            json!({"code": "MQ908", "since": "2026-01-01T00:00:00Z", "why": "a", "next": "b"});
        assert_eq!(waiting_of(&waiting).unwrap().code, Some(908));
        let presence =
            presence_of(&json!({"state": "away", "reason": "x", "report": {"version": "1.2.3"}}));
        assert_eq!(presence.version.as_deref(), Some("1.2.3"));
    }

    #[test]
    fn what_does_not_list_consumers_is_no_api() {
        let list = json!({"kind": "ConsumerList", "items": [{"name": "a"}]});
        assert_eq!(names_of(&list), Ok(vec!["a".to_owned()]));
        for other in [json!({}), json!([1, 2]), json!({"items": []}), json!(null)] {
            assert!(names_of(&other).is_err(), "{other}");
        }
    }
}
