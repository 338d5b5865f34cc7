//! Progress reports while a command runs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::resource::Address;

/// Receives progress reports.
pub trait Progress: Send + Sync {
    /// A step begins.
    fn doing(&self, resource: &Address, step: &str);

    /// A resource has not settled yet; `since` is how long this has lasted.
    fn waiting(&self, resource: &Address, state: &str, since: Duration);

    /// Anything else worth a line.
    fn note(&self, text: &str);
}

/// Writes one line per step to standard error; a wait is reported when its state changes, and every half minute.
#[derive(Debug, Default)]
pub struct ProgressLines {
    told: Mutex<BTreeMap<Address, (String, Duration)>>,
}

impl Progress for ProgressLines {
    fn doing(&self, resource: &Address, step: &str) {
        self.lock().remove(resource);
        line(&format!("{resource}: {step}"));
    }

    fn waiting(&self, resource: &Address, state: &str, since: Duration) {
        let mut told = self.lock();
        let news = told
            .get(resource)
            .is_none_or(|(last, at)| last != state || since.saturating_sub(*at) >= REMIND_EVERY);
        if news {
            told.insert(resource.clone(), (state.to_owned(), since));
            line(&format!(
                "{resource}: waiting, {state} ({} s)",
                since.as_secs()
            ));
        }
    }

    fn note(&self, text: &str) {
        line(text);
    }
}

impl ProgressLines {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Address, (String, Duration)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(text: &str) {
    // There is nobody left to tell when standard error itself is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

const REMIND_EVERY: Duration = Duration::from_secs(30);
