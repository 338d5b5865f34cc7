//! What a person should know of an identity beside what `apply` puts right.

use jiff::Timestamp;

use crate::identity::observation::{IdentityObservation, SecretObservation};
use crate::identity::{IdentitySpec, key};
use crate::resource::Note;

/// The notes of one look.
pub(super) fn of(
    party: &IdentitySpec,
    observation: &IdentityObservation,
    stored: &SecretObservation,
    now: Timestamp,
) -> Vec<Note> {
    let mut notes = Vec::new();
    let who = party.key_scope.party();
    if let Some(days) = stored.expires_within(EXPIRY_DAYS, now) {
        let text = match days {
            ..0 => "the certificate has expired".to_owned(),
            days => format!("the certificate expires in {days} days"),
        };
        let hint = format!("run `provisioner rotate {who}`");
        notes.push(Note { text, hint });
    }
    if stored.leaf.is_some() && stored.waiting().is_some() {
        notes.push(Note {
            text: "a new key waits for its certificate beside the one in use".into(),
            hint: format!("run `provisioner rotate {who}`: it goes on where it stopped"),
        });
    }
    for extra in extra(observation, stored) {
        let previous = stored.previous.as_ref();
        let previous = previous.and_then(|version| version.certificate.as_deref());
        let likely = previous.and_then(|pem| key::leaf(pem).ok());
        let note = match likely.is_some_and(|leaf| leaf.likely_id() == *extra) {
            true => Note {
                text: format!(
                    "certificate `{extra}`, in use before, still carries policy `{}`",
                    party.policy
                ),
                hint: format!("run `provisioner rotate {who}`: it removes what is no longer used"),
            },
            false => Note {
                text: format!(
                    "certificate `{extra}` carries policy `{}` and is neither the one in use nor the one before",
                    party.policy
                ),
                hint: format!(
                    "if nobody uses it, run `provisioner revoke {who} --certificate {extra}`"
                ),
            },
        };
        notes.push(note);
    }
    notes
}

// Certificates that carry the policy and are not the one in use. While a key waits, its certificate may be among
// them, and which one it is takes more calls than a look is worth.
fn extra<'a>(observation: &'a IdentityObservation, stored: &SecretObservation) -> Vec<&'a String> {
    let Some(listed) = &observation.registry else {
        return Vec::new();
    };
    if stored.waiting().is_some() {
        return Vec::new();
    }
    let current = listed.current.as_ref().map(|current| &current.id);
    let targets = listed.targets.iter();
    targets.filter(|id| Some(*id) != current).collect()
}

// Certificates that Amazon signs are valid until 2049; others want a month to be replaced without haste.
const EXPIRY_DAYS: i64 = 30;
