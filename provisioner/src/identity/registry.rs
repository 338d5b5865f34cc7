//! Certificates in IoT Core, in the region's account, and what they are attached to.
//!
//! `CreateCertificateFromCsr` makes another certificate each time it is called, so whoever issues looks first whether
//! the key has one: a call whose answer was lost must not leave a second.

use aws_sdk_iot::types::{CertificateDescription, CertificateStatus};
use jiff::{SignedDuration, Timestamp};

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::key::{self, Leaf, PublicKey};
use super::settle::settled;
use super::state::{ACTIVE, INACTIVE};

mod attachments;

/// Calls on the certificates of the region's account.
#[derive(Clone, Copy)]
pub(crate) struct Registry<'a> {
    account: &'a Account,
}

/// A certificate as IoT Core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) arn: String,
    /// Such as `ACTIVE`.
    pub(crate) status: String,
    pub(crate) pem: String,
    pub(crate) leaf: Leaf,
}

// === impl Registry ===

impl<'a> Registry<'a> {
    pub(crate) fn of(cloud: &'a Cloud) -> Result<Self, AwsError> {
        let account = cloud.of(&Scope::Region)?;
        Ok(Self { account })
    }

    pub(crate) async fn describe(self, id: &str) -> Result<Option<Registered>, AwsError> {
        let action = "iot:DescribeCertificate";
        let answer = self
            .account
            .iot
            .describe_certificate()
            .certificate_id(id)
            .send()
            .await
            .during(action, id)
            .optional()?;
        let Some(description) = answer.and_then(|answer| answer.certificate_description) else {
            return Ok(None);
        };
        Registered::read(description).map(Some).ok_or_else(|| {
            AwsError::new(
                AwsErrorKind::Other,
                action,
                id,
                "the answer holds no certificate",
            )
        })
    }

