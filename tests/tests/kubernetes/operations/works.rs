//! What `kubectl` does to a ManifestWork: delete, edit, get.

use agent::crd::AppliedManifestWork;
use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Request};
use reqwest::header::{ACCEPT, HeaderValue};
use serde_json::{Value, json};
use tests::api::Change;
use tests::wait::wait_for;

use super::{OperationsFixture, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_work_deleted_here_is_done_over() -> Result<()> {
    let fixture = OperationsFixture::open("operations-delete", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let before = fixture.maps().get("a").await?.metadata.uid;
    let works = fixture.works()?;
    let work = works.get(&id).await?.metadata.uid;
    works.delete(&id, &DeleteParams::default()).await?;
    wait_for("another object", PATIENCE, async || {
        let map = fixture.maps().get_opt("a").await?.context("no object")?;
        ensure!(map.metadata.uid != before, "the old object");
        let again = works.get_opt(&id).await?.context("no work")?;
        ensure!(again.metadata.uid != work, "the old work");
        anyhow::Ok(())
    })
    .await?;
    fixture.applied(&id, 1).await?;
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    fixture.value("a", Some("2")).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_edited_here_is_applied_as_it_was_edited_until_the_source_changes_it() -> Result<()>
{
    let fixture = OperationsFixture::open("operations-edit", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let manifests = json!([fixture.map("a", "edited"), fixture.map("more", "1")]);
    let edit = json!({ "spec": { "workload": { "manifests": manifests } } });
    fixture
        .works()?
        .patch(&id, &PatchParams::default(), &Patch::Merge(&edit))
        .await?;
    fixture.value("a", Some("edited")).await?;
    fixture.value("more", Some("1")).await?;
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    fixture.value("a", Some("2")).await?;
    fixture.value("more", None).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_shows_the_columns_that_a_person_wants() -> Result<()> {
    let fixture = OperationsFixture::open("operations-columns", &[]).await?;
    let mut change = Change::create("cluster1", vec![fixture.map("a", "1")]);
    change.name = Some("guestbook".into());
    let id = fixture.api.create_bundle(&change).await?.id;
    fixture.applied(&id, 1).await?;
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    let path = format!(
        "/apis/work.open-cluster-management.io/v1/namespaces/{}/manifestworks",
        fixture.work_namespace()?
    );
    let listed = async || -> Result<Value> {
        let mut request = Request::new(path.as_str()).list(&ListParams::default())?;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(TABLE));
        Ok(fixture.kube.request(request).await?)
    };
    let table = listed().await?;
    let columns = table["columnDefinitions"].as_array().context("columns")?;
    // What `kubectl get` shows without `-o wide`.
    let shown: Vec<(usize, &str)> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column["priority"] == 0)
        .filter_map(|(place, column)| Some((place, column["name"].as_str()?)))
        .collect();
    let names: Vec<&str> = shown.iter().map(|(_, name)| *name).collect();
    ensure!(
        names == ["Name", "Bundle", "Applied", "Available", "Version", "Age"],
        "{names:?}"
    );
    // The source is told a moment before the object is.
    wait_for("the row", PATIENCE, async || {
        let table = listed().await?;
        let cells = &table["rows"][0]["cells"];
        let row: Vec<&str> = shown
            .iter()
            .filter_map(|(place, _)| cells[*place].as_str())
            .collect();
        let expected = [id.as_str(), "guestbook", "True", "True", "2"];
        ensure!(row.starts_with(&expected), "{row:?}");
        anyhow::Ok(())
    })
    .await?;
    fixture.passed();
    Ok(())
}

// How kubectl asks for what it prints.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

#[tokio::test(flavor = "multi_thread")]
async fn a_bundles_labels_are_those_of_its_work_and_of_what_keeps_its_objects() -> Result<()> {
    let fixture = OperationsFixture::open("operations-labels", &[]).await?;
    let labelled = |labels: Value| Change {
        metadata: Some(json!({ "labels": labels })),
        ..Change::default()
    };
    let change = Change {
        consumer_name: Some("cluster1".into()),
        manifests: vec![fixture.map("a", "1")],
        ..labelled(json!({ "team": "a", "env": "prod" }))
    };
    let id = fixture.api.create_bundle(&change).await?.id;
    fixture.applied(&id, 1).await?;
    let team = ListParams::default().labels("team=a");
    let works = fixture.works()?;
    assert_eq!(works.list(&team).await?.items.len(), 1);
    let records: kube::Api<AppliedManifestWork> = kube::Api::all(fixture.kube.clone());
    let records = records.list(&team).await?.items;
    let of_this = |record: &&AppliedManifestWork| record.spec.manifest_work_name == id;
    ensure!(records.iter().filter(of_this).count() == 1, "{records:?}");

    let change = Change {
        version: Some(1),
        ..labelled(json!({ "team": "b" }))
    };
    fixture.api.change_bundle(&id, &change).await?;
    fixture.applied(&id, 2).await?;
    let labels = works.get(&id).await?.metadata.labels.unwrap_or_default();
    assert_eq!(labels.get("team").map(String::as_str), Some("b"));
    assert_eq!(labels.get("env"), None);
    assert_eq!(
        labels
            .get("work.open-cluster-management.io/consumer")
            .map(String::as_str),
        Some("cluster1")
    );
    fixture.passed();
    Ok(())
}
