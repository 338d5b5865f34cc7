//! The life of an identity: a key that is made where it is kept, and a certificate that the region's account issues.
//!
//! ```text
//!   keeper's account                       region's account
//!   request: key, CSR ──▶ AWSPENDING
//!                        CSR ─────────────▶ sign: certificate, policy, thing
//!   complete: AWSCURRENT ◀──────────────── certificate
//! ```
//! Nothing but AWS remembers where a life stands: the secret's versions say what is stored, IoT Core what is registered,
//! and `state` says, without any call, what comes next. So every step can be repeated after a crash at any point.
//! A private key is in memory and in Secrets Manager, nowhere else.

pub use self::document::{DocumentError, EnrollmentRequest, SignedEnrollment};
pub use self::error::IdentityError;
pub use self::registry::endpoint;
pub use self::spec::IdentitySpec;

pub mod document;
mod error;
pub(crate) mod key;
pub(crate) mod observation;
pub(crate) mod own;
pub(crate) mod registry;
pub(crate) mod secret;
pub(crate) mod settle;
mod spec;
pub(crate) mod state;

/// Takes one line at a time of what is being done, for whoever waits. Nothing in it is secret.
pub type ProgressFn<'a> = &'a (dyn Fn(&str) + Send + Sync);
