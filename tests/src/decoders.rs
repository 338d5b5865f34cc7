//! Every decoder of bytes from outside as one function of bytes, with good inputs to start from: what the smoke
//! run and the libFuzzer targets feed. A decoder may refuse anything and panic at nothing.
//!
//! Some also hold what they accepted to a promise, such as: writing it and reading it again changes nothing.

use std::path::Path;

use link::bundle::resync::{SpecRequest, StatusRequest};
use link::bundle::{Spec, Status, go_json, status_hash};
use link::config::{Broker, Layers};
use link::event;
use link::id::ConsumerName;
use link::iot::{Context, Document, Request, evaluate};
use link::message::Message;
use link::order::{SequenceId, Version};
use link::topic::{Scheme, Topics};

mod condition_rules;
mod reports;
mod stored;

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Its name; the libFuzzer target is called the same.
    pub name: &'static str,
    /// Decodes; panics only on a broken promise.
    pub run: fn(&[u8]),
    /// Good inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words its format knows.
    pub dictionary: &'static [&'static str],
}

/// All of them.
pub const ALL: &[Decoder] = &[
    Decoder {
        name: "event",
        run: event,
        seeds: || {
            texts(&[
                "content-type: application/json\nce-specversion: 1.0\nce-id: 0b1c3e1c-4f0a-4a6e-9d43-0a1f6b1f2c3d\n\
             ce-source: maestro\nce-type: io.open-cluster-management.works.v1alpha1.manifestbundles.spec.create_request\n\
             ce-time: 2026-11-23T09:22:39.293542425Z\nce-clustername: cluster1\nce-resourceid: r1\n\
             ce-resourceversion: 3\n\n{\"manifests\":[]}",
                "content-type: application/cloudevents+json\n\n{\"specversion\":\"1.0\",\"id\":\"a\",\"source\":\"s\",\
             \"type\":\"io.open-cluster-management.works.v1alpha1.manifestbundles.status.update_request\",\
             \"data\":{\"conditions\":[]},\"sequenceid\":\"2000808179721572352\"}",
            ])
        },
        dictionary: &[
            "ce-deletiontimestamp: ",
            "ce-sequenceid: ",
            "data_base64",
            "ce-statushash: ",
            "resync_response",
            "9223372036854775808",
            "\"extension\":",
            "null",
        ],
    },
    Decoder {
        name: "spec",
        run: spec,
        seeds: || {
            texts(&[
                "{\"manifests\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}],\
             \"deleteOption\":{\"propagationPolicy\":\"Foreground\"},\"manifestConfigs\":[{\"resourceIdentifier\":\
             {\"group\":\"\",\"resource\":\"configmaps\",\"name\":\"a\",\"namespace\":\"b\"},\"feedbackRules\":\
             [{\"type\":\"JSONPaths\",\"jsonPaths\":[{\"name\":\"x\",\"path\":\".data.x\"}]}],\"updateStrategy\":{\"type\":\"Update\"}}]}",
            ])
        },
        dictionary: &[
            "null",
            "\"executer\":",
            "SelectivelyOrphan",
            "generateName",
            "ServerSideApply",
            "\u{2028}",
        ],
    },
    Decoder {
        name: "status",
        run: status,
        seeds: || {
            texts(&[
                "{\"conditions\":[{\"type\":\"Applied\",\"status\":\"True\",\"reason\":\"r\",\"message\":\"<m> & more\",\
             \"observedGeneration\":2,\"lastTransitionTime\":\"2026-11-23T09:22:41Z\"}],\"resourceStatus\":[{\"resourceMeta\":\
             {\"ordinal\":0,\"group\":\"\",\"version\":\"v1\",\"kind\":\"ConfigMap\",\"resource\":\"configmaps\",\"name\":\"a\",\
             \"namespace\":\"b\"},\"statusFeedback\":{\"values\":[{\"name\":\"x\",\"fieldValue\":{\"type\":\"Integer\",\"integer\":1}}]},\
             \"conditions\":[]}]}",
            ])
        },
        dictionary: &[
            "null",
            "\"jsonRaw\":",
            "\"boolean\":true",
            "Deleted",
            "1e400",
            "-9223372036854775808",
        ],
    },
    Decoder {
        name: "resync",
        run: resync,
        seeds: || {
            texts(&[
                "{\"resourceVersions\":[{\"resourceID\":\"a\",\"resourceVersion\":1},{\"resourceID\":\"b\",\"resourceVersion\":0}]}",
                "{\"statusHashes\":[{\"resourceID\":\"a\",\"statusHash\":\"e3b0c44298fc1c149afbf4c8996fb924\"}]}",
                "{}",
            ])
        },
        dictionary: &["null", "-1", "9223372036854775808", "1.5"],
    },
    Decoder {
        name: "report",
        run: reports::report,
        seeds: || texts(&[reports::SEED]),
        dictionary: &["null", "kubernetesVersion", "\\u0000", "-009999-01-01"],
    },
    Decoder {
        name: "order",
        run: order,
        seeds: || texts(&["1", "2000808179721572352", "0"]),
        dictionary: &["9223372036854775807", "-1", "+", "18446744073709551616"],
    },
    Decoder {
        name: "search",
        run: search,
        seeds: || {
            texts(&[
                "name like 'cluster%' and created_at > '2026-01-01' or not (version in (1, 2))",
                "payload->'metadata'->'labels'@>'{\"app\":\"web\"}' and labels.env != 'it''s'",
                "metadata->'labels'->>'app' is not null",
            ])
        },
        dictionary: &[
            "ilike",
            "->>",
            "@>",
            "''",
            "((((",
            "not not ",
            "consumer_name",
            "9223372036854775808",
        ],
    },
    Decoder {
        name: "topics",
        run: topics,
        seeds: || {
            texts(&[
                "{\"sourceEvents\":\"maestro/consumers/+/sourceevents\",\"agentEvents\":\"$share/g/maestro/consumers/+/agentevents\"}\n\
             maestro/consumers/cluster1/agentevents",
                "{\"sourceEvents\":\"sources/maestro/consumers/+/sourceevents\",\"agentEvents\":\"sources/maestro/consumers/+/agentevents\",\
             \"sourceBroadcast\":\"sources/+/sourcebroadcast\",\"agentBroadcast\":\"sources/cluster1/agentbroadcast\"}\n\
             sources/maestro/consumers/a/sourceevents",
            ])
        },
        dictionary: &["+", "#", "$share/", "/consumers/", "//", "\\u0000"],
    },
    Decoder {
        name: "policy",
        run: policy,
        seeds: || {
            texts(&[
                "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"iot:Connect\"],\"Resource\":\
             \"arn:aws:iot:eu-central-1:123456789012:client/${iot:Connection.Thing.ThingName}\"},{\"Sid\":\"p\",\"Effect\":\"Deny\",\
             \"Action\":\"iot:Publish\",\"Resource\":[\"arn:aws:iot:eu-central-1:123456789012:topic/a/*\"],\"Condition\":\
             {\"StringEquals\":{\"iot:ClientId\":\"x\"}}}]}",
            ])
        },
        dictionary: &[
            "*",
            "?",
            "${",
            "}",
            "${*}",
            "iot:*",
            "topicfilter/",
            "NotResource",
            "Bool",
            "null",
        ],
    },
    Decoder {
        name: "config",
        run: config,
        seeds: || {
            texts(&[
                "brokerHost: broker.example:8883\nkeepAlive: 60\ndialTimeout: 1m30s\npubQoS: 1\ntopics:\n  \
                 sourceEvents: maestro/consumers/+/sourceevents\n  agentEvents: \"maestro/consumers/+/agentevents\"\n\
                 caFile: ca.crt\nclientCertFile: tls.crt\nclientKeyFile: tls.key\n",
                "{\"brokerHost\": \"[::1]:443\", \"keepAlive\": \"30\"}",
            ])
        },
        dictionary: &[
            "&a",
            "*a",
            "<<:",
            "- ",
            "!!binary ",
            "|\n",
            "---\n",
            "~",
            "password: x",
            "65536",
            "1e3",
        ],
    },
    Decoder {
        name: "identity",
        run: stored::identity,
        seeds: stored::identities,
        dictionary: &[
            "-----BEGIN CERTIFICATE-----\n",
            "-----END CERTIFICATE-----\n",
            "-----BEGIN EC PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\n",
            "\\n",
            "\u{feff}",
            stored::CUT,
        ],
    },
    Decoder {
        name: "work",
        run: stored::work,
        seeds: stored::works,
        dictionary: &[
            "\n",
            "null",
            "\"rejected\":\"\"",
            "\"deletingSince\":",
            "{}",
        ],
    },
    Decoder {
        name: "rules",
        run: condition_rules::rules,
        seeds: || texts(condition_rules::SEEDS),
        dictionary: condition_rules::DICTIONARY,
    },
];

fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// Feeds the decoder of this name.
///
/// # Panics
/// When there is none, or when it breaks a promise: the finding.
pub fn run(name: &str, bytes: &[u8]) {
    let decoder = ALL.iter().find(|decoder| decoder.name == name);
    (decoder.expect("a decoder of this name").run)(bytes);
}

fn event(bytes: &[u8]) {
    let message = message(bytes);
    if let Ok(event) = event::decode(&message) {
        let again = event::decode(&event::encode(&event, message.topic));
        assert_eq!(again.expect("what was written can be read"), event);
    }
}

/// Header lines up to an empty line, then the payload.
fn message(bytes: &[u8]) -> Message {
    let split = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, payload) = match split {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[][..]),
    };
    let mut message = Message::new("t", payload.to_vec());
    for line in String::from_utf8_lossy(head).lines() {
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        match key {
            "content-type" => message.content_type = Some(value.to_owned()),
            key => message
                .user_properties
                .push((key.to_owned(), value.to_owned())),
        }
    }
    message
}

fn spec(bytes: &[u8]) {
    if let Ok(spec) = serde_json::from_slice::<Spec>(bytes) {
        let _ = spec.problems();
        same_again(&spec);
    }
}

fn status(bytes: &[u8]) {
    if let Ok(status) = serde_json::from_slice::<Status>(bytes) {
        let hash = status_hash(&status);
        assert_eq!(hash.len(), 64, "a SHA-256 in hex");
        same_again(&status);
    }
}

