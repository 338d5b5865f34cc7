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
    /// Whether IoT Core's rates are not kept on this side.
    pub unpaced: bool,
}

/// Why the options do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A session for later under a client id that is made up: nobody would find it again.
    #[error("option `{option}` keeps a session under a client id, and none is given")]
    NoId {
        /// Which option asks for it.
        option: &'static str,
    },
    /// Properties of a will, and no will.
    #[error("`-D will …` is given without `--will-topic`")]
    NoWill,
    /// A will that the broker would not take.
    #[error("the will")]
    Will(#[source] LimitError),
}

// === impl SessionSettings ===

impl SessionSettings {
    /// Resolves the options; `has_id` tells whether a whole client id was given, not a prefix of one.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn resolve(
        args: &SessionArgs,
        properties: &Properties,
        has_id: bool,
    ) -> Result<Self, SessionError> {
        let resume = args.disable_clean_session;
        let default = if resume { FOR_EVER } else { 0 };
        let expiry = args.session_expiry_interval.map_or(default, |it| it.0);
        if !has_id && (resume || expiry == FOR_EVER) {
            let option = if resume { "-c" } else { "-x -1" };
            return Err(SessionError::NoId { option });
        }
        Ok(Self {
            resume,
            expiry: Duration::from_secs(expiry.into()),
            will: will(args, properties)?,
            subscription: SubscriptionOptions::default(),
            unpaced: false,
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
            Self::NoId { .. } => {
                "give the whole client id with `-i ID`: with it the session is found again".into()
            }
            Self::NoWill => "add `--will-topic TOPIC`".into(),
            Self::Will(source) => return source.hint(),
        })
    }
}

const FOR_EVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::SessionExpiry;
    use crate::property::Publishes;

    #[test]
    fn a_session_without_an_end_needs_a_client_id() {
        let resolve = |resume, expiry: Option<u32>, has_id| {
            let args = SessionArgs {
                disable_clean_session: resume,
                session_expiry_interval: expiry.map(SessionExpiry),
                ..SessionArgs::default()
            };
            let properties = Properties::parse(&[], Publishes::Yes).unwrap();
            SessionSettings::resolve(&args, &properties, has_id)
                .map(|settings| settings.expiry.as_secs())
                .map_err(|error| error.to_string())
        };
        let for_ever = u64::from(u32::MAX);
        assert_eq!(resolve(true, None, true), Ok(for_ever));
        assert_eq!(resolve(false, Some(u32::MAX), true), Ok(for_ever));
        assert_eq!(resolve(false, Some(60), false), Ok(60));
        for (resume, expiry, option) in [
            (true, None, "`-c`"),
            (true, Some(60), "`-c`"),
            (false, Some(u32::MAX), "`-x -1`"),
        ] {
            let error = resolve(resume, expiry, false).unwrap_err();
            assert!(error.contains(option), "{error}");
        }
    }
}
