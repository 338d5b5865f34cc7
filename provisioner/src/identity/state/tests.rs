use super::*;

fn picture(current: Option<(Standing, bool)>, pending: bool, region: bool) -> Picture {
    Picture {
        current: current.map(|(standing, ca)| Current { standing, ca }),
        pending,
        region,
    }
}

fn active() -> Standing {
    Standing::Active { attached: true }
}

fn revoked() -> Standing {
    Standing::Dead(REVOKED.into())
}

#[test]
fn every_picture_has_the_step_that_a_person_would_take() {
    use Purpose::{Enroll, Keep, Renew};
    let table = [
        // In use, a key waits, the region can be asked; purpose; step.
        (picture(None, false, true), Keep, Step::Request),
        (picture(None, false, false), Keep, Step::Request),
        (picture(None, true, true), Keep, Step::Issue),
        (picture(None, true, false), Keep, Step::Carry),
        (
            picture(Some((active(), true)), false, true),
            Keep,
            Step::Nothing,
        ),
        (
            picture(Some((active(), true)), true, true),
            Keep,
            Step::Nothing,
        ),
        (
            picture(Some((active(), false)), false, true),
            Keep,
            Step::Refresh,
        ),
        (
            picture(Some((Standing::Unasked, true)), false, false),
            Keep,
            Step::Nothing,
        ),
        (
            picture(Some((Standing::Unasked, false)), false, false),
            Keep,
            Step::Refresh,
        ),
        (
            picture(
                Some((Standing::Active { attached: false }, false)),
                false,
                true,
            ),
            Keep,
            Step::Attach,
        ),
        (
            picture(Some((active(), true)), false, true),
            Enroll,
            Step::Nothing,
        ),
        (
            picture(Some((revoked(), true)), false, true),
            Enroll,
            Step::Request,
        ),
        (
            picture(Some((revoked(), true)), true, true),
            Enroll,
            Step::Issue,
        ),
        (
            picture(Some((Standing::Unknown, true)), false, true),
            Enroll,
            Step::Request,
        ),
        (
            picture(Some((active(), true)), false, true),
            Renew,
            Step::Request,
        ),
        (
            picture(Some((active(), true)), true, true),
            Renew,
            Step::Issue,
        ),
        (
            picture(Some((Standing::Unasked, true)), true, false),
            Renew,
            Step::Carry,
        ),
    ];
    for (picture, purpose, step) in table {
        assert_eq!(next(&picture, purpose), step, "{picture:?} {purpose:?}");
    }
}

#[test]
fn apply_never_replaces_what_was_revoked_even_if_a_key_waits() {
    for pending in [false, true] {
        for standing in [
            revoked(),
            Standing::Dead(INACTIVE.into()),
            Standing::Unknown,
        ] {
            let picture = picture(Some((standing.clone(), true)), pending, true);
            assert_eq!(next(&picture, Purpose::Keep), Step::Decide(standing));
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
    assert_eq!(rotation(false, &[]), Rotation::Issue);
    assert_eq!(rotation(true, &[]), Rotation::Issue);
    // A waiting key comes first; what is active stays until the new one is proven.
    let old = superseded("a", ACTIVE, true);
    assert_eq!(rotation(true, std::slice::from_ref(&old)), Rotation::Issue);
    let left = |status| superseded("b", status, false);
    for status in [ACTIVE, INACTIVE] {
        assert_eq!(
            rotation(false, &[old.clone(), left(status)]),
            Rotation::Prove {
                old: vec!["a".into()],
                leftover: vec!["b".into()]
            }
        );
        // The removal took the policy away and ended before or after it took the certificate out of service.
        assert_eq!(
            rotation(false, &[left(status)]),
            Rotation::Finish {
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
    assert_eq!(rotation(false, &evidence), Rotation::Issue);
    assert_eq!(rotation(true, &evidence), Rotation::Issue);
    // Beside what a rotation removes, they stay.
    let with = |more: Superseded| [evidence.as_slice(), &[more]].concat();
    assert_eq!(
        rotation(false, &with(superseded("a", ACTIVE, true))),
        Rotation::Prove {
            old: vec!["a".into()],
            leftover: vec![]
        }
    );
    assert_eq!(
        rotation(false, &with(superseded("a", INACTIVE, false))),
        Rotation::Finish {
            leftover: vec!["a".into()]
        }
    );
}
