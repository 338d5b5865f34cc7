use bytes::Bytes;
use link::bundle::Status;
use link::error::Hint;
use link::order::Version;

use super::*;

fn work(id: &str, version: i64, payload: &'static [u8]) -> Work {
    Work {
        head: Head {
            id: id.into(),
            version: Version::new(version).unwrap(),
            source: "maestro".into(),
            metadata: Some("{\"name\":\"n\"}".into()),
            log_tracing: None,
            deleting_since: None,
            received_at: None,
            content: "c".into(),
            rejected: None,
        },
        payload: Bytes::from_static(payload),
    }
}

fn deleting(id: &str) -> Work {
    let mut work = work(id, 1, b"");
    work.head.deleting_since = Some(Timestamp::UNIX_EPOCH);
    work
}

fn record(hash: &str) -> StatusRecord {
    StatusRecord {
        version: Version::FIRST,
        status: Status::default(),
        hash: hash.into(),
        acknowledged: false,
        applied_at: None,
    }
}

fn open(dir: &Path) -> Files {
    Files::open(dir).unwrap().store
}

#[test]
fn works_and_statuses_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let works = [
        work("a", 1, b"one"),
        work("../b/\u{1F980}", 7, b"two\nlines"),
    ];
    store.commit(&works).unwrap();
    let id = WorkId::from("a");
    let epoch = store.index.entry(&id).unwrap().epoch;
    assert!(store.put_status(&id, epoch, &record("h")).unwrap());
    store.acknowledge(&id, &record("h")).unwrap();
    drop(store);

    let opened = Files::open(dir.path()).unwrap();
    assert_eq!((opened.works, opened.quarantined.len()), (2, 0));
    for work in &works {
        assert_eq!(
            opened.store.read(&work.head.id).unwrap().as_ref(),
            Some(work)
        );
    }
    let entry = opened.store.index.entry(&id).unwrap();
    assert_eq!(entry.status_hash.as_deref(), Some("h"));
    assert!(entry.acknowledged);
}

#[test]
fn an_interrupted_write_leaves_the_old_work_and_no_rest() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).commit(&[work("a", 1, b"one")]).unwrap();
    let torn = dir.path().join("works/.tmp-99-0");
    fs::write(&torn, b"{\"format\":1,\"id\":\"a\",\"vers").unwrap();
    let opened = Files::open(dir.path()).unwrap();
    assert_eq!(opened.works, 1);
    assert!(!torn.exists());
    assert_eq!(
        &opened.store.read(&"a".into()).unwrap().unwrap().payload[..],
        b"one"
    );
}

#[test]
fn a_damaged_file_is_moved_aside_and_costs_one_work_only() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .commit(&[
            work("a", 1, b"one"),
            work("b", 1, b"two"),
            work("c", 1, b"three"),
        ])
        .unwrap();
    fs::write(dir.path().join("works/a.work"), b"garbage").unwrap();
    let cut = dir.path().join("works/b.work");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let opened = Files::open(dir.path()).unwrap();
    assert_eq!((opened.works, opened.quarantined.len()), (1, 2));
    let mut problems: Vec<String> = opened
        .quarantined
        .iter()
        .map(|file| file.damage.to_string())
        .collect();
    problems.sort();
    assert_eq!(
        problems,
        [
            "has no valid header line",
            "holds 2 payload bytes instead of 3"
        ]
    );
    assert!(dir.path().join("corrupt/a.work").exists());
}

#[tokio::test]
async fn a_payload_that_rotted_is_noticed_when_read_and_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&[work("a", 1, b"one")]).unwrap();
    let path = dir.path().join("works/a.work");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(store.read(&"a".into()).unwrap(), None);
    assert_eq!(store.index.entry(&"a".into()), None);
    store.index.resync_wanted().await;
}

#[test]
fn two_processes_cannot_share_a_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let error = Files::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Locked(_)));
    assert_eq!(
        error.hint().as_deref(),
        Some("give each agent its own `--state-dir`")
    );
}

#[test]
fn a_status_judged_on_an_older_version_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = WorkId::from("a");
    store.commit(&[work("a", 1, b"one")]).unwrap();
    let epoch = store.index.entry(&id).unwrap().epoch;
    store.commit(&[work("a", 2, b"two")]).unwrap();
    assert!(!store.put_status(&id, epoch, &record("h")).unwrap());
    assert_eq!(store.index.entry(&id).unwrap().status_hash, None);
}

#[tokio::test]
async fn only_deleting_works_leave_and_a_refused_upsert_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .commit(&[work("a", 1, b"one"), deleting("b")])
        .unwrap();
    store.index.note_refused_while_deleting(&"b".into());
    store.remove(&"a".into()).unwrap();
    store.remove(&"b".into()).unwrap();
    assert_eq!(store.index.held_versions().len(), 1);
    store.index.resync_wanted().await;
    drop(store);
    assert_eq!(Files::open(dir.path()).unwrap().works, 1);
}
