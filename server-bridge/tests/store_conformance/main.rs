//! What every engine behind the `Store` trait promises. An engine is one line of the macro.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::future::Future;

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use server_bridge::store::{Content, Json, Labels, NewBundle, NewConsumer, SourceName, Store};

mod agents;
mod bundles;
mod consumers;
mod copy;
mod engines;
mod facts;
mod history;
mod list;
mod outbox;
mod pages;
mod postgres;
mod presence;
mod progress;
mod reports;
mod sqlite;
mod status;
mod two_bridges;
mod waiting;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

pub(crate) fn name(text: &str) -> ConsumerName {
    ConsumerName::new(text).unwrap()
}

pub(crate) fn version(number: i64) -> Version {
    Version::new(number).unwrap()
}

pub(crate) fn content(text: &str) -> Content {
    Content {
        manifests: Json::parse(&format!("[{{\"data\":\"{text}\"}}]")).unwrap(),
        delete_option: None,
        manifest_configs: None,
        executer: None,
    }
}

pub(crate) fn bundle(id: &str, consumer: &str) -> NewBundle {
    NewBundle {
        id: id.to_owned(),
        name: id.to_owned(),
        source: SourceName::default(),
        consumer_name: name(consumer),
        metadata: Some(Json::parse("{\"labels\":{\"app\":\"web\"}}").unwrap()),
        origin: None,
        content: content("one"),
    }
}

pub(crate) async fn with_consumers(store: &impl Store, names: &[&str]) {
    let new = names
        .iter()
        .map(|text| NewConsumer {
            id: format!("id-{text}"),
            name: name(text),
            labels: Labels::from([("env".to_owned(), (*text).to_owned())]),
        })
        .collect();
    store.ensure_consumers(new, at(0)).await.unwrap();
}

/// Runs every promise against every engine; `$open` opens an empty store and keeps what must outlive it.
macro_rules! conformance {
    ($engine:ident, $open:expr, [$($noun:ident :: $promise:ident),* $(,)?]) => {
        mod $engine {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::run($open, super::$noun::$promise).await;
            })*
        }
    };
    ($promises:tt) => {
        conformance!(on_sqlite, super::engines::sqlite(), $promises);
        conformance!(on_postgres, super::engines::postgres(), $promises);
        conformance!(on_postgres_as_rds_runs_it, super::engines::rds(), $promises);
    };
}

async fn run<S: Store, K, F: Future<Output = ()>>(
    open: impl Future<Output = (S, K)>,
    promise: impl FnOnce(S) -> F,
) {
    let (store, _keep) = open.await;
    promise(store).await;
}

conformance!([
    consumers::consumers_live_and_are_protected_by_their_bundles,
    bundles::versions_rise_only_with_content_and_only_from_the_latest,
    bundles::json_comes_back_to_the_letter,
    outbox::the_outbox_holds_what_the_broker_has_not_acknowledged,
    outbox::a_resend_outlives_acknowledgements_of_older_publications,
    outbox::a_bundle_is_sent_again_with_its_reason_unless_it_is_being_deleted,
    outbox::ids_that_nothing_can_have_are_unknown,
    status::statuses_are_taken_only_in_order_and_from_their_consumer,
    status::an_id_used_again_for_another_consumer_mixes_nothing,
    status::a_newer_version_and_an_agent_on_another_node_are_heard,
    status::a_newer_version_on_the_cluster_is_shown_until_it_is_passed,
    history::a_version_is_raised_above_the_held_one_with_its_content,
    history::at_the_end_of_the_versions_nothing_is_raised_or_made,
    history::a_deletion_is_sent_again_under_a_version_above_the_held_one,
    history::a_status_that_comes_twice_shows_a_newer_version_twice,
    history::what_was_deleted_before_a_restore_deletes_nothing_after_it,
    history::the_first_change_of_what_nobody_confirmed_jumps,
    history::an_agent_s_word_is_about_its_own_consumer_and_several_begin_an_epoch,
    history::what_is_doubted_of_a_consumer_is_kept_until_it_is_removed,
    history::the_ledger_remembers_as_many_versions_however_they_are_numbered,
    status::a_status_from_the_future_gives_way_and_never_holds_up_a_deletion,
    status::a_sign_of_life_after_a_deletion_is_told_from_a_late_word,
    list::pages_are_filtered_ordered_and_complete,
    list::searches_compare_by_bytes_and_absent_values_sort_first,
    bundles::concurrent_writers_neither_lose_nor_mix_their_writes,
    agents::a_list_is_whole_once_all_its_parts_came_in_any_order_and_repeated,
    agents::newer_lists_take_the_place_of_older_ones_and_totals_are_not_believed_twice,
    agents::unfinished_lists_are_bounded_each_and_together,
    agents::orphans_wait_in_the_outbox_until_they_are_removed,
    agents::a_consumer_is_noted_as_heard_about_once_a_minute,
    agents::foreign_works_are_forgotten_by_a_whole_list_that_came_after_them,
    agents::a_lost_consumer_is_removed_with_all_that_is_kept_of_it,
    agents::a_consumer_is_lost_only_when_its_silence_was_heard,
    presence::the_newest_report_of_an_agent_is_kept_whatever_its_clock_says,
    presence::lifecycle_events_count_in_the_order_of_their_versions_until_these_begin_anew,
    presence::presence_is_listed_in_pages_and_goes_with_its_consumer,
    presence::silence_is_noted_only_for_as_long_as_somebody_listened,
    presence::a_note_of_a_clock_that_was_ahead_is_replaced_by_the_next,
    facts::a_bundle_is_found_by_id_or_else_by_name_with_those_before_it,
    facts::those_of_other_sources_that_go_before_are_counted_apart,
    facts::a_consumer_is_told_by_what_waits_longest_and_what_was_raised,
    progress::each_column_says_how_far_a_bundle_has_come_at_each_hop,
    progress::a_status_of_another_version_or_history_says_nothing_of_the_present_one,
    progress::searches_find_what_waits_and_loads_count_it,
    waiting::a_bundle_waits_at_one_hop_after_the_other_until_it_is_applied,
    waiting::consumers_are_counted_once_for_each_hop,
    waiting::what_is_known_to_wait_is_found_behind_any_number_of_others,
    waiting::those_that_wait_longest_are_named_at_each_hop,
    reports::a_search_for_a_source_gives_its_bundles_alone_in_the_order_of_creation,
    reports::what_of_a_publication_travels_again_belongs_to_its_version,
    reports::each_status_that_is_taken_is_reported_once,
    reports::a_bundle_that_goes_leaves_its_last_report_until_it_is_forgotten,
    pages::what_was_reported_of_a_source_comes_in_pages_that_leave_nothing_out,
    reports::bundles_that_go_with_their_consumer_say_that_nobody_confirmed_it,
    reports::a_raised_version_keeps_the_report_that_is_there,
    reports::a_reader_misses_nothing_that_many_write_at_once,
    waiting::what_is_applied_no_more_or_not_available_waits_as_such,
    waiting::consumers_that_were_not_heard_of_are_counted_by_for_how_long,
]);
