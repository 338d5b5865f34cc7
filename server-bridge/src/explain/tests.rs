//! One story for each place a bundle can be stuck at, told in full: what an operator reads.
// Long because each place has its story here.

use jiff::{SignedDuration, Timestamp};
use link::fault::Code;
use link::id::ConsumerName;
use link::order::Version;
use serde_json::{Value, json};

use super::bundle::told;
use super::facts::{AgentFacts, RefusedVersion};
use super::*;
use crate::store::{
    Ahead, Bundle, BundleFacts, Consumer, ConsumerFacts, Content, Doubts, Epoch, Json, LaneFacts,
    LaneOwner, LeaseFacts, LedgerEntry, Load, Presence, PresenceState, Progress, RaisedVersion,
    SourceName, Status, Tombstone,
};

mod agents;
mod bridges;
mod clusters;
mod consumers;

/// The moment of every story; times are seconds before it.
fn now() -> Timestamp {
    "2026-08-01T10:00:00Z".parse().unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn name() -> ConsumerName {
    ConsumerName::new("cluster1").unwrap()
}

/// A way on which a bundle can be.
struct Scene {
    facts: BundleFacts,
    process: Option<ProcessFacts>,
    agent: Option<AgentFacts>,
}

// === impl Scene ===

impl Scene {
    /// Version 1 was stored ten minutes ago, and nothing has happened since.
    fn stored() -> Self {
        let entry = LedgerEntry::stored(Version::FIRST, false, before(600));
        let manifest = |name: &str, size| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"},
                "data": {"secret": "x".repeat(size)}})
        };
        let manifests = json!([manifest("small", 10), manifest("large", 900)]);
        let bundle = Bundle {
            id: "b1".into(),
            name: "shop".into(),
            source: SourceName::new("maestro").unwrap(),
            consumer_name: name(),
            version: Version::FIRST,
            created_at: before(600),
            updated_at: before(600),
            deleted_at: None,
            metadata: None,
            origin: None,
            content: Some(Content {
                manifests: Json::from_value(&manifests),
                delete_option: None,
                manifest_configs: None,
                executer: None,
            }),
            status: None,
            ledger: Some(vec![entry]),
            progress: Some(Progress {
                waiting_since: Some(before(600)),
                ..Progress::default()
            }),
        };
        let consumer = Consumer {
            id: "c1".into(),
            name: name(),
            labels: std::collections::BTreeMap::new(),
            created_at: before(9_000),
            updated_at: before(9_000),
            last_seen_at: Some(before(3_600)),
        };
        Self {
            facts: BundleFacts {
                bundle,
                unsent: true,
                ahead: Ahead {
                    of_source: 0,
                    of_others: Some(0),
                },
                unconfirmed: false,
                lane: LaneFacts {
                    consumer,
                    last_status_at: None,
                    presence: None,
                    listening_since: None,
                    listened_until: None,
                    lease: None,
                },
            },
            process: None,
            agent: None,
        }
    }

    /// The broker took it nine minutes ago.
    fn acked() -> Self {
        let mut scene = Self::stored();
        scene.facts.unsent = false;
        scene.entry(|entry| {
            entry.published_at = Some(before(541));
            entry.acked_at = Some(before(540));
            entry.matched = Some(true);
            entry.attempts = 1;
        });
        scene.facts.lane.consumer.last_seen_at = Some(before(30));
        scene
    }

    /// Its agent reported this of it eight minutes ago.
    fn reported(conditions: &[Value], manifests: &[Value]) -> Self {
        let mut scene = Self::acked();
        scene.entry(|entry| {
            entry.received_at = Some(before(539));
            entry.reported_at = Some(before(480));
        });
        let payload = json!({"conditions": conditions, "resourceStatus": manifests});
        scene.facts.bundle.status = Some(Status {
            version: Version::FIRST,
            sequence_id: None,
            payload: Json::from_value(&payload),
        });
        scene.facts.lane.last_status_at = Some(before(480));
        scene
    }

    fn entry(&mut self, change: impl FnOnce(&mut LedgerEntry)) {
        let ledger = self.facts.bundle.ledger.as_mut().unwrap();
        change(ledger.last_mut().unwrap());
    }

    fn failed(mut self, failure: &str, attempts: u32) -> Self {
        self.entry(|entry| {
            // Who refused it has not got it.
            entry.published_at = None;
            entry.failed_at = Some(before(59));
            entry.failure = Some(failure.into());
            entry.attempts = attempts;
        });
        self
    }

    /// Somebody deletes it since five minutes.
    fn deleting(mut self, acked: bool) -> Self {
        self.facts.bundle.deleted_at = Some(before(300));
        let ledger = self.facts.bundle.ledger.as_mut().unwrap();
        let mut entry = ledger.last().unwrap().clone();
        entry.deletion = true;
        entry.stored_at = before(300);
        entry.published_at = acked.then(|| before(299));
        entry.acked_at = acked.then(|| before(298));
        (entry.received_at, entry.reported_at) = (None, None);
        entry.attempts = u32::from(acked);
        ledger.push(entry);
        self.facts.unsent = !acked;
        self
    }

    fn leased(mut self, owner: Option<(&str, bool)>, replicas: u64) -> Self {
        self.facts.lane.lease = Some(LeaseFacts {
            bucket: 28,
            term: 7,
            owner: owner.map(|(name, expired)| LaneOwner {
                name: name.into(),
                slot: 1,
                until: if expired { before(40) } else { before(-9) },
                expired,
            }),
            replicas,
        });
        self
    }

    fn process(mut self, owns: bool, failing: &[(&str, &str)]) -> Self {
        let failing = failing.iter().map(|(name, reason)| UnmetCheck {
            name: (*name).into(),
            reason: Some((*reason).into()),
        });
        self.process = Some(ProcessFacts {
            owns,
            failing: failing.collect(),
        });
        self
    }

    fn agent(mut self, state: PresenceState, change: impl FnOnce(&mut AgentFacts)) -> Self {
        let mut agent = AgentFacts {
            state,
            connected: state == PresenceState::Connected,
            since: Some(before(400)),
            why: None,
            last_heard_at: Some(before(20)),
            version: Some("1.4.0".into()),
            reports: true,
            certificate_expires_at: None,
            refusals: Vec::new(),
        };
        change(&mut agent);
        self.agent = Some(agent);
        self
    }

    fn story(&self) -> BundleStory {
        let known = AgentFacts::of(&self.facts.lane, true, now());
        let agent = self.agent.as_ref().unwrap_or(&known);
        told(&self.facts, self.process.as_ref(), agent, now())
    }

    /// Code, hop, why and next: what differs from story to story.
    fn told(&self) -> String {
        let story = self.story();
        let text = serde_json::to_string(&story).unwrap();
        assert!(!text.contains("xxxx"), "content of a manifest: {text}");
        match story.waiting {
            None => format!("-  {}", story.state),
            Some(stay) => format!(
                "{} {} for {}\n   {}\n   > {}",
                stay.code,
                stay.hop,
                words::ago(stay.since, now()),
                stay.why,
                stay.next
            ),
        }
    }
}

