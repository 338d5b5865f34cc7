//! Calls on Secrets Manager that plain secrets and the secrets of identities share.

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::Tag;
use region_file::tags::{Owner, Tags};
use serde_json::Value;

use super::{Account, AwsError, Optional as _, Outcome as _};

/// What the secret `name` is like, without any value; `None` when there is none.
pub(crate) async fn describe(
    account: &Account,
    name: &str,
) -> Result<Option<DescribeSecretOutput>, AwsError> {
    let request = account.secrets.describe_secret().secret_id(name);
    let answer = request.send().await;
    answer
        .during("secretsmanager:DescribeSecret", name)
        .optional()
}

/// Whose a described secret is, and its tags as an attribute.
pub(crate) fn owner(described: &DescribeSecretOutput, tags: &Tags) -> (Owner, Value) {
    let live = described.tags().iter();
    tags.observed(live.filter_map(|tag| Some((tag.key()?, tag.value()?))))
}

/// Writes tags; others stay.
pub(crate) async fn tag(account: &Account, name: &str, tags: &Tags) -> Result<(), AwsError> {
    let request = account.secrets.tag_resource().secret_id(name);
    let done = request.set_tags(Some(sdk_tags(tags))).send().await;
    done.during("secretsmanager:TagResource", name)?;
    Ok(())
}

/// Takes back a secret that is scheduled for deletion, with the value it had.
pub(crate) async fn restore(account: &Account, name: &str) -> Result<(), AwsError> {
    let request = account.secrets.restore_secret().secret_id(name);
    let done = request.send().await;
    done.during("secretsmanager:RestoreSecret", name)?;
    Ok(())
}

/// Schedules deletion in `recovery_days`, or deletes at once with 0. One that is not there is fine.
pub(crate) async fn delete(
    account: &Account,
    name: &str,
    recovery_days: u8,
) -> Result<(), AwsError> {
    let request = account.secrets.delete_secret().secret_id(name);
    let request = match recovery_days {
        0 => request.force_delete_without_recovery(true),
        days => request.recovery_window_in_days(i64::from(days)),
    };
    let done = request.send().await;
    done.during("secretsmanager:DeleteSecret", name)
        .was_there()?;
    Ok(())
}

/// Tags in the form of the SDK.
pub(crate) fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    let tags = tags.iter();
    tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// The KMS key of a secret for which none was named: not returned by DescribeSecret, but accepted by UpdateSecret.
pub(crate) const DEFAULT_KEY: &str = "alias/aws/secretsmanager";
