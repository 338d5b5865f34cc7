//! Messages about others that write the same object.

use kube::Error;
use kube::core::response::reason;

use super::{Inner, Task, plain};
use crate::applier::kubernetes::explain::explain;
use crate::applier::kubernetes::field_managers;
use crate::applier::kubernetes::server::ObjectPath;
use crate::applier::{ApplierError, ApplierErrorKind, Desired};

impl Inner {
    /// See [`crate::applier::Applier::conflicting_managers`].
    pub(in crate::applier::kubernetes) async fn conflicting_managers(
        &self,
        desired: Desired<'_>,
    ) -> Vec<String> {
        let Some(resource) = self.discovery.known(desired.object) else {
            return Vec::new();
        };
        let live = self
            .server
            .get(&ObjectPath::new(&resource, desired.object))
            .await;
        let Ok(Some(live)) = live else {
            return Vec::new();
        };
        let ours = desired.strategy.field_manager();
        field_managers::conflicting(&plain(desired.manifest, resource.namespaced), &live, ours)
    }
}

impl Task<'_> {
    /// An object is invalid with what somebody added to a list of the manifest: who it was, and the way out. The
    /// manifest alone is not to blame then.
    pub(super) async fn added_by_others(&self, error: &Error, ours: &str) -> Option<ApplierError> {
        let Error::Api(status) = error else {
            return None;
        };
        let causes = &status.details.as_ref()?.causes;
        if status.reason != reason::INVALID || causes.is_empty() {
            return None;
        }
        let live = self.inner.server.get(&self.path).await.ok()??;
        let within = |list: &str| {
            let mut fields = causes.iter().map(|cause| without_indices(&cause.field));
            fields.any(|field| {
                let rest = field.strip_prefix(list);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let added = field_managers::added(&self.manifest, &live, ours, within);
        let manager = added.first()?.0.clone();
        let paths = added.into_iter().filter(|(by, _)| *by == manager);
        let paths: Vec<String> = paths.map(|(_, path)| path).take(MAX_PATHS).collect();
        let paths = paths.join(", ");
        let refused = explain(error, "apply", self.object).message;
        let refused = refused.split("; hint: ").next().unwrap_or_default();
        Some(ApplierError {
            kind: ApplierErrorKind::Conflict {
                owner: manager.clone(),
            },
            message: format!(
                "{refused}; `{manager}` added {paths} to what the manifest says, and the two do not go together; \
                 hint: put the list of the object back (`kubectl edit`), or write all of it into the manifest"
            ),
        })
    }
}

// `spec.ports[1].name` as `spec.ports.name`.
fn without_indices(field: &str) -> String {
    let mut inside = false;
    let outside = field.chars().filter(|character| {
        let bracket = matches!(character, '[' | ']');
        if bracket {
            inside = *character == '[';
        }
        !bracket && !inside
    });
    outside.collect()
}

const MAX_PATHS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_left_out_of_a_field() {
        for (field, plain) in [
            ("spec.ports[1].name", "spec.ports.name"),
            ("spec.a[0].b[12]", "spec.a.b"),
            ("data[x.y]", "data"),
            ("", ""),
        ] {
            assert_eq!(without_indices(field), plain);
        }
    }
}
