//! The border of the agent without a broker: what it publishes goes to a channel, or fails as a test asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use agent::uplink::{Downlink, Incoming, PublishFailure, Published, Subscription, Uplink};
use link::event::{Action, Kind, decode};
use link::message::Message;
use tokio::sync::{mpsc, watch};

pub(super) struct Down(pub(super) mpsc::Receiver<Incoming>);

#[derive(Clone)]
pub(super) struct Up {
    pub(super) published: mpsc::Sender<Message>,
    pub(super) subscription: watch::Receiver<Subscription>,
    // Panics once when a resync request is to be sent.
    pub(super) panics: Arc<AtomicBool>,
    // Nobody is subscribed: what is published is counted and lost.
    pub(super) deaf: Arc<AtomicBool>,
    pub(super) unheard: Arc<AtomicUsize>,
    // Resync requests are not authorized.
    pub(super) denied: Arc<AtomicBool>,
}

impl Downlink for Down {
    async fn recv(&mut self) -> Option<Incoming> {
        self.0.recv().await
    }
}

impl Uplink for Up {
    async fn publish(&self, message: Message) -> Result<Published, PublishFailure> {
        let offline = || PublishFailure {
            message: "offline".into(),
            retryable: true,
        };
        if !self.subscription.borrow().active {
            return Err(offline());
        }
        let asks =
            decode(&message).is_ok_and(|event| event.kind == Kind::spec(Action::ResyncRequest));
        if asks && self.panics.swap(false, Ordering::SeqCst) {
            panic!("an uplink fails on purpose");
        }
        if asks && self.denied.load(Ordering::SeqCst) {
            return Err(PublishFailure {
                message: "not authorized".into(),
                retryable: false,
            });
        }
        if self.deaf.load(Ordering::SeqCst) {
            self.unheard.fetch_add(1, Ordering::SeqCst);
            return Ok(Published { matched: false });
        }
        self.published.send(message).await.map_err(|_| offline())?;
        Ok(Published { matched: true })
    }

    fn subscription(&self) -> watch::Receiver<Subscription> {
        self.subscription.clone()
    }
}
