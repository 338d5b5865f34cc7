//! The same callers over gRPC: what each is told, and what changes while connections and streams are open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::admin::Checks;
use link::clock::Clock;
use link::id::{ConsumerName, SourceId};
use link::supervise::Restarts;
use link::topic::Scheme;
use prometheus::Registry;
use serde_json::{Value, json};
use server_bridge::callers::{Authorization, CallersConfig};
use server_bridge::grpc;
use server_bridge::store::{Labels, Location, NewConsumer, Store as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::bridge::{Place, bundle, config, until};
use crate::issuer::Issuer;
use crate::listener::{client, connect};
use crate::pki::{Ca, Pair, now};

#[expect(
    clippy::allow_attributes,
    clippy::enum_variant_names,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
mod proto {
    tonic::include_proto!("io.cloudevents.v1");
}

use proto::cloud_event::Data;
use proto::cloud_event_attribute_value::Attr;
use proto::cloud_event_service_client::CloudEventServiceClient;
use proto::{CloudEvent, CloudEventAttributeValue, PublishRequest, SubscriptionRequest};

struct Server {
    address: SocketAddr,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// A Go source: one connection.
#[derive(Clone)]
struct Source(CloudEventServiceClient<Channel>);

impl Server {
    async fn start(place: &Place, config: CallersConfig) -> Self {
        let (registry, checks) = (Registry::new(), Checks::new());
        let callers = config.build(Clock::system(), &registry, &checks);
        let callers = callers.await.unwrap();
        let location = Location::Sqlite(place.path("grpc.db"));
        let store = location.open(Restarts::unregistered()).await.unwrap();
        let new = |name: &str| NewConsumer {
            id: name.into(),
            name: ConsumerName::new(name).unwrap(),
            labels: Labels::default(),
        };
        let consumers = vec![new("c1"), new("c2")];
        let clock = Clock::system();
        store
            .ensure_consumers(consumers, clock.now())
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = grpc::GrpcConfig {
            options: grpc::GrpcOptions {
                heartbeat: Duration::from_millis(200),
                ..grpc::GrpcOptions::default()
            },
            ..grpc::GrpcConfig::new(SourceId::new("maestro").unwrap(), Scheme::default())
        };
        let (tls, access) = (callers.grpc, callers.access);
        let grpc = config
            .build_on(listener, tls, store, clock, access, &registry)
            .unwrap();
        let address = grpc.address();
        let serving = grpc.serve(Restarts::unregistered(), CancellationToken::new());
        let keeping = callers.watcher.run(CancellationToken::new());
        let tasks = vec![tokio::spawn(serving), tokio::spawn(keeping)];
        Self {
            address,
            _tasks: tasks.into_iter().map(AbortOnDropHandle::new).collect(),
        }
    }

    async fn plain(&self) -> Source {
        Source::to(self.address).await.unwrap()
    }

    /// Over TLS, with this certificate.
    async fn mutual(&self, place: &Place, pair: &Pair) -> Result<Source, tonic::transport::Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = listener.local_addr().unwrap();
        let (far, config) = (self.address, client(place, pair, b"h2"));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(mut far) = connect(far, config).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Source::to(near).await
    }
}

impl Source {
    async fn to(address: SocketAddr) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Ok(Self(CloudEventServiceClient::new(
            endpoint.connect().await?,
        )))
    }

    async fn publish(
        &self,
        token: Option<&str>,
        source: &str,
        consumer: &str,
    ) -> Result<(), Status> {
        let id = format!("{source}-{consumer}");
        self.send(token, source, consumer, &id, "create").await
    }

    async fn send(
        &self,
        token: Option<&str>,
        source: &str,
        consumer: &str,
        id: &str,
        what: &str,
    ) -> Result<(), Status> {
        let attributes = [
            ("ce-clustername", Attr::CeString(consumer.into())),
            ("ce-originalsource", Attr::CeString(String::new())),
            ("ce-resourceid", Attr::CeString(id.into())),
            ("ce-resourceversion", Attr::CeInteger(0)),
            ("ce-metadata", Attr::CeString("{\"name\":\"w\"}".into())),
            ("contenttype", Attr::CeString("application/json".into())),
        ];
        let data = json!({"manifests": bundle("", "")["manifests"]});
        let event = CloudEvent {
            id: "e1".into(),
            source: source.into(),
            spec_version: "1.0".into(),
            r#type: format!(
                "io.open-cluster-management.works.v1alpha1.manifestbundles.spec.{what}_request"
            ),
            attributes: attributes
                .into_iter()
                .map(|(name, attr)| (name.into(), CloudEventAttributeValue { attr: Some(attr) }))
                .collect(),
            data: Some(Data::BinaryData(data.to_string().into())),
        };
        let request = PublishRequest { event: Some(event) };
        let mut client = self.0.clone();
        client.publish(with(token, request)).await.map(|_| ())
    }

    async fn subscribe(
        &self,
        token: Option<&str>,
        source: &str,
    ) -> Result<Streaming<CloudEvent>, Status> {
        let request = SubscriptionRequest {
            source: source.into(),
            cluster_name: String::new(),
            data_type: "io.open-cluster-management.works.v1alpha1.manifestbundles".into(),
        };
        let answer = self.0.clone().subscribe(with(token, request)).await;
        answer.map(tonic::Response::into_inner)
    }
}

fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// `code: message`, out of the JSON that Go clients read.
fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.unwrap_err();
    let body: Value = serde_json::from_str(status.message()).unwrap();
    let message = body["ErrStatus"]["message"].as_str().unwrap();
    format!("{:?}: {message}", status.code())
}

const RULES: &str = "
rules:
- users: [ann]
  sources: [shop]
  consumers: [c1]
  verbs: [publish, subscribe]
- users: [olga]
  sources: [shop]
  consumers: [c1, c2]
  verbs: [publish]
";

#[tokio::test]
async fn each_refusal_is_told_to_a_source_as_its_library_reads_it() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let config = CallersConfig {
        issuers: vec![issuer.config()],
        authorization: Authorization::File(place.write("rules.yaml", RULES)),
        ..config()
    };
    let server = Server::start(&place, config).await;
    let source = server.plain().await;
    let good = issuer.token(json!({}));
    source.publish(Some(&good), "shop", "c1").await.unwrap();
    source.subscribe(Some(&good), "shop").await.unwrap();
    let bob = issuer.token(json!({"sub": "bob"}));
    // A bundle of her source for a cluster that is not hers is as one that is not there.
    let olga = issuer.token(json!({"sub": "olga"}));
    source.publish(Some(&olga), "shop", "c2").await.unwrap();
    let send = async |who, id, what| source.send(Some(who), "shop", "c1", id, what).await;
    let hidden = told(send(&good, "shop-c2", "update").await);
    let none = told(send(&good, "shop-c9", "update").await);
    assert_eq!(hidden, none.replace("shop-c9", "shop-c2"));
    send(&good, "shop-c2", "delete").await.unwrap();
    let seen = send(&olga, "shop-c2", "delete").await;
    assert!(told(seen).ends_with("`shop-c2` is for `c2`"));
    let elsewhere = issuer.token(json!({"aud": "elsewhere"}));
    for (token, name, consumer, expected) in [
        (
            None,
            "shop",
            "c1",
            "Unauthenticated: nothing says who calls: send `Authorization: Bearer TOKEN`",
        ),
        (
            Some(&elsewhere),
            "shop",
            "c1",
            "Unauthenticated: the bearer token is refused: it is for another audience, expected is `bridge`",
        ),
        (
            Some(&good),
            "other",
            "c1",
            "PermissionDenied: no rule lets `ann` publish bundles of source `other` for consumer `c1`",
        ),
        (
            Some(&good),
            "shop",
            "c2",
            "PermissionDenied: no rule lets `ann` publish bundles of source `shop` for consumer `c2`",
        ),
        (
            Some(&good),
            "shop",
            "c9",
            "PermissionDenied: no rule lets `ann` publish bundles of source `shop` for consumer `c9`",
        ),
        (
            Some(&bob),
            "shop",
            "c1",
            "PermissionDenied: no rule lets `bob` publish bundles of source `shop` for consumer `c1`",
        ),
    ] {
        let answer = source
            .publish(token.map(String::as_str), name, consumer)
            .await;
        assert_eq!(told(answer), expected);
    }
    let answer = source.subscribe(Some(&good), "other").await;
    assert_eq!(
        told(answer),
        "PermissionDenied: no rule lets `ann` subscribe bundles of source `other`"
    );
    place.write("rules.yaml", "rules: []");
    let ask = async || source.publish(Some(&good), "shop", "c1").await;
    let refused = until(ask, Result::is_err).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_stream_outlives_the_token_that_began_it_and_the_next_call_does_not() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let config = CallersConfig {
        issuers: vec![issuer.config()],
        ..config()
    };
    let server = Server::start(&place, config).await;
    let source = server.plain().await;
    // Within the leeway for a moment still.
    let token = issuer.token(json!({"exp": now() - 20, "nbf": 0}));
    let mut stream = source.subscribe(Some(&token), "shop").await.unwrap();
    let ask = async || source.subscribe(Some(&token), "shop").await.map(|_| ());
    let refused = until(ask, Result::is_err).await;
    assert!(told(refused).contains("it expired at"));
    for _ in 0..3 {
        assert!(stream.message().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_rule_is_withdrawn_and_others_go_on() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let config = CallersConfig {
        issuers: vec![issuer.config()],
        authorization: Authorization::File(place.write("rules.yaml", BOTH)),
        ..config()
    };
    let server = Server::start(&place, config).await;
    let source = server.plain().await;
    let (ann, bob) = (issuer.token(json!({})), issuer.token(json!({"sub": "bob"})));
    let mut withdrawn = source.subscribe(Some(&ann), "shop").await.unwrap();
    let mut kept = source.subscribe(Some(&bob), "other").await.unwrap();
    // Ann may still hear of something, and not of this source.
    place.write("rules.yaml", &BOTH.replace("shop", "elsewhere"));
    let ended = loop {
        if let Err(status) = withdrawn.message().await {
            break Err::<(), _>(status);
        }
    };
    assert_eq!(
        told(ended),
        "PermissionDenied: no rule lets `ann` subscribe bundles of source `shop`"
    );
    // Rules that cannot be read withdraw nothing.
    place.write("rules.yaml", "rules: 7");
    for _ in 0..5 {
        assert!(kept.message().await.unwrap().is_some());
    }
}

const BOTH: &str = "
rules:
- users: [ann]
  sources: [shop]
  consumers: [c1]
  verbs: [subscribe]
- users: [bob]
  sources: [other]
  consumers: [c1]
  verbs: [subscribe]
";

#[tokio::test]
async fn sources_are_known_by_certificates_without_groups_too_and_a_withdrawn_ca_ends_that() {
    let place = Place::new();
    let server = Server::start(&place, place.mutual()).await;
    let ann = place.clients.client("ann", None);
    let source = server.mutual(&place, &ann).await.unwrap();
    source.publish(None, "shop", "c1").await.unwrap();
    let foreign = Ca::new("clients").client("ann", None);
    if let Ok(source) = server.mutual(&place, &foreign).await {
        assert!(source.publish(None, "shop", "c1").await.is_err());
    }
    let nameless = place.clients.client("", Some("ops"));
    let nameless = server.mutual(&place, &nameless).await.unwrap();
    let answer = nameless.publish(None, "shop", "c1").await;
    assert!(
        told(answer)
            .starts_with("Unauthenticated: the client certificate is refused: its subject has no")
    );
    let mut stream = source.subscribe(None, "shop").await.unwrap();
    place.write("ca.crt", &Ca::new("clients, later").pem);
    let ended = loop {
        if let Err(status) = stream.message().await {
            break Err::<(), _>(status);
        }
    };
    assert_eq!(
        told(ended),
        "Unauthenticated: the client certificate is refused: no CA of the client CA file issued it"
    );
    let ask = async || source.publish(None, "shop", "c1").await;
    let refused = until(ask, Result::is_err).await;
    assert_eq!(
        told(refused),
        "Unauthenticated: the client certificate is refused: no CA of the client CA file issued it"
    );
}
