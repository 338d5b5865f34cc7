//! A source: publishes as the Go library does, and reads its stream.

use std::time::Duration;

use axum::http::uri::PathAndQuery;
use link::telemetry::clip;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::enum_variant_names,
    reason = "generated"
)]
pub(crate) mod proto {
    tonic::include_proto!("io.cloudevents.v1");
}

use proto::cloud_event::Data;
use proto::cloud_event_attribute_value::Attr;
use proto::cloud_event_service_client::CloudEventServiceClient;
use proto::{CloudEvent, CloudEventAttributeValue, PublishRequest, SubscriptionRequest};

pub(crate) const DATA_TYPE: &str = "io.open-cluster-management.works.v1alpha1.manifestbundles";

/// One source with its connection.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    client: CloudEventServiceClient<Channel>,
    channel: Channel,
}

/// A stream.
pub(crate) struct Follower {
    stream: Streaming<CloudEvent>,
    pub(crate) subscription: Vec<String>,
}

/// A status as it was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) event: CloudEvent,
    pub(crate) data: Value,
}

// === impl Source ===

impl Source {
    pub(crate) async fn connect(address: &str, name: &str) -> Self {
        Self::over(
            Endpoint::from_shared(format!("http://{address}")).unwrap(),
            name,
        )
        .await
    }

    pub(crate) async fn over(endpoint: Endpoint, name: &str) -> Self {
        let channel = endpoint.connect().await.unwrap();
        Self {
            name: name.into(),
            channel: channel.clone(),
            client: CloudEventServiceClient::new(channel)
                .max_decoding_message_size(16 << 20)
                .max_encoding_message_size(16 << 20),
        }
    }

    /// Another source on the same connection.
    pub(crate) fn beside(&self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self.clone()
        }
    }

    /// Calls any method, with a message that is said to be encoded so.
    pub(crate) async fn call(&self, path: &'static str, encoding: &str) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let mut request = Request::new(PublishRequest { event: None });
        let encoding = encoding.parse().unwrap();
        request.metadata_mut().insert("grpc-encoding", encoding);
        let codec = tonic_prost::ProstCodec::<PublishRequest, ()>::default();
        let answered = client
            .unary(request, PathAndQuery::from_static(path), codec)
            .await;
        answered.map(|_| ())
    }

    /// An event about a bundle.
    pub(crate) fn event(
        &self,
        kind: &str,
        id: &str,
        version: i32,
        data: Option<Value>,
    ) -> CloudEvent {
        let metadata = json!({
            "name": format!("work-{id}"), "namespace": "c1", "labels": {"app": "web"},
            "resourceVersion": "7",
        });
        let mut attributes = vec![
            ("ce-clustername", Attr::CeString("c1".into())),
            ("ce-originalsource", Attr::CeString(String::new())),
            ("ce-resourceid", Attr::CeString(id.into())),
            ("ce-resourceversion", Attr::CeInteger(version)),
            ("ce-metadata", Attr::CeString(metadata.to_string())),
            ("ce-logtracing", Attr::CeString("{}".into())),
        ];
        if data.is_some() {
            attributes.push(("contenttype", Attr::CeString("application/json".into())));
        }
        CloudEvent {
            id: uuid::Uuid::new_v4().to_string(),
            source: self.name.clone(),
            spec_version: "1.0".into(),
            r#type: format!("{DATA_TYPE}.{kind}"),
            attributes: attributes
                .into_iter()
                .map(|(name, attr)| (name.into(), CloudEventAttributeValue { attr: Some(attr) }))
                .collect(),
            data: data.map(|data| Data::BinaryData(data.to_string().into())),
        }
    }

    pub(crate) async fn send(&self, event: CloudEvent) -> Result<(), Status> {
        let request = PublishRequest { event: Some(event) };
        let answered = self.client.clone().publish(request).await;
        answered.map(|_| ())
    }

    /// A publication whose message never comes.
    pub(crate) async fn half(&self) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = "/io.cloudevents.v1.CloudEventService/Publish";
        let codec = tonic_prost::ProstCodec::<PublishRequest, ()>::default();
        let never = Request::new(futures_util::stream::pending());
        let path = PathAndQuery::from_static(path);
        let answered = client.client_streaming(never, path, codec).await;
        answered.map(|_| ())
    }

    pub(crate) async fn create(&self, id: &str, data: &str) -> Result<(), Status> {
        let data = Some(bundle(data));
        self.send(self.event("spec.create_request", id, 0, data))
            .await
    }

    pub(crate) async fn update(&self, id: &str, version: i32, data: &str) -> Result<(), Status> {
        let data = Some(bundle(data));
        self.send(self.event("spec.update_request", id, version, data))
            .await
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), Status> {
        self.send(self.event("spec.delete_request", id, 0, None))
            .await
    }

    /// Asks for statuses: of bundles by their hashes, or all.
    pub(crate) async fn resync(&self, held: &[(&str, &str)]) -> Result<(), Status> {
        let hashes: Vec<Value> = held
            .iter()
            .map(|(id, hash)| json!({"resourceID": id, "statusHash": hash}))
            .collect();
        let data = Some(json!({"statusHashes": hashes}));
        self.send(self.event("status.resync_request", "", 0, data))
            .await
    }

    pub(crate) async fn try_follow(&self) -> Result<Follower, Status> {
        let request = SubscriptionRequest {
            source: self.name.clone(),
            cluster_name: String::new(),
            data_type: DATA_TYPE.into(),
        };
        let response = self.client.clone().subscribe(request).await?;
        let subscription = response.metadata().get_all("subscription-id");
        let subscription = subscription
            .iter()
            .map(|id| id.to_str().unwrap().to_owned());
        Ok(Follower {
            subscription: subscription.collect(),
            stream: response.into_inner(),
        })
    }

    pub(crate) async fn follow(&self) -> Follower {
        self.try_follow().await.unwrap()
    }
}

