//! Calls that the resources in EKS share.

use region_file::tags::Tags;

use crate::aws::{Account, AwsError, Outcome as _};

/// Writes tags to what is there under `arn`; others stay. `object` names it in errors.
pub(super) async fn tag(
    account: &Account,
    arn: Option<String>,
    tags: &Tags,
    object: &str,
) -> Result<(), AwsError> {
    let request = account.eks.tag_resource().set_resource_arn(arn);
    let done = request.set_tags(Some(tags.to_map())).send().await;
    done.during("eks:TagResource", object)?;
    Ok(())
}
