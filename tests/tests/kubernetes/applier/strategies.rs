//! What each strategy writes, and what it leaves alone.

use agent::applier::ApplierErrorKind;
use anyhow::ensure;
use link::bundle::{IgnoreField, ServerSideApply, UpdateStrategy};
use tests::test_dir::TestDir;

use super::*;

fn server_side(options: ServerSideApply) -> Strategy {
    Strategy::ServerSideApply(UpdateStrategy {
        kind: "ServerSideApply".into(),
        server_side_apply: Some(options),
    })
}

#[tokio::test]
async fn a_new_object_costs_two_requests() -> Result<()> {
    // Of its own: what another agent may hold costs one more.
    let test_dir = TestDir::new("cost-object")?;
    let cluster = Cluster::start(test_dir.path()).await?;
    let client = cluster.client().await?;
    install(&client).await?;
    let user = cluster.client_called("agent-that-counts").await?;
    let namespace = cluster.namespace("cost").await?;
    let audit = cluster.audit().await?;
    let counts = async || {
        let mark = audit.mark().await?;
        let (client, user, namespace) = (client.clone(), user.clone(), namespace.clone());
        let mut bench = Bench::of(client, user, namespace, &[]).await?;
        bench.watched().await?;
        // Whoever lists AppliedManifestWorks reads those that came meanwhile.
        wait_for("the watch of AppliedManifestWorks", PATIENCE, async || {
            let entries = audit.since(mark).await?;
            let watched = entries.iter().any(|entry| {
                entry.user_agent == "agent-that-counts"
                    && entry.verb == "watch"
                    && entry.resource == "appliedmanifestworks"
            });
            ensure!(watched);
            anyhow::Ok(())
        })
        .await?;
        anyhow::Ok(bench)
    };
    let mut bench = counts().await?;
    let mark = audit.mark().await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    let mine = |entries: Vec<tests::kubernetes::AuditEntry>| -> Vec<String> {
        let mine = entries
            .into_iter()
            .filter(|entry| entry.user_agent == "agent-that-counts")
            // A watch begins anew whenever the server ends it.
            .filter(|entry| entry.verb != "watch");
        mine.map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.subresource))
            .collect()
    };
    let new = ["create appliedmanifestworks ", "patch configmaps "];
    assert_eq!(mine(audit.since(mark).await?), new);
    // Looking again costs one, and the next version two.
    let mark = audit.mark().await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    assert_eq!(mine(audit.since(mark).await?), ["patch configmaps "]);
    let mark = audit.mark().await?;
    bench.hold("a", &bench.map("a", "blue")).await?;
    assert_eq!(
        mine(audit.since(mark).await?),
        ["patch appliedmanifestworks ", "patch configmaps "]
    );

    // So it does beside another agent that says what it holds, unless it is that.
    let mut other = counts().await?;
    other.agent_id = AgentId::from("other");
    other.restart().await?;
    other.hold("b", &bench.map("b", "red")).await?;
    bench = counts().await?;
    let mark = audit.mark().await?;
    bench.hold("c", &bench.map("c", "red")).await?;
    assert_eq!(mine(audit.since(mark).await?), new);
    let mark = audit.mark().await?;
    bench.hold("d", &bench.map("b", "red")).await?;
    let [create, patch] = new;
    assert_eq!(
        mine(audit.since(mark).await?),
        [create, "get configmaps ", patch]
    );
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_default_makes_what_the_manifest_says_and_removes_what_it_drops() -> Result<()> {
    let bench = Bench::new("default").await?;
    let mut manifest = bench.map("a", "red");
    manifest["data"]["shape"] = json!("round");
    manifest["metadata"]["uid"] = json!("not-this-one");
    manifest["metadata"]["creationTimestamp"] = Value::Null;
    let applied = bench.hold("a", &manifest).await?;
    assert!(applied.changed);
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"]["shape"], "round");
    assert!(observed["metadata"]["managedFields"].is_null());
    assert_eq!(bench.owners("a").await?.len(), 1);
    assert!(!bench.hold("a", &manifest).await?.changed);

    bench.edit("a", json!({"data": {"size": "big"}})).await?;
    let applied = bench.hold("a", &bench.map("a", "blue")).await?;
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"], json!({"color": "blue", "size": "big"}));
    Ok(())
}

#[tokio::test]
async fn fields_written_by_put_are_taken_over() -> Result<()> {
    let bench = Bench::new("takeover").await?;
    let mut manifest = bench.map("a", "red");
    manifest["data"]["shape"] = json!("round");
    let looks = [(manifest, Strategy::Update)];
    bench.look("a", &looks).await?.remove(0)?;
    let applied = bench.hold("a", &bench.map("a", "red")).await?;
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"], json!({"color": "red"}));
    Ok(())
}

