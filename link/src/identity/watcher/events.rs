//! Wake-ups from the file system: a hint that something may have changed, never what.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::warn;

use super::limit::Limit;

/// Watches a few directories, again after each of their replacements. Without a working watch there are no
/// events and the poll does the work alone.
pub(super) struct Events {
    directories: Vec<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    armed: HashMap<PathBuf, Inode>,
    signal: Arc<Signal>,
    warned: bool,
}

type Inode = (u64, u64);

#[derive(Default)]
struct Signal {
    // Holds at most one permit, so a burst of events is one wake-up and nothing can overflow.
    woken: Notify,
    // A watched directory itself was moved or removed, so its watch is gone or follows the wrong inode.
    lost: AtomicBool,
}

// === impl Events ===

impl Events {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        let signal = Arc::new(Signal::default());
        let (heard, watched) = (Arc::clone(&signal), directories.clone());
        let handler = move |event: notify::Result<Event>| heard.handle(&event, &watched);
        let mut events = Self {
            directories,
            watcher: None,
            armed: HashMap::new(),
            signal,
            warned: false,
        };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => events.watcher = Some(watcher),
            Err(error) => events.warn(&error),
        }
        events
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&self) {
        self.signal.woken.notified().await;
    }

    /// Puts a watch on every directory that has none, or whose watch is on a predecessor of the same name.
    pub(super) fn arm(&mut self) {
        let lost = self.signal.lost.swap(false, Ordering::AcqRel);
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut failed = None;
        for directory in &self.directories {
            let inode = inode(directory);
            if !lost && inode.is_some() && self.armed.get(directory).copied() == inode {
                continue;
            }
            if self.armed.remove(directory).is_some() {
                // The watch may have died with its directory, which makes this fail without harm.
                let _ = watcher.unwatch(directory);
            }
            let Some(inode) = inode else {
                continue;
            };
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.armed.insert(directory.clone(), inode);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.warn(&error);
        }
    }

    fn warn(&mut self, error: &notify::Error) {
        if std::mem::replace(&mut self.warned, true) {
            return;
        }
        match Limit::behind(error) {
            Some(limit) => limit.warn(),
            None => {
                warn!(%error, "Identity directory cannot be watched, changes are found by polling only");
            }
        }
    }
}

// === impl Signal ===

impl Signal {
    fn handle(&self, event: &notify::Result<Event>, directories: &[PathBuf]) {
        if let Ok(event) = event {
            if !event.need_rescan() && !is_change(event.kind) {
                return;
            }
            let moved = matches!(
                event.kind,
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            );
            if moved && event.paths.iter().any(|path| directories.contains(path)) {
                self.lost.store(true, Ordering::Release);
            }
        }
        self.woken.notify_one();
    }
}

/// Opening a file is an event too: counting it, every look of ours would cause the next.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn inode(directory: &Path) -> Option<Inode> {
    let metadata = std::fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use notify::event::{CreateKind, RemoveKind, RenameMode};

    use super::*;

    fn wakes(kind: EventKind) -> bool {
        let signal = Signal::default();
        signal.handle(&Ok(Event::new(kind)), &[]);
        signal.woken.notified().now_or_never().is_some()
    }

    #[test]
    fn looking_does_not_wake_the_watcher_and_writing_does() {
        assert!(!wakes(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!wakes(EventKind::Access(AccessKind::Close(
            AccessMode::Read
        ))));
        assert!(wakes(EventKind::Access(AccessKind::Close(
            AccessMode::Write
        ))));
        assert!(wakes(EventKind::Create(CreateKind::File)));
        assert!(wakes(EventKind::Modify(ModifyKind::Name(RenameMode::To))));
    }

    #[test]
    fn losing_the_directory_itself_marks_its_watch_as_dead() {
        let signal = Signal::default();
        let event = Event::new(EventKind::Remove(RemoveKind::Folder)).add_path("/mnt".into());
        signal.handle(&Ok(event.clone()), &["/elsewhere".into()]);
        assert!(!signal.lost.load(Ordering::Acquire));
        signal.handle(&Ok(event), &["/mnt".into()]);
        assert!(signal.lost.load(Ordering::Acquire));
    }
}
