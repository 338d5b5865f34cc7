//! Getting many files onto the disk at the price of a few.

use std::fs::File;
use std::io;
use std::path::Path;

/// Syncs files side by side: syncs that run at the same time share one journal commit of the file system.
pub(crate) fn sync_all(files: &[&File]) -> io::Result<()> {
    if let [file] = files {
        return file.sync_all();
    }
    let chunk = files.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .chunks(chunk)
            .map(|files| scope.spawn(move || files.iter().try_for_each(|file| file.sync_all())))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("sync thread panicked")))
        })
    })
}

/// Makes renames and removals in a directory durable.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all())
}

// Enough for the file system to gather syncs into one commit; more only adds threads.
const SYNC_THREADS: usize = 8;
