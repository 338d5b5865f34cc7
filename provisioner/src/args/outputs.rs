//! What was typed after `outputs`.

use clap::{Args as ClapArgs, ValueEnum};
use link::id::ConsumerName;

/// `provisioner outputs`.
#[derive(Clone, Debug, ClapArgs)]
pub struct OutputsArgs {
    /// What for
    // Its own id: the global `--log-format` has the usual one of a field called so.
    #[arg(
        id = "output-format",
        long = "format",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub format: OutputFormat,
    /// For the agent of this management cluster; else for the server
    #[arg(long, value_name = "ID")]
    pub cluster: Option<ConsumerName>,
}

/// What outputs are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Names and addresses as JSON, under the names of the first deployment's outputs
    #[default]
    Json,
    /// Values for the chart
    Helm,
    /// An Argo CD Application with the values, ready to apply but for the address of the repository
    #[value(name = "argocd")]
    ArgoCd,
    /// Labels and annotations of Argo CD's secret of the cluster, for an ApplicationSet
    #[value(name = "argocd-cluster")]
    ArgoCdCluster,
    /// A file of values for an ApplicationSet
    #[value(name = "argocd-values")]
    ArgoCdValues,
    /// A SecretProviderClass, ready to apply
    SecretProviderClass,
    /// SQL that makes the user of `database.iamAuth`
    Sql,
}
