//! Room for the interpreter: it descends recursively through frames of many kilobytes, more than the stack of a worker
//! thread holds for an expression that [`guard`](super::guard) lets pass. So each rule runs on a thread of its own,
//! which is cheap next to the evaluation: its stack is reserved, not filled.

use std::{io, panic, thread};

/// Runs `work` on a large stack and waits for it.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("condition-rule".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)?;
        Ok(thread
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

// Twice what the worst expressions that pass the guard were measured to need.
const STACK_BYTES: usize = 32 * 1024 * 1024;
