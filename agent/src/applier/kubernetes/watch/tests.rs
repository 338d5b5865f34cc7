use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;

use super::tracked::ObjectName;
use super::*;
use crate::applier::Fingerprint;
use crate::applier::kubernetes::claims::foreign::ForeignClaims;
use crate::applier::kubernetes::discovery::Discovery;
use crate::applier::kubernetes::executor::Executor;
use crate::applier::kubernetes::owners::reference;
use crate::applier::kubernetes::server::Server;
use crate::keyed_lock::KeyedLock;
use crate::work_id::WorkId;

fn maps() -> Arc<Resource> {
    Arc::new(Resource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
        watchable: true,
    })
}

fn map() -> ObjectRef {
    ObjectRef {
        version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: "a".into(),
        ..ObjectRef::default()
    }
}

fn name() -> ObjectName {
    ("n".into(), "a".into())
}

fn woken(index: &WatchIndex) -> Vec<WorkId> {
    // Far enough for every pause to be over.
    let now = Instant::now() + wakeups::PAUSE * 10;
    index.due(now).0
}

fn became(index: &WatchIndex, revision: &str) {
    index.note_event(
        &maps(),
        &name(),
        ObjectEvent::Changed(revision.into()),
        Some(&[]),
    );
}

fn gone(index: &WatchIndex, revision: &str) {
    index.note_event(
        &maps(),
        &name(),
        ObjectEvent::Gone(Some(revision.into())),
        None,
    );
}

fn write(index: &WatchIndex, work: &str, revision: &str) {
    let mut access = index.begin(&maps(), &map(), &work.into());
    access.completed(revision, None, &[]);
}

#[test]
fn the_event_of_a_write_is_no_news_whether_it_comes_before_or_after_the_answer() {
    let index = WatchIndex::default();
    let mut access = index.begin(&maps(), &map(), &"w".into());
    became(&index, "10");
    access.completed("10", None, &[]);
    drop(access);
    became(&index, "10");
    assert_eq!(woken(&index), []);
}

#[test]
fn what_happens_during_a_write_and_after_it_is_news() {
    let index = WatchIndex::default();
    let mut access = index.begin(&maps(), &map(), &"w".into());
    became(&index, "10");
    became(&index, "11");
    access.completed("10", None, &[]);
    assert_eq!(woken(&index), []);
    drop(access);
    assert_eq!(woken(&index), ["w".into()]);
}

#[test]
fn a_deletion_before_the_write_is_no_news_and_one_after_it_is() {
    let index = WatchIndex::default();
    write(&index, "w", "10");
    gone(&index, "9");
    assert_eq!(woken(&index), []);
    gone(&index, "11");
    assert_eq!(woken(&index), ["w".into()]);
}

#[test]
fn a_write_of_one_work_is_news_to_the_others_that_care() {
    let index = WatchIndex::default();
    write(&index, "holds", "10");
    write(&index, "reads", "10");
    write(&index, "holds", "11");
    became(&index, "11");
    assert_eq!(woken(&index), ["reads".into()]);
}

#[test]
fn a_failed_look_ends_with_whatever_happens_next() {
    let index = WatchIndex::default();
    write(&index, "w", "10");
    drop(index.begin(&maps(), &map(), &"w".into()));
    became(&index, "10");
    assert_eq!(woken(&index), ["w".into()]);
}

#[test]
fn who_gave_up_is_told_nothing_and_the_kind_lingers() {
    let index = WatchIndex::default();
    write(&index, "w", "10");
    let access = index.begin(&maps(), &map(), &"w".into());
    gone(&index, "11");
    access.released();
    assert_eq!(woken(&index), []);
    let now = Instant::now();
    let (needed, shrinks) = index.needed(now);
    assert_eq!(needed.len(), 1);
    let later = shrinks.unwrap();
    assert!(later > now);
    assert_eq!(index.needed(later).0.len(), 0);
}

#[test]
fn what_a_work_does_not_come_back_to_is_forgotten() {
    let index = WatchIndex::default();
    let work = WorkId::from("w");
    index.begin_round(&work);
    write(&index, "w", "10");
    index.end_round(&work, true);
    became(&index, "11");
    assert_eq!(woken(&index), ["w".into()]);
    index.begin_round(&work);
    index.end_round(&work, true);
    became(&index, "12");
    assert_eq!(woken(&index), []);
}

