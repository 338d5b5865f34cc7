//! The environment behind a trait, so that tests never touch the process's own.

use std::collections::BTreeMap;

/// Something that knows environment variables.
pub trait Env {
    /// The variable's value, if it is set and valid text.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

/// An environment made of pairs, for tests and for components that share a process. It has no `Debug`,
/// because its values may be secrets.
#[derive(Clone, Default)]
pub struct MapEnv(BTreeMap<String, String>);

// === impl ProcessEnv ===

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

// === impl MapEnv ===

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for MapEnv {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl Env for MapEnv {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}
