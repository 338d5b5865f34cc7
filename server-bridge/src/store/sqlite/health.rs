//! What the engine knows of its own state: readiness says it, and writes are refused while it would be a lie to take them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::error::chain;
use link::telemetry::Throttle;
use tokio::time::Instant;
use tracing::error;

use super::super::{FailureClass, StoreError};
use super::files::Files;

/// Shared by readers and writer.
#[derive(Clone, Debug)]
pub(super) struct Health {
    files: Files,
    state: Arc<Mutex<State>>,
    said: Arc<Throttle<Option<FailureClass>>>,
    /// What tests make every commit and read of the API fail with.
    #[cfg(test)]
    fault: Arc<Mutex<Option<u32>>>,
}

#[derive(Debug, Default)]
struct State {
    /// The database is damaged. Stays: only a person mends that, and then starts the process again.
    damaged: Option<String>,
    /// A write failed, and no later one has shown that there is room and a sound disk again.
    failing: Option<String>,
}

// === impl Health ===

impl Health {
    pub(super) fn new(files: Files) -> Self {
        Self {
            files,
            state: Arc::default(),
            said: Arc::new(Throttle::new(SAY_EVERY, KINDS)),
            #[cfg(test)]
            fault: Arc::default(),
        }
    }

    /// Takes note of a failure and logs it, once per kind and minute; refusals leave no trace.
    pub(super) fn note(&self, error: &StoreError) {
        if error.is_refusal() {
            return;
        }
        let class = error.class();
        if let Some(more) = self.said.admit(&class, Instant::now()) {
            error!(error = chain(error), more, "The database failed");
        }
        let Some(class) = class else { return };
        let text = || format!("{}: {}", class.meaning(), chain(error));
        match class {
            FailureClass::Corrupt => {
                self.lock().damaged.get_or_insert_with(text);
            }
            FailureClass::Full
            | FailureClass::Io
            | FailureClass::ReadOnly
            | FailureClass::CannotOpen => {
                self.lock().failing = Some(text());
            }
            _ => {}
        }
    }

    /// The same on the way out of a read.
    pub(super) fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| self.note(error))
    }

    /// A write of a bundle's size was committed.
    pub(super) fn wrote(&self) {
        self.lock().failing = None;
    }

    /// Whether the last write failed.
    pub(super) fn is_failing(&self) -> bool {
        self.lock().failing.is_some()
    }

    /// Why no write can be answered now: what it writes to is not what a restart would read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        let damaged = self.lock().damaged.clone();
        match damaged.or_else(|| self.files.problem()) {
            Some(reason) => Err(StoreError::Unavailable { reason }),
            None => Ok(()),
        }
    }

    /// Whether the disk has room for the largest bundle.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) fn roomy(&self) -> Result<(), StoreError> {
        match self.files.shortage() {
            Some(reason) => Err(StoreError::Unavailable { reason }),
            None => Ok(()),
        }
    }

    /// Nothing fails on purpose outside tests.
    #[cfg(not(test))]
    pub(super) const fn injected(&self, _: &'static str) -> Result<(), StoreError> {
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SAY_EVERY: Duration = Duration::from_secs(60);

// Every class, and what has none.
const KINDS: usize = 13;

#[cfg(test)]
pub(super) use injected::PANIC;

#[cfg(test)]
mod injected {
    //! SQLite's result codes where the real thing would need a broken disk.

    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::super::rows::driver;
    use super::*;

    /// In place of a result code: the task dies.
    pub(in super::super) const PANIC: u32 = u32::MAX;

    #[derive(Debug)]
    struct Code(u32);

    impl fmt::Display for Code {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "(code: {}) injected", self.0)
        }
    }

    impl Error for Code {}

    impl DatabaseError for Code {
        fn message(&self) -> &str {
            "injected"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.to_string().into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    impl Health {
        /// From now on every commit and every read of the API fails with this result code.
        pub(in super::super) fn inject(&self, code: Option<u32>) {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = code;
        }

        pub(in super::super) fn injected(&self, operation: &'static str) -> Result<(), StoreError> {
            match *self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
                None => Ok(()),
                Some(PANIC) => panic!("injected"),
                Some(code) => Err(driver(operation)(sqlx::Error::Database(Box::new(Code(
                    code,
                ))))),
            }
        }
    }
}
