//! Who gets a message: exact filters by name, wildcard filters and share groups by scan. Pure but for the queues
//! it fills.
//!
//! The link has one or two wildcard filters per bridge and one exact filter per agent, so a trie would only add
//! code.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use rand::seq::IndexedRandom as _;
use rmqtt_codec::types::QoS;

use super::environment::Environment;
use super::filter::Filter;
use super::lock;
use super::packet::{Message, SubscribeOptions};
use super::session::{Delivery, GroupQueue, Session};

/// Subscriptions of all sessions.
#[derive(Debug, Default)]
pub(super) struct Router {
    exact: HashMap<String, Vec<Target>>,
    wild: Vec<(Filter, Vec<Target>)>,
    groups: HashMap<String, Group>,
}

#[derive(Clone, Debug)]
struct Target {
    session: Arc<Session>,
    options: SubscribeOptions,
}

/// Members of one `$share/<name>/<filter>`.
#[derive(Debug)]
struct Group {
    filter: Filter,
    members: Vec<Target>,
    queue: GroupQueue,
}

// === impl Router ===

impl Router {
    /// Enters or replaces a subscription.
    pub(super) fn insert(
        &mut self,
        text: &str,
        filter: Filter,
        session: &Arc<Session>,
        options: SubscribeOptions,
    ) {
        let target = Target {
            session: session.clone(),
            options,
        };
        if filter.share.is_some() {
            let group = self.groups.entry(text.to_owned()).or_insert_with(|| Group {
                filter,
                members: Vec::new(),
                queue: Arc::new(Mutex::new(VecDeque::new())),
            });
            session.join(group.queue.clone());
            put(&mut group.members, target);
        } else if filter.has_wildcard() {
            match self.wild.iter_mut().find(|(known, _)| *known == filter) {
                Some((_, targets)) => put(targets, target),
                None => self.wild.push((filter, vec![target])),
            }
        } else {
            put(self.exact.entry(filter.pattern).or_default(), target);
        }
    }

    /// Removes one subscription of a session.
    pub(super) fn remove(&mut self, text: &str, session: &Arc<Session>) {
        if let Some(group) = self.groups.get_mut(text) {
            take(&mut group.members, session);
            session.leave(&group.queue);
        }
        if let Some(targets) = self.exact.get_mut(text) {
            take(targets, session);
        }
        if let Some((_, targets)) = self
            .wild
            .iter_mut()
            .find(|(filter, _)| filter.pattern == text)
        {
            take(targets, session);
        }
        self.forget_empty();
    }

    /// Removes everything of a session.
    pub(super) fn remove_session(&mut self, session: &Arc<Session>) {
        for group in self.groups.values_mut() {
            take(&mut group.members, session);
            session.leave(&group.queue);
        }
        for targets in self.exact.values_mut() {
            take(targets, session);
        }
        for (_, targets) in &mut self.wild {
            take(targets, session);
        }
        self.forget_empty();
    }

    /// Hands a message to everybody it is for. Overlapping filters of one client give it one copy with the best
    /// QoS (assumed; the standard allows either), overlapping groups each get one (docs/IOT-CORE.md §1.5).
    pub(super) fn route(&self, message: &Arc<Message>, environment: &Environment) {
        let exact = self.exact.get(&*message.topic).into_iter().flatten();
        let wild = self
            .wild
            .iter()
            .filter(|(filter, _)| filter.matches(&message.topic));
        let mut targets: Vec<Target> = Vec::new();
        for target in exact.chain(wild.flat_map(|(_, targets)| targets)) {
            let own = message.publisher.as_ref() == Some(&target.session.client_id);
            if own && target.options.no_local {
                continue;
            }
            match targets
                .iter_mut()
                .find(|known| Arc::ptr_eq(&known.session, &target.session))
            {
                Some(known) => {
                    known.options.qos = known.options.qos.max(target.options.qos);
                    known.options.retain_as_published |= target.options.retain_as_published;
                }
                None => targets.push(target.clone()),
            }
        }
        for target in &targets {
            target
                .session
                .enqueue(target.delivery(message), environment);
        }
        for group in self
            .groups
            .values()
            .filter(|group| group.filter.matches(&message.topic))
        {
            group.route(message, environment);
        }
    }

    fn forget_empty(&mut self) {
        self.exact.retain(|_, targets| !targets.is_empty());
        self.wild.retain(|(_, targets)| !targets.is_empty());
        self.groups.retain(|_, group| !group.members.is_empty());
    }
}

// === impl Group ===

impl Group {
    /// To a connected member at random; QoS 1 waits for one if a member's session is persistent; QoS 0 is lost
    /// on any failure (docs/IOT-CORE.md §1.5).
    fn route(&self, message: &Arc<Message>, environment: &Environment) {
        let online: Vec<&Target> = self
            .members
            .iter()
            .filter(|member| member.session.is_connected())
            .collect();
        if let Some(member) = online.choose(&mut rand::rng()) {
            member
                .session
                .enqueue(member.delivery(message), environment);
            return;
        }
        let persistent = self
            .members
            .iter()
            .find(|member| member.session.is_persistent() && member.options.qos != QoS::AtMostOnce);
        let Some(persistent) = persistent.filter(|_| message.qos != QoS::AtMostOnce) else {
            return;
        };
        let mut queue = lock(&self.queue);
        if queue.len() < environment.quotas.queue_messages {
            queue.push_back(persistent.delivery(message));
        } else {
            environment.counters.queue_full.add(1);
        }
    }
}

// === impl Target ===

impl Target {
    fn delivery(&self, message: &Arc<Message>) -> Delivery {
        Delivery {
            message: message.clone(),
            qos: message.qos.less_value(self.options.qos),
            retain: message.retain && self.options.retain_as_published,
            copy: false,
            confirmation: None,
        }
    }
}

fn put(targets: &mut Vec<Target>, target: Target) {
    take(targets, &target.session);
    targets.push(target);
}

fn take(targets: &mut Vec<Target>, session: &Arc<Session>) {
    targets.retain(|known| !Arc::ptr_eq(&known.session, session));
}
