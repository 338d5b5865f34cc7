//! Which clients were seen with the new certificate, from presence events. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// A presence event `connected` or `disconnected` (docs/IOT-CORE.md §1.4), as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Presence {
    event_type: Kind,
    /// Who came or went.
    client_id: String,
    /// Id of the certificate it showed.
    principal_identifier: String,
    /// Rises with every connection of the client, whose two events share it, until it has been away for about an hour: then it begins at 0 again.
    #[serde(default)]
    version_number: u64,
    /// Milliseconds since 1970, which AWS's clocks know to two minutes or so.
    timestamp: Option<i64>,
}

// In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Connected,
    Disconnected,
}

/// Certificate by client, of the newest connection seen.
///
/// Of slots for replicas only some are in use, and nobody knows which: enough of them must be connected with the new
/// certificate, and none be seen last with another. A replica that takes another slot leaves the one it had. More may
/// run than the file says, and one that keeps its connection is not heard of; so the count must stand for as long as a
/// new certificate takes to reach every pod.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    certificate: String,
    seen: BTreeMap<String, Option<Presence>>,
    in_use: usize,
    // Events of other certificates so far.
    others: u64,
    // Since when the count stands, and how many of those there were then.
    stands: Option<(Instant, u64)>,
}

// === impl Presence ===

impl Presence {
    /// Reads an event; `None` for anything else.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// Whether it tells of a later connection than another event of the same client.
    fn is_after(&self, other: &Self) -> bool {
        if let (Some(this), Some(that)) = (self.timestamp, other.timestamp)
            && Duration::from_millis(this.abs_diff(that)) > CLEARLY_APART
        {
            // Versions of before and after a long absence say nothing of each other.
            return this > that;
        }
        let order = |event: &Self| (event.version_number, event.event_type, event.timestamp);
        order(self) > order(other)
    }
}

// === impl Proof ===

impl Proof {
    /// Nothing seen yet of these clients, of which so many are in use at a time.
    pub(super) fn new(certificate: &str, clients: &[String], in_use: usize) -> Self {
        Self {
            certificate: certificate.to_owned(),
            seen: clients.iter().map(|id| (id.clone(), None)).collect(),
            in_use,
            others: 0,
            stands: None,
        }
    }

    /// Takes an event, which may be late, repeated or out of order. The client, if this made it count as seen.
    pub(super) fn note(&mut self, event: &Presence) -> Option<String> {
        let last = self.seen.get_mut(&event.client_id)?;
        if last.as_ref().is_some_and(|last| !event.is_after(last)) {
            return None;
        }
        let before = last
            .as_ref()
            .is_some_and(|last| last.principal_identifier == self.certificate);
        *last = Some(event.clone());
        let now = event.principal_identifier == self.certificate;
        self.others += u64::from(!now);
        (now && !before).then(|| event.client_id.clone())
    }

    /// Clients whose newest connection was not, or not yet, with the new certificate.
    pub(super) fn unseen(&self) -> Vec<String> {
        let proven = |event: &Option<Presence>| {
            event
                .as_ref()
                .is_some_and(|event| event.principal_identifier == self.certificate)
        };
        let unseen = self.seen.iter().filter(|(_, event)| !proven(event));
        unseen.map(|(client, _)| client.clone()).collect()
    }

    /// When it is good unless something is heard until then; `None` while clients are missing. Of slots the count must
    /// stand for `settle`, which whoever comes or goes with another certificate begins anew.
    pub(super) fn good_at(&mut self, now: Instant, settle: Duration) -> Option<Instant> {
        if !self.is_complete() {
            self.stands = None;
            return None;
        }
        if self.in_use >= self.seen.len() {
            return Some(now);
        }
        let stands = self.stands.filter(|(_, others)| *others == self.others);
        let (since, _) = *self.stands.insert(stands.unwrap_or((now, self.others)));
        Some(since + settle)
    }

    /// Whether every client is proven, or of slots as many as are in use.
    pub(super) fn is_complete(&self) -> bool {
        if self.in_use >= self.seen.len() {
            return self.unseen().is_empty();
        }
        let events = || self.seen.values().flatten();
        let new = |event: &Presence| event.principal_identifier == self.certificate;
        let connected = |event: &&Presence| event.event_type == Kind::Connected;
        // One that went away with the old certificate, such as a pod that a rollout replaced, does not count.
        let here = || events().filter(connected);
        here().all(new) && here().filter(|event| new(event)).count() >= self.in_use
    }
}

