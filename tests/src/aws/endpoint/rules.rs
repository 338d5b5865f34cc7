//! What a test has asked the endpoint for, and what the endpoint has seen. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::{Request, permission};
use super::is_mutating;

/// A call that reached the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Twelve digits.
    pub account: String,
    /// As the signature names it: `iot`, `iotdata`, `secretsmanager`, `iam`, `sts`, `ec2`, `rds`, `eks`.
    pub service: String,
    /// Such as `CreatePolicy`; method and path where the endpoint does not know it.
    pub operation: String,
    /// Whether it is one that changes something.
    pub mutating: bool,
    /// Whether the endpoint answered it with an error of its own, asked for by the test.
    pub refused: bool,
}

/// A promise of [`super::Endpoint::hold_answer_of_mutating`]. Dropping it leaves the call held.
#[derive(Debug)]
pub struct HeldCall {
    receiver: oneshot::Receiver<Call>,
}

/// What becomes of a call.
#[derive(Debug)]
pub(super) enum CallDecision {
    Denied,
    Failure { code: String, status: u16 },
    Carry { hold: Option<Hold> },
}

/// To be fired once the call has taken effect.
#[derive(Debug)]
pub(super) struct Hold {
    call: Call,
    sender: oneshot::Sender<Call>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rules {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<String, String>,
    calls: Vec<Call>,
    mutations: usize,
    denied: BTreeSet<(String, String)>,
    failures: Vec<Failure>,
    hold: Option<(Held, oneshot::Sender<Call>)>,
    carried: BTreeSet<Identity>,
}

/// Which mutating call is held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// The n-th from now; the first is 1.
    Nth(usize),
    /// The first that was never carried out before.
    New,
}

/// What makes a call the same as another: account, service, operation, target and body.
type Identity = (String, String, String, String, Vec<u8>);

#[derive(Debug)]
struct Failure {
    operation: String,
    code: String,
    status: u16,
    left: usize,
}

// === impl Call ===

impl Call {
    /// The permission it takes, such as `iot:CreatePolicy`.
    pub fn action(&self) -> String {
        permission(&self.service, &self.operation)
    }
}

// === impl HeldCall ===

impl HeldCall {
    /// Waits until the call has been carried out, and says which it was. `None` when another hold took its place or
    /// the endpoint is gone.
    pub async fn reached(self) -> Option<Call> {
        self.receiver.await.ok()
    }
}

// === impl Hold ===

impl Hold {
    pub(super) fn reached(self) {
        // The test may have given up waiting.
        let _ = self.sender.send(self.call);
    }
}

// === impl Rules ===

impl Rules {
    /// Notes a call and says what becomes of it. `elsewhere`: the account does not have the service.
    pub(super) fn admit(&self, request: &Request, elsewhere: bool) -> CallDecision {
        let mut state = self.state();
        let Request {
            account,
            service,
            operation,
            ..
        } = request;
        let mut call = Call {
            account: account.clone(),
            service: service.clone(),
            operation: operation.clone(),
            mutating: is_mutating(operation),
            refused: true,
        };
        let action = call.action();
        let verdict = if elsewhere || state.denies(&action, account) {
            CallDecision::Denied
        } else if let Some((code, status)) = state.take_failure(&action) {
            CallDecision::Failure { code, status }
        } else {
            call.refused = false;
            CallDecision::Carry {
                hold: state.count(&call, request),
            }
        };
        state.calls.push(call);
        verdict
    }

    pub(super) fn learn(&self, access_key: &str, account: &str) {
        self.state()
            .accounts
            .insert(access_key.into(), account.into());
    }

    pub(super) fn account(&self, access_key: &str) -> Option<String> {
        self.state().accounts.get(access_key).cloned()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    pub(super) fn mutations(&self) -> usize {
        self.state().mutations
    }

    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.calls.clear();
        state.mutations = 0;
    }

    pub(super) fn deny(&self, action: &str, account: &str) {
        self.state().denied.insert((account.into(), action.into()));
    }

    pub(super) fn allow(&self, action: &str, account: &str) {
        self.state().denied.remove(&(account.into(), action.into()));
    }

    pub(super) fn denies(&self, action: &str, account: &str) -> bool {
        self.state().denies(action, account)
    }

