//! The mutual-TLS MQTT link between a regional bridge and its agents, and the language spoken over it.
//!
//! Imports point down only:
//! `cli → endpoint → admin, mqtt → tls, identity, config, http, supervise, telemetry, shutdown → party → topic, event,
//! bundle, order → iot → id, clock, backoff, error, fault, file, listen, message, printable, private, spelling`. The crate knows
//! nothing of Kubernetes, SQL or the AWS SDK.

pub mod admin;
pub mod backoff;
pub mod bundle;
pub mod cli;
pub mod clock;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod fault;
pub mod file;
pub mod http;
pub mod id;
pub mod identity;
pub mod iot;
pub mod listen;
pub mod message;
pub mod mqtt;
pub mod order;
pub mod party;
pub mod printable;
pub mod private;
pub mod shutdown;
pub mod spelling;
pub mod supervise;
pub mod telemetry;
pub mod tls;
pub mod topic;
