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

#[test]
fn a_rotation_is_taken_up_where_it_was_left() {
    let certificate = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    let issue = |leftover: &[&str]| Rotation::Issue {
        leftover: leftover.iter().map(|id| (*id).to_owned()).collect(),
    };
    assert_eq!(rotation(false, &[]), issue(&[]));
    assert_eq!(rotation(true, &[]), issue(&[]));
    // A waiting key comes first; what is active stays until the new one is proven.
    assert_eq!(rotation(true, &[certificate("a", ACTIVE)]), issue(&[]));
    assert_eq!(
        rotation(
            false,
            &[certificate("a", ACTIVE), certificate("b", REVOKED)]
        ),
        Rotation::Prove {
            old: vec!["a".into()],
            leftover: vec!["b".into()]
        }
    );
    assert_eq!(
        rotation(false, &[certificate("a", INACTIVE)]),
        Rotation::Finish {
            leftover: vec!["a".into()]
        }
    );
    // A revoked one was replaced by `enroll`: a new rotation may begin.
    assert_eq!(rotation(false, &[certificate("a", REVOKED)]), issue(&["a"]));
}