fn resync(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<SpecRequest>(bytes) {
        same_again(&request);
    }
    if let Ok(request) = serde_json::from_slice::<StatusRequest>(bytes) {
        same_again(&request);
    }
}

/// What Go's encoder would write of a value reads back, and is then written the same.
fn same_again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) {
    let first = go_json::to_string(value).expect("what was read can be written");
    let again: T = serde_json::from_str(&first).expect("what was written can be read");
    let second = go_json::to_string(&again).expect("what was read can be written");
    assert_eq!(first, second);
}

fn order(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(version) = Version::parse(&text) {
        assert!(version.next().is_none_or(|next| next > version));
    }
    if let Ok(sequence) = text.parse::<SequenceId>() {
        let written = sequence.to_string();
        assert_eq!(written.parse::<SequenceId>().ok(), Some(sequence));
    }
}

fn topics(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (topics, topic) = text.split_once('\n').unwrap_or((&text, "a/b/c/d"));
    let Ok(topics) = serde_json::from_str::<Topics>(topics) else {
        return;
    };
    let Ok(scheme) = Scheme::parse(&topics) else {
        return;
    };
    let _ = scheme.consumer_of(topic);
    let consumer = ConsumerName::new("cluster1").expect("a good name");
    if scheme.check_consumer(&consumer).is_ok() {
        for topic in [
            scheme.source_events(&consumer),
            scheme.agent_events(&consumer),
        ] {
            assert_eq!(
                scheme.consumer_of(&topic),
                Some(consumer.clone()),
                "{topic}"
            );
        }
    }
}

fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(document) = Document::parse(&text) else {
        return;
    };
    let written = document.to_json();
    let again = Document::parse(&written).expect("what was written can be read");
    assert_eq!(again.to_json(), written);
    let context = Context::new(link::iot::ArnPrefix::default(), "x");
    for request in [
        Request::connect(&context),
        Request::publish("a/b", &context),
        Request::subscribe("a/+/#", &context),
    ] {
        let first = evaluate(std::slice::from_ref(&document), &request);
        let second = evaluate(std::slice::from_ref(&again), &request);
        assert_eq!(first.is_allowed(), second.is_allowed());
        assert!(!first.explain().is_empty());
    }
}

fn search(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(problem) = server_bridge::api::search_problem(&text) {
        assert!(problem.contains("position"), "{problem}");
    }
}

fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut layers = Layers::new(Broker::KEYS);
    layers.text(Path::new("/mount/config.yaml"), &text);
    let broker = Broker::read(&mut layers);
    if let Err(problems) = layers.finish(broker) {
        assert!(!problems.to_string().is_empty());
    }
}
