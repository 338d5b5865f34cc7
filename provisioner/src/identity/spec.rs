//! The desired state of a party's identity.

use region_file::tags::Tags;

use crate::scope::Scope;

/// An identity: a key pair made where it is kept, its certificate in IoT Core, and what it is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySpec {
    /// Whose account keeps the key; the certificate itself is always in the region's account.
    pub key_scope: Scope,
    /// Name of the secret with `certificate`, `privateKey` and `caCert`.
    pub secret: String,
    /// Tags of the secret.
    pub tags: Tags,
    /// What the secret is for.
    pub description: String,
    /// KMS key of the secret; none for AWS's own.
    pub kms_key: Option<String>,
    /// Days the secret can be restored after deletion, 0 for not at all.
    pub recovery_days: u8,
    /// Common name in the certificate's subject.
    pub subject: String,
    /// Name of the IoT policy it carries.
    pub policy: String,
    /// Name of the thing it belongs to.
    pub thing: Option<String>,
    /// Client ids it connects under.
    pub client_ids: Vec<String>,
    /// How many of them are in use at a time: all, or of slots for replicas only some.
    pub in_use: usize,
    /// Roots that the broker's certificate is checked against, PEM; public.
    pub ca: String,
}
