//! Ends programs together with this process, however it ends: a test runner exits without dropping statics, and a
//! killed process drops nothing at all.
//!
//! A small shell reads a pipe from us. The operating system closes the pipe when this process is gone, and only then
//! the shell gets past its loop. It has a process group of its own, so that what interrupts us spares it.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::Process;

/// Holds processes until this one ends. Dropping it lets them go.
#[derive(Debug)]
pub(crate) struct StopGuard {
    shell: Child,
    pipe: ChildStdin,
}

// === impl StopGuard ===

impl StopGuard {
    /// Holds nothing yet. `directories` are directories that nobody wants once this process has ended.
    ///
    /// # Errors
    /// When there is no `sh`.
    pub(crate) fn new(directories: &[&Path]) -> io::Result<Self> {
        Self::with_cleanup(directories, ":")
    }

    /// The same with a shell script that runs between the end of the processes and that of the directories.
    ///
    /// # Errors
    /// When there is no `sh`.
    pub(crate) fn with_cleanup(directories: &[&Path], script: &str) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "stop-guard", script])
            .args(directories)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { shell, pipe })
    }

    /// Holds these processes from now on, and no others.
    ///
    /// # Errors
    /// When somebody has killed the shell.
    pub(crate) fn hold(&mut self, processes: &[&Process]) -> io::Result<()> {
        let ids: Vec<String> = processes
            .iter()
            .map(|process| process.id().to_string())
            .collect();
        writeln!(self.pipe, "{}", ids.join(" "))
    }
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        // Before its pipe closes: whoever owns the processes ends them now. An error means that it is gone already.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

// Each line names all processes held; the last one counts.
const SCRIPT: &str = "\
    held=
    while read -r line; do held=$line; done
    kill -9 $held
    (eval \"$1\")
    shift
    rm -rf -- \"$@\"";
