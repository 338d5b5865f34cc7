//! Certificates go out of service round by round, until a look shows none that is left.
//!
//! **Invariant:** one certificate that resists keeps no other in service, and no connection open: each is tried, the
//! connections are ended in every round, and failures are reported at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::aws;
use crate::identity::state::{INACTIVE, REVOKED};
use crate::identity::{IdentityError, ProgressFn};
use crate::resource::Note;

use super::{RevokeOptions, Revoked};

/// What it takes of IoT Core.
pub(super) trait CertificateRegistry {
    /// Ids of the certificates that carry a policy.
    async fn targets(&self, policy: &str) -> Result<Vec<String>, aws::AwsError>;

    /// A certificate's state; `None` when there is no such certificate.
    async fn status(&self, id: &str) -> Result<Option<String>, aws::AwsError>;

    /// Whether it was there to be changed.
    async fn set_status(&self, id: &str, status: &str) -> Result<bool, aws::AwsError>;

    /// Ends a client's connection with its session; whether there was one.
    async fn disconnect(&self, client: &str) -> Result<bool, aws::AwsError>;
}

/// Certificates on their way out.
pub(super) struct Rounds<'a, C> {
    core: C,
    options: RevokeOptions,
    clients: &'a [String],
    progress: ProgressFn<'a>,
    done: Vec<String>,
    failed: BTreeMap<String, IdentityError>,
    disconnected: Vec<String>,
    still_connected: BTreeMap<String, aws::AwsError>,
}

/// How far a certificate is.
enum Ordered {
    /// It is out of service: its state, or that it is gone.
    Done(String),
    /// IoT Core took the order for this state.
    Taken(&'static str),
}

// === impl Rounds ===

impl<'a, C: CertificateRegistry> Rounds<'a, C> {
    pub(super) fn new(
        core: C,
        options: RevokeOptions,
        clients: &'a [String],
        progress: ProgressFn<'a>,
    ) -> Self {
        Self {
            core,
            options,
            clients,
            progress,
            done: Vec::new(),
            failed: BTreeMap::new(),
            disconnected: Vec::new(),
            still_connected: BTreeMap::new(),
        }
    }

    /// Takes `open` out of service, and with a policy whatever carries it by then: somebody may be attaching more.
    /// Every further round follows one that got something done, so it ends.
    pub(super) async fn run(
        mut self,
        mut open: Vec<String>,
        policy: Option<&str>,
    ) -> Result<Revoked, IdentityError> {
        let mut unseen = None;
        while !open.is_empty() {
            let before = self.done.len();
            self.round(&open).await;
            if self.done.len() == before {
                break;
            }
            let found = match policy {
                Some(policy) => self.core.targets(policy).await,
                None => Ok(Vec::new()),
            };
            open = self.failed.keys().cloned().collect();
            match found {
                Ok(found) => {
                    let left = |id: &String| !self.done.contains(id) && !open.contains(id);
                    let more: Vec<String> = found.into_iter().filter(left).collect();
                    open.extend(more);
                    unseen = None;
                }
                Err(error) => unseen = Some(error),
            }
        }
        self.finish(unseen)
    }

    async fn round(&mut self, open: &[String]) {
        // All status changes first: waiting until one is visible must not keep another certificate in service.
        let mut taken = Vec::new();
        for id in open {
            match self.order(id).await {
                Ok(Ordered::Taken(wanted)) => taken.push((id, wanted)),
                Ok(Ordered::Done(state)) => self.settle(id, Ok(state)),
                Err(error) => self.settle(id, Err(error)),
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for (id, wanted) in taken {
            let outcome = self.verify(id, wanted, deadline).await;
            self.settle(id, outcome);
        }
        self.disconnect().await;
    }

    async fn order(&self, id: &str) -> Result<Ordered, IdentityError> {
        let Some(status) = self.core.status(id).await? else {
            return Ok(Ordered::Done(GONE.to_owned()));
        };
        // REVOKED is final: nothing makes it INACTIVE again.
        let wanted = match self.options.deactivate {
            true if status != REVOKED => INACTIVE,
            _ => REVOKED,
        };
        if status == wanted {
            return Ok(Ordered::Done(status));
        }
        Ok(match self.core.set_status(id, wanted).await? {
            true => Ordered::Taken(wanted),
            false => Ordered::Done(GONE.to_owned()),
        })
    }

    // IoT Core may answer with the old state for a moment, or be too busy to answer.
    async fn verify(
        &self,
        id: &str,
        wanted: &str,
        deadline: Instant,
    ) -> Result<String, IdentityError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let in_time = Instant::now() < deadline;
            match self.core.status(id).await {
                Ok(None) => return Ok(GONE.to_owned()),
                Ok(Some(found)) if found == wanted || found == REVOKED => return Ok(found),
                _ if in_time => {}
                Ok(Some(found)) => {
                    return Err(IdentityError::NotVerified {
                        certificate: id.to_owned(),
                        found,
                        expected: wanted.to_owned(),
                    });
                }
                Err(error) => return Err(error.into()),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn settle(&mut self, id: &str, outcome: Result<String, IdentityError>) {
        match outcome {
            Ok(state) => {
                (self.progress)(&format!("certificate `{id}` is {state}"));
                self.failed.remove(id);
                self.done.push(id.to_owned());
            }
            Err(error) => {
                let why = link::error::chain(&error);
                (self.progress)(&format!(
                    "certificate `{id}` may still be in service: {why}"
                ));
                self.failed.insert(id.to_owned(), error);
            }
        }
    }

    async fn disconnect(&mut self) {
        for client in self.clients {
            match self.core.disconnect(client).await {
                Ok(there) => {
                    self.still_connected.remove(client);
                    if there {
                        (self.progress)(&format!("the connection of client `{client}` is ended"));
                    }
                    if there && !self.disconnected.contains(client) {
                        self.disconnected.push(client.clone());
                    }
                }
                Err(error) => {
                    self.still_connected.insert(client.clone(), error);
                }
            }
        }
    }

    fn finish(mut self, unseen: Option<aws::AwsError>) -> Result<Revoked, IdentityError> {
        // Where the certificate is out of service, a connection that lives a little longer must not look like failure.
        let notes = self
            .still_connected
            .into_iter()
            .map(|(client, error)| Note {
                text: format!(
                    "the connection of client `{client}` could not be ended here: {error}"
                ),
                hint: "wait: IoT Core ends it within minutes of its certificate's end".into(),
            });
        let notes: Vec<Note> = notes.collect();
        let certificates: Vec<String> = self.failed.keys().cloned().collect();
        let error = match (self.failed.pop_first(), unseen) {
            (Some((_, first)), _) => IdentityError::InService {
                all: self.done.len() + certificates.len(),
                certificates,
                source: Box::new(first),
            },
            (None, Some(error)) => error.into(),
            (None, None) => {
                return Ok(Revoked {
                    certificates: self.done,
                    disconnected: self.disconnected,
                    notes,
                });
            }
        };
        for note in notes {
            (self.progress)(&note.text);
        }
        Err(error)
    }
}

const GONE: &str = "gone";

// What was changed is seen everywhere within seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
