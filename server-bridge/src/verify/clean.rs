//! Takes canaries away.

use std::collections::BTreeMap;

use hyper::Method;
use link::error::{Hint as _, chain};
use link::fault::Finding;
use link::http::client::{ApiClient, ApiError};
use tokio::time::{Instant, sleep};

use super::canary::{POLL, concerns_all, foreign, id, is_ours};
use super::under_way::UnderWay;
use super::{CANARY, VerifyOptions, look};

/// Deletes the canaries of all consumers and waits until they are gone. What is found by then is told when it fails, too.
pub(super) async fn clean(
    api: &ApiClient,
    options: &VerifyOptions,
    deleted: &UnderWay,
    findings: &mut Vec<Finding>,
) -> Result<(), ApiError> {
    let name = options.canary.as_deref().unwrap_or_default();
    let consumers = look::consumers(api).await?;
    let named: BTreeMap<String, String> = consumers
        .into_iter()
        .map(|consumer| (id(options, &consumer), consumer))
        .collect();
    let mut ids = look::ids_beginning(api, &format!("{name}-")).await?;
    ids.retain(|id| named.contains_key(id));
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
            Err(error) if concerns_all(&error) => return Err(error),
            // What is refused for one cluster says nothing of the others.
            Err(error) => {
                deleted.ends(&bundle.id);
                findings.push(refused(&bundle.id, &error));
                continue;
            }
        }
        under_way.push(bundle.id);
    }
    let mut ids = under_way;
    let all = ids.len();
    let until = Instant::now() + options.within;
    loop {
        match look::bundles_by_id(api, &ids).await {
            Ok(left) => {
                let left: Vec<String> = left.into_iter().map(|bundle| bundle.id).collect();
                for id in ids.iter().filter(|id| !left.contains(id)) {
                    deleted.ends(id);
                }
                ids = left;
            }
            // Busy for a moment.
            Err(ApiError::Status { .. }) if Instant::now() < until => {}
            Err(error) => return Err(error),
        }
        if ids.is_empty() {
            findings.push(Finding::ok(CANARY, format!("{all} canaries are gone")));
            return Ok(());
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
            return Ok(());
        }
        sleep(POLL).await;
    }
}

fn refused(id: &str, error: &ApiError) -> Finding {
    let seen = format!("Canary `{id}` was not deleted: {}", chain(error));
    let finding = Finding::warning(CANARY, seen).why("it stays, and its cluster keeps it");
    finding.next(error.hint().unwrap_or_default())
}
