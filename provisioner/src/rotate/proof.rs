//! Which clients were seen with the new certificate. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A presence event `connected` (iot-core.md §1.4), as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connected {
    /// Who connected.
    pub(super) client_id: String,
    /// Id of the certificate it showed.
    principal_identifier: String,
    /// Rises with every connection of the client.
    #[serde(default)]
    version_number: u64,
    /// Milliseconds since 1970.
    #[serde(default)]
    timestamp: i64,
}

/// Certificate by client, of the newest connection seen.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    certificate: String,
    seen: BTreeMap<String, Option<Connected>>,
}

// === impl Connected ===

impl Connected {
    /// Reads an event; `None` for anything else.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

// === impl Proof ===

impl Proof {
    /// Nothing seen yet of these clients.
    pub(super) fn new(certificate: &str, clients: &[String]) -> Self {
        Self {
            certificate: certificate.to_owned(),
            seen: clients.iter().map(|id| (id.clone(), None)).collect(),
        }
    }

    /// Takes an event, which may be late, repeated or out of order. The client, if this made it count as seen.
    pub(super) fn note(&mut self, event: &Connected) -> Option<String> {
        let last = self.seen.get_mut(&event.client_id)?;
        let order = |event: &Connected| (event.version_number, event.timestamp);
        if last
            .as_ref()
            .is_some_and(|last| order(last) >= order(event))
        {
            return None;
        }
        let before = last
            .as_ref()
            .is_some_and(|last| last.principal_identifier == self.certificate);
        *last = Some(event.clone());
        let now = event.principal_identifier == self.certificate;
        (now && !before).then(|| event.client_id.clone())
    }

    /// Clients whose newest connection was not, or not yet, with the new certificate.
    pub(super) fn unseen(&self) -> Vec<String> {
        let proven = |event: &Option<Connected>| {
            event
                .as_ref()
                .is_some_and(|event| event.principal_identifier == self.certificate)
        };
        let unseen = self.seen.iter().filter(|(_, event)| !proven(event));
        unseen.map(|(client, _)| client.clone()).collect()
    }

    /// Whether every client is proven.
    pub(super) fn is_complete(&self) -> bool {
        self.unseen().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: &str, certificate: &str, version: u64) -> Connected {
        let text = serde_json::json!({
            "clientId": client,
            "principalIdentifier": certificate,
            "versionNumber": version,
            "timestamp": 1,
            "eventType": "connected",
        });
        Connected::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_client_has_to_be_seen_with_the_new_certificate() {
        let mut proof = Proof::new("new", &["a".into(), "b".into()]);
        assert_eq!(proof.note(&event("a", "old", 1)), None);
        assert_eq!(proof.note(&event("a", "new", 2)), Some("a".into()));
        assert_eq!(proof.note(&event("c", "new", 1)), None);
        assert_eq!(proof.unseen(), ["b"]);
        assert_eq!(proof.note(&event("b", "new", 1)), Some("b".into()));
        assert!(proof.is_complete());
    }

    #[test]
    fn a_client_that_fell_back_to_the_old_certificate_is_not_proven() {
        let mut proof = Proof::new("new", &["a".into()]);
        proof.note(&event("a", "new", 2));
        proof.note(&event("a", "old", 3));
        assert_eq!(proof.unseen(), ["a"]);
    }

    #[test]
    fn late_and_repeated_events_change_nothing() {
        let mut proof = Proof::new("new", &["a".into()]);
        proof.note(&event("a", "new", 3));
        assert_eq!(proof.note(&event("a", "old", 2)), None);
        assert_eq!(proof.note(&event("a", "new", 3)), None);
        assert!(proof.is_complete());
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        assert_eq!(Connected::parse(b"{}"), None);
        assert_eq!(Connected::parse(b"hello"), None);
    }
}
