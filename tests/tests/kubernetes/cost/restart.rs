//! What an agent that starts again asks for: lists, and what differs from what it left.

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::core::dynamic::{ApiResource, DynamicObject};

use super::*;

impl Counted {
    /// Waits until an agent that starts again would know that the source has been told of so many works.
    async fn acknowledged(&self, works: usize) -> Result<()> {
        let states: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.works);
        wait_for("the acknowledgements to be noted", PATIENCE, async || {
            let state = states.get("agent-cluster1-state").await?;
            let data = state.data.unwrap_or_default();
            let marks = data
                .get("acknowledged")
                .map_or(0, |marks| marks.lines().count());
            ensure!(marks == works, "{marks} of {works}");
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    /// Starts the killed agent again; what it asked for until it had applied a new bundle and these values stood in
    /// ConfigMaps, without lists, and the number of lists.
    async fn start(
        &mut self,
        new: &str,
        values: &[(&str, &str)],
    ) -> Result<(BTreeMap<String, usize>, usize)> {
        let mark = self.mark().await?;
        self.region.agent("cluster1")?.service.restart()?;
        // What differs is known then.
        self.watches(mark, &WATCHED).await?;
        self.apply(new).await?;
        wait_for("the drift to be put right", PATIENCE, async || {
            for (name, value) in values {
                let data = self.maps().get(name).await?.data.unwrap_or_default();
                ensure!(data["value"] == *value, "{data:?}");
            }
            anyhow::Ok(())
        })
        .await?;
        let mut asked = self.asked(mark).await?;
        let all = asked.len();
        asked.retain(|what| !what.starts_with("list "));
        let lists = all - asked.len();
        Ok((tally(asked), lists))
    }

    fn deployment(&self) -> Value {
        let labels = json!({ "app": "web" });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "namespace": self.namespace },
            "spec": {
                "replicas": 1, "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "web", "image": "example.com/web:1" }] },
                },
            },
        })
    }

    /// Waits until the controllers have said all they have to say of the Deployment.
    async fn is_rolled_out(&self) -> Result<()> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
        let all: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        wait_for("the Deployment's controller", PATIENCE, async || {
            let status = all.get("web").await?.data["status"].take();
            ensure!(status["unavailableReplicas"] == 1, "{status}");
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_pages_and_applies_only_what_differs() -> Result<()> {
    let mut counted = Counted::new("cost-restart").await?;
    let names: Vec<String> = (0..MANY).map(|number| format!("m{number}")).collect();
    try_join_all(names.iter().map(|name| counted.apply(name))).await?;
    let deployment = counted.post(vec![counted.deployment()]).await?;
    counted.is_applied(&deployment).await?;
    counted.is_rolled_out().await?;
    counted.acknowledged(MANY + 1).await?;

    counted.region.agent("cluster1")?.service.kill()?;
    let (asked, lists) = counted.start("calm", &[]).await?;
    assert_eq!(asked, times(1, &NEW), "and {lists} lists");
    ensure!(lists <= LISTS, "{lists} lists");
    counted.acknowledged(MANY + 2).await?;

    counted.region.agent("cluster1")?.service.kill()?;
    let edit = Patch::Merge(json!({ "data": { "value": "2" } }));
    let maps = counted.maps();
    maps.patch("m0", &PatchParams::default(), &edit).await?;
    maps.delete("m1", &DeleteParams::default()).await?;
    let repaired = [("m0", "1"), ("m1", "1")];
    let (mut asked, lists) = counted.start("drifted", &repaired).await?;
    for (what, count) in times(2, &["get manifestworks", "patch configmaps"]) {
        let made = asked.get_mut(&what).context("it was asked for")?;
        *made -= count;
    }
    asked.retain(|_, count| *count > 0);
    assert_eq!(asked, times(1, &NEW), "and {lists} lists");
    ensure!(lists <= LISTS, "{lists} lists");
    counted.passed();
    Ok(())
}

const WATCHED: [&str; 4] = [
    "manifestworks",
    "appliedmanifestworks",
    "configmaps",
    "deployments",
];
// Of two kinds of ours, each read once for what is held and once to be watched, in pages of the works and of what other
// tests hold; of the kinds of two objects; fewer than there are works.
const LISTS: usize = 16;
