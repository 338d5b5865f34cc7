//! A real mosquitto with mutual TLS and an access list, and certificates made for it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The certificates and the broker; gone when dropped.
pub(crate) struct Broker {
    /// Where the files are: `ca.crt`, `client.crt`, `client.key`, …
    pub(crate) directory: tempfile::TempDir,
    /// Where the broker listens.
    pub(crate) port: u16,
    child: Child,
}

/// Ports of the same broker that are not MQTT over TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherPorts {
    /// MQTT without TLS.
    pub(crate) plain: u16,
    /// MQTT over WebSocket, without TLS and with it.
    pub(crate) websocket: u16,
    pub(crate) secure_websocket: u16,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// With ports that speak something else.
    pub(crate) fn start_with_other_ports() -> (Self, OtherPorts) {
        let mut ports = None;
        let broker = Self::start_with(|directory| {
            let other = OtherPorts {
                plain: free_port(),
                websocket: free_port(),
                secure_websocket: free_port(),
            };
            ports = Some(other);
            let listener = |port: u16| format!("listener {port} 127.0.0.1\n");
            format!(
                "{}{}protocol websockets\n{}protocol websockets\n{}",
                listener(other.plain),
                listener(other.websocket),
                listener(other.secure_websocket),
                mutual_tls(directory)
            )
        });
        (broker, ports.unwrap())
    }

    fn start_with(mut extra: impl FnMut(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = authority("test CA");
        write(directory.path(), "ca.crt", &ca.pem());
        write(
            directory.path(),
            "other-ca.crt",
            &authority("another CA").pem(),
        );
        let far = 2096;
        leaf(directory.path(), "server", "server", &ca, far);
        leaf(directory.path(), "client", "client", &ca, far);
        leaf(directory.path(), "other", "other", &ca, far);
        leaf(directory.path(), "expired", "client", &ca, 2021);
        leaf(
            directory.path(),
            "foreign",
            "client",
            &authority("foreign CA"),
            far,
        );
        write(
            directory.path(),
            "acl",
            "user client\ntopic readwrite test/#\ntopic readwrite maestro/#\n",
        );
        // mosquitto cannot report a port it chose, so one is picked here; another process may take it first.
        for _ in 0..PORT_TRIES {
            let port = free_port();
            write(
                directory.path(),
                "mosquitto.conf",
                &(configuration(directory.path(), port) + &extra(directory.path())),
            );
            let mut child = spawn(directory.path());
            if listens(&mut child, directory.path()) {
                return Self {
                    directory,
                    port,
                    child,
                };
            }
        }
        let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        panic!("mosquitto did not start on any of {PORT_TRIES} ports:\n{log}");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `STOP` has it answer nothing until `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        super::signal(&self.child, name);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port nobody listens on just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn spawn(directory: &Path) -> Child {
    let log = std::fs::File::create(directory.join("log")).unwrap();
    // Distributions put the broker where only root looks.
    let program = [
        "/usr/sbin/mosquitto",
        "/usr/local/sbin/mosquitto",
        "/opt/homebrew/sbin/mosquitto",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists())
    .unwrap_or("mosquitto");
    Command::new(program)
        .arg("-c")
        .arg(directory.join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("start `mosquitto`: {error}\nhint: install it: `apt-get install mosquitto` or `brew install mosquitto`"))
}

/// Whether it listens on all its ports, which it says when it does. A connection would tell of one of them, and not whose it
/// is.
fn listens(child: &mut Child, directory: &Path) -> bool {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let log = std::fs::read_to_string(directory.join("log")).unwrap();
        if log.contains(" running") {
            return true;
        }
        std::thread::park_timeout(INTERVAL);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

fn configuration(directory: &Path, port: u16) -> String {
    // Run by root, mosquitto would change to a user that cannot read the files.
    format!(
        "allow_anonymous false\nacl_file {}\nmax_inflight_messages 100\nmax_queued_messages 0\n\
         message_size_limit 131072\nmax_packet_size 149504\nmax_keepalive 1200\nuser root\n\
         listener {port} 127.0.0.1\n{}",
        directory.join("acl").display(),
        mutual_tls(directory),
    )
}

fn mutual_tls(directory: &Path) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nuse_identity_as_username true\n",
        at("ca.crt"),
        at("server.crt"),
        at("server.key"),
    )
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(
    directory: &Path,
    file: &str,
    name: &str,
    ca: &CertifiedIssuer<'static, KeyPair>,
    until_year: i32,
) {
    let mut params =
        CertificateParams::new(vec!["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    write(directory, &format!("{file}.crt"), &certificate.pem());
    write(directory, &format!("{file}.key"), &key.serialize_pem());
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

const PORT_TRIES: usize = 5;

// A start takes 20 ms; this is for a machine that builds at the same time.
const START: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(5);
