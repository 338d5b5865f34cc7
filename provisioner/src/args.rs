//! What the user typed, unresolved: no file is read and no account is opened here.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use link::id::{ConsumerName, InvalidName};
use link::telemetry::LogOptions;

use crate::cost::Load;
use crate::scope::Scope;

pub use self::outputs::{OutputFormat, OutputsArgs};

mod outputs;

/// Plans and makes everything a region needs on AWS
#[derive(Clone, Debug, Parser)]
#[command(
    name = "provisioner",
    version = link::cli::version(),
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub struct Args {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which region, and with whose credentials.
#[derive(Clone, Debug, ClapArgs)]
pub struct GlobalArgs {
    /// The region's file
    #[arg(
        short,
        long,
        env = "REGION_FILE",
        default_value = "region.yaml",
        value_name = "FILE",
        global = true
    )]
    pub file: PathBuf,
    /// AWS profile for the region's account, or CLUSTER=NAME for a management cluster's; repeatable
    #[arg(long = "profile", value_name = "[SCOPE=]NAME", global = true)]
    pub profiles: Vec<ScopedProfile>,
    /// Only this account's part: `region`, or a management cluster's id; repeatable. With one and no profile for it,
    /// the usual credentials are for that account
    #[arg(long = "only", value_name = "SCOPE", value_parser = scope, global = true)]
    pub only: Vec<Scope>,
}

/// A profile and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopedProfile {
    /// Whose account.
    pub scope: Scope,
    /// The profile's name.
    pub profile: String,
}

/// One of the things that the provisioner does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write a commented file for a new region
    Init(InitArgs),
    /// Print the JSON schema of the region's file, for editors
    Schema,
    /// Check the region's file, without AWS and without a network
    Validate(JsonArgs),
    /// Show what would change, why, and what that disrupts; changes nothing
    Plan(PlanArgs),
    /// Make everything as the file says, and wait until it can be used
    Apply(ApplyArgs),
    /// Remove everything that carries the region's mark
    Destroy(DestroyArgs),
    /// Show what is there: drift, certificates and their expiry, what is attached to what
    Status(JsonArgs),
    /// Print what Helm, Argo CD and people need to know
    Outputs(OutputsArgs),
    /// Give a management cluster its identity; no private key leaves its account
    Enroll(EnrollArgs),
    /// Replace a certificate without interruption
    Rotate(RotateArgs),
    /// Make a certificate unusable now
    Revoke(RevokeArgs),
    /// Check who may do what on the broker, and explain why
    Policy {
        /// Check or explain.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Estimate what the region costs in a month
    Cost(CostArgs),
    /// Take over resources that Terraform, a script or a person made
    Adopt(AdoptArgs),
    /// Print the IAM policies that the provisioner itself needs, one per account
    Permissions,
}

/// `provisioner init`.
#[derive(Clone, Debug, ClapArgs)]
pub struct InitArgs {
    /// What every name begins with
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// AWS region; that of the environment or the profile unless given
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The region's account
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// A verb that only prints.
#[derive(Clone, Debug, ClapArgs)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `provisioner plan`.
#[derive(Clone, Debug, ClapArgs)]
pub struct PlanArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Exit with 0 if nothing differs, 2 if something does, and 1 for every failure, also of a wrong file
    #[arg(long, visible_alias = "detailed-exitcode")]
    pub exit_code: bool,
    /// Terraform's `-detailed-exitcode`, with one dash: `-d` and the rest as its value
    #[arg(short = 'd', hide = true, value_name = "etailed-exitcode", value_parser = ["etailed-exitcode"])]
    pub(crate) terraform_exit_code: Option<String>,
}

/// `provisioner apply`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ApplyArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `provisioner destroy`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DestroyArgs {
    /// Do not ask; a database goes only with `--delete-database`
    #[arg(long)]
    pub yes: bool,
    /// Name of the database that may be deleted with its data
    #[arg(long, value_name = "NAME")]
    pub delete_database: Option<String>,
    /// Only what belongs to this management cluster, in both accounts; take it out of the file afterwards
    #[arg(long, value_name = "ID")]
    pub cluster: Option<ConsumerName>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `provisioner enroll`.
#[derive(Clone, Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EnrollArgs {
    /// The management cluster; all three steps at once, with credentials for both accounts. Or `server`
    #[arg(required = true, value_name = "ID")]
    pub cluster: Option<ConsumerName>,
    /// Issue a new certificate although the present one is in use; it stays valid until `rotate` removes it
    #[arg(long)]
    pub renew: bool,
    /// Give up a key that waits for its certificate, and make another
    #[arg(long)]
    pub new_key: bool,
    /// One of the three steps.
    #[command(subcommand)]
    pub step: Option<EnrollStep>,
}

