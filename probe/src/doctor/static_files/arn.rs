//! Whose broker policies speak of: what their resource names begin with; pure.

use link::iot::{ArnPrefix, Document};
use region_file::Region;

/// What the resources of the documents begin with, or those of the region, or a stand-in where every account is meant.
pub(super) fn of(documents: &[Document], region: Option<&Region>) -> ArnPrefix {
    written(documents)
        .next()
        .or_else(|| region.map(Region::arn_prefix))
        .unwrap_or_default()
}

/// The beginnings of all resources that name a region and an account.
pub(super) fn written(documents: &[Document]) -> impl Iterator<Item = ArnPrefix> {
    let statements = documents.iter().flat_map(|document| &document.statements);
    let resources = statements.flat_map(|statement| &statement.resources);
    resources.filter_map(|resource| prefix(resource))
}

fn prefix(resource: &str) -> Option<ArnPrefix> {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let ["arn", partition, "iot", region, account, _] = parts.as_slice() else {
        return None;
    };
    let is_plain = |text: &&&str| !text.is_empty() && !text.contains(['*', '?', '$']);
    let all_plain = [partition, region, account].iter().all(is_plain);
    all_plain.then(|| ArnPrefix {
        partition: (*partition).to_owned(),
        region: (*region).to_owned(),
        account: (*account).to_owned(),
    })
}
