//! Real programs as children of a test: output in files, signals, restarts, and no orphan whatever happens.
//!
//! A [`ProcessSpec`] says what to run; [`ProcessSpec::start`] gives a [`Process`], which is killed when dropped, on panic too.

// Long because one kind of child process, from start to end.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::test_dir::profile_directory;
use crate::wait::{TimedOut, wait_for};

pub use self::error::ProcessError;
pub(crate) use self::stop_guard::StopGuard;

mod error;
mod stop_guard;

/// A command line, and a name for its logs.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    label: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    remedy: &'static str,
}

/// A running or ended child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    spec: ProcessSpec,
    child: Child,
    logs: PathBuf,
    ended: Option<ExitStatus>,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    /// How it ended; `None` for the code after a signal.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

// === impl ProcessSpec ===

impl ProcessSpec {
    /// A binary of this workspace: `agent`, `server-bridge`, `probe` or `sandbox`, next to the running test.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn binary(name: &str) -> Result<Self, ProcessError> {
        let directory = profile_directory().map_err(|source| ProcessError::System {
            operation: "find",
            label: name.to_owned(),
            source,
        })?;
        let program = directory.join(name);
        if !program.is_file() {
            return Err(ProcessError::Missing {
                program: program.display().to_string(),
                remedy: "run `cargo build --workspace --bins`",
            });
        }
        Ok(Self::at(
            name,
            program,
            "run `cargo build --workspace --bins`",
        ))
    }

    /// A program of the machine, found on the `PATH` or where distributions put servers.
    ///
    /// # Errors
    /// When it is not installed; `remedy` says how it gets there.
    pub fn installed(name: &str, remedy: &'static str) -> Result<Self, ProcessError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
            .map(|directory| directory.join(name))
            .find(|candidate| candidate.is_file());
        match program {
            Some(program) => Ok(Self::at(name, program, remedy)),
            None => Err(ProcessError::Missing {
                program: name.to_owned(),
                remedy,
            }),
        }
    }

    /// A program at a known place; `remedy` says how it gets there.
    pub fn at(name: &str, program: PathBuf, remedy: &'static str) -> Self {
        Self {
            label: name.to_owned(),
            program,
            args: Vec::new(),
            env: Vec::new(),
            remedy,
        }
    }

    /// With another name for its logs, when a test runs several.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Started by a shell that sets limits first, such as `ulimit -n 256`, and then becomes it.
    #[must_use]
    pub fn limited(mut self, limits: &str) -> Self {
        let program = std::mem::replace(&mut self.program, "sh".into());
        let shell = ["-c".into(), format!("{limits}; exec \"$0\" \"$@\"").into()];
        let shell = shell.into_iter().chain([program.into_os_string()]);
        self.args.splice(0..0, shell);
        self
    }

    /// Starts it with its output in `LOGS/LABEL.stdout` and `LOGS/LABEL.stderr`.
    ///
    /// # Errors
    /// When the program or the log files cannot be opened.
    pub fn start(&self, logs: &Path) -> Result<Process, ProcessError> {
        let child = self.spawn(logs)?;
        Ok(Process {
            spec: self.clone(),
            child,
            logs: logs.to_path_buf(),
            ended: None,
        })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub async fn run(&self, logs: &Path, patience: Duration) -> Result<Output, ProcessError> {
        let mut process = self.start(logs)?;
        let status = process.exited(patience).await?;
        Ok(Output {
            status,
            stdout: process.stdout(),
            stderr: process.stderr(),
        })
    }

    /// The bare command with an empty input, for whoever measures it: nothing of this module runs beside it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn spawn(&self, logs: &Path) -> Result<Child, ProcessError> {
        let stdout = self.log(logs, "stdout")?;
        let stderr = self.log(logs, "stderr")?;
        self.command()
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ProcessError::Missing {
                    program: self.program.display().to_string(),
                    remedy: self.remedy,
                },
                _ => self.failed("start", source),
            })
    }

    fn log(&self, logs: &Path, stream: &str) -> Result<File, ProcessError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(logs.join(format!("{}.{stream}", self.label)))
            .map_err(|source| self.failed("open the log of", source))
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> ProcessError {
        ProcessError::System {
            operation,
            label: self.label.clone(),
            source,
        }
    }
}

