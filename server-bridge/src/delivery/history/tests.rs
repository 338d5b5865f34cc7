//! What is remembered between raises and between looks.

use super::*;

#[test]
fn a_bundle_is_raised_a_few_times_at_once_and_then_ever_less_often() {
    let c1 = ConsumerName::new("c1").unwrap();
    let raises = Raises::default();
    let start = Instant::now();
    let mut raised = Vec::new();
    for second in (0..10 * 24 * 3600).step_by(10) {
        let now = start + Duration::from_secs(second);
        if raises.due(&c1, "a", now).is_none() {
            raises.note(&c1, "a", now);
            raised.push(second / 60);
        }
    }
    assert_eq!(raised[..6], [0, 0, 0, 1, 3, 7]);
    assert!(raised.len() < 24, "{raised:?}");
    assert_eq!(raises.due(&c1, "b", start), None);
    // After a long quiet it begins anew, and others are forgotten meanwhile.
    let later = start + 100 * LONGEST;
    assert_eq!(raises.due(&c1, "a", later), None);
    raises.note(&c1, "b", later);
    assert_eq!(raises.lock().bundles.len(), 1);
}

#[test]
fn another_epoch_is_noticed_once_and_not_the_one_at_the_start() {
    let raises = Raises::default();
    let seen: Vec<_> = ["a", "a", "b", "b", "a"]
        .iter()
        .map(|epoch| raises.is_another(epoch))
        .collect();
    assert_eq!(seen, [false, false, true, false, true]);
}
