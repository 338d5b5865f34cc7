//! Which message is due when, on which topic; pure.

use std::time::Duration;

use bytes::Bytes;
use link::id::ClientId;

use crate::args::BenchArgs;

/// The load, in numbers.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Eight characters that tell this run from others on the same broker.
    pub(super) run: String,
    pub(super) connections: u16,
    pub(super) rate: u32,
    pub(super) size: u32,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

/// Why a load is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    /// What is remembered of each message has to fit into memory.
    #[error("{messages} messages are more than {MOST_MESSAGES}")]
    Messages {
        /// How many it would be.
        messages: u64,
    },
    /// More than is measured here: the network would be.
    #[error("{bytes} bytes a second are more than {MOST_BYTES_PER_SECOND}")]
    Bytes {
        /// How many it would be.
        bytes: u64,
    },
    /// Two connections of one id would take it from each other.
    #[error("client id `{base}` leaves no room for the number of a connection behind it")]
    ClientId {
        /// The one that was given.
        base: ClientId,
    },
}

// === impl Plan ===

impl Plan {
    /// Within the limits, or nothing.
    pub(super) fn of(args: &BenchArgs) -> Result<Self, PlanError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let plan = Self {
            run: id.chars().take(8).collect(),
            connections: args.connections,
            rate: args.rate,
            size: args.size,
            warm_up: args.warm_up,
            duration: args.duration,
        };
        let bytes = u64::from(plan.rate) * u64::from(plan.size);
        if bytes > MOST_BYTES_PER_SECOND {
            return Err(PlanError::Bytes { bytes });
        }
        let messages = plan.messages();
        if messages > MOST_MESSAGES {
            return Err(PlanError::Messages { messages });
        }
        Ok(plan)
    }

    /// All messages of the run, those of the warm-up included.
    pub(super) fn messages(&self) -> u64 {
        (0..self.connections)
            .map(|number| self.messages_of(number))
            .sum()
    }

    /// How many messages a connection is to send.
    pub(super) fn messages_of(&self, connection: u16) -> u64 {
        self.before(connection, self.warm_up + self.duration)
    }

    /// The first message of a connection that counts.
    pub(super) fn first_of(&self, connection: u16) -> u64 {
        self.before(connection, self.warm_up)
    }

    /// When a message is due, from the start: the connections take turns.
    pub(super) fn due(&self, connection: u16, message: u64) -> Duration {
        let turn = u128::from(message) * u128::from(self.connections) + u128::from(connection);
        let nanos = turn * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When nothing is due any more.
    pub(super) fn end(&self) -> Duration {
        self.warm_up + self.duration
    }

    pub(super) fn topic(&self, connection: u16) -> String {
        format!("test/probe/bench/{}/{connection}", self.run)
    }

    /// Whether each connection can have an id of its own.
    pub(super) fn check_ids(&self, base: &ClientId) -> Result<(), PlanError> {
        let last = self.connections.saturating_sub(1);
        match ClientId::new(format!("{base}-{last}")) {
            Ok(_) => Ok(()),
            Err(_) => Err(PlanError::ClientId { base: base.clone() }),
        }
    }

    /// The id of the run's connection: its own number after the operator's.
    pub(super) fn client_id(&self, base: &ClientId, connection: u16) -> ClientId {
        // The longest of them was checked (`check_ids`).
        ClientId::new(format!("{base}-{connection}")).unwrap_or_else(|_| base.clone())
    }

    /// Run, connection and number, padded with dots: readable for whoever else listens.
    pub(super) fn payload(&self, connection: u16, message: u64) -> Bytes {
        let mut text = format!("bench {} {connection} {message} ", self.run);
        let missing = (self.size as usize).saturating_sub(text.len());
        text.extend(std::iter::repeat_n('.', missing));
        text.into()
    }

    /// The number of a message of this connection in this run.
    pub(super) fn number(&self, connection: u16, payload: &[u8]) -> Option<u64> {
        let head = payload.get(..payload.len().min(64))?;
        let mut words = head.split(|byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        if word()? != "bench" || word()? != self.run || word()?.parse::<u16>() != Ok(connection) {
            return None;
        }
        let number = word()?.parse().ok()?;
        (number < self.messages_of(connection)).then_some(number)
    }

    /// How many messages of a connection are due before a moment.
    pub(super) fn before(&self, connection: u16, moment: Duration) -> u64 {
        let turns = (moment.as_nanos() * u128::from(self.rate)).div_ceil(1_000_000_000);
        let (turns, each) = (
            turns.saturating_sub(connection.into()),
            u128::from(self.connections),
        );
        u64::try_from(turns.div_ceil(each.max(1))).unwrap_or(u64::MAX)
    }
}

/// Of each message a byte and two times are kept: 33 bytes, so 66 MB.
pub(super) const MOST_MESSAGES: u64 = 2_000_000;

/// Half of a gigabit network, each way.
pub(super) const MOST_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::args::BENCH_HEADER;

    fn plan(connections: u16, rate: u32, warm_up: u64, duration: u64) -> Plan {
        Plan {
            run: "0a1b2c3d".into(),
            connections,
            rate,
            size: BENCH_HEADER,
            warm_up: Duration::from_millis(warm_up),
            duration: Duration::from_millis(duration),
        }
    }

    proptest! {
        #[test]
        fn the_rate_is_met_exactly_and_every_message_is_due_in_time(
            connections in 1u16..50, rate in 1u32..500, warm_up in 0u64..3000, duration in 1u64..3000,
        ) {
            let plan = plan(connections, rate, warm_up, duration);
            let expected = (u64::from(rate) * (warm_up + duration)).div_ceil(1000);
            prop_assert_eq!(plan.messages(), expected);
            for connection in 0..connections {
                let (first, all) = (plan.first_of(connection), plan.messages_of(connection));
                if all > 0 {
                    prop_assert!(plan.due(connection, all - 1) < plan.end());
                }
                prop_assert!(plan.due(connection, all) >= plan.end());
                prop_assert!(plan.due(connection, first) >= plan.warm_up);
            }
        }

        #[test]
        fn a_payload_tells_its_number(connection in 0u16..1000, message in 0u64..100) {
            let plan = plan(1000, 5000, 0, 20_000);
            let payload = plan.payload(connection, message);
            prop_assert_eq!(payload.len(), BENCH_HEADER as usize);
            prop_assert_eq!(plan.number(connection, &payload), Some(message));
            prop_assert_eq!(plan.number(connection + 1, &payload), None);
        }
    }

    #[test]
    fn a_client_id_has_room_for_the_number_or_is_refused() {
        let base = |length| ClientId::new("a".repeat(length)).unwrap();
        let last = |connections, length| plan(connections, 10, 0, 1000).check_ids(&base(length));
        assert_eq!(last(10, 126), Ok(()));
        assert_eq!(last(11, 126), Err(PlanError::ClientId { base: base(126) }));
        assert_eq!(last(11, 125), Ok(()));
    }

    #[test]
    fn the_longest_header_fits() {
        let plan = plan(1000, 5000, 0, 400_000);
        assert_eq!(plan.payload(999, 1_999_999).len(), BENCH_HEADER as usize);
    }

    #[test]
    fn what_is_not_of_this_run_is_nothing() {
        let plan = plan(1, 10, 0, 1000);
        for text in [
            "",
            "bench",
            "bench 0a1b2c3d 0 10 .",
            "bench ffffffff 0 1 .",
            "ping 0a1b2c3d 0 1",
        ] {
            assert_eq!(plan.number(0, text.as_bytes()), None, "{text}");
        }
        assert_eq!(plan.number(0, b"bench 0a1b2c3d 0 9 ..."), Some(9));
    }
}
