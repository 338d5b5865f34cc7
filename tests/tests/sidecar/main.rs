//! The sidecar between a scripted Go Maestro server and our agents, over the sandbox's broker and over mosquitto.

mod hostile;
mod process;
mod promises;
mod replicas;
mod server;
mod sessions;
mod stage;
mod volume;
