//! What happens to SUBSCRIBE and UNSUBSCRIBE (docs/IOT-CORE.md §2 point 13, §1.3).

use std::num::NonZeroU16;

use link::iot::limits::FILTERS_PER_SUBSCRIBE;
use tokio::time::Instant;

use super::Connection;
use crate::broker::faults::Swallowed;
use crate::broker::filter::Filter;
use crate::broker::hub::supported;
use crate::broker::live::End;
use crate::broker::packet::{Outbound, Reason, SubscribeOptions, Version};
use crate::broker::presence::DisconnectReason;

// === impl Connection ===

impl Connection {
    pub(super) fn subscribe(
        &self,
        packet_id: NonZeroU16,
        identifier: bool,
        filters: Vec<(String, SubscribeOptions)>,
    ) -> Result<(), End> {
        let environment = &self.shared.environment;
        let limits = &environment.limits;
        let faults = environment.faults.get();
        if faults.swallow.contains(&Swallowed::Subscribe) {
            return Ok(());
        }
        let most = faults.max_subscriptions.unwrap_or(limits.subscriptions);
        if identifier {
            return Err(self.refusal(Reason::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED));
        }
        if filters.len() > faults.max_filters.unwrap_or(FILTERS_PER_SUBSCRIBE) {
            // The code is not known (docs/IOT-CORE.md §7); 0x97 is the quota code on IoT Core's list.
            return Err(self.refusal(Reason::QUOTA_EXCEEDED));
        }
        if filters.iter().any(|(_, options)| !supported(options.qos)) {
            // No SUBACK was seen, on either version (docs/IOT-CORE.md §1.1).
            return Ok(());
        }
        let known = self.session.subscriptions();
        let mut count = known.len();
        let mut granted = Vec::new();
        let mut names = Vec::new();
        let mut reasons = Vec::with_capacity(filters.len());
        let mut excess = false;
        for (text, options) in filters {
            let outcome = self.check_filter(&text).and_then(|filter| {
                let new = !known.iter().any(|(name, _)| *name == text) && !names.contains(&text);
                if new && count >= most {
                    excess = true;
                    return Err(Reason::QUOTA_EXCEEDED);
                }
                count += usize::from(new);
                Ok(filter)
            });
            match outcome {
                Ok(filter) => {
                    reasons.push(Reason(options.qos.value()));
                    names.push(text.clone());
                    granted.push((text, filter, options));
                }
                // 3.1.1 is closed for a filter its policy denies; the page also speaks of a failure code in
                // SUBACK, which the 51st subscription gets (docs/IOT-CORE.md §1.2, §1.3).
                Err(reason) if self.version == Version::V3 && reason != Reason::QUOTA_EXCEEDED => {
                    return Err(self.refusal(reason));
                }
                Err(reason) => reasons.push(reason),
            }
        }
        let suback = Outbound::SubAck(packet_id, reasons);
        let now = Instant::now();
        self.shared.hub.subscribe(
            &self.session,
            self.link.id,
            granted,
            suback,
            environment,
            now,
        );
        if !names.is_empty() {
            self.publish_event(self.shared.presence.subscribed(&self.party(), &names));
        }
        if excess && limits.close_on_excess_subscription {
            return Err(End::with_reason(
                DisconnectReason::ClientError,
                Reason::QUOTA_EXCEEDED,
            ));
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&self, packet_id: NonZeroU16, filters: &[String]) {
        if filters.len() > FILTERS_PER_SUBSCRIBE {
            // No effect and no answer were seen (docs/IOT-CORE.md §1.2).
            return;
        }
        let reasons = filters
            .iter()
            .map(|filter| {
                if self.shared.hub.unsubscribe(&self.session, filter) {
                    Reason::SUCCESS
                } else {
                    Reason::NO_SUBSCRIPTION_EXISTED
                }
            })
            .collect();
        self.answer(Outbound::UnsubAck(packet_id, reasons));
        self.publish_event(self.shared.presence.unsubscribed(&self.party(), filters));
    }

    fn check_filter(&self, text: &str) -> Result<Filter, Reason> {
        let filter = Filter::parse(text)?;
        let faults = self.shared.environment.faults.get();
        if faults.refuses(&faults.refuse_subscribes, &self.link.client_id)
            || !self.link.permissions.subscribes(text)
        {
            return Err(Reason::NOT_AUTHORIZED);
        }
        Ok(filter)
    }
}
