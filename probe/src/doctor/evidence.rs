//! What AWS and the region's API know, asked once and before anything connects: whether a client id may be used depends on
//! it, and connecting changes it.

use super::Context;
use super::api::{self, ApiFacts};
use super::aws;
use super::aws::facts::AwsFacts;
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
        let (aws, api) = tokio::join!(
            Box::pin(aws::ask(context, who)),
            api::ask(context, consumer(context, who))
        );
        Self { aws, api }
    }

    /// Whether a client id is connected, and how that is known; `None` where it is not.
    pub(crate) fn connected(&self, id: &str) -> Option<(bool, String)> {
        if let Ok(connection) = &self.aws.connection
            && self.aws.client_id == id
        {
            return Some((connection.connected, "AWS says so".into()));
        }
        let Some(Ok(api)) = &self.api else {
            return None;
        };
        let said = |connected| Some((connected, "the region's API says so".into()));
        match api.presence.as_ref()?.state.as_str() {
            "connected" | "idle" => said(true),
            "away" | "never" => said(false),
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
