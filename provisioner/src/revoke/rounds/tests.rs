use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::aws::AwsErrorKind;
use crate::identity::state::ACTIVE;

use super::*;

/// An IoT Core with certificates of one policy, a client with a connection, and faults.
#[derive(Default)]
struct Fake {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    certificates: BTreeMap<String, String>,
    /// What is attached as soon as the first listing was answered.
    attached_late: Vec<String>,
    /// Removed by somebody else after they were listed.
    removed: Vec<String>,
    /// Changes that fail before one succeeds, by id.
    refusals: BTreeMap<String, usize>,
    /// Answers with the old state before the new one shows.
    stale: usize,
    listings: usize,
    failing_listings: BTreeSet<usize>,
    /// What was ACTIVE at each disconnection.
    disconnections: Vec<Vec<String>>,
    disconnect_fails: bool,
}

impl Fake {
    fn with(ids: &[&str]) -> Self {
        let fake = Self::default();
        let active = ids.iter().map(|id| ((*id).to_owned(), ACTIVE.to_owned()));
        fake.state.borrow_mut().certificates = active.collect();
        fake
    }

    fn set(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state.borrow_mut());
        self
    }

    async fn revoke(&self, options: RevokeOptions) -> Result<Revoked, IdentityError> {
        let open = self.targets("p").await?;
        let clients = ["client".to_owned()];
        let rounds = Rounds::new(self, options, &clients, &|_| {});
        rounds.run(open, Some("p")).await
    }

    fn states(&self) -> Vec<String> {
        self.state.borrow().certificates.values().cloned().collect()
    }

    fn disconnections(&self) -> Vec<Vec<String>> {
        self.state.borrow().disconnections.clone()
    }
}

impl State {
    fn active(&self) -> Vec<String> {
        let active = self.certificates.iter().filter(|(_, it)| *it == ACTIVE);
        active.map(|(id, _)| id.clone()).collect()
    }
}

fn throttled(action: &str) -> aws::AwsError {
    aws::AwsError::new(AwsErrorKind::Throttled, action, "a", "too many")
}

impl CertificateRegistry for &Fake {
    async fn targets(&self, _policy: &str) -> Result<Vec<String>, aws::AwsError> {
        let mut state = self.state.borrow_mut();
        state.listings += 1;
        if state.failing_listings.contains(&state.listings) {
            return Err(throttled("iot:ListTargetsForPolicy"));
        }
        let ids = state.certificates.keys().cloned().collect();
        for id in std::mem::take(&mut state.attached_late) {
            state.certificates.insert(id, ACTIVE.to_owned());
        }
        for id in std::mem::take(&mut state.removed) {
            state.certificates.remove(&id);
        }
        Ok(ids)
    }

    async fn status(&self, id: &str) -> Result<Option<String>, aws::AwsError> {
        let mut state = self.state.borrow_mut();
        let found = state.certificates.get(id).cloned();
        if state.stale > 0 && found.as_deref().is_some_and(|it| it != ACTIVE) {
            state.stale -= 1;
            return Ok(Some(ACTIVE.to_owned()));
        }
        Ok(found)
    }

    async fn set_status(&self, id: &str, status: &str) -> Result<bool, aws::AwsError> {
        let mut state = self.state.borrow_mut();
        if let Some(left) = state.refusals.get_mut(id).filter(|left| **left > 0) {
            *left -= 1;
            return Err(throttled("iot:UpdateCertificate"));
        }
        let found = state.certificates.get_mut(id);
        Ok(found.map(|found| *found = status.to_owned()).is_some())
    }

    async fn disconnect(&self, _client: &str) -> Result<bool, aws::AwsError> {
        let mut state = self.state.borrow_mut();
        let active = state.active();
        state.disconnections.push(active);
        match state.disconnect_fails {
            true => Err(throttled("iot:DeleteConnection")),
            false => Ok(state.disconnections.len() == 1),
        }
    }
}

