//! What AWS and the region's API know, asked once and before anything connects: whether a client id may be used depends on
//! it, and connecting changes it.

use super::Context;
use super::api::{self, ApiFacts};
use super::aws;
use super::aws::facts::{AwsFacts, CertificateState};
use super::who::{Role, Who};

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) aws: AwsFacts,
    /// `None` where no API is named; an error is why it says nothing.
    pub(crate) api: Option<Result<ApiFacts, String>>,
}

// === impl Evidence ===

impl Evidence {
    /// Asks both at once.
    pub(crate) async fn gather(context: &Context, who: &Who) -> Self {
        let (mut aws, api) = tokio::join!(
            Box::pin(aws::ask(context, who)),
            api::ask(context, consumer(context, who))
        );
        if let Some(because) = aws::asked_elsewhere(context, &aws) {
            aws.disown(&because);
        } else if let Some(endpoint) = aws::other_endpoint(context, &aws) {
            let endpoint = endpoint.to_owned();
            aws.disown_connection(&endpoint);
        }
        Self { aws, api }
    }

    /// Takes in that the broker let the certificate in: an account that does not know it is another one.
    pub(crate) fn note_let_in(&mut self) {
        if self.aws.lacks_certificate() {
            self.aws.disown("the broker takes it");
        }
    }

    /// Whether a client id is connected, and how that is known; `None` where it is not.
    pub(crate) fn connected(&self, id: &str) -> Option<(bool, String)> {
        if let Ok(connection) = &self.aws.connection
            && self.aws.client_id == id
        {
            // Another account or region knows of no connection either; one where the certificate is registered is meant.
            let is_known = matches!(
                self.aws.certificate,
                Ok(CertificateState::Registered { .. })
            );
            if connection.connected || is_known {
                return Some((connection.connected, "AWS says so".into()));
            }
        }
        let Some(Ok(api)) = &self.api else {
            return None;
        };
        // That it heard of nobody may be because it is another region's.
        match api.presence.as_ref()?.state.as_str() {
            "connected" | "idle" => Some((true, "the region's API says so".into())),
            _ => None,
        }
    }
}

// Whose agent the API is asked for.
fn consumer<'a>(context: &'a Context, who: &'a Who) -> Option<&'a str> {
    match &who.role {
        Role::Agent(consumer) => Some(consumer.as_str()),
        _ => context.consumer.as_ref().map(|name| name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::aws::facts::ConnectionState;
    use super::*;

    #[test]
    fn a_client_id_is_free_only_by_the_word_of_who_knows_its_certificate() {
        let mut evidence = Evidence {
            aws: AwsFacts::none("no credentials"),
            api: None,
        };
        evidence.aws.client_id = "a".into();
        evidence.aws.connection = Ok(ConnectionState::default());
        evidence.aws.certificate = Ok(CertificateState::Absent);
        assert_eq!(evidence.connected("a"), None);
        evidence.aws.certificate = Ok(CertificateState::Registered {
            status: "ACTIVE".into(),
            arn: String::new(),
            modified: None,
        });
        let free = evidence.connected("a").map(|(connected, _)| connected);
        assert_eq!(free, Some(false));

        evidence.aws = AwsFacts::none("no credentials");
        for (state, expected) in [("connected", Some(true)), ("never", None), ("away", None)] {
            evidence.api = Some(Ok(ApiFacts {
                presence: Some(api::PresenceFacts {
                    state: state.into(),
                    ..api::PresenceFacts::default()
                }),
                ..ApiFacts::default()
            }));
            let said = evidence.connected("a").map(|(connected, _)| connected);
            assert_eq!(said, expected, "{state}");
        }
    }
}
