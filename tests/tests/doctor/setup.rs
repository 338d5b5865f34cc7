//! Policies of the parties, whole and with something missing or too much.

use anyhow::Result;
use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::{ArnPrefix, Document, PolicyAction, Statement};
use link::party::Party;
use link::topic::Scheme;

pub(crate) const CONSUMER: &str = "cluster-1";

pub(crate) fn agent(arn: &ArnPrefix, consumer: &str) -> Result<Document> {
    let consumer = ConsumerName::new(consumer)?;
    Ok(Party::agent(&Scheme::default(), &consumer)?.policy(arn))
}

pub(crate) fn operator(arn: &ArnPrefix) -> Result<Document> {
    let name = ClientId::new("probe")?;
    Ok(Party::operator(&Scheme::default(), &name).policy(arn))
}

pub(crate) fn bridge(arn: &ArnPrefix, source: &str) -> Result<Document> {
    let id = ClientId::new(source)?;
    let source = SourceId::new(source)?;
    Ok(Party::bridge(&Scheme::default(), &source, &id, 1)?.policy(arn))
}

/// Without what allows an action.
pub(crate) fn without(mut document: Document, action: PolicyAction) -> Document {
    document
        .statements
        .retain(|statement| !statement.covers(action));
    document
}

/// With an action on everything of a kind.
pub(crate) fn with_all(mut document: Document, action: PolicyAction, arn: &ArnPrefix) -> Document {
    let resource = format!("{arn}:{}/*", action.resource_kind());
    document
        .statements
        .push(Statement::allow([action], [resource]));
    document
}
