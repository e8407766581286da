//! The one interface of the three stores.

use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::page::{
    Cursor, EventFilter, JournalFilter, OccurrenceFilter, Page, RunFilter, TaskCount, TaskFilter,
};
use async_trait::async_trait;
use dalsegno_scheduler::row::{
    AttemptRow, Changes, Claim, EventRow, FlowRow, FlowVersionRow, HalfMatchRow, JournalEntry,
    MatchRow, OccurrenceRow, Recovered, RunRow, RunSnapshot, ScopeRow, TaskRow,
};
use dalsegno_scheduler::{FlowName, RunId, Span, TaskId, Timestamp, Version};
use std::sync::Arc;

/// Durable state.
///
/// All methods but [`Store::commit`] may be called by every instance at any time. Limits of pages
/// are at least 1 and at most 10,000, whatever was asked for.
#[async_trait]
pub trait Store: Send + Sync {
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
    /// `None` while another holds it.
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
    async fn release_lease(&self, lease: &Lease) -> Result<(), Error>;

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
    /// A run with everything that hangs on it, at one moment.
    async fn snapshot(&self, run: RunId) -> Result<Option<RunSnapshot>, Error>;
    /// Newest first.
    async fn runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<RunRow>>, Error>;
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
    async fn event(&self, seq: u64) -> Result<Option<Arc<EventRow>>, Error>;
    /// What became of an event, by flow, trigger and leaf.
    async fn matches(&self, event: u64) -> Result<Vec<MatchRow>, Error>;
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
    async fn claim(&self, key: &str) -> Result<Option<Claim>, Error>;
}
