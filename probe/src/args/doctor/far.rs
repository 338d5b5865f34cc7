//! What `probe doctor` asks beyond the broker: the region's API, and AWS.

use clap::Args as ClapArgs;

/// Options of the stages from CONNECT on.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Beyond the broker")]
pub struct DoctorFarArgs {}
