//! Every way a task can end, and what becomes of the process.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn restarts_of(registry: &Registry, task: &str) -> u64 {
    let families = registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "task_restarts_total");
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    metrics
        .iter()
        .find(|metric| metric.get_label()[0].value() == task)
        .map_or(0, |metric| metric.get_counter().get_value() as u64)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_or_returns_is_made_again_and_counted() {
    let registry = Registry::new();
    let restarts = Restarts::register(&registry).unwrap();
    let stop = CancellationToken::new();
    let made = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    let make = || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        assert_ne!(number, 2, "the maker panics too");
        let stop = stop.clone();
        async move {
            match number {
                0 => panic!("first"),
                1 => {}
                // Healthy at last, and then told to stop.
                _ => {
                    sleep(Duration::from_secs(1)).await;
                    stop.cancel();
                }
            }
        }
    };
    restarting("t", &restarts, &stop, make).await;
    assert_eq!(made.load(Ordering::Relaxed), 4);
    assert_eq!(restarts_of(&registry, "t"), 3);
    let waited = begun.elapsed() - Duration::from_secs(1);
    // Half of 100 + 200 + 400 ms at least, all of it at most.
    assert!(
        waited >= Duration::from_millis(350) && waited <= Duration::from_millis(750),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_delay_grows_to_its_ceiling_and_starts_over_after_a_minute_of_health() {
    let stop = CancellationToken::new();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let make = || {
        starts.lock().unwrap().push(Instant::now());
        let number = starts.lock().unwrap().len();
        let stop = stop.clone();
        async move {
            match number {
                15 => sleep(HEALTHY_AFTER).await,
                17 => stop.cancel(),
                _ => {}
            }
        }
    };
    restarting("t", &Restarts::unregistered(), &stop, make).await;
    let starts = starts.lock().unwrap().clone();
    assert!(starts[14] - starts[13] >= LONGEST_DELAY / 2);
    assert!(starts[14] - starts[13] <= LONGEST_DELAY);
    assert!(starts[15] - starts[14] <= HEALTHY_AFTER + FIRST_DELAY * 2);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_wait_for_a_restart_and_waits_for_the_task() {
    let stop = CancellationToken::new();
    let done = Arc::new(AtomicU32::new(0));
    let make = || {
        let (stop, done) = (stop.clone(), done.clone());
        async move {
            stop.cancelled().await;
            sleep(Duration::from_secs(5)).await;
            done.store(1, Ordering::Relaxed);
        }
    };
    let restarts = Restarts::unregistered();
    let both = async {
        sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    tokio::join!(restarting("t", &restarts, &stop, make), both);
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_vital_task_that_dies_stops_the_others_and_is_named() {
    for (panics, cause) in [
        (true, "it panicked: index 7\\n is bad"),
        (false, "it returned although nobody asked it to stop"),
    ] {
        let stop = CancellationToken::new();
        let mut vital = TaskGroup::new(stop.clone());
        let waits = stop.clone();
        vital.spawn("other", async move { waits.cancelled().await });
        vital.spawn("lanes", async move {
            sleep(Duration::from_secs(1)).await;
            assert!(!panics, "index {}\n is bad", 7);
        });
        // Nobody needs to be in `join` for the others to be stopped.
        stop.cancelled().await;
        let died = vital.join().await.unwrap_err();
        assert_eq!(died.task, "lanes");
        assert_eq!(died.to_string(), format!("task `lanes` died: {cause}"));
        assert!(died.hint().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn vital_tasks_that_end_when_asked_are_no_failure() {
    let stop = CancellationToken::new();
    let mut vital = TaskGroup::new(stop.clone());
    for _ in 0..2 {
        let waits = stop.clone();
        vital.spawn("t", async move { waits.cancelled().await });
    }
    stop.cancel();
    assert_eq!(vital.join().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_death_of_an_inner_task_keeps_its_name() {
    let stop = CancellationToken::new();
    let mut outer = TaskGroup::new(stop.clone());
    outer.spawn("sessions", async {
        let mut inner = TaskGroup::new(CancellationToken::new());
        inner.spawn("pump", async {
            assert!(std::hint::black_box(false), "stuck");
        });
        inner.join().await
    });
    stop.cancelled().await;
    let died = outer.join().await.unwrap_err();
    assert_eq!(died.to_string(), "task `pump` died: it panicked: stuck");
}

#[test]
fn a_panic_is_quoted_in_part_only() {
    let long: Box<dyn Any + Send> = Box::new("s".repeat(10_000));
    assert!(panic_text(long.as_ref()).len() < PANIC_BYTES + 50);
    assert_eq!(panic_text(&7_u8), "it panicked");
}
