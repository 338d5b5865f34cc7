//! The agent of a management cluster: intake → works → reconcile → applier → report.
//!
//! It takes spec events from its source, keeps the works durably, applies them through an [`applier`], and reports
//! their statuses until the broker has acknowledged them. Each part is a module; [`app`] joins them,
//! [`service`] adds the real session and directories, [`Args`] the command line.

pub mod adopt;
pub mod app;
pub mod applier;
mod args;
mod blocking;
mod change;
pub mod cluster;
pub mod crd;
mod digest;
mod disk;
pub mod events;
pub mod health;
pub mod intake;
mod jsonpath;
mod keyed_lock;
pub mod metrics;
pub mod permissions;
pub mod planned;
pub mod queue;
pub mod received;
pub mod reconcile;
pub mod report;
pub mod self_report;
pub mod service;
mod session;
pub mod status;
pub mod uplink;
pub mod work;
mod work_id;

pub use args::{Args, Driver, InvalidTarget, TargetSpec};
pub use session::MqttUplink;
