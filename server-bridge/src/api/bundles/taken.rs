//! How to go on after a create whose id or name another bundle has: which one that is, if the caller may see it, and how it
//! is changed.
//!
//! Names are unique over all consumers and sources, as in the Go server's table (docs/MAESTRO.md §5.5), whose clients find
//! a bundle again by its name.

use futures_util::TryStreamExt as _;

use super::super::actor::Actor;
use super::super::{Context, PREFIX};
use crate::callers::Verb;
use crate::store::query::{BundleColumn, Comparison, Filter, Parts, Query, Subject, Value};
use crate::store::{Bundle, Store, StoreError};

/// What is added to the refusal of a bundle with this id and name. It tells nothing of a bundle that the caller may not see.
pub(super) async fn advice<S: Store>(
    context: &Context<S>,
    actor: &Actor,
    id: &str,
    name: &str,
) -> String {
    // What cannot be read now is not worth another refusal.
    if let Ok(Some(found)) = find(&context.store, id, name).await {
        let found_id = found.id.clone();
        if let Ok(bundle) = actor.bundle(Verb::Get, &found_id, Some(found)).await {
            return text(&bundle, other(&bundle, id, name));
        }
    }
    UNIQUE.into()
}

async fn find<S: Store>(store: &S, id: &str, name: &str) -> Result<Option<Bundle>, StoreError> {
    if let Some(bundle) = store.get_bundle(id).await? {
        return Ok(Some(bundle));
    }
    let query = Query {
        filter: Some(Filter::Compare(
            Subject::Column(BundleColumn::Name),
            Comparison::Equal,
            Value::Text(name.to_owned()),
        )),
        order: Vec::new(),
        offset: 0,
        limit: 1,
    };
    let parts = Parts {
        content: false,
        status: false,
        ledger: false,
        progress: false,
    };
    let mut page = store.list_bundles(query, parts).await?;
    page.rows.try_next().await
}

/// What the caller may choose instead.
fn other(bundle: &Bundle, id: &str, name: &str) -> &'static str {
    match (bundle.id == id, bundle.name == name) {
        (true, true) if id != name => "id and another name",
        // A name that is not given is the id.
        (true, _) => "id",
        (false, _) => "name",
    }
}

fn text(bundle: &Bundle, other: &str) -> String {
    let Bundle {
        id,
        name,
        consumer_name,
        version,
        ..
    } = bundle;
    if bundle.deleted_at.is_some() {
        return format!(
            "`{id}` of consumer `{consumer_name}` is being deleted; create it again once it is gone"
        );
    }
    format!(
        "it is `{id}`, name `{name}`, of consumer `{consumer_name}` at version {version}; change it with \
         `PATCH {PREFIX}/resource-bundles/{id}` and `\"version\":{version}`, or choose another {other}: {UNIQUE}"
    )
}

const UNIQUE: &str = "ids and names are unique over all consumers and sources";
