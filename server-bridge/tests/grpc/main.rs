//! The gRPC endpoint as a source sees it: a real server on a free port over a real store, and a client that writes what Go
//! clients write.

#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod client;
mod publish;
mod replicas;
mod server;
mod streams;
mod unauthenticated;
