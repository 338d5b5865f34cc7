//! The next action for an identity, from what was observed. Pure.

/// What the next action follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityState {
    /// The certificate in use: what the secret's current version holds.
    pub(crate) current: Option<CurrentCertificate>,
    /// Whether a key waits for its certificate.
    pub(crate) pending: bool,
    /// Whether the region's account can be asked.
    pub(crate) region: bool,
}

/// The certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrentCertificate {
    /// What IoT Core says of it.
    pub(crate) registration: Registration,
    /// Whether the secret's roots are the wanted ones.
    pub(crate) ca: bool,
}

/// What IoT Core says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// Nobody can ask: there are no credentials for the region's account.
    NotAsked,
    /// It is not in this account and region.
    Unknown,
    /// It is not active: its state.
    Inactive(String),
    /// It is active.
    Active {
        /// Whether policy and thing are attached.
        attached: bool,
    },
}

/// What a caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Issue the first certificate and repair attachments; leave everything else to people. What `apply` does.
    Keep,
    /// Also issue a new certificate where the present one is dead. What `enroll` does.
    Enroll,
    /// Issue a new certificate in any case. What `enroll --renew` and `rotate` do.
    Renew,
}

/// The next action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityAction {
    /// Make a key and store it as pending.
    Request,
    /// Have the pending key's certificate issued, and put it in use.
    Issue,
    /// Attach policy and thing to the certificate in use.
    Attach,
    /// Write the certificate in use again, with the wanted roots.
    WriteRoots,
    /// Nothing here: the pending key needs the region's account.
    AwaitRegion,
    /// A person has to decide: the certificate in use is like this.
    Decide(Registration),
    /// Nothing.
    Nothing,
}

/// The next action towards `purpose`.
pub(crate) fn next_action(state: &IdentityState, purpose: Purpose) -> IdentityAction {
    let issue = match (state.pending, state.region) {
        (false, _) => IdentityAction::Request,
        (true, true) => IdentityAction::Issue,
        (true, false) => IdentityAction::AwaitRegion,
    };
    let Some(current) = &state.current else {
        return issue;
    };
    match (&current.registration, purpose) {
        (_, Purpose::Renew) => issue,
        // A key that waits beside a certificate in use is a rotation under way: not ours to finish here.
        (Registration::Active { attached: false }, _) => IdentityAction::Attach,
        (Registration::Active { .. } | Registration::NotAsked, _) if !current.ca => {
            IdentityAction::WriteRoots
        }
        (Registration::Active { .. } | Registration::NotAsked, _) => IdentityAction::Nothing,
        (Registration::Unknown | Registration::Inactive(_), Purpose::Enroll) => issue,
        (registration, Purpose::Keep) => IdentityAction::Decide(registration.clone()),
    }
}

/// A certificate that an earlier version of the secret held and that IoT Core still knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    /// Its id.
    pub(crate) id: String,
    /// Its state.
    pub(crate) status: String,
    /// Whether it carries any policy, under whatever name the party's was at the time.
    pub(crate) attached: bool,
}

/// The phase of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RotationPhase {
    /// A new certificate is to be issued, or its issue to be completed.
    Issue,
    /// The new certificate is in use; the old ones go once it is proven to be.
    Prove {
        /// Still in service.
        old: Vec<String>,
        /// Out of service, by a removal that did not end.
        leftover: Vec<String>,
    },
    /// The new certificate is proven; these are left of the removal.
    Finish {
        /// Certificates to remove.
        leftover: Vec<String>,
    },
}

/// The phase a rotation is in.
///
/// A removal takes all policies away first, so a certificate without any is what a removal left, and nobody uses it. One
/// that is active and carries one may serve clients. One that is out of service and carries one was revoked or
/// deactivated by a person and has been replaced by `enroll`: it is evidence, as is whatever is revoked, and no rotation
/// removes it.
pub(crate) fn rotation(pending: bool, superseded: &[Superseded]) -> RotationPhase {
    let with = |wanted: &dyn Fn(&Superseded) -> bool| -> Vec<String> {
        let wanted = superseded.iter().filter(|certificate| wanted(certificate));
        wanted.map(|certificate| certificate.id.clone()).collect()
    };
    let old = with(&|it| it.attached && it.status == ACTIVE);
    let leftover = with(&|it| !it.attached && it.status != REVOKED);
    match (pending, old.is_empty(), leftover.is_empty()) {
        // Old ones stay: the next phase needs them, and so do clients until then.
        (true, ..) | (false, true, true) => RotationPhase::Issue,
        (false, false, _) => RotationPhase::Prove { old, leftover },
        (false, true, false) => RotationPhase::Finish { leftover },
    }
}

/// The one state in which a certificate connects.
pub(crate) const ACTIVE: &str = "ACTIVE";
/// The state from which it can come back.
pub(crate) const INACTIVE: &str = "INACTIVE";
/// The final state.
pub(crate) const REVOKED: &str = "REVOKED";

#[cfg(test)]
mod tests;
