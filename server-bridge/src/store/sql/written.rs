//! What a write gives back to its engine.

use link::id::ConsumerName;

/// The value of a write, and the consumer for which something may need sending once it is committed.
pub(in crate::store) struct Written<T> {
    pub(in crate::store) value: T,
    pub(in crate::store) hint: Option<ConsumerName>,
}

// === impl Written ===

impl<T> Written<T> {
    /// Nothing needs sending.
    pub(in crate::store) const fn of(value: T) -> Self {
        Self { value, hint: None }
    }

    /// Something may need sending for this consumer.
    pub(in crate::store) fn and_send(value: T, consumer: ConsumerName) -> Self {
        Self::and_maybe_send(value, Some(consumer))
    }

    /// The same, if there is one.
    pub(in crate::store) fn and_maybe_send(value: T, consumer: Option<ConsumerName>) -> Self {
        Self {
            value,
            hint: consumer,
        }
    }
}
