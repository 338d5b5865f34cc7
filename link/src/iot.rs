//! AWS IoT Core's rules as data and pure functions: limits, topic filters, policy documents and their evaluation.
//!
//! Nothing here does I/O. The numbers and rules are those of docs/IOT-CORE.md §1; where that source is unsure, the item
//! says so.

pub mod context;
pub mod evaluate;
pub mod filter;
pub mod lifecycle;
pub mod limits;
pub mod policy;
mod warnings;
pub mod wildcard;

pub use self::context::{ArnPrefix, Certificate, ConnectAttributes, Context, Thing};
pub use self::evaluate::{Decision, NearMiss, Request, Resource, StatementRef, evaluate};
pub use self::limits::ConnectionLimits;
pub use self::policy::{Document, Effect, PolicyAction, Statement};
