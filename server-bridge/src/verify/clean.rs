//! Takes canaries away.

use std::collections::BTreeMap;

use hyper::Method;
use link::fault::Finding;
use link::http::client::{ApiClient, ApiError};
use tokio::time::{Instant, sleep};

use super::canary::{POLL, foreign, id, is_ours};
use super::under_way::UnderWay;
use super::{CANARY, VerifyOptions, look};

/// Deletes the canaries of all consumers and waits until they are gone.
pub(super) async fn clean(
    api: &ApiClient,
    options: &VerifyOptions,
    deleted: &UnderWay,
) -> Result<Vec<Finding>, ApiError> {
    let name = options.canary.as_deref().unwrap_or_default();
    let consumers = look::consumers(api).await?;
    let named: BTreeMap<String, String> = consumers
        .into_iter()
        .map(|consumer| (id(options, &consumer), consumer))
        .collect();
    let mut ids = look::ids_beginning(api, &format!("{name}-")).await?;
    ids.retain(|id| named.contains_key(id));
    let mut findings = Vec::new();
    let mut under_way = Vec::new();
    for bundle in look::bundles_by_id(api, &ids).await? {
        let consumer = named.get(&bundle.id).map_or("", String::as_str);
        if bundle.deleted_at.is_some() {
            deleted.begins(&bundle.id);
            under_way.push(bundle.id);
            continue;
        }
        if !is_ours(&bundle, options, consumer) {
            findings.push(foreign(&bundle.id));
            continue;
        }
        let path = format!("/resource-bundles/{}", bundle.id);
        deleted.begins(&bundle.id);
        match api.call(Method::DELETE, &path, None).await {
            Ok(_) | Err(ApiError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        under_way.push(bundle.id);
    }
    let mut ids = under_way;
    let all = ids.len();
    let until = Instant::now() + options.within;
    loop {
        let left = look::bundles_by_id(api, &ids).await?;
        let left: Vec<String> = left.into_iter().map(|bundle| bundle.id).collect();
        for id in ids.iter().filter(|id| !left.contains(id)) {
            deleted.ends(id);
        }
        ids = left;
        if ids.is_empty() {
            findings.push(Finding::ok(CANARY, format!("{all} canaries are gone")));
            return Ok(findings);
        }
        if Instant::now() >= until {
            let left = ids.iter().map(|id| {
                let seen =
                    format!("Canary `{id}` is deleted, and its cluster has not confirmed that yet");
                Finding::warning(CANARY, seen)
                    .why("it goes as soon as its agent has taken the deletion")
                    .next(format!("server-bridge explain {id}"))
            });
            findings.extend(left);
            return Ok(findings);
        }
        sleep(POLL).await;
    }
}
