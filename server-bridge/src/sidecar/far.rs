//! The side of IoT Core: the sessions, what they hear, and whether they are connected at all.
//!
//! **Invariant:** a consumer's events go by one session, in the order in which they were given to it.
//! **Invariant:** sessions are connected only while a server is there, or was a moment ago. A member of a shared
//! subscription without a server would keep its part of everything from the others.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, select_all};
use link::mqtt::{ConnectError, Session, State, SubscribeError, Subscriptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rights::{Addressee, TopicRights};
use crate::delivery::index_of;

/// The sessions to the broker.
pub(super) struct Far {
    sessions: Vec<Session>,
    permit: watch::Sender<Option<&'static str>>,
    pub(super) rights: TopicRights,
}

/// What was heard when a subscription was confirmed: the numbers of the broker's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Baseline(Vec<(usize, u64)>);

// === impl Far ===

impl Far {
    /// `permit` is what the sessions obey; nobody else may write to it.
    pub(super) fn new(
        sessions: Vec<Session>,
        permit: watch::Sender<Option<&'static str>>,
        rights: TopicRights,
    ) -> Self {
        Self {
            sessions,
            permit,
            rights,
        }
    }

    /// The sessions, in order.
    pub(super) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// By which session an event goes.
    pub(super) fn index_of(&self, addressee: &Addressee) -> usize {
        match addressee {
            Addressee::Consumer(consumer) => index_of(consumer, self.sessions.len()),
            Addressee::Everybody => 0,
        }
    }

    /// Connects while `present` says that a server is there, and ends the sessions once none has been for `grace`.
    pub(super) async fn follow(
        &self,
        mut present: watch::Receiver<bool>,
        grace: Duration,
        stop: CancellationToken,
    ) {
        let following = async {
            while present.wait_for(|present| *present).await.is_ok() {
                self.permit.send_replace(None);
                loop {
                    if present.wait_for(|present| !present).await.is_err() {
                        return;
                    }
                    let back = present.wait_for(|present| *present);
                    match tokio::time::timeout(grace, back).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) => return,
                        Err(_) => break,
                    }
                }
                self.permit.send_replace(Some(ABSENT));
            }
        };
        stop.run_until_cancelled(following).await;
        stop.cancelled().await;
    }

    /// Hears these filters, and says when the broker has confirmed them on sessions that are connected. What was heard
    /// before and is not asked for any more ends with its sessions first; the server that asked for it is gone.
    ///
    /// # Errors
    /// What the broker refused, by filter; the others are heard.
    pub(super) async fn hear(&self, filters: &BTreeSet<String>) -> (Baseline, Vec<SubscribeError>) {
        let mut wanted = filters.clone();
        let mut refused = Vec::new();
        let former = self.sessions.first().map(Session::subscriptions);
        let former: BTreeSet<String> = former
            .map(|heard| heard.borrow().filters.iter().cloned().collect())
            .unwrap_or_default();
        let ended = !wanted.is_subset(&former) && !former.is_subset(&wanted);
        if ended {
            self.end_sessions().await;
        }
        if ended || !wanted.is_subset(&former) {
            self.listen(&wanted);
        } else {
            // More than is asked for: it stays until the sessions end.
            wanted = former;
        }
        loop {
            match self.confirmed(&wanted).await {
                Ok(baseline) => return (baseline, refused),
                Err(error) => {
                    wanted.remove(&error.filter);
                    self.listen(&wanted);
                    refused.push(error);
                }
            }
        }
    }

    /// Resolves when the broker began a session anew that held a subscription: messages may have been lost.
    pub(super) fn lost(&self, baseline: &Baseline) -> BoxFuture<'static, ()> {
        let watched = baseline.0.iter().map(|(index, session)| {
            let (mut heard, session) = (self.sessions[*index].subscriptions(), *session);
            async move {
                if heard
                    .wait_for(|heard| heard.session != session)
                    .await
                    .is_err()
                {
                    // The process stops.
                    std::future::pending::<()>().await;
                }
            }
            .boxed()
        });
        let watched: Vec<_> = watched.collect();
        if watched.is_empty() {
            return std::future::pending().boxed();
        }
        select_all(watched).map(drop).boxed()
    }

    fn listen(&self, filters: &BTreeSet<String>) {
        for (index, session) in self.sessions.iter().enumerate() {
            session.listen(of_session(index, filters));
        }
    }

    async fn confirmed(&self, filters: &BTreeSet<String>) -> Result<Baseline, SubscribeError> {
        let mut baseline = Vec::new();
        for (index, session) in self.sessions.iter().enumerate() {
            let wanted = of_session(index, filters);
            if !wanted.is_empty() {
                baseline.push((index, confirmed_by(session, &wanted).await?));
            }
        }
        Ok(Baseline(baseline))
    }

    async fn end_sessions(&self) {
        // However this ends, they are connected again.
        let _again = Again(&self.permit);
        self.permit.send_replace(Some(OTHER_FILTERS));
        for session in &self.sessions {
            session.listen(Vec::new());
            let mut state = session.state();
            let ended = state.wait_for(|state| match state {
                State::Closed => true,
                State::Waiting { error, .. } => matches!(**error, ConnectError::Withheld(_)),
                _ => false,
            });
            // A session that is gone has ended too.
            drop(ended.await);
        }
    }
}

struct Again<'a>(&'a watch::Sender<Option<&'static str>>);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

/// Waits until the session is connected and hears all of it; the number of the broker's session.
async fn confirmed_by(session: &Session, wanted: &[String]) -> Result<u64, SubscribeError> {
    let (mut heard, mut state) = (session.subscriptions(), session.state());
    loop {
        let now = Subscriptions::clone(&heard.borrow_and_update());
        let hears = wanted.iter().all(|filter| now.filters.contains(filter));
        match &*state.borrow_and_update() {
            State::Ready { .. } if hears => return Ok(now.session),
            // A filter that is not asked for any more was refused before.
            State::Unsubscribed(error) if wanted.contains(&error.filter) => {
                return Err(SubscribeError::clone(error));
            }
            _ => {}
        }
        tokio::select! {
            Ok(()) = heard.changed() => {}
            Ok(()) = state.changed() => {}
            else => std::future::pending::<()>().await,
        }
    }
}

/// Without a share every subscriber would get every event, so only the first session listens; with one all do.
fn of_session(index: usize, filters: &BTreeSet<String>) -> Vec<String> {
    let of_it = |filter: &&String| index == 0 || filter.starts_with("$share/");
    filters.iter().filter(of_it).cloned().collect()
}

/// Why there is no connection while no server is there.
pub(super) const ABSENT: &str = "no Maestro server is connected to the sidecar";
const OTHER_FILTERS: &str = "the Maestro server hears other topics than before";
