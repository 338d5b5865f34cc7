//! Subscribes, and says what was refused; and unsubscribes.

use rumqttc::{SubscribeFilter, SubscribeNoticeError};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{ACK_DEADLINE, Pump};
use crate::mqtt::reason::SubscribeError;
use crate::mqtt::shared::{Connection, Unsubscribing};
use crate::mqtt::state::Subscriptions;

impl Pump {
    /// What is still to be subscribed; `None` when all of it is.
    pub(super) fn missing(&self, connection: Connection, wanted: &[String]) -> Option<Vec<String>> {
        let subscribed = self.subscribed.as_ref();
        let Some(subscribed) = subscribed.filter(|it| it.session == connection.broker_session)
        else {
            return Some(wanted.to_vec());
        };
        let missing = wanted.iter().filter(|it| !subscribed.filters.contains(it));
        let missing: Vec<_> = missing.cloned().collect();
        (!missing.is_empty()).then_some(missing)
    }

    /// Notes what the broker confirmed.
    pub(super) fn note_subscribed(&mut self, connection: Connection, filters: Vec<String>) {
        let session = connection.broker_session;
        let mut confirmed = self.subscribed.take().unwrap_or_default();
        if confirmed.session != session {
            confirmed = Subscriptions {
                session,
                filters: Vec::new(),
            };
        }
        confirmed.filters.extend(filters);
        self.shared.subscriptions.send_replace(confirmed.clone());
        self.subscribed = Some(confirmed);
    }

    /// `Ok(false)` means that the connection went away meanwhile.
    pub(super) async fn subscribe(
        &mut self,
        connection: Connection,
        filters: &[String],
    ) -> Result<bool, SubscribeError> {
        let count = filters.len();
        for filters in filters.chunks(self.filters_per_subscribe) {
            let options = self.subscription;
            let request = filters.iter().map(|filter| {
                let mut request = SubscribeFilter::new(filter.clone(), options.qos.as_sent());
                request.preserve_retain = options.retain_as_published;
                request
            });
            let Ok(notice) = self.shared.client().subscribe_many_tracked(request).await else {
                return Ok(false);
            };
            let answer = tokio::select! {
                answer = notice.wait_async() => answer,
                () = unanswered(self.shared.reading.subscribe()) => {
                    self.shared.ask_reconnect("no SUBACK");
                    return Ok(false);
                }
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(SubscribeNoticeError::V5SubAckFailure(codes)) => {
                    let refused = filters
                        .iter()
                        .zip(codes)
                        .find_map(|(filter, code)| SubscribeError::read(filter, code));
                    return refused.map_or(Ok(false), Err);
                }
                Err(_) => return Ok(false),
            };
            if let Some(refused) = filters
                .iter()
                .zip(answer.return_codes)
                .find_map(|(filter, code)| SubscribeError::read(filter, code))
            {
                return Err(refused);
            }
        }
        info!(
            connection = connection.number,
            filters = count,
            "Subscribed"
        );
        Ok(true)
    }

    /// Waits until nothing more is to come in, and tells the broker on this connection: whether it knows of a
    /// subscription or not, because it may never have said that it does.
    pub(super) fn unsubscribe_when_asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        let at_once = self.filters_per_subscribe;
        async move {
            let mut leaving = shared.unsubscribing.subscribe();
            let asked = leaving.wait_for(|leaving| *leaving == Unsubscribing::Asked);
            if asked.await.is_err() {
                return;
            }
            let subscriptions = shared.filters.borrow().clone();
            for filters in subscriptions.chunks(at_once) {
                let request = filters.iter().cloned();
                let unsubscribed = match shared.client().unsubscribe_many_tracked(request).await {
                    Ok(notice) => notice.wait_completion_async().await.is_ok(),
                    Err(_) => false,
                };
                if !unsubscribed {
                    // The next connection tries again; after a refusal there is no other way.
                    warn!("The broker did not confirm that nothing more is to come");
                    return;
                }
            }
            info!("Unsubscribed");
            shared.unsubscribing.send_replace(Unsubscribing::Done);
        }
    }
}

/// Resolves when the broker had its time to answer, not counting time in which nothing was read.
async fn unanswered(mut reading: watch::Receiver<bool>) {
    loop {
        // Both fail only with the session itself, and then nothing waits for this.
        if reading.wait_for(|reading| *reading).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(ACK_DEADLINE) => return,
            _ = reading.wait_for(|reading| !*reading) => {}
        }
    }
}