#[tokio::test]
async fn a_conflict_names_the_manager_and_its_fields_and_ends_with_its_next_change() -> Result<()> {
    let mut bench = Bench::new("conflict").await?;
    bench.watched().await?;
    bench.create(bench.map("a", "red")).await?;
    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    let looks = [(
        bench.map("a", "blue"),
        server_side(ServerSideApply::default()),
    )];
    let error = bench.look("a", &looks).await?.remove(0).unwrap_err();
    assert!(
        matches!(&error.kind, ApplierErrorKind::Conflict { owner } if owner.contains("somebody-else"))
    );
    assert!(error.message.contains(".data.color"), "{error}");
    assert!(!error.is_retryable());

    bench.edit("a", json!({"data": {"color": null}})).await?;
    bench.woken("a").await?;
    bench.look("a", &looks).await?.remove(0)?;
    assert_eq!(bench.color("a").await?, "blue");

    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    let forced = server_side(ServerSideApply {
        force: true,
        ..ServerSideApply::default()
    });
    let looks = [(bench.map("a", "blue"), forced)];
    bench.look("a", &looks).await?.remove(0)?;
    assert_eq!(bench.color("a").await?, "blue");
    Ok(())
}

#[tokio::test]
async fn ignored_fields_are_set_once_and_then_left_to_others() -> Result<()> {
    let bench = Bench::new("ignored").await?;
    let strategy = server_side(ServerSideApply {
        force: true,
        ignore_fields: vec![IgnoreField {
            json_pointers: vec!["/data/color".into()],
            ..IgnoreField::default()
        }],
        ..ServerSideApply::default()
    });
    let mut manifest = bench.map("a", "red");
    let looks = [(manifest.clone(), strategy.clone())];
    bench.look("a", &looks).await?.remove(0)?;
    assert_eq!(bench.color("a").await?, "red");
    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    manifest["data"]["shape"] = json!("round");
    let looks = [(manifest, strategy)];
    let applied = bench.look("a", &looks).await?.remove(0)?;
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"]["color"], "green");
    assert_eq!(observed["data"]["shape"], "round");
    assert!(!bench.look("a", &looks).await?.remove(0)?.changed);
    Ok(())
}

#[tokio::test]
async fn update_merges_and_writes_only_what_differs() -> Result<()> {
    let bench = Bench::new("update").await?;
    let looks = [(bench.map("a", "red"), Strategy::Update)];
    assert!(bench.look("a", &looks).await?.remove(0)?.changed);
    assert!(!bench.look("a", &looks).await?.remove(0)?.changed);
    let labels = json!({"metadata": {"labels": {"other": "label"}}});
    bench.edit("a", labels).await?;
    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    let applied = bench.look("a", &looks).await?.remove(0)?;
    assert!(applied.changed);
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"], json!({"color": "red"}));
    assert_eq!(observed["metadata"]["labels"]["other"], "label");
    assert_eq!(bench.owners("a").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn create_only_creates_and_then_only_owns() -> Result<()> {
    let bench = Bench::new("create").await?;
    let looks = [(bench.map("a", "red"), Strategy::CreateOnly)];
    assert!(bench.look("a", &looks).await?.remove(0)?.changed);
    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    assert!(!bench.look("a", &looks).await?.remove(0)?.changed);
    assert_eq!(bench.color("a").await?, "green");

    bench.create(bench.map("theirs", "green")).await?;
    let looks = [(bench.map("theirs", "red"), Strategy::CreateOnly)];
    let applied = bench.look("b", &looks).await?.remove(0)?;
    assert!(!applied.changed && applied.observed.is_some());
    assert_eq!(bench.color("theirs").await?, "green");
    assert_eq!(bench.owners("theirs").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn read_only_touches_nothing_and_is_told_of_changes() -> Result<()> {
    let mut bench = Bench::new("observe").await?;
    bench.watched().await?;
    bench.create(bench.map("theirs", "green")).await?;
    let looks = [(bench.map("theirs", "red"), Strategy::ReadOnly)];
    let applied = bench.look("a", &looks).await?.remove(0)?;
    assert!(!applied.changed);
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"]["color"], "green");
    assert_eq!(bench.owners("theirs").await?, Vec::<String>::new());
    assert!(
        bench
            .records()
            .get_opt(&bench.record_name("a"))
            .await?
            .is_none()
    );
    bench
        .edit("theirs", json!({"data": {"color": "blue"}}))
        .await?;
    bench.woken("a").await?;

    // What is to be read may come later, also from a work of ours.
    let looks = [(bench.map("later", "red"), Strategy::ReadOnly)];
    let applied = bench.look("b", &looks).await?.remove(0)?;
    assert_eq!((applied.changed, applied.observed), (false, None));
    bench.hold("c", &bench.map("later", "red")).await?;
    assert!(!bench.woken("b").await?.contains(&"c".into()));
    Ok(())
}