// Far more than what AWS's clocks differ by, and far less than the absence after which versions begin anew.
const CLEARLY_APART: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: &str, certificate: &str, version: u64) -> Presence {
        event_at(client, certificate, version, 0)
    }

    fn event_at(client: &str, certificate: &str, version: u64, minute: i64) -> Presence {
        let text = serde_json::json!({
            "clientId": client,
            "principalIdentifier": certificate,
            "versionNumber": version,
            "timestamp": minute * 60_000,
            "eventType": "connected",
        });
        Presence::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_client_has_to_be_seen_with_the_new_certificate() {
        let mut proof = Proof::new("new", &["a".into(), "b".into()], 2);
        assert_eq!(proof.note(&event("a", "old", 1)), None);
        assert_eq!(proof.note(&event("a", "new", 2)), Some("a".into()));
        assert_eq!(proof.note(&event("c", "new", 1)), None);
        assert_eq!(proof.unseen(), ["b"]);
        assert_eq!(proof.note(&event("b", "new", 1)), Some("b".into()));
        assert!(proof.is_complete());
    }

    #[test]
    fn a_client_that_fell_back_to_the_old_certificate_is_not_proven() {
        let mut proof = Proof::new("new", &["a".into()], 1);
        proof.note(&event("a", "new", 2));
        proof.note(&event("a", "old", 3));
        assert_eq!(proof.unseen(), ["a"]);
    }

    #[test]
    fn of_slots_as_many_as_are_in_use_have_to_be_connected_with_the_new_certificate() {
        let slots = ["a".into(), "b".into(), "c".into(), "d".into()];
        let gone = |client: &str, certificate: &str, version: u64| Presence {
            event_type: Kind::Disconnected,
            ..event(client, certificate, version)
        };
        let mut proof = Proof::new("new", &slots, 2);
        proof.note(&event("a", "new", 1));
        assert!(!proof.is_complete());
        // The same replica in another slot: still one.
        proof.note(&gone("a", "new", 1));
        proof.note(&event("b", "new", 1));
        assert!(!proof.is_complete());
        proof.note(&event("c", "old", 1));
        proof.note(&event("d", "new", 1));
        assert!(!proof.is_complete(), "one is still there with the old one");
        proof.note(&gone("c", "old", 1));
        assert!(proof.is_complete());
        // Late.
        proof.note(&event("c", "old", 1));
        assert!(proof.is_complete());
    }

    #[test]
    fn the_count_of_slots_has_to_stand_and_whoever_shows_another_certificate_begins_it_anew() {
        let settle = Duration::from_secs(360);
        let begun = Instant::now();
        let at = |minute: u64| begun + Duration::from_secs(60 * minute);
        let mut proof = Proof::new("new", &["a".into(), "b".into(), "c".into()], 1);
        assert_eq!(proof.good_at(at(0), settle), None);
        proof.note(&event("a", "new", 1));
        assert_eq!(proof.good_at(at(1), settle), Some(at(7)));
        // A second pod, of which the file knows nothing, leaves the old one behind.
        proof.note(&Presence {
            event_type: Kind::Disconnected,
            ..event("b", "old", 1)
        });
        proof.note(&event("b", "new", 2));
        assert_eq!(proof.good_at(at(5), settle), Some(at(11)));
        proof.note(&event("c", "old", 1));
        assert_eq!(proof.good_at(at(6), settle), None);
        proof.note(&event("c", "new", 2));
        assert_eq!(proof.good_at(at(8), settle), Some(at(14)));
        assert_eq!(proof.good_at(at(14), settle), Some(at(14)));
    }

    #[test]
    fn a_party_whose_clients_are_all_known_waits_for_nothing_else() {
        let mut proof = Proof::new("new", &["a".into()], 1);
        proof.note(&event("a", "new", 1));
        let now = Instant::now();
        assert_eq!(proof.good_at(now, Duration::from_secs(360)), Some(now));
    }

    #[test]
    fn late_and_repeated_events_change_nothing() {
        let mut proof = Proof::new("new", &["a".into()], 1);
        proof.note(&event("a", "new", 3));
        assert_eq!(proof.note(&event("a", "old", 2)), None);
        assert_eq!(proof.note(&event("a", "new", 3)), None);
        assert!(proof.is_complete());
    }

    #[test]
    fn a_client_that_was_away_for_long_is_proven_although_its_versions_began_anew() {
        let mut proof = Proof::new("new", &["a".into()], 1);
        proof.note(&event_at("a", "old", 40, 0));
        assert_eq!(proof.note(&event_at("a", "new", 0, 70)), Some("a".into()));
        assert!(proof.is_complete());
        // What was before the absence comes late, and is over.
        assert_eq!(proof.note(&event_at("a", "old", 40, 0)), None);
        assert!(proof.is_complete());
        proof.note(&event_at("a", "old", 1, 71));
        assert_eq!(proof.unseen(), ["a"]);
    }

    #[test]
    fn within_the_error_of_clocks_the_version_decides() {
        let mut proof = Proof::new("new", &["a".into()], 1);
        proof.note(&event_at("a", "new", 3, 0));
        assert_eq!(proof.note(&event_at("a", "old", 2, 4)), None);
        assert!(proof.is_complete());
        proof.note(&event_at("a", "old", 4, -4));
        assert_eq!(proof.unseen(), ["a"]);
    }

    #[test]
    fn an_event_without_a_time_is_ordered_by_its_version() {
        let bare = |version: u64| Presence {
            timestamp: None,
            ..event("a", "new", version)
        };
        assert!(bare(2).is_after(&event_at("a", "old", 1, 100)));
        assert!(!bare(1).is_after(&event_at("a", "old", 2, 0)));
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        assert_eq!(Presence::parse(b"{}"), None);
        assert_eq!(Presence::parse(b"hello"), None);
    }
}