// === impl Process ===

impl Process {
    /// Its process id; of the last incarnation once it ended.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the operating system will not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        if self.ended.is_none() {
            self.ended = self
                .child
                .try_wait()
                .map_err(|source| self.spec.failed("observe", source))?;
        }
        Ok(self.ended)
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        if self.ended()?.is_none() {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            self.ended = Some(killed.map_err(|source| self.spec.failed("kill", source))?);
        }
        Ok(())
    }

    /// Sends a signal by name: `TERM`, `INT`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When the child is gone.
    pub fn signal(&mut self, name: &str) -> Result<(), ProcessError> {
        if let Some(status) = self.ended()? {
            return Err(self.ended_early(status, &format!("signal {name}")));
        }
        // The shell's own `kill`: the standard library only knows SIGKILL, and a child not yet waited for keeps its id.
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.child.id()))
            .status()
            .map_err(|source| self.spec.failed("signal", source))?;
        if sent.success() {
            Ok(())
        } else {
            Err(self.spec.failed("signal", io::ErrorKind::NotFound.into()))
        }
    }

    /// SIGTERM, then waits for an orderly end.
    ///
    /// # Errors
    /// When it does not end in time; it keeps running then.
    pub async fn stop(&mut self, patience: Duration) -> Result<ExitStatus, ProcessError> {
        if self.ended()?.is_none() {
            self.signal("TERM")?;
        }
        self.exited(patience).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn exited(&mut self, patience: Duration) -> Result<ExitStatus, ProcessError> {
        let waited = wait_for("its end", patience, async || match self.ended() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        waited.map_err(|source| self.slow(source))
    }

    /// The same command again, killing what still runs; output goes on in the same files.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        self.kill()?;
        self.child = self.spec.spawn(&self.logs)?;
        self.ended = None;
        Ok(())
    }

    /// Waits for a line with `needle` on either stream, counting from the first start, and gives the line.
    ///
    /// # Errors
    /// When it ends first or the line does not come in time.
    pub async fn line_with(
        &mut self,
        needle: &str,
        patience: Duration,
    ) -> Result<String, ProcessError> {
        let find = |text: &str| {
            text.lines()
                .find(|line| line.contains(needle))
                .map(str::to_owned)
        };
        let what = format!("a line with `{needle}`");
        self.output_until(&what, patience, |text| find(text).is_some())
            .await?;
        Ok(find(&self.output()).unwrap_or_default())
    }

    /// Waits until its whole output (standard output, then standard error) satisfies a condition.
    ///
    /// # Errors
    /// When it ends first or takes too long.
    pub async fn output_until(
        &mut self,
        what: &str,
        patience: Duration,
        condition: impl Fn(&str) -> bool,
    ) -> Result<(), ProcessError> {
        let waited = wait_for(what, patience, async || {
            // In this order: what an ended child wrote is all in the files.
            let ended = self.ended().map_err(|error| error.to_string())?;
            let text = self.output();
            match ended {
                _ if condition(&text) => Ok(None),
                Some(status) => Ok(Some(status)),
                None => Err(format!("{} lines of output", text.lines().count())),
            }
        })
        .await;
        match waited {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended_early(status, what)),
            Err(source) => Err(self.slow(source)),
        }
    }

    /// All of its standard output so far, of every incarnation.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// All of its standard error so far, of every incarnation.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// All of its output so far: standard output, then standard error.
    pub fn output(&self) -> String {
        self.stdout() + &self.stderr()
    }

    fn read(&self, stream: &str) -> String {
        let path = self.logs.join(format!("{}.{stream}", self.spec.label));
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn tail(&self) -> String {
        let text = self.output();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn ended_early(&self, status: ExitStatus, expected: &str) -> ProcessError {
        ProcessError::Ended {
            label: self.spec.label.clone(),
            status,
            expected: expected.to_owned(),
            output: self.tail(),
        }
    }

    fn slow(&self, source: TimedOut) -> ProcessError {
        ProcessError::Slow {
            label: self.spec.label.clone(),
            output: self.tail(),
            source,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.kill();
    }
}

// Enough for one error with its chain and what led to it.
const TAIL_LINES: usize = 40;

#[cfg(test)]
mod tests;
