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
    assert!(matches!(error, StoreError::Locked(_)));
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

#[tokio::test]
async fn an_upsert_refused_for_a_deletion_that_has_just_ended_is_asked_for_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&[deleting("b")]).unwrap();
    // Seen as being deleted, and gone before that could be noted.
    assert!(store.index.entry(&"b".into()).unwrap().deleting);
    store.remove(&"b".into()).unwrap();
    store.index.note_refused_while_deleting(&"b".into());
    let wanted = std::pin::pin!(store.index.resync_wanted());
    assert!(futures_util::poll!(wanted).is_ready());
}

fn temps(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for dir in [dir.to_path_buf(), dir.join("works")] {
        for file in fs::read_dir(dir).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            names.extend(name.starts_with(TEMP_PREFIX).then_some(name));
        }
    }
    names
}

/// Something that cannot be read as a file or replaced by one, whoever the test runs as.
fn obstruct(path: &Path) {
    fs::remove_file(path).ok();
    fs::create_dir_all(path.join("in the way")).unwrap();
}

#[test]
fn a_commit_that_fails_half_way_leaves_no_rest_and_works_when_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let works = [
        work("a", 1, b"one"),
        work("b", 1, b"two"),
        work("c", 1, b"three"),
    ];
    let obstacle = dir.path().join("works/b.work");
    obstruct(&obstacle);
    for _ in 0..3 {
        assert!(matches!(store.commit(&works), Err(StoreError::Io { .. })));
        assert_eq!(temps(dir.path()), [""; 0]);
        assert!(store.index.ids().is_empty());
    }
    fs::remove_dir_all(&obstacle).unwrap();
    store.commit(&works).unwrap();
    assert_eq!(store.index.ids().len(), 3);

    let status = dir.path().join("works/a.status");
    obstruct(&status);
    let (id, epoch) = (
        WorkId::from("a"),
        store.index.entry(&"a".into()).unwrap().epoch,
    );
    assert!(store.put_status(&id, epoch, &record("h")).is_err());
    assert_eq!(temps(dir.path()), [""; 0]);
    let ceiling = dir.path().join("sequence");
    obstruct(&ceiling);
    assert!(store.next_sequence(Timestamp::UNIX_EPOCH).is_err());
    assert_eq!(temps(dir.path()), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_read_is_no_damage_and_is_read_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&[work("a", 1, b"one")]).unwrap();
    let id = WorkId::from("a");
    let epoch = store.index.entry(&id).unwrap().epoch;
    store.put_status(&id, epoch, &record("h")).unwrap();
    for name in ["a.work", "a.status"] {
        let path = dir.path().join("works").join(name);
        let kept = fs::read(&path).unwrap();
        obstruct(&path);
        let failed = match name {
            "a.work" => store.read(&id).is_err() && store.head(&id).is_err(),
            _ => store.status(&id).is_err(),
        };
        assert!(failed, "{name}");
        assert!(store.index.entry(&id).is_some() && path.exists());
        assert_eq!(fs::read_dir(dir.path().join("corrupt")).unwrap().count(), 0);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, kept).unwrap();
    }
    assert_eq!(store.read(&id).unwrap().unwrap().payload, "one");
    assert_eq!(store.status(&id).unwrap().unwrap().hash, "h");
}

#[test]
fn a_start_does_not_take_a_file_it_cannot_read_for_damaged() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).commit(&[work("a", 1, b"one")]).unwrap();
    let path = dir.path().join("works/a.work");
    let kept = fs::read(&path).unwrap();
    obstruct(&path);
    let error = Files::open(dir.path()).unwrap_err();
    assert!(error.to_string().starts_with("read work `"), "{error}");
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, kept).unwrap();
    assert_eq!(Files::open(dir.path()).unwrap().works, 1);
}

#[tokio::test]
async fn a_file_that_somebody_took_away_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&[work("a", 1, b"one")]).unwrap();
    fs::remove_file(dir.path().join("works/a.work")).unwrap();
    assert_eq!(store.read(&"a".into()).unwrap(), None);
    assert_eq!(store.index.entry(&"a".into()), None);
    store.index.resync_wanted().await;
}

#[test]
fn what_is_kept_is_its_owner_s_alone_whatever_it_was_before() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let fill = |store: &Files| {
        store
            .commit(&[work("a", 1, b"one"), deleting("b")])
            .unwrap();
        let epoch = store.index.entry(&"a".into()).unwrap().epoch;
        store.put_status(&"a".into(), epoch, &record("h")).unwrap();
        store.next_sequence(Timestamp::UNIX_EPOCH).unwrap();
    };
    let modes = || {
        let mut modes = Vec::new();
        for inner in ["", "works"] {
            for path in modes::with_files(&dir.path().join(inner)) {
                modes.push(fs::metadata(&path).unwrap().permissions().mode() & 0o777);
            }
        }
        modes
    };
    fill(&open(dir.path()));
    assert!(modes().iter().all(|mode| matches!(mode, 0o600 | 0o700)));
    for path in modes::with_files(&dir.path().join("works")) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(modes().contains(&0o755));
    drop(open(dir.path()));
    assert!(modes().iter().all(|mode| mode & 0o077 == 0));
}

#[test]
fn deletions_are_remembered_over_restarts() {
    const CREATED: &str = "2026-08-01T10:00:00Z";
    let dir = tempfile::tempdir().unwrap();
    let mut gone = deleting("b");
    gone.head.metadata = Some(format!(r#"{{"creationTimestamp":"{CREATED}"}}"#));
    gone.head.deleting_since = Some("2026-08-01T11:00:00Z".parse().unwrap());
    let consumer = link::id::ConsumerName::new("cluster1").unwrap();
    let kind = link::event::Kind::spec(link::event::Action::Create);
    let written = "2026-08-01T10:30:00Z".parse().unwrap();
    let mut event = link::event::Event::new("maestro", kind, &consumer, written);
    event.metadata.clone_from(&gone.head.metadata);
    let id = WorkId::from("b");

    let store = open(dir.path());
    store.commit(&[gone.clone()]).unwrap();
    assert!(!store.index.is_late(&id, &event));
    store.remove(&id).unwrap();
    assert!(store.index.is_late(&id, &event));
    drop(store);
    let store = open(dir.path());
    assert!(store.index.is_late(&id, &event));
    // Over and over, the file stays small.
    for _ in 0..3 * super::super::tombstones::MOST {
        let line = store
            .index
            .note_deletion(&gone.head, Some(CREATED))
            .unwrap();
        store.memory.note(&line, || store.index.tombstones());
    }
    assert!(fs::metadata(dir.path().join("departed")).unwrap().len() < 200_000);
    assert!(store.index.is_late(&id, &event));
}
