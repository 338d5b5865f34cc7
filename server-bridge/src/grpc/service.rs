//! The two calls of `CloudEventService`, joined from their parts; what each refuses is in [`super::error`].

use std::time::Duration;

use futures_util::stream::BoxStream;
use tokio::time::{Instant, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Code, Extensions, Request, Response, Status};
use uuid::Uuid;

use super::admission::AdmittedCall;
use super::connections::Termination;
use super::error::{Reason, Refusal};
use super::feed::Feed;
use super::hub::Hub;
use super::metrics::{CallKind, GrpcMetrics};
use super::proto::{CloudEvent, CloudEventService, PublishRequest, SubscriptionRequest};
use super::publish::Publisher;
use super::reports::Reports;
use super::rights::StreamRights;
use super::stream::{Pace, Stream};
use super::wire::read;
use crate::callers::{Caller, Connection, Mechanism};
use crate::store::{SourceName, Store};

/// What the calls are made of.
#[derive(Clone, Debug)]
pub(super) struct Sources<S> {
    pub(super) publisher: Publisher<S>,
    pub(super) hub: Hub,
    pub(super) feed: Feed<S>,
    pub(super) reports: Reports<S>,
    pub(super) pace: Pace,
    pub(super) metrics: GrpcMetrics,
}

// === impl Sources ===

impl<S: Store> Sources<S> {
    async fn subscribed(
        &self,
        extensions: &Extensions,
        request: SubscriptionRequest,
        known: &mut Option<SourceName>,
    ) -> Result<BoxStream<'static, Result<CloudEvent, Status>>, Refusal> {
        let (caller, call) = admitted(extensions)?;
        let source =
            SourceName::new(request.source).map_err(|error| Refusal::invalid(error.to_string()))?;
        let access = self.publisher.access.clone();
        let connection = extensions.get::<Connection>().cloned();
        let connection = connection.unwrap_or_else(|| Connection::plain(caller.from));
        let rights = StreamRights::new(access, connection, caller.clone(), source.clone()).await?;
        *known = Some(source.clone());
        call.granted(&caller)?;
        // Else what is reported before the feed knows where it stands would be told to nobody.
        let mut started = self.feed.started();
        let started = timeout(FEED_WITHIN, started.wait_for(|started| *started)).await;
        if !matches!(started, Ok(Ok(_))) {
            return Err(Refusal::unavailable(
                "the store is not available now: what agents report cannot be read; try again",
            ));
        }
        let label = self.metrics.source(Some(&source));
        let caller = (caller.by != Mechanism::Open).then_some(caller.user.as_str());
        let seat = self.hub.join(source, caller);
        let seat = seat.map_err(|full| Refusal::unavailable(format!("{full}; try again later")))?;
        let stream = Stream {
            seat,
            reports: self.reports.clone(),
            rights,
            pace: self.pace.clone(),
            ending: extensions.get::<Termination>().cloned().unwrap_or_default(),
            registered: self.metrics.stream(label),
        };
        Ok(stream.start())
    }

    fn count(&self, call: CallKind, source: Option<&SourceName>, code: Code, began: Instant) {
        let label = self.metrics.source(source);
        self.metrics.answered(call, &label, code, began.elapsed());
    }
}

#[tonic::async_trait]
impl<S: Store> CloudEventService for Sources<S> {
    type SubscribeStream = BoxStream<'static, Result<CloudEvent, Status>>;

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<()>, Status> {
        let (_, extensions, request) = request.into_parts();
        let (began, mut known) = (Instant::now(), None);
        let published = async {
            let (caller, call) = admitted(&extensions)?;
            let granted = |source| {
                known = Some(source);
                call.granted(&caller)
            };
            let event = request
                .event
                .ok_or_else(|| Refusal::invalid("the request carries no event"))?;
            self.publisher.publish(&caller, read(event)?, granted).await
        };
        let published = published.await.map_err(Status::from);
        let code = published.as_ref().map_or_else(Status::code, |()| Code::Ok);
        self.count(CallKind::Publish, known.as_ref(), code, began);
        published.map(Response::new)
    }

    async fn subscribe(
        &self,
        request: Request<SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (_, extensions, request) = request.into_parts();
        let (began, mut known) = (Instant::now(), None);
        let subscribed = self.subscribed(&extensions, request, &mut known).await;
        let subscribed = subscribed.map_err(Status::from);
        let code = subscribed.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.count(CallKind::Subscribe, known.as_ref(), code, began);
        let mut response = Response::new(subscribed?);
        // Agents' library waits for exactly one of these before anything else (docs/MAESTRO.md §5.3).
        if let Ok(id) = MetadataValue::try_from(Uuid::new_v4().to_string()) {
            response.metadata_mut().insert(SUBSCRIPTION, id);
        }
        Ok(response)
    }
}

/// Who calls, as the gate found out, and its call.
fn admitted(extensions: &Extensions) -> Result<(Caller, AdmittedCall), Refusal> {
    let caller = extensions.get::<Caller>().cloned();
    let call = extensions.get::<AdmittedCall>().cloned();
    caller
        .zip(call)
        .ok_or_else(|| Refusal::new(Reason::Internal, "the caller is not known"))
}

const SUBSCRIPTION: &str = "subscription-id";

// As long as a publication waits for the store.
const FEED_WITHIN: Duration = Duration::from_secs(5);
