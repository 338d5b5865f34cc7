//! The MQTT session as an [`Uplink`](crate::uplink::Uplink).

use std::future::Future;

use link::error::chain;
use link::message::Message;
use link::mqtt::{Inbound, PublishError, Session, State};
use tokio::sync::watch;

use crate::uplink::{Downlink, Incoming, PublishFailure, Published, Subscription, Uplink};

/// Publishes through an MQTT session.
#[derive(Clone)]
pub struct MqttUplink {
    session: Session,
    subscription: watch::Receiver<Subscription>,
}

// === impl MqttUplink ===

impl MqttUplink {
    /// Wraps a session. The future follows the session's state until the session is closed; whoever runs the session
    /// runs it too.
    pub fn new(session: Session) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, subscription) = watch::channel(Subscription::default());
        let following = follow(session.state(), sender);
        let uplink = Self {
            session,
            subscription,
        };
        (uplink, following)
    }
}

impl Uplink for MqttUplink {
    async fn publish(&self, message: Message) -> Result<Published, PublishFailure> {
        let acked = match self.session.publish(message).await {
            Ok(receipt) => receipt.await,
            Err(error) => Err(error),
        };
        match acked {
            Ok(ack) => Ok(Published {
                matched: ack.matched,
            }),
            Err(error) => Err(failure(&error)),
        }
    }

    fn subscription(&self) -> watch::Receiver<Subscription> {
        self.subscription.clone()
    }
}

impl Downlink for Inbound {
    async fn recv(&mut self) -> Option<Incoming> {
        let mut delivery = Inbound::recv(self).await?;
        // Moved out: who keeps the way to ack need not keep the payload.
        let message = std::mem::take(&mut delivery.message);
        Some(Incoming::new(message, move || delivery.ack()))
    }
}

async fn follow(mut state: watch::Receiver<State>, subscription: watch::Sender<Subscription>) {
    let mut epoch = None;
    loop {
        let now = state.borrow_and_update().clone();
        subscription.send_if_modified(|subscription| {
            let before = *subscription;
            *subscription = step(before, &mut epoch, &now);
            *subscription != before
        });
        if matches!(now, State::Closed) || state.changed().await.is_err() {
            return;
        }
    }
}

/// A connection whose session the broker kept missed nothing and makes no new generation, except as the first one
/// of this process.
fn step(before: Subscription, epoch: &mut Option<u64>, state: &State) -> Subscription {
    let State::Ready {
        epoch: ready,
        resumed,
    } = state
    else {
        return Subscription {
            active: false,
            ..before
        };
    };
    let missed = epoch.is_none_or(|last| last != *ready && (!resumed || *ready != last + 1));
    *epoch = Some(*ready);
    Subscription {
        generation: before.generation + u64::from(missed),
        active: true,
    }
}

fn failure(error: &PublishError) -> PublishFailure {
    PublishFailure {
        message: chain(error),
        retryable: error.is_retryable(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_may_have_missed_something_makes_a_new_generation() {
        let mut epoch = None;
        let mut now = Subscription::default();
        let mut seen = Vec::new();
        let ready = |epoch, resumed| State::Ready { epoch, resumed };
        for state in [
            ready(1, true),
            State::Connecting,
            ready(2, true),
            ready(2, true),
            ready(3, false),
            // Epoch 4 was missed: it may have been a new session.
            ready(5, true),
            State::Closed,
        ] {
            now = step(now, &mut epoch, &state);
            seen.push((now.generation, now.active));
        }
        assert_eq!(
            seen,
            [
                (1, true),
                (1, false),
                (1, true),
                (1, true),
                (2, true),
                (3, true),
                (3, false)
            ]
        );
    }
}