#[test]
fn who_waits_for_a_kind_is_woken_until_it_has_what_it_wants() {
    let index = WatchIndex::default();
    let work = WorkId::from("w");
    index.begin_round(&work);
    index.want("example.com", &work);
    index.want("example.org", &work);
    index.end_round(&work, true);
    index.defined("elsewhere.com");
    assert_eq!(woken(&index), []);
    index.defined("example.com");
    assert_eq!(woken(&index), std::slice::from_ref(&work));
    index.begin_round(&work);
    index.want("example.org", &work);
    index.end_round(&work, true);
    index.defined("example.com");
    assert_eq!(woken(&index), []);
    assert!(index.wants_kinds());
}

#[test]
fn who_waits_for_a_kind_and_holds_nothing_leaves_no_trace_when_it_goes() {
    let index = WatchIndex::default();
    let work: WorkId = "w".into();
    // Its only manifest is of a kind that is not defined, from the first look on.
    index.begin_round(&work);
    index.want("example.com", &work);
    index.end_round(&work, true);
    assert!(index.wants_kinds());
    index.begin_round(&work);
    index.end_round(&work, true);
    assert!(!index.wants_kinds());
    assert!(index.state().rounds.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_work_that_was_left_in_order_looks_itself_when_its_kind_cannot_be_listed_for_long() {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
        let refused = http::Response::builder().status(500);
        std::future::ready(refused.body(kube::client::Body::from(b"{}".to_vec())))
    });
    let client = kube::Client::new(service, "agent");
    let inner = Arc::new(Inner {
        executor: Executor::new(client.clone()),
        poll: Duration::from_secs(60),
        server: Server::new(client.clone()),
        agent_id: "agent".into(),
        foreign: ForeignClaims::default(),
        adopted: Vec::new(),
        discovery: Discovery::new(client, HashMap::new()),
        claims: Mutex::default(),
        index: WatchIndex::default(),
        locks: KeyedLock::default(),
    });
    let index = &inner.index;
    index.resume(&maps(), &map(), &"w".into(), &Fingerprint::read("10"));
    let begun = Instant::now();
    let stream = Stream::new(Arc::clone(&inner), maps(), Scope::Cluster);
    let watching = tokio::spawn(stream.watch());
    index.woken.notified().await;
    assert!(begun.elapsed() > stream::LONGEST_RETRY);
    assert_eq!(woken(index), [WorkId::from("w")]);
    watching.abort();
    // The first list after that is a look like any other.
    write(index, "w", "11");
    became(index, "11");
    assert_eq!(woken(index), []);
}

#[test]
fn a_narrow_kind_is_watched_where_its_objects_are() {
    let index = WatchIndex::default();
    write(&index, "w", "10");
    index.narrow(&maps(), true);
    let (needed, _) = index.needed(Instant::now());
    let scope = Scope::Namespace("n".into());
    assert!(needed.contains(&(maps(), scope)) && needed.len() == 1);
}

#[test]
fn owners_of_other_agents_are_remembered_and_ours_are_not() {
    let index = WatchIndex::default();
    index.ours("1", true);
    write(&index, "w", "10");
    let other = OwnerReference {
        uid: "3".into(),
        ..OwnerReference::default()
    };
    let owners = [reference("a", "1"), reference("b", "2"), other];
    let event = ObjectEvent::Changed("11".into());
    index.note_event(&maps(), &name(), event, Some(&owners));
    let access = index.begin(&maps(), &map(), &"w".into());
    assert_eq!(access.foreign_owners(), [reference("b", "2")]);
}

#[test]
fn after_a_restored_backup_older_versions_are_news() {
    let index = WatchIndex::default();
    write(&index, "w", "1000");
    became(&index, "500");
    assert_eq!(woken(&index), []);
    index.invalidate(&maps(), &Scope::Cluster);
    index.note_event(&maps(), &name(), ObjectEvent::Listed("500".into()), None);
    assert_eq!(woken(&index), ["w".into()]);
}