fn refused(certificate: &str, times: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(certificate.to_owned(), times)])
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_resists_keeps_no_other_in_service_and_no_connection_open() {
    let fake = Fake::with(&["a", "b", "c"]).set(|it| it.refusals = refused("a", 99));
    let error = fake.revoke(RevokeOptions::default()).await.unwrap_err();
    assert_eq!(fake.states(), [ACTIVE, REVOKED, REVOKED]);
    assert!(!fake.disconnections().is_empty());
    let told = link::error::chain(&error);
    let expected = "1 of 3 certificates may still be in service: a: iot:UpdateCertificate";
    assert!(told.starts_with(expected), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_resists_once_is_taken_in_the_next_round() {
    let fake = Fake::with(&["a", "b"]).set(|it| it.refusals = refused("a", 1));
    let revoked = fake.revoke(RevokeOptions::default()).await.unwrap();
    assert_eq!(fake.states(), [REVOKED, REVOKED]);
    assert_eq!(revoked.certificates, ["b", "a"]);
    // A connection that was made with the first one in between has ended too.
    assert_eq!(fake.disconnections().last(), Some(&vec![]));
    assert_eq!(revoked.disconnected, ["client"]);
}

#[tokio::test(start_paused = true)]
async fn all_that_resist_are_named_and_not_tried_for_ever() {
    let both = BTreeMap::from([("a".to_owned(), 99), ("b".to_owned(), 99)]);
    let fake = Fake::with(&["a", "b"]).set(|it| it.refusals = both);
    let error = fake.revoke(RevokeOptions::default()).await.unwrap_err();
    assert!(error.to_string().ends_with("in service: a, b"), "{error}");
    assert_eq!(fake.disconnections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_old_state_in_an_answer_is_not_the_last_word() {
    let fake = Fake::with(&["a", "b"]).set(|it| it.stale = 3);
    let revoked = fake.revoke(RevokeOptions::default()).await.unwrap();
    assert_eq!(revoked.certificates, ["a", "b"]);

    // A state that does not come is told, within the patience.
    let begun = Instant::now();
    let fake = Fake::with(&["a"]).set(|it| it.stale = 1000);
    let error = fake.revoke(RevokeOptions::default()).await.unwrap_err();
    let told = link::error::chain(&error);
    assert!(told.contains("is ACTIVE instead of REVOKED"), "{told}");
    assert!(begun.elapsed() < PATIENCE + LONGEST_PAUSE + FIRST_PAUSE);
    assert_eq!(fake.disconnections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_vanished_is_done() {
    let fake = Fake::with(&["a", "b"]).set(|it| it.removed = vec!["a".into()]);
    let revoked = fake.revoke(RevokeOptions::default()).await.unwrap();
    assert_eq!(revoked.certificates, ["a", "b"]);
    assert_eq!(fake.states(), [REVOKED]);
}

#[tokio::test(start_paused = true)]
async fn what_is_attached_meanwhile_goes_too() {
    let fake = Fake::with(&["a"]).set(|it| it.attached_late = vec!["b".into()]);
    let revoked = fake.revoke(RevokeOptions::default()).await.unwrap();
    assert_eq!(revoked.certificates, ["a", "b"]);
    assert_eq!(fake.states(), [REVOKED, REVOKED]);
    assert_eq!(fake.disconnections().last(), Some(&vec![]));
}

#[tokio::test(start_paused = true)]
async fn nobody_having_looked_again_is_told_after_everything_else_was_done() {
    let fake = Fake::with(&["a"]).set(|it| it.failing_listings = BTreeSet::from([2]));
    let error = fake.revoke(RevokeOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("iot:ListTargetsForPolicy"));
    assert_eq!(fake.states(), [REVOKED]);
    assert_eq!(fake.disconnections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn deactivating_leaves_alone_what_is_revoked() {
    let fake = Fake::with(&["a", "b"]).set(|it| {
        it.certificates.insert("a".into(), REVOKED.into());
    });
    let options = RevokeOptions { deactivate: true };
    fake.revoke(options).await.unwrap();
    assert_eq!(fake.states(), [REVOKED, INACTIVE]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_ended_is_a_note() {
    let fake = Fake::with(&["a"]).set(|it| it.disconnect_fails = true);
    let revoked = fake.revoke(RevokeOptions::default()).await.unwrap();
    assert_eq!(revoked.notes.len(), 1);
    assert!(revoked.disconnected.is_empty());
}
