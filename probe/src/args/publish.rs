//! `probe publish`: where the messages come from and what goes with them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};

use super::{ConnectionArgs, seconds};

/// `probe publish`.
#[derive(Clone, Debug, ClapArgs)]
#[command(group(ArgGroup::new("content").required(true).args(["message", "file", "stdin_line", "stdin_file", "null_message"])))]
pub struct PublishArgs {
    /// Topic to publish to
    #[arg(short, long)]
    pub topic: String,
    /// Publish this text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Publish the content of a file
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Publish each line of standard input as a message of its own
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
    /// `publish user-property KEY VALUE`, `publish content-type TYPE` or `publish message-expiry-interval SECONDS`; repeatable
    #[arg(short = 'D', long, value_names = ["COMMAND", "PROPERTY", "VALUE"], num_args = 3..=4, action = clap::ArgAction::Append)]
    pub property: Vec<String>,
    /// Fail with exit code 1 when nobody is subscribed to the topic
    #[arg(long)]
    pub require_subscriber: bool,
    /// Deadline in seconds; with -l it holds for each acknowledgement
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
    /// Print one JSON object per message and one with the result
    #[arg(long)]
    pub json: bool,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}