// === impl Follower ===

impl Follower {
    /// The next event of any kind, or how the stream ended.
    pub(crate) async fn any(&mut self) -> Result<CloudEvent, Status> {
        let next = timeout(PATIENCE, self.stream.message())
            .await
            .expect("an event in time");
        Ok(next?.expect("streams end with a reason"))
    }

    /// The next status, past heartbeats.
    pub(crate) async fn status(&mut self) -> Result<Told, Status> {
        loop {
            if let Some(status) = told(self.any().await?) {
                return Ok(status);
            }
        }
    }

    /// Statuses until one is as it should be; that one.
    pub(crate) async fn until(&mut self, is: impl Fn(&Told) -> bool) -> Told {
        loop {
            let told = self.status().await.unwrap();
            if is(&told) {
                return told;
            }
        }
    }

    /// The statuses before this many heartbeats in a row.
    pub(crate) async fn until_silent(&mut self, beats: usize) -> Vec<Told> {
        let (mut statuses, mut silent) = (Vec::new(), 0);
        while silent < beats {
            match told(self.any().await.unwrap()) {
                None => silent += 1,
                Some(status) => {
                    statuses.push(status);
                    silent = 0;
                }
            }
        }
        statuses
    }

    /// That nothing but heartbeats comes before this many more.
    pub(crate) async fn silent(&mut self, beats: usize) {
        for _ in 0..beats {
            let event = self.any().await.unwrap();
            assert_eq!(event.r#type, HEARTBEAT, "{event:?}");
        }
    }
}

// === impl Told ===

impl Told {
    /// What the test's agent said.
    pub(crate) fn said(&self) -> &str {
        self.data["conditions"][0]["message"].as_str().unwrap()
    }
}

/// The status in an event; a heartbeat has none.
fn told(event: CloudEvent) -> Option<Told> {
    if event.r#type == HEARTBEAT {
        return None;
    }
    let Some(Data::BinaryData(data)) = &event.data else {
        panic!("{event:?}");
    };
    Some(Told {
        id: string(&event, "ce-resourceid"),
        data: serde_json::from_slice(data).unwrap(),
        event,
    })
}

pub(crate) fn string(event: &CloudEvent, name: &str) -> String {
    match &event.attributes[name].attr {
        Some(Attr::CeString(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// Spec data with one ConfigMap.
pub(crate) fn bundle(data: &str) -> Value {
    json!({"manifests": [{
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"}, "data": {"k": data},
    }]})
}

/// `Code Reason number: message`, of an error whose message is the JSON that Go clients read.
pub(crate) fn refused(outcome: Result<(), Status>) -> String {
    worded(&outcome.unwrap_err())
}

pub(crate) fn worded(status: &Status) -> String {
    let parsed: Result<Value, _> = serde_json::from_str(status.message());
    let parsed = parsed.unwrap_or_else(|_| panic!("{:?}", clip(status.message(), 200)));
    let inner = &parsed["ErrStatus"];
    assert_eq!(inner["status"], "Failure");
    assert_ne!(status.code(), Code::Ok);
    format!(
        "{:?} {} {}: {}",
        status.code(),
        inner["reason"].as_str().unwrap(),
        inner["code"],
        inner["message"].as_str().unwrap()
    )
}

pub(crate) const HEARTBEAT: &str = "io.open-cluster-management.cloudevents.heartbeat";

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
