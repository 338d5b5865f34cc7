use super::*;

const GRACE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn first_request_drains_and_a_finished_component_ends_cleanly() {
    let shutdown = Shutdown::manual();
    let drain = shutdown.drain();
    let pending = drain.register("report");
    assert!(!drain.is_requested());
    let component = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain.requested().await;
            drop(pending);
        }
    });
    shutdown.trigger().request();
    assert_eq!(shutdown.finished(GRACE).await, Ok(()));
    assert!(drain.is_requested() && drain.token().is_cancelled());
    assert!(!shutdown.abort().is_requested());
    component.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn second_request_aborts_and_names_who_was_busy() {
    let shutdown = Shutdown::manual();
    let drain = shutdown.drain();
    let _intake = drain.register("intake");
    let _report = drain.register("report");
    let trigger = shutdown.trigger();
    trigger.request();
    trigger.request();
    let error = run_until_shutdown(&drain, GRACE, std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "shutdown cut short by a second request while still busy: `intake`, `report`"
    );
    assert!(shutdown.abort().is_requested());
}

#[tokio::test(start_paused = true)]
async fn grace_period_ends_the_drain_and_tells_the_stragglers() {
    let shutdown = Shutdown::manual();
    let drain = shutdown.drain();
    let pending = drain.register("lane cluster1");
    let straggler = tokio::spawn({
        let abort = shutdown.abort();
        async move {
            abort.requested().await;
            drop(pending);
        }
    });
    shutdown.trigger().request();
    let error = shutdown.finished(GRACE).await.unwrap_err();
    assert_eq!(error.cause, Cause::GraceOver(GRACE));
    assert_eq!(
        error.to_string(),
        "shutdown cut short after 30s of grace while still busy: `lane cluster1`"
    );
    assert!(error.hint().is_some());
    straggler.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_by_itself_does_not_wait_for_a_drain() {
    let shutdown = Shutdown::manual();
    let _pending = shutdown.drain().register("idle");
    let output = run_until_shutdown(&shutdown.drain(), GRACE, async { 7 }).await;
    assert_eq!(output, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_during_the_drain_still_waits_for_the_components() {
    let shutdown = Shutdown::manual();
    let drain = shutdown.drain();
    let _pending = drain.register("report");
    shutdown.trigger().request();
    let error = run_until_shutdown(&drain, GRACE, async { 7 })
        .await
        .unwrap_err();
    assert_eq!(error.pending, ["report"]);
}

#[tokio::test(start_paused = true)]
async fn child_follows_its_parent_and_stops_alone() {
    let shutdown = Shutdown::manual();
    let (first, stop_first) = shutdown.drain().child();
    let (second, _stop_second) = shutdown.drain().child();
    stop_first.request();
    assert!(first.is_requested());
    assert!(!second.is_requested() && !shutdown.drain().is_requested());
    shutdown.trigger().request();
    second.requested().await;
    shutdown.trigger().request();
    second.abort().requested().await;
}

#[tokio::test(start_paused = true)]
async fn signals_that_follow_the_first_at_once_are_the_same_one() {
    let shutdown = Shutdown::manual();
    let mut listener = Listener::new(shutdown.trigger());
    listener.hear(Stop::Terminate);
    assert!(shutdown.drain().is_requested());
    listener.hear(Stop::Terminate);
    tokio::time::advance(SAME_SIGNAL - Duration::from_millis(1)).await;
    listener.hear(Stop::Interrupt);
    assert!(!shutdown.abort().is_requested());
    // Counted from the first.
    tokio::time::advance(Duration::from_millis(1)).await;
    listener.hear(Stop::Hangup);
    assert!(!shutdown.abort().is_requested());
    listener.hear(Stop::Terminate);
    assert!(shutdown.abort().is_requested());
}

#[tokio::test(start_paused = true)]
async fn a_signal_after_another_request_is_the_second_one() {
    let shutdown = Shutdown::manual();
    let mut listener = Listener::new(shutdown.trigger());
    shutdown.trigger().request();
    listener.hear(Stop::Terminate);
    assert!(shutdown.abort().is_requested());
}

#[tokio::test]
async fn a_signal_to_the_process_starts_the_drain() {
    let shutdown = Shutdown::listen().unwrap();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &std::process::id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    tokio::time::timeout(Duration::from_secs(20), shutdown.drain().requested())
        .await
        .expect("SIGTERM starts the drain within 20 s");
}
