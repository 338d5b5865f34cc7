use super::*;

fn state(current: Option<(Registration, bool)>, pending: bool, region: bool) -> IdentityState {
    IdentityState {
        current: current.map(|(registration, ca)| CurrentCertificate { registration, ca }),
        pending,
        region,
    }
}

fn active() -> Registration {
    Registration::Active { attached: true }
}

fn revoked() -> Registration {
    Registration::Inactive(REVOKED.into())
}

#[test]
fn every_picture_has_the_step_that_a_person_would_take() {
    use Purpose::{Enroll, Keep, Renew};
    let table = [
        // In use, a key waits, the region can be asked; purpose; step.
        (state(None, false, true), Keep, IdentityAction::Request),
        (state(None, false, false), Keep, IdentityAction::Request),
        (state(None, true, true), Keep, IdentityAction::Issue),
        (state(None, true, false), Keep, IdentityAction::AwaitRegion),
        (
            state(Some((active(), true)), false, true),
            Keep,
            IdentityAction::Nothing,
        ),
        (
            state(Some((active(), true)), true, true),
            Keep,
            IdentityAction::Nothing,
        ),
        (
            state(Some((active(), false)), false, true),
            Keep,
            IdentityAction::WriteRoots,
        ),
        (
            state(Some((Registration::NotAsked, true)), false, false),
            Keep,
            IdentityAction::Nothing,
        ),
        (
            state(Some((Registration::NotAsked, false)), false, false),
            Keep,
            IdentityAction::WriteRoots,
        ),
        (
            state(
                Some((Registration::Active { attached: false }, false)),
                false,
                true,
            ),
            Keep,
            IdentityAction::Attach,
        ),
        (
            state(Some((active(), true)), false, true),
            Enroll,
            IdentityAction::Nothing,
        ),
        (
            state(Some((revoked(), true)), false, true),
            Enroll,
            IdentityAction::Request,
        ),
        (
            state(Some((revoked(), true)), true, true),
            Enroll,
            IdentityAction::Issue,
        ),
        (
            state(Some((Registration::Unknown, true)), false, true),
            Enroll,
            IdentityAction::Request,
        ),
        (
            state(Some((active(), true)), false, true),
            Renew,
            IdentityAction::Request,
        ),
        (
            state(Some((active(), true)), true, true),
            Renew,
            IdentityAction::Issue,
        ),
        (
            state(Some((Registration::NotAsked, true)), true, false),
            Renew,
            IdentityAction::AwaitRegion,
        ),
    ];
    for (state, purpose, step) in table {
        assert_eq!(next_action(&state, purpose), step, "{state:?} {purpose:?}");
    }
}

#[test]
fn apply_never_replaces_what_was_revoked_even_if_a_key_waits() {
    for pending in [false, true] {
        for registration in [
            revoked(),
            Registration::Inactive(INACTIVE.into()),
            Registration::Unknown,
        ] {
            let state = state(Some((registration.clone(), true)), pending, true);
            assert_eq!(
                next_action(&state, Purpose::Keep),
                IdentityAction::Decide(registration)
            );
        }
    }
}

fn superseded(id: &str, status: &str, attached: bool) -> Superseded {
    Superseded {
        id: id.into(),
        status: status.into(),
        attached,
    }
}

#[test]
fn a_rotation_is_taken_up_where_it_was_left() {
    assert_eq!(rotation(false, &[]), RotationPhase::Issue);
    assert_eq!(rotation(true, &[]), RotationPhase::Issue);
    // A waiting key comes first; what is active stays until the new one is proven.
    let old = superseded("a", ACTIVE, true);
    assert_eq!(
        rotation(true, std::slice::from_ref(&old)),
        RotationPhase::Issue
    );
    let left = |status| superseded("b", status, false);
    for status in [ACTIVE, INACTIVE] {
        assert_eq!(
            rotation(false, &[old.clone(), left(status)]),
            RotationPhase::Prove {
                old: vec!["a".into()],
                leftover: vec!["b".into()]
            }
        );
        // The removal took the policy away and ended before or after it took the certificate out of service.
        assert_eq!(
            rotation(false, &[left(status)]),
            RotationPhase::Finish {
                leftover: vec!["b".into()]
            }
        );
    }
}

#[test]
fn what_a_person_took_out_of_service_is_no_leftover_and_does_not_end_a_rotation() {
    let evidence = [
        superseded("revoked", REVOKED, true),
        superseded("revoked-and-detached", REVOKED, false),
        superseded("deactivated", INACTIVE, true),
    ];
    // The one in use is rotated, from its first phase.
    assert_eq!(rotation(false, &evidence), RotationPhase::Issue);
    assert_eq!(rotation(true, &evidence), RotationPhase::Issue);
    // Beside what a rotation removes, they stay.
    let with = |more: Superseded| [evidence.as_slice(), &[more]].concat();
    assert_eq!(
        rotation(false, &with(superseded("a", ACTIVE, true))),
        RotationPhase::Prove {
            old: vec!["a".into()],
            leftover: vec![]
        }
    );
    assert_eq!(
        rotation(false, &with(superseded("a", INACTIVE, false))),
        RotationPhase::Finish {
            leftover: vec!["a".into()]
        }
    );
}
