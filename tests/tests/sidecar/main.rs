//! The sidecar between a scripted Go Maestro server and our agents, over the sandbox's broker and over mosquitto.

mod acknowledgements;
mod fixture;
mod hostile;
mod process;
mod replicas;
mod server;
mod sessions;
mod volume;
