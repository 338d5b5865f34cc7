//! The regional side: an API and a store for bundles, and their delivery to every cluster.
//!
//! `api → store`: a request is validated and committed, nothing else. Delivery reads the store on its own and
//! is woken by hints; the two never call each other.

pub mod api;
pub mod preload;
pub mod store;
