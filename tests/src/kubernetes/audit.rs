//! The audit log of the API server: who asked for what, for tests and benchmarks that count requests.
//!
//! A request stands in the log once: when it has been answered, a watch when it has begun. What the servers ask among
//! themselves does not stand there.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use serde::Deserialize;
use uuid::Uuid;

use super::ClientError;
use crate::wait::{TimedOut, wait_for};

/// The audit log of one API server.
#[derive(Clone)]
pub struct Audit {
    file: PathBuf,
    client: Client,
}

/// A moment in the log.
#[derive(Clone, Copy, Debug)]
pub struct AuditPosition {
    /// Bytes of the file before it.
    offset: u64,
}

/// One request. Texts that a request does not have are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who asked.
    pub user: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The plural of the kind, such as `configmaps`; empty for paths that are not of objects.
    pub resource: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Such as `status`.
    pub subresource: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// The audit log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The API server could not be asked.
    #[error("mark the audit log")]
    Client(#[from] ClientError),
    /// Its file could not be read.
    #[error("read the audit log")]
    Read(#[from] io::Error),
    /// A line of it was not understood.
    #[error("decode a line of the audit log")]
    Decode(#[from] serde_json::Error),
    /// The API server did not note a request.
    #[error("mark the audit log")]
    Slow(#[from] TimedOut),
}

// === impl Audit ===

impl Audit {
    pub(super) fn new(file: PathBuf, client: Client) -> Self {
        Self { file, client }
    }

    /// Now: after every request that has been answered.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn mark(&self) -> Result<AuditPosition, AuditError> {
        let end = std::fs::metadata(&self.file)?.len();
        let text = self.until_now(AuditPosition { offset: end }).await?;
        let offset = end + text.len() as u64;
        Ok(AuditPosition { offset })
    }

    /// Every request since then whose answer somebody has, oldest first.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn since(&self, mark: AuditPosition) -> Result<Vec<AuditEntry>, AuditError> {
        let text = self.until_now(mark).await?;
        let mut events = Vec::new();
        for line in text.lines() {
            let event: Event = serde_json::from_str(line)?;
            if !event.object_ref.name.starts_with(FENCE) {
                events.push(event);
            }
        }
        // A line may overtake another that was made a moment before it.
        events.sort_by(|one, other| one.received.cmp(&other.received));
        Ok(events.into_iter().map(AuditEntry::from).collect())
    }

    /// Whole lines, up to one that was made now: the log lags a little behind the answers.
    async fn until_now(&self, from: AuditPosition) -> Result<String, AuditError> {
        let fence = format!("{FENCE}{}", Uuid::new_v4());
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        // It is not there, which makes an entry like any other.
        namespaces
            .get_opt(&fence)
            .await
            .map_err(ClientError::from)?;
        let probe = async || {
            let text = self.after(from).map_err(|error| error.to_string())?;
            let at = text.find(&fence).ok_or("no line of the fence")?;
            let end = text[at..].find('\n').ok_or("half a line of the fence")?;
            Ok::<_, String>(text[..=at + end].to_owned())
        };
        Ok(wait_for("the audit log", PATIENCE, probe).await?)
    }

    fn after(&self, mark: AuditPosition) -> io::Result<String> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(mark.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // Half a character may end it while the server writes.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

// === impl AuditEntry ===

impl From<Event> for AuditEntry {
    fn from(event: Event) -> Self {
        let ObjectRef {
            resource,
            namespace,
            name,
            subresource,
        } = event.object_ref;
        Self {
            user: event.user.username,
            user_agent: event.user_agent,
            verb: event.verb,
            resource,
            namespace,
            name,
            subresource,
            code: event.response_status.code,
        }
    }
}

/// A line of the log, as far as anybody asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    user: User,
    #[serde(default)]
    user_agent: String,
    verb: String,
    /// RFC 3339 in UTC, always with six digits behind the point: in the order of time as text too.
    #[serde(rename = "requestReceivedTimestamp")]
    received: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

// The name of a namespace that nobody has.
const FENCE: &str = "audit-fence-";

// The API server writes an entry before, or at once after, it answers.
const PATIENCE: Duration = Duration::from_secs(10);