/// A case: what is stuck, the scene, and what its story holds: code, hop, since when, why, next.
type Case<'c> = (&'c str, Scene, &'c [&'c str]);

fn check(cases: &[Case<'_>]) {
    for (case, scene, parts) in cases {
        let told = scene.told();
        for part in *parts {
            assert!(told.contains(part), "{case}: no `{part}` in\n{told}");
        }
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "observedGeneration": 1, "reason": reason, "message": message,
        "lastTransitionTime": "2026-08-01T09:52:00Z"})
}

fn object(kind: &str, name: &str, conditions: &[Value]) -> Value {
    json!({"conditions": conditions, "statusFeedback": {}, "resourceMeta": {"ordinal": 0, "group": "",
        "version": "v1", "kind": kind, "resource": "", "name": name, "namespace": "shop"}})
}

#[test]
fn each_code_is_in_the_catalogue() {
    let codes: [Code; 13] = [
        UNKNOWN,
        QUARANTINED,
        NO_BRIDGE,
        UNHEARD,
        AWAY,
        NEVER,
        REFUSED,
        UNANSWERED,
        UNAPPLIED,
        UNAVAILABLE,
        DELETION,
        TURN,
        OLDER_STORE,
    ];
    for code in codes {
        assert!(code.entry().is_some(), "{code}");
    }
}

#[test]
fn a_story_is_told_in_full_and_in_json() {
    let mut scene = Scene::reported(
        &[
            condition(
                "Applied",
                "True",
                "AppliedManifestWorkComplete",
                "Apply manifest work complete",
            ),
            condition(
                "Available",
                "True",
                "ResourcesAvailable",
                "All resources are available",
            ),
        ],
        &[],
    );
    scene.entry(|entry| {
        entry.applied_at = Some(before(500));
        entry.version = Version::new(2).unwrap();
        entry.attempts = 2;
    });
    let mut first = scene.facts.bundle.ledger.as_ref().unwrap()[0].clone();
    first.version = Version::FIRST;
    first.stored_at = before(7_200);
    first.note = Some("why it has this number".into());
    scene.facts.bundle.ledger.as_mut().unwrap().insert(0, first);
    scene.facts.bundle.version = Version::new(2).unwrap();
    scene.facts.bundle.status.as_mut().unwrap().version = Version::new(2).unwrap();
    let payload = scene.facts.bundle.status.as_mut().unwrap();
    let text = payload
        .payload
        .as_str()
        .replace("\"observedGeneration\":1", "\"observedGeneration\":2");
    payload.payload = Json::parse(&text).unwrap();
    let story = scene.story();
    let text = bundle_text(&story);
    for line in [
        "bundle    b1 (shop), for cluster1, version 2",
        "state     Version 2 is applied and available.",
        "hop       v2 stored       2026-08-01T09:50:00Z",
        "hop       v2 acknowledged 2026-08-01T09:51:00Z  +1.000 s",
        "hop       v2 available    2026-08-01T09:52:00Z  +0.000 s",
        "agent     unknown, heard 30 s ago",
        "earlier   v1 stored 2026-08-01T08:00:00Z, applied: why it has this number",
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "no `{line}` in\n{text}"
        );
    }
    let json = serde_json::to_value(&story).unwrap();
    assert_eq!(json["schema"], EXPLAIN_SCHEMA);
    assert_eq!(json["waiting"], Value::Null);
    assert_eq!(json["hops"][2]["took_seconds"], 1.0);
    // What a bridge answers is read again by the verb.
    let again: BundleStory = serde_json::from_value(json).unwrap();
    assert_eq!(again, story);
}
