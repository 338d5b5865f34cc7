//! What a command asks the broker to keep: a session, a will, and how subscriptions are served.

use std::time::Duration;

use link::error::Hint;
use link::iot::limits::{self, LimitError};
use link::message::Message;
use link::mqtt::{Qos, SubscriptionOptions, Will};

use crate::args::SessionArgs;
use crate::property::Properties;

/// Resolved options; the default starts clean and keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct SessionSettings {
    /// Whether to go on with the session that the broker keeps.
    pub resume: bool,
    /// How long it keeps it afterwards; zero for not at all.
    pub expiry: Duration,
    /// What it publishes when the connection breaks.
    pub will: Option<Will>,
    /// How subscriptions are served.
    pub subscription: SubscriptionOptions,
}

/// Why the options do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A session for later under a client id that is made up.
    #[error("option `-c` keeps a session under a client id, and none is given")]
    NoId,
    /// Properties of a will, and no will.
    #[error("`-D will …` is given without `--will-topic`")]
    NoWill,
    /// A will that the broker would not take.
    #[error("the will")]
    Will(#[source] LimitError),
}

// === impl SessionSettings ===

impl SessionSettings {
    /// Resolves the options; `has_id` tells whether a client id was given.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn resolve(
        args: &SessionArgs,
        properties: &Properties,
        has_id: bool,
    ) -> Result<Self, SessionError> {
        let resume = args.disable_clean_session;
        if resume && !has_id {
            return Err(SessionError::NoId);
        }
        let default = if resume { u32::MAX } else { 0 };
        let expiry = args.session_expiry_interval.map_or(default, |it| it.0);
        Ok(Self {
            resume,
            expiry: Duration::from_secs(expiry.into()),
            will: will(args, properties)?,
            subscription: SubscriptionOptions::default(),
        })
    }
}

fn will(args: &SessionArgs, properties: &Properties) -> Result<Option<Will>, SessionError> {
    let Some(topic) = &args.will_topic else {
        return match properties.has_will() {
            true => Err(SessionError::NoWill),
            false => Ok(None),
        };
    };
    let payload = args.will_payload.clone().unwrap_or_default();
    let mut message = properties.apply_to_will(Message::new(topic.clone(), payload));
    message.retain = args.will_retain;
    limits::ConnectionLimits::IOT_CORE
        .check_message(&message)
        .map_err(SessionError::Will)?;
    let qos = match args.will_qos {
        Some(1) => Qos::AtLeastOnce,
        _ => Qos::AtMostOnce,
    };
    Ok(Some(Will {
        message,
        qos,
        delay_seconds: properties.will_delay_seconds(),
    }))
}

// === impl SessionError ===

impl Hint for SessionError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoId => {
                "give the client id with `-i ID`: with it the session is found again".into()
            }
            Self::NoWill => "add `--will-topic TOPIC`".into(),
            Self::Will(source) => return source.hint(),
        })
    }
}
