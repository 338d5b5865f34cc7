// Long because every promise of the applier stands on one fixture.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    applier: Directory,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let applier = Self::open(dir.path());
        Self { dir, applier }
    }

    fn open(dir: &Path) -> Directory {
        Directory::open(
            &dir.join("out"),
            &dir.join("records"),
            Duration::from_secs(1),
        )
        .unwrap()
    }

    fn reopen(&mut self) {
        self.applier = Self::open(self.dir.path());
    }

    async fn put(&self, owner: &str, manifests: &[Value]) -> Vec<Result<Applied, ApplierError>> {
        self.put_with(owner, manifests, &Strategy::Update).await
    }

    async fn put_with(
        &self,
        owner: &str,
        manifests: &[Value],
        strategy: &Strategy,
    ) -> Vec<Result<Applied, ApplierError>> {
        let owner = WorkId::from(owner);
        let claims: Vec<Claim> = manifests
            .iter()
            .map(|manifest| Claim {
                object: ObjectRef::of(manifest),
                content: (*strategy != Strategy::CreateOnly).then(|| manifest.to_string()),
            })
            .collect();
        let stale = self.applier.claim(&owner, &claims).await.unwrap();
        let mut results = Vec::new();
        for manifest in manifests {
            let object = ObjectRef::of(manifest);
            results.push(
                self.applier
                    .apply(
                        &owner,
                        Desired {
                            object: &object,
                            manifest,
                            strategy,
                            executor: None,
                            may_remove: true,
                        },
                    )
                    .await,
            );
        }
        self.drop_all(&owner, &stale, Release::Remove).await;
        results
    }

    async fn drop_all(&self, owner: &WorkId, held: &[HeldObject], mode: Release) -> Vec<Released> {
        let mut released = Vec::new();
        for held in held {
            released.push(self.applier.release(owner, held, mode).await.unwrap());
        }
        self.applier.settle(owner).await.unwrap();
        released
    }

    async fn delete(&self, owner: &str, mode: Release) -> Vec<Released> {
        let owner = WorkId::from(owner);
        let held = self.applier.claim(&owner, &[]).await.unwrap();
        self.drop_all(&owner, &held, mode).await
    }

    fn files(&self) -> Vec<String> {
        let root = self.dir.path().join("out");
        let mut files = Vec::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    }

    fn value(&self, manifest: &Value) -> Value {
        let text = fs::read_to_string(self.applier.path(&ObjectRef::of(manifest))).unwrap();
        yaml::parse(&text).unwrap()
    }
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "d"}, "data": {"v": value}})
}

#[tokio::test]
async fn one_file_per_object_equals_its_manifest() {
    let fixture = Fixture::new();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:a.B"}});
    let manifests = [config_map("a", "1"), role];
    fixture.put("w", &manifests).await;
    assert_eq!(
        fixture.files(),
        [
            "_cluster/clusterrole.rbac.authorization.k8s.io/system:a.B.yaml",
            "d/configmap/a.yaml"
        ]
    );
    for manifest in &manifests {
        assert_eq!(fixture.value(manifest), *manifest);
    }
    let again = fixture.put("w", &manifests).await;
    assert!(again.iter().all(|result| !result.as_ref().unwrap().changed));
}