/// One of the three steps, each with the credentials of one account.
#[derive(Clone, Debug, Subcommand)]
pub enum EnrollStep {
    /// In the management cluster's account: make the key where it stays, and write a request without it
    Request {
        /// The management cluster
        #[arg(value_name = "ID")]
        cluster: ConsumerName,
        /// Where to write the request; standard output unless given
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Issue a new certificate although the present one is in use
        #[arg(long)]
        renew: bool,
        /// Give up a key that waits for its certificate, and make another
        #[arg(long)]
        new_key: bool,
    },
    /// In the region's account: sign the request and write the certificate
    Sign {
        /// The request
        #[arg(value_name = "REQUEST")]
        request: PathBuf,
        /// Where to write the certificate; standard output unless given
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// In the management cluster's account: store the certificate beside its key
    Complete {
        /// The signed certificate
        #[arg(value_name = "SIGNED")]
        signed: PathBuf,
    },
}

/// `provisioner rotate`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RotateArgs {
    /// `server`, or a management cluster's id
    #[arg(value_name = "PARTY")]
    pub party: String,
    /// Drop the party's connections so that it comes back at once and shows its certificate
    #[arg(long)]
    pub reconnect: bool,
    /// How long to wait until the new certificate is seen
    #[arg(long, value_name = "DURATION", default_value = "90m", value_parser = duration)]
    pub within: Duration,
    /// Retire the old certificate without having seen the new one in use
    #[arg(long)]
    pub insecure_without_proof: bool,
}

/// `provisioner revoke`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RevokeArgs {
    /// `server`, or a management cluster's id
    #[arg(value_name = "PARTY")]
    pub party: String,
    /// Only this certificate of the party's, by its id
    #[arg(long, value_name = "ID")]
    pub certificate: Option<String>,
    /// Switch it off so that it can be switched on again, instead of for ever
    #[arg(long)]
    pub deactivate: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `provisioner policy`.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show for every party what it may do and what it may not; exits with 1 if something is not as it should be
    Check {
        /// Judge the policies that are in AWS instead of those that the file asks for
        #[arg(long)]
        live: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why a party may do something or may not, and what would have to be added
    Explain {
        /// `server`, or a management cluster's id
        party: String,
        /// What it does: connect, publish, subscribe, receive or retain-publish
        action: String,
        /// The topic, filter or client id
        name: String,
        /// Judge the policy that is in AWS instead of the one that the file asks for
        #[arg(long)]
        live: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `provisioner cost`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CostArgs {
    /// Works on each management cluster
    #[arg(long, value_name = "N", default_value_t = Load::default().works_per_cluster)]
    pub works_per_cluster: u32,
    /// Bytes of one work with its manifests
    #[arg(long, value_name = "BYTES", default_value_t = Load::default().manifest_bytes)]
    pub manifest_bytes: u32,
    /// How often a day each work is changed
    #[arg(long, value_name = "N", default_value_t = Load::default().changes_per_day)]
    pub changes_per_day: u32,
    /// How often a day each work's status changes
    #[arg(long, value_name = "N", default_value_t = Load::default().status_per_day)]
    pub status_per_day: u32,
    /// A file of prices, in the form of the built-in one, for regions and classes that it lacks
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Read AWS's public price list (HTTPS, no credentials), or a mirror of it; prices that it does not give are the
    /// built-in ones
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = crate::cost::PRICE_LIST
    )]
    pub price_list: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `provisioner adopt`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AdoptArgs {
    /// Only show what would be taken over
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

// === impl PlanArgs ===

impl PlanArgs {
    /// Whether the exit code tells differences apart, in whichever spelling.
    pub(crate) fn wants_exit_code(&self) -> bool {
        self.exit_code || self.terraform_exit_code.is_some()
    }
}

// === impl ScopedProfile ===

impl FromStr for ScopedProfile {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (scope, profile) = match text.split_once('=') {
            Some((name, profile)) => (scope(name)?, profile),
            None => (Scope::Region, text),
        };
        Ok(Self {
            scope,
            profile: profile.to_owned(),
        })
    }
}

fn scope(text: &str) -> Result<Scope, InvalidName> {
    match text {
        "region" => Ok(Scope::Region),
        cluster => ConsumerName::new(cluster).map(Scope::Cluster),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    link::config::parse_duration(text)
        .ok_or_else(|| "write a number with a unit, such as `90m` or `300s`".to_owned())
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 tried and failed, or not as it should be; 2 the command line or the file is wrong, or the \
credentials are another account's, and nothing was tried; 3 not in time; 4 refused. `plan --exit-code`: 0 nothing \
differs; 1 failed; 2 something differs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terraforms_spellings_of_the_exit_code_are_taken() {
        for flag in ["--exit-code", "--detailed-exitcode", "-detailed-exitcode"] {
            let args = Args::parse_from(["provisioner", "plan", flag]);
            let Command::Plan(plan) = args.command else {
                panic!("{flag}");
            };
            assert!(plan.wants_exit_code(), "{flag}");
        }
    }

    #[test]
    fn the_format_of_outputs_is_not_that_of_logs() {
        let words = "provisioner outputs --format helm --log-format json";
        let args = Args::parse_from(words.split(' '));
        assert!(matches!(args.command, Command::Outputs(it) if it.format == OutputFormat::Helm));
    }
}
