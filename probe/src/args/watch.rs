//! `probe watch`.

use std::time::Duration;

use clap::Args as ClapArgs;
use link::http::client::ApiFlags;

use super::OutputArgs;
use super::value::{interval, name_part, seconds};

/// `probe watch`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Watch")]
pub struct WatchArgs {
    /// What comes first: `waiting`, the clusters whose bundles wait longest, `name`, `seen`, whoever was heard least
    /// lately, or `presence`, whoever is away, since longest first
    #[arg(
        long,
        value_name = "KEY",
        value_enum,
        hide_possible_values = true,
        default_value = "waiting"
    )]
    pub sort: SortKey,
    /// Only clusters whose name holds this
    #[arg(long, value_name = "TEXT", value_parser = name_part)]
    pub filter: Option<String>,
    /// Only clusters whose agent is so: `connected`, `idle`, `away`, `never` or `unknown`
    #[arg(long, value_name = "STATE", value_enum, hide_possible_values = true)]
    pub presence: Option<PresenceFilter>,
    /// Show the bundles of this cluster
    #[arg(long, value_name = "NAME", value_parser = name_part)]
    pub cluster: Option<String>,
    /// Seconds from one look to the next
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    pub interval: Duration,
    /// Seconds after which a waiting bundle counts as stuck
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub stuck_after: Duration,
    /// Clusters to read where no terminal says how many fit
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_ROWS)))]
    pub rows: u16,
    /// Look once, print a plain table and end
    #[arg(long)]
    pub once: bool,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where the region is.
    #[command(flatten)]
    pub api: ApiFlags,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SortKey {
    /// The clusters whose bundles wait longest, then the others by name.
    Waiting,
    /// By name.
    Name,
    /// Whoever was heard least lately.
    Seen,
    /// Whoever is away, then those that were never heard or are unknown, then the others.
    Presence,
}

/// How an agent is, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PresenceFilter {
    /// It is there, and something is on its way to it.
    Connected,
    /// It is there, and has nothing to do.
    Idle,
    /// It is not there.
    Away,
    /// It was never heard of.
    Never,
    /// It may be there or not.
    Unknown,
}

// === impl SortKey ===

impl SortKey {
    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Name => "name",
            Self::Seen => "seen",
            Self::Presence => "presence",
        }
    }
}

// === impl PresenceFilter ===

impl PresenceFilter {
    /// As it is written, here and in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Idle => "idle",
            Self::Away => "away",
            Self::Never => "never",
            Self::Unknown => "unknown",
        }
    }
}

/// Clusters of one look: their counts are one query, of a few milliseconds for each hundred.
pub(crate) const MOST_ROWS: u16 = 500;
