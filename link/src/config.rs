//! Layered configuration: defaults < `config.yaml` as upstream writes it < environment < flags.
//!
//! [`Layers`] collects what each source says, a section such as [`Broker`] reads its keys from it, and
//! [`Layers::finish`] reports **all** problems at once, each with the key, where the value came from and the
//! fix. Values of secrets are never echoed. The keys are data, so that files, environment variables, flags and the
//! reference page cannot drift apart.
//!
//! ```
//! use link::config::{Broker, BrokerFlags, Layers, ProcessEnv};
//!
//! # fn load(file: &std::path::Path, flags: &BrokerFlags) -> Result<Broker, link::config::ConfigProblems> {
//! let mut layers = Layers::new(Broker::KEYS);
//! layers.file(file);
//! layers.env(&ProcessEnv);
//! flags.apply(&mut layers);
//! let broker = Broker::read(&mut layers);
//! layers.finish(broker)
//! # }
//! ```

mod broker;
mod credentials;
mod document;
mod env;
mod flags;
mod key;
mod layers;
mod mount;
mod problem;
mod value;

pub use self::broker::{Broker, BrokerTopics, Rates};
pub use self::credentials::{BrokerCredentials, Material};
pub use self::document::entries;
pub use self::env::{Env, MapEnv, ProcessEnv};
pub use self::flags::BrokerFlags;
pub use self::key::{Key, ValueKind, reference_table};
pub use self::layers::{Layers, Setting};
pub use self::mount::{Mount, from_mount};
pub use self::problem::{ConfigProblem, ConfigProblems, Origin};
pub use self::value::{Invalid, Scalar, parse_duration, parse_host_port};

#[cfg(test)]
mod tests;
