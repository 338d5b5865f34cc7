//! `probe subscribe`: what is received, which of it is shown, and how.

use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};

use super::value::{quality, seconds};
use super::{ConnectionArgs, OutputArgs, SessionArgs};

/// `probe subscribe`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Subscription", group(ArgGroup::new("address").required(true).multiple(true).args(["topics", "url"])))]
pub struct SubscribeArgs {
    /// Filter to subscribe to, also `$share/NAME/FILTER`; repeatable
    #[arg(short, long = "topic", value_name = "FILTER")]
    pub topics: Vec<String>,
    /// 0 or 1: messages come with this or what they were published with, whichever is less [default: 1]
    #[arg(short, long, value_name = "QOS", value_parser = quality)]
    pub qos: Option<u8>,
    /// Have messages come with the retain flag they were published with
    #[arg(long)]
    pub retain_as_published: bool,
    /// For the will, `will PROPERTY VALUE`: user-property KEY VALUE, content-type, message-expiry-interval, response-topic,
    /// correlation-data, payload-format-indicator, will-delay-interval; repeatable
    #[arg(short = 'D', long, value_names = ["COMMAND", "PROPERTY", "VALUE"], num_args = 3..=4, allow_negative_numbers = true, action = clap::ArgAction::Append)]
    pub property: Vec<String>,
    /// Leave out topics that match this filter; repeatable
    #[arg(short = 'T', long = "filter-out", value_name = "FILTER", help_heading = MESSAGES)]
    pub filter_out: Vec<String>,
    /// Leave out messages that the broker had retained
    #[arg(short = 'R', conflicts_with = "retained_only", help_heading = MESSAGES)]
    pub no_retained: bool,
    /// Show only messages that the broker had retained, and end with success at the first other one
    #[arg(long, help_heading = MESSAGES)]
    pub retained_only: bool,
    /// Clear each retained message that is shown, by an empty one; what -T or -R leaves out stays
    #[arg(long, help_heading = MESSAGES)]
    pub remove_retained: bool,
    /// End with success after this many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = MESSAGES)]
    pub count: Option<u64>,
    /// End with success as soon as the broker has acknowledged the subscriptions
    #[arg(short = 'E', help_heading = MESSAGES)]
    pub exit_when_subscribed: bool,
    /// Stop after this many seconds: success if anything arrived and no -C is open, else exit code 3
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "60", value_parser = seconds, help_heading = MESSAGES)]
    pub timeout: Duration,
    /// Write the payloads as they are, each followed by a newline
    #[arg(long, conflicts_with_all = ["json", "format"], help_heading = OUTPUT)]
    pub raw: bool,
    /// The same with the topic before each
    #[arg(short, long, conflicts_with = "json", help_heading = OUTPUT)]
    pub verbose: bool,
    /// Write no newline after each; without -F this is --raw
    #[arg(short = 'N', conflicts_with = "json", help_heading = OUTPUT)]
    pub no_newline: bool,
    /// Write each as this says: %t topic, %p payload, %j all as JSON, and the others of mosquitto_sub, as %x %X %l %q %r %m
    /// %C %D %E %F %P %R %J %I %U, @Y-@m-@d, \n \t \0; times are UTC
    #[arg(short = 'F', value_name = "FORMAT", conflicts_with = "json", allow_hyphen_values = true, help_heading = OUTPUT)]
    pub format: Option<String>,
    /// Spread the JSON of --json, %j and %J over lines
    #[arg(long, help_heading = OUTPUT)]
    pub pretty: bool,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What the broker keeps.
    #[command(flatten)]
    pub session: SessionArgs,
}

const MESSAGES: &str = "Messages";

const OUTPUT: &str = "Output";
