//! An IoT Core on a laptop: broker, certificate registry, policies, quotas and a throw-away certificate authority.

pub mod broker;
pub mod cli;
pub mod pki;
