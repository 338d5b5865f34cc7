//! A PostgreSQL server of a test: the distribution's programs, a free port, everything in a directory of its own.
//!
//! It is stopped and its directory removed when the value is dropped, and also when the test's process ends in any other
//! way: a shell waits for the end of a pipe that this process holds. `fsync` is off, which a test that kills the server must
//! not forget. Standard library and `ports.rs` only, because the tests of `server-bridge` include this file.

// Long because it is one file wherever it is included.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::ports;

/// A running server.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    home: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Stops it when the pipe to it ends.
    guard: Child,
}

/// The server could not be started, or not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Its programs are not there.
    #[error("no PostgreSQL server is installed; run `apt-get install postgresql` (15 or newer)")]
    Missing,
    /// The operating system's.
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
    /// A program said no.
    #[error("{program}: {said}")]
    Program {
        /// Its name.
        program: String,
        /// What it wrote.
        said: String,
    },
}

// === impl Server ===

impl Server {
    /// One with these settings besides the usual ones, such as `max_connections=20`. It listens on 127.0.0.1.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub fn start(settings: &[&str]) -> Result<Self, PostgresError> {
        let programs = programs().ok_or(PostgresError::Missing)?;
        let home = home()?;
        let guard = keep(&programs, &home)?;
        let mut server = Self {
            programs,
            home,
            port: 0,
            databases: AtomicU32::new(0),
            guard,
        };
        let secret = server.home.join("secret");
        fs::write(&secret, PASSWORD).map_err(|e| PostgresError::System("write a file", e))?;
        let data = server.data();
        let made = [
            "-D",
            &data,
            "-A",
            "scram-sha-256",
            "-U",
            USER,
            "--pwfile",
            &secret.display().to_string(),
            "--no-sync",
            // Another order of text than by bytes, as most databases have: ours must not depend on it.
            "--locale-provider=icu",
            "--icu-locale=en",
            "--locale=C.UTF-8",
            "-E",
            "UTF8",
        ];
        server.run("initdb", &made)?;
        for _ in 0..ATTEMPTS {
            server.port = free_port()?;
            match server.launch_once(settings) {
                Err(PostgresError::Program { said, .. }) if said.contains("in use") => {}
                outcome => return outcome.map(|()| server),
            }
        }
        Err(PostgresError::Program {
            program: "postgres".into(),
            said: format!("no free port in {ATTEMPTS} attempts"),
        })
    }

    /// A second server that follows this one; from then on this one answers no commit before the other has it.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub fn standby(&self, settings: &[&str]) -> Result<Self, PostgresError> {
        let home = home()?;
        let guard = keep(&self.programs, &home)?;
        let mut standby = Self {
            programs: self.programs.clone(),
            home,
            port: free_port()?,
            databases: AtomicU32::new(0),
            guard,
        };
        let from = format!(
            "host=127.0.0.1 port={} user={USER} password='{PASSWORD}'",
            self.port
        );
        let copied = [
            "-d",
            &from,
            "-D",
            &standby.data(),
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        ];
        standby.run("pg_basebackup", &copied)?;
        let mut launched = standby.launch_once(settings);
        for _ in 1..ATTEMPTS {
            match &launched {
                Err(PostgresError::Program { said, .. }) if said.contains("in use") => {
                    standby.port = free_port()?;
                    launched = standby.launch_once(settings);
                }
                _ => break,
            }
        }
        launched?;
        self.sql(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
        )?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        Ok(standby)
    }

    /// Makes a standby the primary.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn promote(&self) -> Result<(), PostgresError> {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "promote"])
    }

    /// The one that all tests of this process share, each with databases of its own.
    ///
    /// # Panics
    /// When it cannot be started, with how to install it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start(&["max_connections=300"]) {
            Ok(server) => server,
            Err(error) => panic!("start a PostgreSQL server: {error}"),
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and says its name.
    ///
    /// # Errors
    /// What `psql` said.
    pub fn database(&self) -> Result<String, PostgresError> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Writes the five files that name a database, as the CSI driver mounts them.
    ///
    /// # Errors
    /// The file system's.
    pub fn mount(&self, directory: &Path, database: &str) -> Result<(), PostgresError> {
        let port = self.port.to_string();
        for (file, text) in [
            ("host", "127.0.0.1"),
            ("port", &port),
            ("name", database),
            ("user", USER),
            ("password", PASSWORD),
        ] {
            fs::write(directory.join(format!("db.{file}")), text)
                .map_err(|e| PostgresError::System("write a file", e))?;
        }
        Ok(())
    }

    /// Runs SQL as the superuser; the rows come one a line, their columns separated by `|`.
    ///
    /// # Errors
    /// What the server said.
    pub fn sql(&self, database: &str, text: &str) -> Result<String, PostgresError> {
        let args = ["-X", "-v", "ON_ERROR_STOP=1", "-Atqc", text];
        self.client("psql", database, &args)
    }

    /// Writes a database as text that [`Server::restore`] reads.
    ///
    /// # Errors
    /// What `pg_dump` said.
    pub fn dump(&self, database: &str, file: &Path) -> Result<(), PostgresError> {
        let file = file.display().to_string();
        self.client("pg_dump", database, &["-f", &file]).map(|_| ())
    }

    /// Reads a dump into a database.
    ///
    /// # Errors
    /// What `psql` said.
    pub fn restore(&self, database: &str, file: &Path) -> Result<(), PostgresError> {
        let file = file.display().to_string();
        let args = ["-X", "-v", "ON_ERROR_STOP=1", "-qf", &file];
        self.client("psql", database, &args).map(|_| ())
    }

    /// Runs a program that talks to the server as the superuser.
    fn client(
        &self,
        program: &str,
        database: &str,
        args: &[&str],
    ) -> Result<String, PostgresError> {
        let home = self.home.display().to_string();
        let port = self.port.to_string();
        let mut command = Command::new(self.programs.join(program));
        command.env("PGPASSWORD", PASSWORD);
        command.args(["-h", &home, "-p", &port, "-U", USER, "-d", database]);
        command.args(args);
        output(command, program)
    }

    /// Stops it, ending every session at once as a crash of the machine would.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn stop(&self) -> Result<(), PostgresError> {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "fast", "-w", "stop"])
    }

    /// Starts it again on the same port with the settings it had and these.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing tells when a port is free; the server is asked again"
    )]
    pub fn launch(&self, settings: &[&str]) -> Result<(), PostgresError> {
        // Somebody's connection may have its port for a moment.
        let until = Instant::now() + PORT_PATIENCE;
        loop {
            match self.launch_once(settings) {
                Err(PostgresError::Program { said, .. })
                    if said.contains("in use") && Instant::now() < until =>
                {
                    std::thread::sleep(PORT_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn launch_once(&self, settings: &[&str]) -> Result<(), PostgresError> {
        let mut options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c max_wal_size=256MB",
            self.port,
            self.home.display()
        );
        for setting in settings {
            options.push_str(" -c ");
            options.push_str(setting);
        }
        let log = self.home.join("log").display().to_string();
        let started = self.run(
            "pg_ctl",
            &[
                "-D",
                &self.data(),
                "-w",
                "-l",
                &log,
                "-o",
                &options,
                "start",
            ],
        );
        started.map_err(|error| match error {
            PostgresError::Program { program, said } => PostgresError::Program {
                program,
                said: format!("{said}\n{}", fs::read_to_string(&log).unwrap_or_default()),
            },
            error => error,
        })
    }

    /// A file that only the server may read, as it demands of a key.
    ///
    /// # Errors
    /// The file system's.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf, PostgresError> {
        let path = self.home.join(name);
        fs::write(&path, text).map_err(|e| PostgresError::System("write a file", e))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|e| PostgresError::System("restrict a file", e))?;
        if is_root() {
            let mut command = Command::new("chown");
            command.arg(OWNER).arg(&path);
            output(command, "chown")?;
        }
        Ok(path)
    }

    /// A directory that the server's user owns; asked for again, it is owned again, whatever was mounted on it.
    ///
    /// # Errors
    /// What `install` said.
    pub fn directory(&self, name: &str) -> Result<PathBuf, PostgresError> {
        let path = self.home.join(name);
        own(&path, "700")?;
        Ok(path)
    }

    fn data(&self) -> String {
        self.home.join("data").display().to_string()
    }

    /// Runs one of its programs as the user it demands.
    fn run(&self, program: &str, args: &[&str]) -> Result<(), PostgresError> {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", OWNER, "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.args(args).current_dir(&self.home);
        output(command, program).map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Waits for the end of its input, then stops the server, if it runs, and removes the directory.
fn keep(programs: &Path, home: &Path) -> Result<Child, PostgresError> {
    let prefix = if is_root() {
        format!("runuser -u {OWNER} -- ")
    } else {
        String::new()
    };
    let (programs, home) = (programs.display(), home.display());
    let script = format!(
        "trap '' INT TERM HUP; cd {home}; read -r _; \
         {prefix}{programs}/pg_ctl -D {home}/data -m immediate stop; cd /; rm -rf {home}"
    );
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| PostgresError::System("start a shell", e))
}

/// A new directory that the server's user owns; its name is short enough for a socket in it.
fn home() -> Result<PathBuf, PostgresError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let home = std::env::temp_dir().join(format!("bridge-pg-{}-{count}", std::process::id()));
    own(&home, "755")?;
    Ok(home)
}

/// Makes a directory of the server's user.
fn own(directory: &Path, mode: &str) -> Result<(), PostgresError> {
    let mut command = Command::new("install");
    command.args(["-d", "-m", mode]);
    if is_root() {
        command.args(["-o", OWNER]);
    }
    command.arg(directory);
    output(command, "install").map(|_| ())
}

/// Where the server's programs are: where distributions put them, the newest first, or on the path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .into_iter()
        .map(|(_, directory)| directory)
        .chain(std::env::split_paths(&path))
        .find(|directory| directory.join("initdb").is_file() && directory.join("psql").is_file())
}

fn output(mut command: Command, program: &str) -> Result<String, PostgresError> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| PostgresError::System("start a program", e))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned());
    }
    Err(PostgresError::Program {
        program: program.to_owned(),
        said: String::from_utf8_lossy(&done.stderr).trim_end().to_owned(),
    })
}

fn free_port() -> Result<u16, PostgresError> {
    ports::free_port().map_err(|e| PostgresError::System("find a free port", e))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// The superuser of the server and its password.
pub const USER: &str = "postgres";
/// The password of [`USER`].
pub const PASSWORD: &str = "only for tests";

// The user of the distribution's package; the server refuses to run as root.
const OWNER: &str = "postgres";

// Another program may take a port between its choice and its use.
const ATTEMPTS: usize = 5;

// A closed connection keeps its port for up to a minute.
const PORT_PATIENCE: Duration = Duration::from_secs(90);
const PORT_PAUSE: Duration = Duration::from_millis(200);
