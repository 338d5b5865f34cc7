//! `probe publish`: where the messages come from and what goes with them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};

use super::value::{delay, quality, seconds};
use super::{ConnectionArgs, OutputArgs, SessionArgs};

/// `probe publish`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Message", group(ArgGroup::new("address").required(true).multiple(true).args(["topic", "url"])), group(ArgGroup::new("content").required(true).args(["message", "file", "stdin_line", "stdin_file", "null_message"])))]
pub struct PublishArgs {
    /// Topic to publish to
    #[arg(short, long)]
    pub topic: Option<String>,
    /// Publish this text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Publish the content of a file
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Publish each line of standard input as a message of its own, at most 100 a second as AWS IoT Core takes them
    #[arg(short = 'l', long)]
    pub stdin_line: bool,
    /// Publish all of standard input as one message
    #[arg(short = 's', long)]
    pub stdin_file: bool,
    /// Publish a message without content; with -r it clears what was retained
    #[arg(short = 'n', long)]
    pub null_message: bool,
    /// Ask the broker to keep the message for later subscribers
    #[arg(short, long)]
    pub retain: bool,
    /// 0 or 1; 0 is sent as 1 too, because nothing acknowledges 0 [default: 1]
    #[arg(short, long, value_name = "QOS", value_parser = quality)]
    pub qos: Option<u8>,
    /// `publish PROPERTY VALUE` or, for the will, `will PROPERTY VALUE`: user-property KEY VALUE, content-type,
    /// message-expiry-interval, response-topic, correlation-data, payload-format-indicator, will-delay-interval; repeatable
    #[arg(short = 'D', long, value_names = ["COMMAND", "PROPERTY", "VALUE"], num_args = 3..=4, allow_negative_numbers = true, action = clap::ArgAction::Append)]
    pub property: Vec<String>,
    /// Publish it this many times, at most 100 a second
    #[arg(long, value_name = "COUNT", conflicts_with = "stdin_line", value_parser = clap::value_parser!(u32).range(1..), help_heading = SENDING)]
    pub repeat: Option<u32>,
    /// Seconds from one to the next [default: 0]
    #[arg(long, value_name = "SECONDS", requires = "repeat", value_parser = delay, help_heading = SENDING)]
    pub repeat_delay: Option<Duration>,
    /// Messages that may wait for their acknowledgement at once, 1 to 100 [default: 100]
    #[arg(short = 'M', long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=100), help_heading = SENDING)]
    pub max_inflight: Option<u16>,
    /// Fail with exit code 1 when nobody is subscribed to the topic
    #[arg(long, help_heading = SENDING)]
    pub require_subscriber: bool,
    /// Deadline in seconds; with -l and --repeat it holds for each acknowledgement
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "30", value_parser = seconds, help_heading = SENDING)]
    pub timeout: Duration,
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

const SENDING: &str = "Sending";
