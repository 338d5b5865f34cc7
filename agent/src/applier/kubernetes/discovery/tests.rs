use std::sync::atomic::{AtomicUsize, Ordering};

use kube::client::Body;
use serde_json::json;
use tower::service_fn;

use super::*;

/// A cluster that serves each kind of one group version from its so many-th answer on.
fn discovery(kinds: &'static [(&'static str, usize)]) -> (Arc<Discovery>, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let service = service_fn(move |_: http::Request<Body>| {
        let answer = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let served = kinds.iter().filter(|(_, from)| *from <= answer);
        let resources: Vec<_> = served
            .map(|(kind, _)| {
                let name = kind.to_lowercase();
                json!({"name": name, "singularName": name, "kind": kind, "namespaced": true, "verbs": ["get"]})
            })
            .collect();
        let list = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.com/v1", "resources": resources,
        });
        let body = Body::from(list.to_string().into_bytes());
        std::future::ready(http::Response::builder().status(200).body(body))
    });
    let client = Client::new(service, "agent");
    (Arc::new(Discovery::new(client, HashMap::new())), asked)
}

fn kind(kind: &str) -> ObjectRef {
    ObjectRef {
        group: "example.com".into(),
        version: "v1".into(),
        kind: kind.into(),
        ..ObjectRef::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_being_defined_is_waited_for_although_another_of_its_version_was_just_found()
{
    let (discovery, asked) = discovery(&[("Shared", 1), ("Own", 4)]);
    for defined in ["Shared", "Own"] {
        discovery.expect(&kind(defined), Duration::from_secs(10));
    }
    assert!(discovery.find(&kind("Shared")).await.unwrap().is_some());
    assert!(discovery.find(&kind("Own")).await.unwrap().is_some());
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_for_a_kind_ask_once_for_all() {
    let (discovery, asked) = discovery(&[("Shared", 6)]);
    discovery.expect(&kind("Shared"), Duration::from_secs(10));
    let waiting = (0..20).map(|_| {
        let discovery = discovery.clone();
        async move { discovery.find(&kind("Shared")).await }
    });
    for found in futures_util::future::join_all(waiting).await {
        assert!(found.unwrap().is_some());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_never_comes_is_given_up_and_asked_for_once_a_second() {
    let (discovery, asked) = discovery(&[]);
    let begun = Instant::now();
    discovery.expect(&kind("Own"), Duration::from_secs(2));
    assert!(discovery.find(&kind("Own")).await.unwrap().is_none());
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_secs(2) && waited < Duration::from_secs(3),
        "{waited:?}"
    );
    let before = asked.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert!(discovery.find(&kind("Own")).await.unwrap().is_none());
    }
    assert_eq!(asked.load(Ordering::SeqCst), before);
    tokio::time::advance(PATIENCE).await;
    assert!(discovery.find(&kind("Own")).await.unwrap().is_none());
    assert_eq!(asked.load(Ordering::SeqCst), before + 1);
}

#[tokio::test(start_paused = true)]
async fn what_seems_to_be_defined_is_expected_for_a_while_only() {
    let (discovery, _) = discovery(&[]);
    discovery.expect_any("example.com");
    discovery.expect(&kind("Own"), DEFINING * 2);
    assert!(discovery.is_expected("example.com", "Other"));
    assert!(!discovery.is_expected("example.org", "Own"));
    tokio::time::advance(DEFINING).await;
    assert!(!discovery.is_expected("example.com", "Other"));
    assert!(discovery.is_expected("example.com", "Own"));
    tokio::time::advance(DEFINING).await;
    assert!(!discovery.is_expected("example.com", "Own"));
}
