//! Tests with a real Kubernetes API server; one program, so that they share its three seconds of start.

mod adoption;
mod applier;
mod chart;
mod conditions;
mod conformance;
mod connection;
mod content;
mod cost;
mod crashes;
mod election;
mod events;
mod executor;
mod fixture;
mod identity;
mod matrix;
mod offline;
mod operations;
mod ordering;
mod permissions;
mod refusals;
mod region;
mod servers;
mod volume;
mod works;
