//! An IoT Core on a laptop: broker, certificate registry, policies, quotas, a throw-away certificate authority, and a
//! whole region.

pub mod broker;
pub mod cli;
pub mod control;
pub mod pki;
pub mod up;