#[tokio::test]
async fn names_that_would_leave_the_directory_stay_inside() {
    let fixture = Fixture::new();
    let evil = |kind: &str, namespace: &str, name: &str| json!({"apiVersion": "../../v1/x", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    let long = "n".repeat(253);
    let manifests = [
        evil("../..", "..", "../../../etc/passwd"),
        evil("K", "_cluster", ".hidden"),
        evil("K", "/abs", &long),
    ];
    for result in fixture.put("../../w", &manifests).await {
        result.unwrap();
    }
    assert_eq!(fixture.files().len(), 3);
    assert!(
        fixture
            .files()
            .iter()
            .all(|file| file.split('/').count() == 3),
        "{:?}",
        fixture.files()
    );
    let outside: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().collect();
    assert_eq!(outside.len(), 2);
}

#[tokio::test]
async fn objects_no_longer_declared_are_pruned_with_their_empty_directories() {
    let mut fixture = Fixture::new();
    fixture
        .put("w", &[config_map("a", "1"), config_map("b", "1")])
        .await;
    fixture.reopen();
    fixture.put("w", &[config_map("b", "2")]).await;
    assert_eq!(fixture.files(), ["d/configmap/b.yaml"]);
    assert_eq!(fixture.delete("w", Release::Remove).await, [Released::Gone]);
    assert_eq!(fixture.files(), Vec::<String>::new());
    assert!(!fixture.dir.path().join("out/d").exists());
    assert_eq!(
        fs::read_dir(fixture.dir.path().join("records"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn an_orphaned_object_stays_and_has_no_owner() {
    let fixture = Fixture::new();
    fixture.put("w", &[config_map("a", "1")]).await;
    assert_eq!(fixture.delete("w", Release::Orphan).await, [Released::Left]);
    assert_eq!(fixture.files(), ["d/configmap/a.yaml"]);
    assert!(fixture.delete("w", Release::Remove).await.is_empty());
}

#[tokio::test]
async fn equal_objects_are_co_owned_until_the_last_owner_goes() {
    let fixture = Fixture::new();
    for owner in ["w1", "w2"] {
        fixture
            .put(owner, &[config_map("a", "1")])
            .await
            .remove(0)
            .unwrap();
    }
    assert_eq!(
        fixture.delete("w1", Release::Remove).await,
        [Released::Left]
    );
    assert_eq!(fixture.files(), ["d/configmap/a.yaml"]);
    assert_eq!(
        fixture.delete("w2", Release::Remove).await,
        [Released::Gone]
    );
    assert_eq!(fixture.files(), Vec::<String>::new());
}

#[tokio::test]
async fn differing_content_is_a_conflict_that_names_the_leader_and_ends_when_it_goes() {
    let mut fixture = Fixture::new();
    let (ours, theirs) = (config_map("a", "1"), config_map("a", "2"));
    fixture.put("w1", std::slice::from_ref(&ours)).await;
    let error = fixture
        .put("w2", std::slice::from_ref(&theirs))
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(
        error.kind,
        ApplierErrorKind::Conflict { owner: "w1".into() }
    );
    assert!(
        error
            .message
            .starts_with("ConfigMap d/a is held by work `w1`"),
        "{error}"
    );
    assert_eq!(fixture.value(&ours), ours);
    // The leader can change its mind; the late-comer does not block it, not even after a restart.
    fixture.reopen();
    let changed = config_map("a", "3");
    fixture
        .put("w1", std::slice::from_ref(&changed))
        .await
        .remove(0)
        .unwrap();
    assert_eq!(fixture.value(&ours), changed);
    let (sender, mut changes) = mpsc::channel(4);
    let applier = fixture.applier.clone();
    let watch = tokio::spawn(async move { applier.watch(sender).await });
    fixture.delete("w1", Release::Remove).await;
    let woken = loop {
        match changes.recv().await.unwrap() {
            Change::Works(works) if works.contains(&"w2".into()) => break true,
            _ => {}
        }
    };
    assert!(woken);
    watch.abort();
    fixture
        .put("w2", std::slice::from_ref(&theirs))
        .await
        .remove(0)
        .unwrap();
    assert_eq!(fixture.value(&theirs), theirs);
}

#[tokio::test]
async fn create_only_leaves_an_existing_object_alone_and_read_only_all() {
    let fixture = Fixture::new();
    let first = config_map("a", "1");
    fixture
        .put_with("w", std::slice::from_ref(&first), &Strategy::CreateOnly)
        .await;
    fixture
        .put_with("w", &[config_map("a", "2")], &Strategy::CreateOnly)
        .await;
    assert_eq!(fixture.value(&first), first);
    let object = ObjectRef::of(&config_map("b", "1"));
    let owner = WorkId::from("r");
    fixture
        .applier
        .apply(
            &owner,
            Desired {
                object: &object,
                manifest: &config_map("b", "1"),
                strategy: &Strategy::ReadOnly,
                executor: None,
                may_remove: true,
            },
        )
        .await
        .unwrap();
    assert_eq!(fixture.applier.observe(&object).await.unwrap(), None);
}

#[tokio::test]
async fn what_somebody_else_changes_or_removes_is_noticed_and_repaired() {
    let fixture = Fixture::new();
    let manifest = config_map("a", "1");
    fixture.put("w", std::slice::from_ref(&manifest)).await;
    assert_eq!(fixture.applier.sweep(), Vec::new());
    let path = fixture.applier.path(&ObjectRef::of(&manifest));
    fs::remove_file(&path).unwrap();
    assert_eq!(fixture.applier.sweep(), [WorkId::from("w")]);
    fixture.put("w", std::slice::from_ref(&manifest)).await;
    fs::write(&path, "edited: by hand\n").unwrap();
    assert_eq!(fixture.applier.sweep(), [WorkId::from("w")]);
    assert!(
        fixture.put("w", std::slice::from_ref(&manifest)).await[0]
            .as_ref()
            .unwrap()
            .changed
    );
    assert_eq!(fixture.value(&manifest), manifest);
}

#[test]
fn the_rest_of_an_interrupted_write_is_removed_at_start() {
    let mut fixture = Fixture::new();
    fs::write(fixture.dir.path().join("out/.agent-tmp/.tmp-1-1"), "half").unwrap();
    fixture.reopen();
    assert_eq!(fixture.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_link_below_the_root_is_neither_written_nor_read_nor_removed_through() {
    // The link stands for the namespace, for the kind, and for the file itself.
    for inner in ["d", "d/configmap", "d/configmap/a.yaml"] {
        let fixture = Fixture::new();
        let (outside, link) = (
            fixture.dir.path().join("outside"),
            fixture.dir.path().join("out").join(inner),
        );
        let is_file = inner.ends_with(".yaml");
        fs::create_dir_all(outside.join("configmap")).unwrap();
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let victims = [outside.join("a.yaml"), outside.join("configmap/a.yaml")];
        for victim in &victims {
            fs::write(victim, "theirs").unwrap();
        }
        let to = if is_file { &victims[0] } else { &outside };
        symlink(to, &link).unwrap();

        let object = ObjectRef::of(&config_map("a", "1"));
        assert!(fixture.applier.observe(&object).await.is_err(), "{inner}");
        let results = fixture.put("w", &[config_map("a", "1")]).await;
        // A link in place of the file is replaced by the file; nothing else is touched.
        assert_eq!(results[0].is_ok(), is_file, "{inner}");
        if let Err(error) = &results[0] {
            assert!(
                error.is_retryable() && error.message.contains("symbolic link"),
                "{error}"
            );
        }
        if is_file {
            fs::remove_file(&link).unwrap();
            symlink(&victims[0], &link).unwrap();
        }
        let held = HeldObject::from(&object);
        let released = fixture
            .applier
            .release(&"w".into(), &held, Release::Remove)
            .await;
        assert_eq!(released.is_ok(), is_file, "{inner}");
        for victim in &victims {
            assert_eq!(fs::read_to_string(victim).unwrap(), "theirs", "{inner}");
        }
        if is_file {
            continue;
        }
        // The link gone, the work goes on.
        fs::remove_file(&link).unwrap();
        assert!(fixture.put("w", &[config_map("a", "1")]).await[0].is_ok());
        assert_eq!(fixture.delete("w", Release::Remove).await, [Released::Gone]);
    }
}

#[tokio::test]
async fn what_is_no_file_is_not_read() {
    let fixture = Fixture::new();
    let object = ObjectRef::of(&config_map("a", "1"));
    fs::create_dir_all(fixture.applier.path(&object)).unwrap();
    let error = fixture.applier.observe(&object).await.unwrap_err();
    assert!(error.message.contains("is no file"), "{error}");
}

#[tokio::test]
async fn manifests_and_records_are_their_owner_s_alone_whatever_they_were_before() {
    let mut fixture = Fixture::new();
    fixture.put("w", &[config_map("a", "1")]).await;
    let below = |fixture: &Fixture| {
        let mut paths = vec![
            fixture.dir.path().join("out"),
            fixture.dir.path().join("records"),
        ];
        let mut at = 0;
        while let Some(path) = paths.get(at).cloned() {
            at += 1;
            if path.is_dir() {
                paths.extend(
                    fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
        paths
    };
    let private = |fixture: &Fixture| {
        let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode();
        below(fixture).iter().all(|path| mode(path) & 0o077 == 0)
    };
    assert!(private(&fixture));
    for path in below(&fixture) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(!private(&fixture));
    fixture.reopen();
    assert!(private(&fixture));
}
