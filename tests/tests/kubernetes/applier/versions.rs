//! A version of a kind that is not served any more takes nothing along: objects are there in every other version.

use agent::applier::ApplierErrorKind;
use kube::api::ListParams;
use kube::discovery::pinned_kind;

use super::*;

/// A kind in versions that come and go, and an object of it that a work holds in the first one.
struct Yard {
    bench: Bench,
    group: String,
}

const BEFORE: &str = "v1alpha1";
const AFTER: &str = "v1beta1";
const NAME: &str = "g";

impl Yard {
    /// Both versions are served, or only the first one yet.
    async fn new(name: &str, both: bool) -> Result<Self> {
        let bench = Bench::new(name).await?;
        let group = format!("{}.example.com", bench.namespace);
        let mut yard = Self { bench, group };
        yard.define(&[(BEFORE, true), (AFTER, true)][..1 + usize::from(both)])
            .await?;
        yard.serves(BEFORE, true).await?;
        yard.bench.restart().await?;
        yard.bench.hold("w", &yard.gadget()).await?;
        Ok(yard)
    }

    fn gadget(&self) -> Value {
        json!({
            "apiVersion": format!("{}/{BEFORE}", self.group), "kind": "Gadget",
            "metadata": {"name": NAME, "namespace": self.bench.namespace},
            "spec": {"color": "red"},
        })
    }

    /// The kind has these versions, served or not, of which the last is stored.
    async fn define(&self, versions: &[(&str, bool)]) -> Result<()> {
        let last = versions.len() - 1;
        let versions = versions.iter().enumerate();
        let versions = versions.map(|(at, (version, served))| {
            json!({
                "name": version, "served": served, "storage": at == last,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            })
        });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("gadgeten.{}", self.group)},
            "spec": {
                "group": self.group, "scope": "Namespaced",
                "names": {"kind": "Gadget", "plural": "gadgeten"},
                "versions": versions.collect::<Vec<Value>>(),
            },
        });
        let params = PatchParams::apply("somebody-else").force();
        let name = format!("gadgeten.{}", self.group);
        self.definitions()
            .patch(&name, &params, &Patch::Apply(definition))
            .await?;
        Ok(())
    }

    /// An upgrade of the kind ends the first version.
    async fn upgrade(&self) -> Result<()> {
        self.define(&[(BEFORE, false), (AFTER, true)]).await?;
        self.serves(BEFORE, false).await?;
        self.serves(AFTER, true).await
    }

    async fn serves(&self, version: &str, served: bool) -> Result<()> {
        wait_for("the server to follow", PATIENCE, async || {
            match self.objects(version).list(&ListParams::default()).await {
                // An agent that starts asks for what is served only once.
                Ok(_) if served => {
                    let found = pinned_kind(&self.bench.client, &self.gvk(version)).await;
                    found.map(drop).map_err(|error| error.to_string())
                }
                Err(kube::Error::Api(status)) if status.code == 404 && !served => Ok(()),
                other => Err(format!("{version}: {other:?}")),
            }
        })
        .await?;
        Ok(())
    }

    fn definitions(&self) -> Api<DynamicObject> {
        let kind = kind("apiextensions.k8s.io", "CustomResourceDefinition");
        Api::all_with(self.bench.client.clone(), &kind)
    }

    fn objects(&self, version: &str) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk_with_plural(&self.gvk(version), "gadgeten");
        Api::namespaced_with(self.bench.client.clone(), &self.bench.namespace, &kind)
    }

    fn gvk(&self, version: &str) -> GroupVersionKind {
        GroupVersionKind::gvk(&self.group, version, "Gadget")
    }

    /// The object as it is after the upgrade.
    async fn live(&self) -> Result<Option<DynamicObject>> {
        Ok(self.objects(AFTER).get_opt(NAME).await?)
    }

    async fn owners(&self) -> Result<Vec<String>> {
        let live = self.live().await?.context("the object is there")?;
        let owners = live.metadata.owner_references.unwrap_or_default();
        Ok(owners.into_iter().map(|owner| owner.uid).collect())
    }

    /// One look at the work as it is, which is told that the version is not served.
    async fn look(&self) -> Result<()> {
        let looks = [(self.gadget(), Strategy::Default)];
        let outcome = self.bench.look("w", &looks).await?.remove(0);
        assert!(
            matches!(&outcome, Err(error) if error.kind == ApplierErrorKind::UnknownKind),
            "{outcome:?}"
        );
        Ok(())
    }
}

