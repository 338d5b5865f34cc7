//! What the SQL engines share: rows into domain types, and filters and orders into statements.
//!
//! What differs between them (parameters, patterns, JSON, the order of NULL) is a [`filter::Dialect`]; what a row holds is
//! read through [`rows::Cells`].

pub(super) mod filter;
pub(super) mod rows;
