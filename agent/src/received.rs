//! What becomes of received events, as closed sets: labels of metrics, and keys of what is logged.

/// What a stored event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A work that was not held.
    New,
    /// A newer version, or other content under the same or no version.
    Changed,
    /// A version whose payload cannot be used; it is held so that its status can say so.
    Invalid,
    /// A deletion.
    Deletion,
    /// A deletion of a work that is not held. Nothing has to be durable for it.
    Absent,
}

/// Bounded set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The message is no CloudEvent this link reads.
    NotAnEvent,
    /// The topic speaks for another consumer.
    ForeignTopic,
    /// `clustername` is missing or another consumer's.
    ForeignConsumer,
    /// The source is not on the allow-list.
    ForeignSource,
    /// Another data type than manifest bundles.
    DataType,
    /// An action that is not for agents.
    Action,
    /// `resourceid` is missing or empty.
    MissingResourceId,
    /// `resourceversion` is missing on an upsert.
    MissingVersion,
    /// A newer version is held.
    OldVersion,
    /// The work is being deleted.
    Deleting,
    /// It is about a bundle that is gone: deleted after this was written, or made again since.
    Tombstoned,
    /// The id or the source is longer than any status about it could carry.
    TooLong,
    /// Another agent's object has the name under which the work would be held.
    ForeignWork,
    /// A resync request whose data cannot be read.
    Payload,
}

// === impl Taken ===

impl Taken {
    /// Every meaning.
    pub const ALL: [Self; 5] = [
        Self::New,
        Self::Changed,
        Self::Invalid,
        Self::Deletion,
        Self::Absent,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Invalid => "invalid",
            Self::Deletion => "deletion",
            Self::Absent => "absent",
        }
    }
}

// === impl RefusalReason ===

impl RefusalReason {
    /// Every reason, so that each metric exists from the start.
    pub const ALL: [Self; 14] = [
        Self::NotAnEvent,
        Self::ForeignTopic,
        Self::ForeignConsumer,
        Self::ForeignSource,
        Self::DataType,
        Self::Action,
        Self::MissingResourceId,
        Self::MissingVersion,
        Self::OldVersion,
        Self::Deleting,
        Self::Tombstoned,
        Self::TooLong,
        Self::ForeignWork,
        Self::Payload,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnEvent => "not_an_event",
            Self::ForeignTopic => "foreign_topic",
            Self::ForeignConsumer => "foreign_consumer",
            Self::ForeignSource => "foreign_source",
            Self::DataType => "data_type",
            Self::Action => "action",
            Self::MissingResourceId => "missing_resource_id",
            Self::MissingVersion => "missing_version",
            Self::OldVersion => "old_version",
            Self::Deleting => "deleting",
            Self::Tombstoned => "departed",
            Self::TooLong => "too_long",
            Self::ForeignWork => "foreign_work",
            Self::Payload => "payload",
        }
    }
}
