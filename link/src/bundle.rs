//! Manifest bundles.