    /// The registered certificate that is exactly `leaf`: by the id it should have, else among `candidates`.
    pub(crate) async fn find(
        self,
        leaf: &Leaf,
        candidates: &[String],
    ) -> Result<Option<Registered>, AwsError> {
        let likely = leaf.likely_id();
        for id in std::iter::once(&likely).chain(candidates.iter().filter(|id| **id != likely)) {
            let found = self.describe(id).await?;
            if let Some(found) = found.filter(|found| found.leaf.der == leaf.der) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The certificate of a public key: among those of the policy, else among those made after `since` or a little
    /// before. The second finds what was issued by a run that did not live to attach it.
    pub(crate) async fn of_key(
        self,
        public: &PublicKey,
        policy: &str,
        since: Timestamp,
    ) -> Result<Option<Registered>, AwsError> {
        for id in self.targets(policy).await? {
            let found = self.describe(&id).await?;
            if let Some(found) = found.filter(|found| found.leaf.public == *public) {
                return Ok(Some(found));
            }
        }
        for id in self.newer_than(since).await? {
            let found = self.describe(&id).await?;
            if let Some(found) = found.filter(|found| found.leaf.public == *public) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Ids of certificates that are not in use, whose subject is `subject`, made since a policy was or a little before:
    /// what a run that made both did not live to attach. AWS keeps the subject of a request (from memory).
    pub(crate) async fn lost(self, subject: &str, policy: &str) -> Result<Vec<String>, AwsError> {
        let answer = self.account.iot.get_policy().policy_name(policy).send();
        let answer = answer.await.during("iot:GetPolicy", policy).optional()?;
        let Some(made) = answer.and_then(|answer| answer.creation_date) else {
            return Ok(Vec::new());
        };
        let since = Timestamp::from_second(made.secs()).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut lost = Vec::new();
        for id in self.newer_than(since).await? {
            let found = self.describe(&id).await?.filter(|found| !found.is_active());
            if found.is_some_and(|found| found.leaf.subject.as_deref() == Some(subject)) {
                lost.push(id);
            }
        }
        Ok(lost)
    }

    async fn newer_than(self, since: Timestamp) -> Result<Vec<String>, AwsError> {
        let since = since.saturating_sub(CLOCKS_DIFFER).unwrap_or(since);
        // Without a direction the newest come first; a page at a time, so that the rest is not asked for.
        let mut pages = self
            .account
            .iot
            .list_certificates()
            .ascending_order(false)
            .page_size(PAGE)
            .into_paginator()
            .send();
        let mut newer = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.during("iot:ListCertificates", "all certificates")?;
            for certificate in page.certificates.unwrap_or_default() {
                let made = certificate
                    .creation_date
                    .map_or(i64::MAX, |date| date.secs());
                if made < since.as_second() || newer.len() >= MAX_SEARCHED {
                    return Ok(newer);
                }
                newer.extend(certificate.certificate_id);
            }
        }
        Ok(newer)
    }

    /// Issues a certificate. Every call makes another one.
    pub(crate) async fn issue(
        self,
        csr: &str,
        active: bool,
        party: &str,
    ) -> Result<Registered, AwsError> {
        let action = "iot:CreateCertificateFromCsr";
        let answer = self
            .account
            .iot
            .create_certificate_from_csr()
            .certificate_signing_request(csr)
            .set_as_active(active)
            .send()
            .await
            .during(action, party)?;
        let status = if active { ACTIVE } else { INACTIVE };
        let made = answer
            .certificate_id
            .zip(answer.certificate_arn)
            .zip(answer.certificate_pem);
        made.and_then(|((id, arn), pem)| Registered::new(id, arn, status, pem))
            .ok_or_else(|| {
                AwsError::new(
                    AwsErrorKind::Other,
                    action,
                    party,
                    "the answer holds no certificate",
                )
            })
    }

    pub(crate) async fn set_status(self, id: &str, status: &str) -> Result<(), AwsError> {
        self.account
            .iot
            .update_certificate()
            .certificate_id(id)
            .new_status(CertificateStatus::from(status))
            .send()
            .await
            .during("iot:UpdateCertificate", id)?;
        Ok(())
    }

    /// Removes a certificate for good, in the order in which a crash leaves it harmless: out of service, off every
    /// policy and thing, gone. Absent is fine.
    pub(crate) async fn retire(self, id: &str) -> Result<(), AwsError> {
        let Some(found) = self.describe(id).await? else {
            return Ok(());
        };
        // In this order: what is out of service and still carries a policy is a person's work (`state::rotation`).
        self.detach(&found.arn).await?;
        if found.status == ACTIVE {
            self.set_status(id, INACTIVE).await?;
        }
        settled(async || {
            let deleting = self.account.iot.delete_certificate().certificate_id(id);
            let deleted = deleting.send().await.during("iot:DeleteCertificate", id);
            deleted.was_there()
        })
        .await?;
        Ok(())
    }

    /// Ends a client's connection; whether there was one. A persistent session ends with it when `clean`.
    pub(crate) async fn disconnect(self, client_id: &str, clean: bool) -> Result<bool, AwsError> {
        self.account
            .iot_data
            .delete_connection()
            .client_id(client_id)
            .clean_session(clean)
            .send()
            .await
            .during("iot:DeleteConnection", client_id)
            .was_there()
    }
}

// === impl Registered ===

impl Registered {
    fn new(id: String, arn: String, status: &str, pem: String) -> Option<Self> {
        let leaf = key::leaf(&pem).ok()?;
        Some(Self {
            id,
            arn,
            status: status.to_owned(),
            pem,
            leaf,
        })
    }

    fn read(description: CertificateDescription) -> Option<Self> {
        let status = description.status?;
        let (id, arn) = (description.certificate_id?, description.certificate_arn?);
        Self::new(id, arn, status.as_str(), description.certificate_pem?)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.status == ACTIVE
    }
}

// The request's time is that of another service, perhaps of another region.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(15);

// The most ListCertificates gives at once.
const PAGE: i32 = 250;

// At the ten DescribeCertificate a second that AWS admits, the search ends within two minutes; beyond it a certificate
// that was issued and never attached is not found again and another one is issued.
const MAX_SEARCHED: usize = 1000;
