//! Who is let in, over real sockets: certificates, tokens, reviews and rules, what a refused caller is told, and what
//! changes while connections are open.

#![expect(clippy::unwrap_used, reason = "tests")]

mod audit;
mod bridge;
mod certificates;
mod grpc;
mod issuer;
mod listener;
mod pki;
mod reviews;
mod rules;
mod start;
mod tokens;
