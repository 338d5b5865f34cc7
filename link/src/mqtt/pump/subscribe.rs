//! Subscribes, and says what was refused.

use rumqttc::{QoS, SubscribeFilter, SubscribeNoticeError};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use super::{ACK_DEADLINE, Pump};
use crate::mqtt::reason::SubscribeError;
use crate::mqtt::shared::Connection;

impl Pump {
    /// `Ok(false)` means that the connection went away meanwhile.
    pub(super) async fn subscribe(
        &mut self,
        connection: Connection,
    ) -> Result<bool, SubscribeError> {
        for filters in self.subscriptions.chunks(self.filters_per_subscribe) {
            let request = filters
                .iter()
                .map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
            let Ok(notice) = self.shared.client.subscribe_many_tracked(request).await else {
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
            filters = self.subscriptions.len(),
            "Subscribed"
        );
        Ok(true)
    }
}

/// Resolves when the broker had its time to answer, not counting time in which nothing was read.
async fn unanswered(mut reading: watch::Receiver<bool>) {
    loop {
        // Both fail only with the session itself, and then nobody waits for this.
        if reading.wait_for(|reading| *reading).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(ACK_DEADLINE) => return,
            _ = reading.wait_for(|reading| !*reading) => {}
        }
    }
}
