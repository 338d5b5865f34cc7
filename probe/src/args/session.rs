//! The options of commands that leave something at the broker: a session, or a will.

use clap::Args as ClapArgs;

use super::value::{SessionExpiry, quality, session_expiry};

/// What the broker keeps of a connection.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Session and will")]
pub struct SessionArgs {
    /// Go on with the session of this client id, and keep it: what comes for it meanwhile is delivered the next time
    #[arg(short = 'c', long)]
    pub disable_clean_session: bool,
    /// How long the broker keeps the session, `-1` for ever [default: -1 with -c, else 0]; AWS IoT Core cuts it to its limit
    #[arg(short = 'x', long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = session_expiry)]
    pub session_expiry_interval: Option<SessionExpiry>,
    /// Topic of the message that the broker publishes if the connection ends without a DISCONNECT
    #[arg(long, value_name = "TOPIC")]
    pub will_topic: Option<String>,
    /// Its content [default: none]
    #[arg(
        long,
        value_name = "TEXT",
        requires = "will_topic",
        allow_hyphen_values = true
    )]
    pub will_payload: Option<String>,
    /// Its QoS, 0 or 1 [default: 0]
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = quality)]
    pub will_qos: Option<u8>,
    /// Have it kept for later subscribers
    #[arg(long, requires = "will_topic")]
    pub will_retain: bool,
}
