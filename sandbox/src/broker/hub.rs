//! All sessions, subscriptions and retained messages of a broker behind one short lock.
//!
//! Lock order: hub, then a session, then a group's queue. Nothing here awaits, so a slow consumer costs the
//! others only the time to append to its queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::iot::filter::is_basic_ingest;
use rmqtt_codec::types::QoS;
use tokio::time::Instant;

use super::environment::Environment;
use super::filter::Filter;
use super::live::{End, Link};
use super::lock;
use super::packet::{Message, Outbound, Reason, SubscribeOptions, Version};
use super::presence::DisconnectReason;
use super::router::Router;
use super::session::{Delivery, Session};

/// The meeting point of all connections.
#[derive(Debug, Default)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Arc<str>, Arc<Session>>,
    router: Router,
    retained: HashMap<Arc<str>, Arc<Message>>,
}

/// What an accepted CONNECT asks of the hub.
pub(super) struct Attach {
    pub(super) version: Version,
    pub(super) clean_start: bool,
    pub(super) expiry: Duration,
    pub(super) window: u16,
}

// === impl Hub ===

impl Hub {
    /// Gives the client its session; whether it had one. The connection that had it is ended because it was taken
    /// over (docs/IOT-CORE.md §2 point 3).
    pub(super) fn attach(
        &self,
        link: &Arc<Link>,
        attach: &Attach,
        environment: &Environment,
        now: Instant,
    ) -> (Arc<Session>, bool) {
        let mut inner = lock(&self.inner);
        let known = inner.sessions.get(&link.client_id).cloned();
        // A session of the other protocol version cannot be resumed (docs/IOT-CORE.md §1.1).
        let resumable = known.as_ref().filter(|session| {
            !attach.clean_start && session.version == attach.version && !session.is_expired(now)
        });
        let (session, present) = match resumable {
            Some(session) => (session.clone(), true),
            None => {
                let client_id = link.client_id.clone();
                (
                    Arc::new(Session::new(
                        client_id,
                        attach.version,
                        &environment.quotas,
                        now,
                    )),
                    false,
                )
            }
        };
        let mut old = session.attach(link.clone(), attach.expiry, attach.window, environment, now);
        if let Some(known) = known.filter(|_| !present) {
            old = known.link();
            inner.router.remove_session(&known);
        }
        inner
            .sessions
            .insert(link.client_id.clone(), session.clone());
        drop(inner);
        if let Some(old) = old {
            old.end(End::with_reason(
                DisconnectReason::DuplicateClientId,
                Reason::SESSION_TAKEN_OVER,
            ));
        }
        (session, present)
    }

    /// Ends a connection; a session without expiry ends with it.
    pub(super) fn detach(
        &self,
        session: &Arc<Session>,
        link: u64,
        environment: &Environment,
        now: Instant,
    ) {
        let mut inner = lock(&self.inner);
        if session.detach(link, environment, now) && session.is_expired(now) {
            inner.forget(session);
        }
    }

    /// Ends sessions whose time is over.
    pub(super) fn expire(&self, now: Instant) {
        let mut inner = lock(&self.inner);
        let over: Vec<_> = inner
            .sessions
            .values()
            .filter(|session| session.is_expired(now))
            .cloned()
            .collect();
        for session in over {
            inner.forget(&session);
        }
        inner
            .retained
            .retain(|_, message| message.seconds_left(now) != Some(0));
    }

    /// Enters granted subscriptions, answers, and sends the retained messages they ask for. All under one lock:
    /// nothing published after the SUBACK is missed.
    pub(super) fn subscribe(
        &self,
        session: &Arc<Session>,
        link: u64,
        granted: Vec<(String, Filter, SubscribeOptions)>,
        suback: Outbound,
        environment: &Environment,
        now: Instant,
    ) {
        let mut inner = lock(&self.inner);
        let mut retained = Vec::new();
        for (text, filter, options) in granted {
            let Some(new) = session.subscribe(&text, options, usize::MAX) else {
                continue;
            };
            let wanted = match options.retain_handling {
                0 => true,
                1 => new,
                _ => false,
            };
            // A stored copy never goes to a wildcard or shared subscription (docs/IOT-CORE.md §1.2).
            if wanted && filter.share.is_none() && !filter.has_wildcard() {
                retained.extend(inner.retained.get(filter.pattern.as_str()).map(|message| {
                    Delivery {
                        message: message.clone(),
                        qos: message.qos.less_value(options.qos),
                        retain: true,
                        copy: false,
                        confirmation: None,
                    }
                }));
            }
            inner.router.insert(&text, filter, session, options);
        }
        let gap = environment.faults.get().first_delivery_gap;
        if !gap.is_zero() {
            session.hold(now + gap);
        }
        session.answer(link, suback);
        for delivery in retained {
            session.enqueue(delivery, environment);
        }
    }

    /// Removes a subscription; whether there was one.
    pub(super) fn unsubscribe(&self, session: &Arc<Session>, text: &str) -> bool {
        let mut inner = lock(&self.inner);
        inner.router.remove(text, session);
        session.unsubscribe(text)
    }

    /// Routes a message and keeps it if it is to be retained.
    pub(super) fn publish(&self, message: &Arc<Message>, environment: &Environment) {
        if is_basic_ingest(&message.topic) {
            return;
        }
        let mut inner = lock(&self.inner);
        if message.retain {
            if message.payload.is_empty() {
                inner.retained.remove(&message.topic);
            } else {
                inner
                    .retained
                    .insert(message.topic.clone(), message.clone());
            }
        }
        // An empty retained message deletes; that it also reaches subscribers is the standard's rule.
        inner.router.route(message, environment);
    }

    /// The connection of a client.
    pub(super) fn link(&self, client_id: &str) -> Option<Arc<Link>> {
        self.session(client_id)?.link()
    }

    /// The session of a client, connected or not.
    pub(super) fn session(&self, client_id: &str) -> Option<Arc<Session>> {
        lock(&self.inner).sessions.get(client_id).cloned()
    }

    /// All sessions.
    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.inner).sessions.values().cloned().collect()
    }
}

// === impl Inner ===

impl Inner {
    fn forget(&mut self, session: &Arc<Session>) {
        self.router.remove_session(session);
        let current = self.sessions.get(&session.client_id);
        if current.is_some_and(|current| Arc::ptr_eq(current, session)) {
            self.sessions.remove(&session.client_id);
        }
    }
}

/// QoS 2 does not exist here; what carries it is refused before it gets this far.
pub(super) fn supported(qos: QoS) -> bool {
    qos != QoS::ExactlyOnce
}
