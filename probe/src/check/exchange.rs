//! The stages after the subscription: PUBLISH, and the message on its way back.

use std::time::Duration;

use link::error::{ExitKind, Failure};
use link::message::Message;
use tokio::time::{Instant, timeout};

use super::finding::Finding;
use super::report::{Outcome, Report};
use super::session::of_connection;
use super::{Check, Staged};
use crate::connection::{Connection, publish_error};
use crate::stage::Stage;

impl Check {
    pub(super) async fn exchange(
        &self,
        connection: &mut Connection,
        reports: &mut Vec<Report>,
    ) -> Result<Result<(), ExitKind>, Failure> {
        if self.until == Stage::Subscribe {
            return Ok(Ok(()));
        }
        let message = self.plan.message(&self.subject.client_id);
        let payload = message.payload.clone();
        let started = Instant::now();
        let matched = match self.publish(connection, message).await {
            Ok(matched) => matched,
            Err(finding) => {
                let kind = finding.kind;
                self.show(
                    reports,
                    Stage::Publish,
                    Outcome::Fail(finding),
                    started.elapsed(),
                )?;
                return Ok(Err(kind));
            }
        };
        let listeners = if matched {
            ""
        } else {
            ", nobody is subscribed to it"
        };
        let detail = format!("`{}` acknowledged{listeners}", self.plan.topic);
        self.show(
            reports,
            Stage::Publish,
            Outcome::Pass(detail),
            started.elapsed(),
        )?;
        if self.until == Stage::Publish {
            return Ok(Ok(()));
        }
        if let Some(why) = &self.plan.one_way {
            self.show(
                reports,
                Stage::RoundTrip,
                Outcome::Skipped(why.clone()),
                Duration::ZERO,
            )?;
            return Ok(Ok(()));
        }
        let session = connection.session.clone();
        let refused = Connection::refused(&session, self.target.address());
        let arrived = tokio::select! {
            arrived = timeout(self.within, connection.returned(&payload)) => match arrived {
                Ok(Some(at)) => Ok(at),
                Ok(None) | Err(_) => Err(Finding::silent(&self.plan.topic, matched, &self.subject)),
            },
            error = refused => Err(of_connection(&error, &self.subject, Stage::RoundTrip)),
        };
        match arrived {
            Ok(at) => {
                self.show(
                    reports,
                    Stage::RoundTrip,
                    Outcome::Pass("the message came back".into()),
                    at - started,
                )?;
                Ok(Ok(()))
            }
            Err(finding) => {
                let kind = finding.kind;
                self.show(
                    reports,
                    Stage::RoundTrip,
                    Outcome::Fail(finding),
                    started.elapsed(),
                )?;
                Ok(Err(kind))
            }
        }
    }

    async fn publish(&self, connection: &Connection, message: Message) -> Staged<bool> {
        let of_publish = |error| Finding::of_publish(&publish_error(error), &self.subject);
        let refused = Connection::refused(&connection.session, self.target.address());
        let acknowledged = async {
            let receipt = connection
                .session
                .publish(message)
                .await
                .map_err(of_publish)?;
            receipt.await.map_err(of_publish)
        };
        tokio::select! {
            biased;
            ack = timeout(self.within, acknowledged) => match ack {
                Ok(ack) => ack.map(|ack| ack.matched),
                Err(_) => Err(Finding::publish_timeout(&self.plan.topic)),
            },
            error = refused => Err(of_connection(&error, &self.subject, Stage::Publish)),
        }
    }
}
