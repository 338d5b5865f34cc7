//! What the region's API knows of a consumer and its agent.
//!
//! **Contract:** members that are not there are not known; an older bridge has fewer of them.

use std::time::Duration;

use link::error::{Hint, chain};
use link::http::client::{ApiClient, ApiError, ApiFlags, query};
use link::telemetry::clip;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

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
    /// Why that is not known, where the API has it.
    pub(crate) no_presence: Option<String>,
    /// What waits for the consumer, if anything does.
    pub(crate) waiting: Option<Waiting>,
    /// How the consumer is, in one sentence.
    pub(crate) story: Option<String>,
    /// Why that is not known, where the API has it.
    pub(crate) no_story: Option<String>,
}

// One answer after another; the first is needed, of the others each stands for itself.
struct Asking<'a> {
    client: &'a ApiClient,
    deadline: Instant,
    within: Duration,
}

// === impl Asking ===

impl Asking<'_> {
    // `None` where there is no such thing.
    async fn get(&self, path: &str) -> Result<Option<Value>, String> {
        match timeout_at(self.deadline, self.client.get(path)).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(ApiError::NotFound { .. })) => Ok(None),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(format!(
                "no answer to `{path}` within {} s",
                self.within.as_secs()
            )),
        }
    }

    async fn list(&self, fields: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let list = self.get(&query("/consumers", fields)).await?;
        names_of(&list.unwrap_or_default())
    }
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
    let within = context.share(ASK_WITHIN);
    let client = match client(flags) {
        Ok(client) => client,
        Err(why) => return Some(Err(why)),
    };
    let asking = Asking {
        client: &client,
        deadline: Instant::now() + within,
        within,
    };
    Some(Box::pin(facts(&asking, consumer)).await)
}

async fn facts(asking: &Asking<'_>, consumer: Option<&str>) -> Result<ApiFacts, String> {
    let mut facts = ApiFacts {
        address: asking.client.address().to_string(),
        ..ApiFacts::default()
    };
    let Some(name) = consumer else {
        asking.list(&[("size", "1")]).await?;
        return Ok(facts);
    };
    let registered = match asking.get(&format!("/consumers/{name}")).await? {
        Some(consumer) if has_kind(&consumer) => true,
        Some(_) => return Err(no_api("a consumer")),
        None => false,
    };
    let mut others = Vec::new();
    if registered {
        // An older bridge has neither.
        let (presence, story) = (
            format!("/consumers/{name}/presence"),
            format!("/consumers/{name}/explain"),
        );
        let (presence, story) = tokio::join!(asking.get(&presence), asking.get(&story));
        facts.no_presence = presence.as_ref().err().cloned();
        facts.presence = presence.ok().flatten().map(|value| presence_of(&value));
        facts.no_story = story.as_ref().err().cloned();
        let story = story.ok().flatten();
        facts.story = story.as_ref().and_then(|story| text(story, &["state"]));
        facts.waiting = story.and_then(|story| waiting_of(&story["waiting"]));
    } else {
        // Anything answers 404; only who lists consumers knows that this one is none.
        others = asking
            .list(&[("size", NAMES), ("fields", "id,name")])
            .await?;
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
        .map(|words| clip(words, CLIP).into_owned())
}

fn told(error: &ApiError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}"));
    format!("{}{}", chain(error), hint.unwrap_or_default())
}

// In a pod there may be little memory, and anything may answer.
fn client(flags: &ApiFlags) -> Result<ApiClient, String> {
    let client = flags.client().map_err(|error| told(&error))?;
    Ok(client.answer_bytes(ANSWER_BYTES))
}

// Many times a page of names.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

// A page of names among which a near one is looked for.
const NAMES: &str = "500";

// Longer than any sentence of a bridge with an agent's in it.
const CLIP: usize = 4_096;

const ASK_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

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

    #[tokio::test]
    async fn what_is_refused_or_silent_leaves_what_else_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut open = Vec::new();
            let large = " ".repeat(ANSWER_BYTES) + r#"{"kind":"Consumer"}"#;
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let count = socket.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..count]).into_owned();
                let (status, body) = match head.split_whitespace().nth(1).unwrap() {
                    path if path.ends_with("/explain") => {
                        open.push(socket);
                        continue;
                    }
                    path if path.ends_with("/presence") => ("403 F", r#"{"reason":"not you"}"#),
                    path if path.ends_with("/large") => ("200 OK", large.as_str()),
                    _ => ("200 OK", r#"{"kind":"Consumer"}"#),
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        let flags = ApiFlags {
            api: Some(address),
            ..ApiFlags::default()
        };
        let client = client(&flags).unwrap();
        let asking = |seconds| {
            let within = Duration::from_secs(seconds);
            Asking {
                client: &client,
                deadline: Instant::now() + within,
                within,
            }
        };
        let large = facts(&asking(60), Some("large")).await.unwrap_err();
        assert!(large.contains("is larger than"), "{large}");
        let facts = facts(&asking(4), Some("c1")).await.unwrap();
        serving.abort();
        assert!(facts.consumer.unwrap().registered);
        let refused = facts.no_presence.unwrap();
        assert!(
            refused.contains("refuses") && refused.contains("not you"),
            "{refused}"
        );
        let silent = facts.no_story.unwrap();
        assert!(silent.contains("/explain` within 4 s"), "{silent}");
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
