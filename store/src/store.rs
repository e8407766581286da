//! The one interface of the three stores.

use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::page::{
    AlertFilter, Attainment, BackfillCount, BackfillFilter, Cursor, EventFilter, JournalFilter,
    MatchFilter, OccurrenceCount, OccurrenceFilter, Outage, Page, RunFilter, SlaFilter, StepTime,
    TaskCount, TaskFilter,
};
use async_trait::async_trait;
use dalsegno_scheduler::alert::AlertRow;
use dalsegno_scheduler::backfill::History;
use dalsegno_scheduler::row::{
    AttemptRow, BackfillItemRow, BackfillItemState, BackfillRow, Changes, Claim, EventRow, FlowRow,
    FlowVersionRow, HalfMatchRow, JournalEntry, MatchRow, OccurrenceRow, Recovered, RefusedRow,
    RunRow, RunSnapshot, ScopeRow, SilenceRow, SlaRow, TaskRow,
};
use dalsegno_scheduler::{FlowName, RunId, Span, TaskId, Timestamp, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Durable state.
///
/// All methods but [`Store::commit`] may be called by every instance at any time. Limits of pages
/// are at least 1 and at most 10,000, whatever was asked for.
#[async_trait]
pub trait Store: crate::deliveries::Deliveries + Send + Sync {
    /// The schema version of the database; 0 before the first migration.
    async fn schema_version(&self) -> Result<i64, Error>;

    /// Brings the schema up to [`crate::SCHEMA_VERSION`]. Instances that migrate at the same time wait
    /// for each other.
    ///
    /// # Errors
    /// [`Error::DatabaseNewer`] when the database was written by a newer binary; it is not touched.
    async fn migrate(&self) -> Result<(), Error>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Error>;

    /// Takes the lease if it is free, expired or held under the same name, and begins a new term.
    /// `None` while another holds it. If nobody has decided for a while, that [`Outage`] is on record then.
    async fn take_lease(
        &self,
        holder: &str,
        now: Timestamp,
        ttl: Span,
    ) -> Result<Option<Lease>, Error>;

    /// Prolongs the term; `None` when it has ended.
    async fn renew_lease(
        &self,
        lease: &Lease,
        now: Timestamp,
        ttl: Span,
    ) -> Result<Option<Lease>, Error>;

    /// Ends the term, so that another may begin at once. Nothing happens if it has ended already.
    async fn release_lease(&self, lease: &Lease, now: Timestamp) -> Result<(), Error>;

    /// The lease as it stands, whoever holds it; `None` when nobody does.
    async fn lease(&self) -> Result<Option<Lease>, Error>;

    /// All that is not finished, at one moment. After [`CommitError::Unknown`] take the lease again first:
    /// only then can the commit in question not happen any more.
    async fn load(&self) -> Result<Recovered, Error>;

    /// Makes changes durable, all or none. Deletions come before the rows that are written; of
    /// several rows with one key the last one stands.
    async fn commit(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError>;

    /// All flows by name.
    async fn flows(&self) -> Result<Vec<FlowRow>, Error>;
    async fn flow(&self, flow: &FlowName) -> Result<Option<FlowRow>, Error>;
    /// All versions of a flow, newest first.
    async fn versions(&self, flow: &FlowName) -> Result<Vec<FlowVersionRow>, Error>;
    async fn version(
        &self,
        flow: &FlowName,
        version: &Version,
    ) -> Result<Option<FlowVersionRow>, Error>;

    async fn run(&self, run: RunId) -> Result<Option<Arc<RunRow>>, Error>;
    /// A run with everything that hangs on it, at one moment; each of its sub-flows at a moment of its own.
    async fn snapshot(&self, run: RunId) -> Result<Option<RunSnapshot>, Error>;
    /// Newest first.
    async fn runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<RunRow>>, Error>;
    /// Runs that steps of this one started, oldest first.
    async fn children(&self, run: RunId) -> Result<Vec<Arc<RunRow>>, Error>;
    /// All runs of these flows whose interval begins in `[from, to)`, newest first.
    async fn runs_in(
        &self,
        flows: &[FlowName],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<History>, Error>;
    /// How long a run takes: the middle of the newest 20 that succeeded. Flows without any are left out.
    async fn typical_durations(
        &self,
        flows: &[FlowName],
    ) -> Result<BTreeMap<FlowName, Span>, Error>;
    /// How long steps take: of the newest `limit` runs of each flow that succeeded, the tasks of each step that succeeded,
    /// taken together. By flow, newest run first, by step.
    async fn step_times(&self, flows: &[FlowName], limit: usize) -> Result<Vec<StepTime>, Error>;
    /// The newest runs of each flow, by flow, newest first.
    async fn recent_runs(&self, limit_per_flow: usize) -> Result<Vec<Arc<RunRow>>, Error>;
    /// By step name, index path and iteration.
    async fn tasks(
        &self,
        run: RunId,
        filter: &TaskFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<TaskRow>>, Error>;
    async fn task(&self, run: RunId, task: &TaskId) -> Result<Option<Arc<TaskRow>>, Error>;
    /// How many tasks a run has, by step and state.
    async fn task_counts(&self, run: RunId) -> Result<Vec<TaskCount>, Error>;
    /// Ended attempts of a run, or of one task of it, by task and number.
    async fn attempts(&self, run: RunId, task: Option<&TaskId>) -> Result<Vec<AttemptRow>, Error>;
    /// By name and path.
    async fn scopes(&self, run: RunId) -> Result<Vec<Arc<ScopeRow>>, Error>;

    /// Entries with a number above `after_seq`, oldest first.
    async fn journal(
        &self,
        filter: &JournalFilter,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, Error>;

    /// Newest first.
    async fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<EventRow>>, Error>;
    /// Events received in `[from, to)`, oldest first. The next part of the list: from the last one's
    /// `received_at`, after its `seq`.
    async fn events_range(
        &self,
        from: Timestamp,
        to: Timestamp,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Arc<EventRow>>, Error>;
    async fn event(&self, seq: u64) -> Result<Option<Arc<EventRow>>, Error>;
    /// What became of an event, by flow, trigger and leaf.
    async fn matches(&self, event: u64) -> Result<Vec<MatchRow>, Error>;
    /// What became of events at the triggers of a flow, newest event first.
    async fn matches_of(
        &self,
        flow: &FlowName,
        filter: &MatchFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<MatchRow>, Error>;
    /// Sets of a flow that are not complete, by trigger, join key and leaf.
    async fn half_matches(&self, flow: &FlowName) -> Result<Vec<HalfMatchRow>, Error>;
    /// Latest due first.
    async fn occurrences(
        &self,
        flow: &FlowName,
        filter: &OccurrenceFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<OccurrenceRow>, Error>;
    async fn occurrence(&self, flow: &FlowName, key: &str) -> Result<Option<OccurrenceRow>, Error>;
    /// The last that were due at this instant or before, at most `limit`, and as many that are due after it;
    /// latest due first.
    async fn occurrences_near(
        &self,
        flow: &FlowName,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<OccurrenceRow>, Error>;
    /// How many occurrences were due in `[since, until)`, by trigger and state.
    async fn occurrence_counts(
        &self,
        flow: &FlowName,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<OccurrenceCount>, Error>;
    async fn claim(&self, key: &str) -> Result<Option<Claim>, Error>;
    /// Deliveries that were no events, newest first.
    async fn refused(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<RefusedRow>, Error>;

    /// Newest first.
    async fn backfills(
        &self,
        filter: &BackfillFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BackfillRow>, Error>;
    async fn backfill(&self, id: u64) -> Result<Option<BackfillRow>, Error>;
    /// By number; all, or those in one state.
    async fn backfill_items(
        &self,
        id: u64,
        state: Option<BackfillItemState>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BackfillItemRow>, Error>;
    /// How many items a backfill has, by flow and state.
    async fn backfill_counts(&self, id: u64) -> Result<Vec<BackfillCount>, Error>;

    /// How promises that were due in `[from, to)` were kept, by flow, promise and week.
    async fn attainment(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Attainment>, Error>;
    /// Rows of promises, latest due first.
    async fn slas(
        &self,
        filter: &SlaFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SlaRow>, Error>;
    /// Newest first, those that are over too.
    async fn silences(&self, limit: usize) -> Result<Vec<SilenceRow>, Error>;

    /// Alerts with a number above `id`, oldest first.
    async fn alerts_after(&self, id: u64, limit: usize) -> Result<Vec<AlertRow>, Error>;
    /// Newest first.
    async fn alerts_page(
        &self,
        filter: &AlertFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<AlertRow>, Error>;

    /// Times in which nobody decided, of which the end is at or after `since`; newest first, at most 10,000.
    async fn outages(&self, since: Timestamp) -> Result<Vec<Outage>, Error>;

    /// How far a sender or watcher has come, as it said itself.
    async fn position(&self, name: &str) -> Result<Option<String>, Error>;
    /// Remembers a position durably. It is no part of any commit and not fenced by the lease: it may lie behind
    /// what was done, so whoever goes on from it does some things twice.
    async fn put_position(&self, name: &str, value: &str, now: Timestamp) -> Result<(), Error>;
    /// The same, but only if the position is `old` until then (`None`: there is none yet). False: it is another by now,
    /// and nothing was written. So two who share a position cannot overwrite each other.
    async fn swap_position(
        &self,
        name: &str,
        old: Option<&str>,
        value: &str,
        now: Timestamp,
    ) -> Result<bool, Error>;
}