/// Whether the other version was served before, and whether the work is looked at between the upgrade and its end.
const CASES: [(bool, bool); 4] = [(true, false), (true, true), (false, false), (false, true)];

#[tokio::test]
async fn a_deletion_goes_on_in_another_version() -> Result<()> {
    for (both, looks) in CASES {
        let yard = Yard::new("unserved-delete", both).await?;
        yard.upgrade().await?;
        if looks {
            yard.look().await?;
        }
        let released = yard.bench.give_up("w", Release::Remove).await?;
        assert_eq!(released, Released::Gone);
        assert!(yard.live().await?.is_none(), "{both} {looks}");
    }
    Ok(())
}

#[tokio::test]
async fn an_object_that_is_to_stay_loses_its_owner_in_another_version() -> Result<()> {
    for (both, looks) in CASES {
        let yard = Yard::new("unserved-orphan", both).await?;
        yard.upgrade().await?;
        if looks {
            yard.look().await?;
        }
        let released = yard.bench.give_up("w", Release::Orphan).await?;
        assert_eq!(released, Released::Left, "{both} {looks}");
        assert_eq!(yard.owners().await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_declared_no_more_goes_in_another_version() -> Result<()> {
    for (both, looks) in CASES {
        let yard = Yard::new("unserved-prune", both).await?;
        yard.upgrade().await?;
        if looks {
            yard.look().await?;
        }
        yard.bench.hold("w", &yard.bench.map("a", "red")).await?;
        assert!(yard.live().await?.is_none(), "{both} {looks}");
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_somebody_deletes_hands_over_in_another_version() -> Result<()> {
    for (both, looks) in CASES {
        let yard = Yard::new("unserved-retire", both).await?;
        let bench = &yard.bench;
        yard.upgrade().await?;
        if looks {
            yard.look().await?;
        }
        let old = bench.record_name("w");
        let params = DeleteParams::default();
        bench.records().delete(&old, &params).await?;
        let successor = wait_for("a successor", PATIENCE, async || {
            yard.look().await?;
            match bench.living_records().await?.as_slice() {
                [name] if *name != old => anyhow::Ok(name.clone()),
                names => bail!("{names:?}"),
            }
        })
        .await?;
        let successor = bench.records().get(&successor).await?.metadata.uid;
        assert_eq!(yard.owners().await?, [successor.context("uid")?]);
    }
    Ok(())
}

#[tokio::test]
async fn a_kind_that_is_defined_and_not_served_is_waited_for() -> Result<()> {
    let yard = Yard::new("unserved-all", true).await?;
    yard.define(&[(BEFORE, false), (AFTER, false)]).await?;
    yard.serves(BEFORE, false).await?;
    yard.serves(AFTER, false).await?;
    let words = format!("gadgeten.{}` serves no version", yard.group);
    for mode in [Release::Remove, Release::Orphan] {
        let error = yard.bench.give_up("w", mode).await.unwrap_err();
        assert!(error.to_string().contains(&words), "{error}");
    }
    yard.upgrade().await?;
    let released = yard.bench.give_up("w", Release::Remove).await?;
    assert_eq!(released, Released::Gone);
    assert!(yard.live().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_kind_that_is_removed_took_its_objects_along() -> Result<()> {
    let yard = Yard::new("undefined", true).await?;
    let name = format!("gadgeten.{}", yard.group);
    let params = DeleteParams::default();
    yard.definitions().delete(&name, &params).await?;
    for version in [BEFORE, AFTER] {
        yard.serves(version, false).await?;
    }
    let released = yard.bench.give_up("w", Release::Remove).await?;
    assert_eq!(released, Released::Gone);
    let name = yard.bench.record_name("w");
    assert!(yard.bench.records().get_opt(&name).await?.is_none());
    Ok(())
}