    pub(super) fn fail(&self, operation: &str, code: &str, status: u16, times: usize) {
        self.state().failures.push(Failure {
            operation: operation.into(),
            code: code.into(),
            status,
            left: times,
        });
    }

    pub(super) fn hold(&self, which: Held) -> HeldCall {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.mutations = 0;
        state.hold = Some((which, sender));
        HeldCall { receiver }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn denies(&self, action: &str, account: &str) -> bool {
        self.denied.iter().any(|(owner, denied)| {
            owner == account
                && match denied.strip_suffix('*') {
                    Some(prefix) => action.starts_with(prefix),
                    None => action == denied,
                }
        })
    }

    fn take_failure(&mut self, action: &str) -> Option<(String, u16)> {
        let mut failures = self.failures.iter_mut();
        let failure = failures.find(|failure| failure.left > 0 && failure.operation == action)?;
        failure.left -= 1;
        Some((failure.code.clone(), failure.status))
    }

    fn count(&mut self, call: &Call, request: &Request) -> Option<Hold> {
        if !call.mutating {
            return None;
        }
        self.mutations += 1;
        let new = self.carried.insert((
            call.account.clone(),
            call.service.clone(),
            call.operation.clone(),
            request.target.clone(),
            request.body.to_vec(),
        ));
        let (_, sender) = self.hold.take_if(|(which, _)| match which {
            Held::Nth(n) => *n == self.mutations,
            Held::New => new,
        })?;
        let call = call.clone();
        Some(Hold { call, sender })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: &str, operation: &str) -> Request {
        Request {
            operation: operation.into(),
            ..Request::bare("111111111111", service)
        }
    }

    #[tokio::test]
    async fn only_mutating_calls_that_are_carried_out_count() {
        let rules = Rules::default();
        let held = rules.hold(Held::Nth(2));
        rules.deny("iot:DeletePolicy", "111111111111");
        for (operation, expected) in [
            ("CreatePolicy", false),
            ("GetPolicy", false),
            ("DeletePolicy", false),
            ("CreateThing", true),
        ] {
            let verdict = rules.admit(&request("iot", operation), false);
            assert_eq!(
                matches!(verdict, CallDecision::Carry { hold: Some(_) }),
                expected,
                "{operation}"
            );
            if let CallDecision::Carry { hold: Some(hold) } = verdict {
                hold.reached();
            }
        }
        assert_eq!(rules.mutations(), 2);
        assert_eq!(held.reached().await.unwrap().action(), "iot:CreateThing");
    }

    #[tokio::test]
    async fn a_call_that_was_made_before_is_not_new() {
        let rules = Rules::default();
        rules.admit(&request("iot", "AttachPolicy"), false);
        let held = rules.hold(Held::New);
        for (operation, expected) in [("AttachPolicy", false), ("CreateThing", true)] {
            let verdict = rules.admit(&request("iot", operation), false);
            let CallDecision::Carry { hold } = verdict else {
                panic!("{operation} is carried out");
            };
            assert_eq!(hold.is_some(), expected, "{operation}");
            if let Some(hold) = hold {
                hold.reached();
            }
        }
        assert_eq!(held.reached().await.unwrap().action(), "iot:CreateThing");
    }

    #[test]
    fn a_denial_is_of_one_account() {
        let rules = Rules::default();
        rules.deny("rds:*", "222222222222");
        assert!(rules.denies("rds:CreateDBInstance", "222222222222"));
        assert!(!rules.denies("rds:CreateDBInstance", "111111111111"));
        rules.allow("rds:*", "222222222222");
        assert!(!rules.denies("rds:CreateDBInstance", "222222222222"));
    }

    #[test]
    fn a_failure_is_used_up() {
        let rules = Rules::default();
        rules.fail("iam:GetRole", "Throttling", 400, 1);
        let ask = || rules.admit(&request("iam", "GetRole"), false);
        assert!(matches!(ask(), CallDecision::Failure { status: 400, .. }));
        assert!(matches!(ask(), CallDecision::Carry { hold: None }));
        let calls = rules.calls();
        assert_eq!(
            calls.iter().map(|call| call.refused).collect::<Vec<_>>(),
            [true, false]
        );
    }
}
