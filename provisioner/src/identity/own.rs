//! Which certificates in IoT Core are a secret's own: those that some version of it holds or held, or holds the key of.
//!
//! Only these are ever removed. Another certificate on the same policy may be in use by somebody; it is reported and left alone.

use crate::aws::AwsError;
use crate::identity::IdentitySpec;

use super::key::{self, Leaf, PublicKey};
use super::registry::{Registered, Registry};
use super::secret::IdentitySecret;

/// The secret's own certificates that IoT Core still knows.
pub(crate) async fn certificates(
    secret: IdentitySecret<'_>,
    registry: Registry<'_>,
    party: &IdentitySpec,
) -> Result<Vec<Registered>, AwsError> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut keys: Vec<PublicKey> = Vec::new();
    for version in secret.versions().await? {
        let leaf = version.certificate.as_deref().map(key::leaf);
        match leaf {
            Some(Ok(leaf)) if !leaves.contains(&leaf) => leaves.push(leaf),
            // A key without a certificate here: the certificate may have been issued and not arrived.
            None => keys.extend(version.public()),
            Some(_) => {}
        }
    }
    let mut own = Vec::new();
    let mut attached = Vec::new();
    for id in registry.targets(&party.policy).await? {
        attached.extend(registry.describe(&id).await?);
    }
    for found in attached {
        let stored = leaves.iter().position(|leaf| leaf.der == found.leaf.der);
        if let Some(stored) = stored {
            leaves.swap_remove(stored);
            own.push(found);
        } else if keys.contains(&found.leaf.public) {
            own.push(found);
        }
    }
    // What is no longer attached was being removed, or somebody took the policy off it.
    for leaf in leaves {
        own.extend(registry.find(&leaf, &[]).await?);
    }
    Ok(own)
}
