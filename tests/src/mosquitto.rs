//! mosquitto as the second opinion: the distribution's broker with mutual TLS and the limits of IoT Core.
//!
//! What it does not do like IoT Core (docs/IOT-CORE.md §1.3): a denied publish gets PUBACK 135 and the connection
//! stays; after `kill -9` the messages of the last second may be lost (`autosave_interval 1`). That is the
//! broker's loss, and a test that kills it has to allow for it or resync.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pki::{Authority, PkiError};
use crate::ports::free_port;
use crate::process::{Process, ProcessError, ProcessSpec};

/// What a broker is made of.
#[derive(Debug)]
pub struct MosquittoBuilder<'a> {
    authority: &'a Authority,
    acl: String,
    persistence: bool,
    verbose: bool,
    extra: String,
}

/// A running mosquitto. Dropping it kills it.
#[derive(Debug)]
pub struct Instance {
    process: Process,
    port: u16,
}

/// mosquitto could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MosquittoError {
    /// It is not installed, could not be executed, or ended at once for a reason of its own.
    #[error("start mosquitto")]
    Process(#[from] ProcessError),
    /// Its certificate could not be made.
    #[error("make the certificate of mosquitto")]
    Pki(#[from] PkiError),
    /// Its files could not be written.
    #[error("write the files of mosquitto")]
    Files(#[from] io::Error),
    /// Other programs took every port it tried.
    #[error("find a free port for mosquitto in {ATTEMPTS} attempts")]
    Ports,
}

// === impl MosquittoBuilder ===

impl<'a> MosquittoBuilder<'a> {
    /// A broker trusted by, and trusting, one authority. The user name of a client is the common name of its
    /// certificate; without [`Self::acl`] everyone may do everything.
    pub fn new(authority: &'a Authority) -> Self {
        Self {
            authority,
            // `topic` lines above the first `user` would be for anonymous clients only.
            acl: "pattern readwrite #\n".into(),
            persistence: true,
            verbose: false,
            extra: String::new(),
        }
    }

    /// With these access rules instead (`man mosquitto.conf`, `acl_file`; made by [`acl`]).
    #[must_use]
    pub fn acl(mut self, acl: impl Into<String>) -> Self {
        self.acl = acl.into();
        self
    }

    /// Whether sessions and messages survive a restart. They do unless told otherwise.
    #[must_use]
    pub fn persistence(mut self, persistence: bool) -> Self {
        self.persistence = persistence;
        self
    }

    /// With a line per packet in the log.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// With one more line of configuration.
    #[must_use]
    pub fn option(mut self, line: &str) -> Self {
        self.extra.push_str(line);
        self.extra.push('\n');
        self
    }

    /// Writes its files to `directory`, starts it on a free port and waits until it listens.
    ///
    /// # Errors
    /// See [`MosquittoError`].
    pub async fn start(self, directory: &Path) -> Result<Instance, MosquittoError> {
        let program = ProcessSpec::installed("mosquitto", INSTALL)?;
        let home = directory.join("mosquitto");
        std::fs::create_dir_all(&home)?;
        let server = self.authority.server(&[])?;
        std::fs::write(home.join("ca.crt"), self.authority.certificate_pem())?;
        std::fs::write(home.join("server.crt"), &server.certificate)?;
        std::fs::write(home.join("server.key"), &server.key)?;
        std::fs::write(home.join("acl"), &self.acl)?;
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let config = home.join("mosquitto.conf");
            std::fs::write(&config, self.config(&home, port))?;
            let spec = program.clone().arg("-c").arg(&config);
            let process = spec.start(&home)?;
            let mut instance = Instance { process, port };
            match instance.listening(1).await {
                Err(ProcessError::Ended { output, .. }) if output.contains(PORT_TAKEN) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(instance),
            }
        }
        Err(MosquittoError::Ports)
    }

    fn config(&self, home: &Path, port: u16) -> String {
        let Self {
            persistence,
            verbose,
            extra,
            ..
        } = self;
        let home = home.display();
        let log = if *verbose {
            "log_type all"
        } else {
            "log_type error\nlog_type warning\nlog_type notice\nlog_type information"
        };
        format!(
            "user root\n\
             listener {port} 127.0.0.1\n\
             cafile {home}/ca.crt\n\
             certfile {home}/server.crt\n\
             keyfile {home}/server.key\n\
             require_certificate true\n\
             use_identity_as_username true\n\
             allow_anonymous false\n\
             acl_file {home}/acl\n\
             max_inflight_messages 100\n\
             max_queued_messages 0\n\
             message_size_limit 131072\n\
             max_packet_size 149504\n\
             max_keepalive 1200\n\
             persistence {persistence}\n\
             persistence_location {home}/\n\
             autosave_on_changes true\n\
             autosave_interval 1\n\
             log_dest stderr\n\
             {log}\n\
             {extra}"
        )
    }
}

// === impl Instance ===

impl Instance {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// SIGTERM: it saves its sessions and ends.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<(), MosquittoError> {
        self.process.stop(PATIENCE).await?;
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<(), MosquittoError> {
        Ok(self.process.kill()?)
    }

    /// The process, for [`Process::signal`] with `STOP` and `CONT`.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again on the same port with the same files.
    ///
    /// # Errors
    /// When the port was taken meanwhile or it does not come up.
    pub async fn restart(&mut self) -> Result<(), MosquittoError> {
        let before = self.log().matches(RUNNING).count();
        self.process.restart()?;
        Ok(self.listening(before + 1).await?)
    }

    /// Waits for the `count`-th start in the log. A connection attempt would not tell it from another server on the
    /// same port.
    async fn listening(&mut self, count: usize) -> Result<(), ProcessError> {
        self.process
            .output_until("its start", PATIENCE, |text| {
                text.matches(RUNNING).count() >= count
            })
            .await
    }
}

/// Access rules for mosquitto: per user (common name), what it may publish to and receive from.
pub fn acl<'a>(users: impl IntoIterator<Item = (&'a str, &'a [String], &'a [String])>) -> String {
    let mut text = String::new();
    for (user, publishes, receives) in users {
        let _ = writeln!(text, "user {user}");
        for topic in publishes {
            let _ = writeln!(text, "topic write {topic}");
        }
        for topic in receives {
            let _ = writeln!(text, "topic read {topic}");
        }
        text.push('\n');
    }
    text
}

/// `mosquitto_pub` or `mosquitto_sub` (`name`) with an identity from a directory in the CSI layout and a last line
/// of defence against hanging; topics and messages are added by the test.
///
/// # Errors
/// When the clients are not installed.
pub fn client(
    name: &str,
    broker: SocketAddr,
    identity: &Path,
) -> Result<ProcessSpec, ProcessError> {
    let file = |name: &str| -> PathBuf { identity.join(name) };
    Ok(ProcessSpec::installed(name, INSTALL)?
        .arg("-h")
        .arg(broker.ip().to_string())
        .arg("-p")
        .arg(broker.port().to_string())
        .arg("--cafile")
        .arg(file("ca.crt"))
        .arg("--cert")
        .arg(file("certificate"))
        .arg("--key")
        .arg(file("privateKey")))
}

/// The command that brings mosquitto to a Debian machine.
pub const INSTALL: &str =
    "mosquitto is not installed: run `apt-get install mosquitto mosquitto-clients`";

// Each attempt loses only if another process takes the port within the 20 ms of a start.
const ATTEMPTS: usize = 5;

// A start takes about 20 ms; this is for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(20);

const RUNNING: &str = " running";
const PORT_TAKEN: &str = "Address already in use";
