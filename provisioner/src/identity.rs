//! The life cycle of an identity: a key that is made where it is kept, and a certificate that the region's account
//! issues.
//!
//! ```text
//!   account that keeps the key             region's account
//!   request: key, CSR ──▶ AWSPENDING
//!                        CSR ─────────────▶ sign: certificate, policy, thing
//!   complete: AWSCURRENT ◀──────────────── certificate
//! ```
//! All state is in AWS: the versions of the secret and the certificates in IoT Core. `state` derives the next action from
//! an `observation` without any call, so every step can be repeated after a crash at any point.
//! A private key is in memory and in Secrets Manager, nowhere else.

pub use self::document::{DocumentError, EnrollmentRequest, SignedEnrollment};
pub use self::error::IdentityError;
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

/// Called with one line for each step that is done. No line holds a secret.
pub type ProgressFn<'a> = &'a (dyn Fn(&str) + Send + Sync);
