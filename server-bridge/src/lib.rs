//! The regional side: an API and a store for bundles, and their delivery to every cluster.
//!
//! `api → store ← delivery`: a request is validated and committed, nothing else. Delivery reads the store on its own
//! and is woken by hints; API and delivery never call each other. [`grpc`] stands beside the API. [`service`] joins the parts.

pub mod api;
pub mod args;
pub mod audit;
pub mod callers;
pub mod compat;
pub mod delivery;
mod event_log;
pub mod explain;
pub mod grpc;
pub mod import;
pub mod preload;
pub mod replicas;
pub mod service;
pub mod sidecar;
pub mod store;
pub mod ui;
mod validate;
pub mod verify;
