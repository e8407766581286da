//! The behaviours that every store has, one function each, run on all three by `tests/`.

pub mod commits;
pub mod deliveries;
pub mod differential;
pub mod leases;
pub mod pages;
pub mod recovery;
mod sample;
pub mod statements;
pub mod triggers;

/// Makes one test of each behaviour. `$with` is an async function that takes a behaviour and runs it
/// on a fresh store: `async fn with<F>(behaviour: impl FnOnce(Arc<dyn Store>) -> F) where F: Future`.
#[macro_export]
macro_rules! behaviours {
    ($with:path) => {
        $crate::behaviours! { @each $with, leases:
            a_free_lease_is_taken_and_a_held_one_is_not
            an_expired_lease_passes_to_another_in_a_new_term
            the_same_holder_begins_a_new_term_after_a_crash
            a_lease_is_renewed_by_its_term_alone
            a_released_lease_is_free_and_its_term_cannot_commit
            a_killed_instance_leaves_an_outage_from_its_last_renewal
            a_clean_stop_leaves_an_outage_from_its_end
            a_takeover_by_another_tells_who_fell_silent
        }
        $crate::behaviours! { @each $with, commits:
            every_row_comes_back_as_it_was_written
            every_state_can_be_stored
            a_row_is_replaced_and_the_last_of_several_stands
            a_used_claim_is_answered_and_nothing_is_written
            a_claim_that_stands_twice_is_refused
            an_old_term_cannot_write
            a_number_is_never_used_twice
            half_matches_go_away_and_come_back
            strange_texts_survive
            an_empty_commit_checks_the_lease
        }
        $crate::behaviours! { @each $with, recovery:
            an_empty_store_recovers_to_nothing
            recovery_sees_what_is_unfinished_and_nothing_else
            a_snapshot_has_all_of_one_run
            ten_thousand_live_runs_are_loaded_quickly
        }
        $crate::behaviours! { @each $with, pages:
            runs_come_newest_first_page_by_page
            runs_are_filtered
            recent_runs_are_the_newest_of_each_flow
            tasks_come_in_order_of_their_paths
            attempts_of_one_task_or_all
            the_journal_is_read_on_from_a_number
            events_are_filtered_and_paged
            occurrences_come_latest_first
            a_cursor_of_another_list_is_refused
            what_is_not_there_is_none
        }
        $crate::behaviours! { @each $with, triggers:
            events_are_found_by_subject_time_and_what_became_of_them
            a_range_of_events_is_read_oldest_first_part_by_part
            matches_of_a_flow_come_newest_first_page_by_page
            refused_deliveries_come_newest_first
            occurrences_are_filtered_counted_and_found_near
            a_snapshot_reaches_down_to_what_failed_below
            alerts_are_read_on_from_a_number_and_page_by_page
            backfills_are_filtered_and_their_items_counted
            ten_thousand_runs_of_a_span_are_read_quickly
            a_position_is_kept_until_the_next
            a_position_is_swapped_only_by_who_knows_it
        }
        $crate::behaviours! { @each $with, deliveries:
            a_delivery_is_made_once_and_comes_back_as_it_was_written
            of_one_matter_only_the_first_is_due
            an_attempt_counts_once
            what_recovers_while_it_is_held_is_not_told
            what_waits_together_is_told_together
            what_was_ended_can_be_sent_again_under_its_name
            deliveries_are_filtered_counted_and_paged
            a_channel_is_stopped_for_a_reason_and_goes_on
        }
    };
    (@each $with:path, $module:ident: $($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $with(|store| async move { $crate::conformance::$module::$name(&*store).await }).await;
        })*
    };
}
