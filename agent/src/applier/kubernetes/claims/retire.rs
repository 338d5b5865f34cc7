//! Handing objects over from an AppliedManifestWork that cannot stay: one that somebody deleted, or a second one of
//! the same work. Its successor exists already and names all objects, so an interruption loses nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;
use tracing::info;

use super::applied_work::AppliedWork;
use crate::applier::ApplierError;
use crate::applier::kubernetes::Inner;
use crate::applier::kubernetes::explain::explain;
use crate::applier::kubernetes::owners::united;
use crate::applier::kubernetes::server::ObjectPath;
use crate::applier::ownership::Record;
use crate::cluster::is_not_served;
use crate::work_id::WorkId;

impl Inner {
    /// Moves every object of the retiring owners to `applied_work`, then lets them go.
    pub(super) async fn retire(
        &self,
        owner: &WorkId,
        record: &Record,
        applied_work: &AppliedWork,
    ) -> Result<(), ApplierError> {
        for retiring in &applied_work.retiring {
            let name = &retiring.name;
            info!(resource.id = %owner, "Moving objects from AppliedManifestWork {name} to {}", applied_work.name);
            for share in &record.objects {
                let object = share.held.object();
                self.hand_over(&object, retiring, applied_work.reference())
                    .await?;
            }
            self.delete_applied_work(name, &retiring.uid).await?;
            self.index.ours(&retiring.uid, false);
            let mut claims = self.claims();
            claims.works.remove(&retiring.uid);
            if let Some(applied_work) = claims.applied_works.get_mut(owner) {
                applied_work.retiring.retain(|it| it.uid != retiring.uid);
            }
        }
        Ok(())
    }

    async fn hand_over(
        &self,
        object: &ObjectRef,
        from: &OwnerReference,
        to: OwnerReference,
    ) -> Result<(), ApplierError> {
        let mut lost = Vec::new();
        let mut way = self.reach(object).await?;
        while let Some(resource) = way {
            let path = ObjectPath::new(&resource, object);
            let moved = self
                .server
                .change_owners(&path, |owners| {
                    let others = owners.iter().filter(|owner| owner.uid != from.uid);
                    let others: Vec<OwnerReference> = others.cloned().collect();
                    (others.len() < owners.len()).then(|| united(others, [to.clone()]))
                })
                .await;
            match moved {
                Err(error) if is_not_served(&error) => {
                    way = self.reach_otherwise(object, resource, &mut lost).await?;
                }
                moved => {
                    return moved
                        .map(drop)
                        .map_err(|error| explain(&error, "change the owner of", object));
                }
            }
        }
        // A kind that is gone took its objects along.
        Ok(())
    }
}
