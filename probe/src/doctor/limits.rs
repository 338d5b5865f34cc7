//! The broker's numbers: topics, filters, and a payload that is to be sent; nothing is sent for it.

mod largest;

use link::error::{Hint, chain};
use link::fault::{Code, Finding};
use link::file;
use link::iot::limits::{
    self, FILTERS_PER_SUBSCRIBE, IN_FLIGHT, PACKET_BYTES, PAYLOAD_BYTES, SUBSCRIPTIONS,
};
use link::message::Message;

use super::Context;
use super::who::Who;

/// All that can be told without the broker.
pub(crate) fn check(context: &Context, who: &Who) -> Vec<Finding> {
    let mut found = topics(who);
    if let Some(path) = &context.args.far.payload {
        found.push(match file::read_text(path, LARGEST) {
            Ok(text) => payload(&path.display().to_string(), &text, &who.topic),
            Err(error) => unreadable(&path.display().to_string(), &chain(&error)),
        });
    }
    found
}

/// What CONNACK grants, where it is less than what is relied on.
pub(crate) fn granted(maximum_packet: Option<u32>, receive_maximum: u16) -> Option<Finding> {
    if let Some(bytes) = maximum_packet
        && (bytes as usize) < PACKET_BYTES
    {
        return Some(
            Finding::warning(SIZE, format!("this broker takes packets of {bytes} bytes"))
                .why(format!(
                    "AWS IoT Core takes {PACKET_BYTES}; larger bundles do not arrive here"
                ))
                .next("raise the broker's limit (mosquitto: `max_packet_size`)"),
        );
    }
    (receive_maximum < IN_FLIGHT).then(|| {
        Finding::info(
            RATE,
            format!("this broker lets {receive_maximum} messages wait for their acknowledgement (AWS IoT Core: {IN_FLIGHT})"),
        )
    })
}

// A green would say that it can be sent.
fn unreadable(name: &str, why: &str) -> Finding {
    Finding::warning(PUBLISH, format!("`{name}` cannot be read: {why}"))
        .why("whether it can be sent is not known")
        .next("give a file with a bundle (JSON) or manifests (JSON or YAML)")
}

fn topics(who: &Who) -> Vec<Finding> {
    let mut found = Vec::new();
    let filters = who.filters.iter().map(|it| limits::check_filter(it));
    let topics = std::iter::once(limits::check_topic(&who.topic));
    for broken in filters.chain(topics).filter_map(Result::err) {
        let hint = broken.hint().unwrap_or_else(|| "shorten it".into());
        found.push(
            Finding::error(DEPTH, chain(&broken))
                .why("the broker refuses it, or ends the connection")
                .next(hint),
        );
    }
    let count = who.filters.len();
    if count > SUBSCRIPTIONS {
        found.push(
            Finding::error(FILTERS, format!("{count} filters on one connection"))
                .why(format!("a connection has {SUBSCRIPTIONS} subscriptions at most, and {FILTERS_PER_SUBSCRIBE} go in one SUBSCRIBE"))
                .next("subscribe with wildcards, or with more connections"),
        );
    }
    found
}

/// Whether a text can be sent as one message.
fn payload(name: &str, text: &str, topic: &str) -> Finding {
    let bytes = text.len();
    let message = Message::new(topic, text.to_owned());
    match limits::fits(&message) {
        Ok(()) if !largest::is_readable(text) => unreadable(name, "it is neither JSON nor YAML"),
        Ok(()) => Finding::ok(
            SIZE,
            format!("`{name}` has {bytes} of {PAYLOAD_BYTES} bytes"),
        ),
        Err(_) => {
            let largest = largest::objects(text);
            let list: Vec<_> = largest
                .iter()
                .take(SHOWN)
                .map(|(object, bytes)| format!("{object}: {bytes} bytes"))
                .collect();
            let list = match list.as_slice() {
                [] => "no objects are recognised in it".to_owned(),
                list => format!("the largest are {}", list.join(", ")),
            };
            Finding::error(
                SIZE,
                format!("`{name}` has {bytes} bytes, and {PAYLOAD_BYTES} can be sent; {list}"),
            )
            .why("the broker ends the connection at one byte more, each time it is sent again")
            .next("split the bundle, or move what is large in it into a bundle of its own")
        }
    }
}

const DEPTH: Code = Code::new(323);
const FILTERS: Code = Code::new(322);
const SIZE: Code = Code::new(332);
const RATE: Code = Code::new(333);
const PUBLISH: Code = Code::new(330);

// Objects that are named.
const SHOWN: usize = 5;

// Many times what can be sent.
const LARGEST: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use link::id::ClientId;
    use link::topic::Scheme;
    use serde_json::json;

    use super::*;

    fn on(topic: &str) -> Who {
        let id = ClientId::new("probe-1").unwrap();
        Who::operator(&Scheme::default(), &id, false, topic.into(), "doctor-1")
    }

    #[test]
    fn a_topic_that_is_too_deep_or_too_long_is_found_before_the_broker_is_asked() {
        assert!(topics(&on("a/b/c")).is_empty());
        for topic in ["a/b/c/d/e/f/g/h/i".to_owned(), "a".repeat(257)] {
            let found = topics(&on(&topic));
            assert!(found.iter().all(|finding| finding.code == DEPTH), "{topic}");
            assert!(!found.is_empty(), "{topic}");
        }
    }

    #[test]
    fn too_many_filters_are_found_before_the_broker_is_asked() {
        let mut who = on("a");
        who.filters = (0..51).map(|n| format!("a/{n}")).collect();
        assert_eq!(topics(&who)[0].code, FILTERS);
    }

    #[test]
    fn a_payload_that_is_no_json_and_no_yaml_is_not_called_good() {
        for broken in ["{\"manifests\": [", "a: [1\nb: }"] {
            let finding = payload("b", broken, "t");
            assert_eq!(finding.code, PUBLISH, "{finding:?}");
            assert_eq!(finding.severity, link::fault::Severity::Warning);
        }
        for good in ["{\"manifests\": []}", "kind: A\n---\nkind: B\n"] {
            assert_eq!(payload("b", good, "t").code, SIZE, "{good}");
        }
    }

    #[test]
    fn of_a_payload_that_is_too_large_the_five_largest_objects_are_named() {
        let object = |n: usize| {
            json!({
                "kind": "ConfigMap",
                "metadata": {"name": format!("c{n}"), "namespace": "a"},
                "data": {"x": "x".repeat(n * 10_000)},
            })
        };
        let bundle = json!({"manifests": (1..=7).map(object).collect::<Vec<_>>()});
        let finding = payload("b.json", &bundle.to_string(), "t");
        assert_eq!(finding.code, SIZE);
        assert_eq!(finding.severity, link::fault::Severity::Error);
        let (seven, three) = ("ConfigMap a/c7", "ConfigMap a/c3");
        assert!(
            finding.seen.contains(seven) && finding.seen.contains(three),
            "{}",
            finding.seen
        );
        assert!(!finding.seen.contains("c2"), "{}", finding.seen);
        assert!(!finding.seen.contains("xxx"));
    }
}
