//! Certificates of the registry: registering, switching and deleting them.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Certificate, CertificateState, Fingerprint, Registry, RegistryError, lock};

// === impl Registry ===

impl Registry {
    /// Registers the first certificate of a PEM text as ACTIVE and attaches policies, which must exist.
    /// A known certificate keeps its state and gains the policies.
    ///
    /// # Errors
    /// When there is no certificate in the text or a policy does not exist.
    pub fn register_pem(&self, pem: &str, policies: &[&str]) -> Result<Fingerprint, RegistryError> {
        let fingerprint = self.register_pem_as(pem, CertificateState::Active)?;
        for policy in policies {
            self.attach_policy(&fingerprint, policy)?;
        }
        Ok(fingerprint)
    }

    /// Registers the first certificate of a PEM text in a state. A known certificate stays as it is.
    ///
    /// # Errors
    /// When there is no certificate in the text.
    pub fn register_pem_as(
        &self,
        pem: &str,
        state: CertificateState,
    ) -> Result<Fingerprint, RegistryError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(RegistryError::Pem)?;
        let fingerprint = Fingerprint::of(&der);
        let described = Certificate::describe(&der, pem, state, self.clock().now());
        let certificate =
            described.ok_or_else(|| RegistryError::Certificate(fingerprint.clone()))?;
        self.change(|account| {
            let known = account.certificates.entry(fingerprint.clone());
            known.or_insert(certificate);
        });
        Ok(fingerprint)
    }

    /// Changes a certificate's state. Leaving ACTIVE ends its connections.
    ///
    /// # Errors
    /// For an unknown certificate, and for one that is revoked.
    pub fn set_state(
        &self,
        certificate: &Fingerprint,
        state: CertificateState,
    ) -> Result<(), RegistryError> {
        let now = self.clock().now();
        self.change(|account| {
            let known = account.certificate(certificate)?;
            if known.state == CertificateState::Revoked && state != CertificateState::Revoked {
                return Err(RegistryError::Revoked(certificate.clone()));
            }
            if known.state != state {
                known.state = state;
                known.modified = now;
            }
            Ok(())
        })
    }

    /// Deletes a certificate, if `force` with policies attached.
    ///
    /// # Errors
    /// For an unknown certificate, an ACTIVE one, one with a policy attached unless forced, and one attached to a
    /// thing.
    pub fn delete_certificate(
        &self,
        certificate: &Fingerprint,
        force: bool,
    ) -> Result<(), RegistryError> {
        self.change(|account| {
            let known = account.certificate(certificate)?;
            if known.state == CertificateState::Active {
                return Err(RegistryError::CertificateActive(certificate.clone()));
            }
            if !force && !known.policies.is_empty() {
                return Err(RegistryError::CertificateHasPolicies(certificate.clone()));
            }
            let mut things = account.things.values();
            if things.any(|thing| thing.principals.contains(certificate)) {
                return Err(RegistryError::CertificateHasThings(certificate.clone()));
            }
            account.certificates.remove(certificate);
            Ok(())
        })
    }

    /// A registered certificate.
    pub fn certificate(&self, certificate: &Fingerprint) -> Option<Certificate> {
        let inner = lock(&self.shared.inner);
        let known = inner.account.certificates.get(certificate)?;
        inner.pretence.seen(known)
    }

    /// All registered certificates.
    pub fn certificates(&self) -> Vec<(Fingerprint, Certificate)> {
        let inner = lock(&self.shared.inner);
        let all = inner.account.certificates.iter();
        all.filter_map(|(fingerprint, known)| {
            Some((fingerprint.clone(), inner.pretence.seen(known)?))
        })
        .collect()
    }
}
