//! Why there is no node.

use std::io;

use crate::aws::FakeAwsError;
use crate::kubernetes::{ClientError, KubernetesError as ClusterError};
use crate::process::ProcessError;
use crate::wait::TimedOut;

/// No node could be started.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The machine cannot have one.
    #[error("a node cannot run on this machine: {0}")]
    Lacking(String),
    /// The machine refused something.
    #[error("{0}")]
    Host(&'static str, #[source] io::Error),
    /// Its directories or its sockets could not be made.
    #[error("write the files of a node")]
    Files(#[from] io::Error),
    /// A program is not there, or ended.
    #[error("start the programs of a node")]
    Process(#[from] ProcessError),
    /// No control plane.
    #[error("start the control plane of a node")]
    Cluster(#[from] ClusterError),
    /// The control plane does not answer.
    #[error("ask the control plane of a node")]
    Client(#[from] ClientError),
    /// No Secrets Manager.
    #[error("start the AWS of a node")]
    Aws(#[from] FakeAwsError),
    /// Its objects were refused, or a tool is missing.
    #[error("make the objects of a node")]
    Objects(#[source] anyhow::Error),
    /// It does not become ready.
    #[error("start a node; {logs}")]
    Ready {
        /// Where the logs are.
        logs: String,
        /// What was waited for.
        #[source]
        source: TimedOut,
    },
}
