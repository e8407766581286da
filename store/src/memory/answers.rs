//! The interface over the maps.

use super::MemoryStore;
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::migrations::SCHEMA_VERSION;
use crate::page::{
    Cursor, EventFilter, JournalFilter, OccurrenceFilter, Page, RunFilter, TaskCount, TaskFilter,
    page_limit,
};
use crate::store::Store;
use async_trait::async_trait;
use dalsegno_scheduler::row::{
    AttemptRow, Changes, Claim, EventRow, FlowRow, FlowVersionRow, HalfMatchRow, JournalEntry,
    MatchRow, OccurrenceRow, Recovered, RunRow, RunSnapshot, ScopeRow, TaskRow,
};
use dalsegno_scheduler::{FlowName, RunId, Span, TaskId, Timestamp, Version};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

#[async_trait]
impl Store for MemoryStore {
    async fn schema_version(&self) -> Result<i64, Error> {
        Ok(SCHEMA_VERSION)
    }

    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn take_lease(
        &self,
        holder: &str,
        now: Timestamp,
        ttl: Span,
    ) -> Result<Option<Lease>, Error> {
        Ok(self.take_lease_sync(holder, now, ttl))
    }

    async fn renew_lease(
        &self,
        lease: &Lease,
        now: Timestamp,
        ttl: Span,
    ) -> Result<Option<Lease>, Error> {
        Ok(self.renew_lease_sync(lease, now, ttl))
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        self.inner().state.release_lease(lease);
        Ok(())
    }

    async fn lease(&self) -> Result<Option<Lease>, Error> {
        Ok(self.inner().state.lease())
    }

    async fn load(&self) -> Result<Recovered, Error> {
        Ok(self.load_sync())
    }

    async fn commit(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError> {
        self.commit_sync(lease, changes)
    }

    async fn flows(&self) -> Result<Vec<FlowRow>, Error> {
        Ok(self.inner().state.flows.values().cloned().collect())
    }

    async fn flow(&self, flow: &FlowName) -> Result<Option<FlowRow>, Error> {
        Ok(self.inner().state.flows.get(flow).cloned())
    }

    async fn versions(&self, flow: &FlowName) -> Result<Vec<FlowVersionRow>, Error> {
        let inner = self.inner();
        let mut rows: Vec<_> = inner
            .state
            .versions
            .values()
            .filter(|it| it.flow == *flow)
            .cloned()
            .collect();
        rows.sort_by_key(|it| (Reverse(it.created_at), it.version.clone()));
        Ok(rows)
    }

    async fn version(
        &self,
        flow: &FlowName,
        version: &Version,
    ) -> Result<Option<FlowVersionRow>, Error> {
        Ok(self
            .inner()
            .state
            .versions
            .get(&(flow.clone(), version.clone()))
            .cloned())
    }

    async fn run(&self, run: RunId) -> Result<Option<Arc<RunRow>>, Error> {
        Ok(self.inner().state.runs.get(&run).cloned())
    }

    async fn snapshot(&self, run: RunId) -> Result<Option<RunSnapshot>, Error> {
        let state = &self.inner().state;
        let Some(row) = state.runs.get(&run) else {
            return Ok(None);
        };
        let Some(version) = state.versions.get(&(row.flow.clone(), row.version.clone())) else {
            return Ok(None);
        };
        Ok(Some(RunSnapshot {
            run: Arc::clone(row),
            tasks: state.tasks_of(run).cloned().collect(),
            scopes: state.scopes_of(run).cloned().collect(),
            version: version.clone(),
            children: Vec::new(),
        }))
    }

    async fn runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<RunRow>>, Error> {
        let before = cursor.map(Cursor::number).transpose()?;
        let inner = self.inner();
        let rows = inner.state.runs.values().rev().filter(|it| {
            before.is_none_or(|before| (it.id.0 as i64) < before)
                && filter.flow.as_ref().is_none_or(|flow| *flow == it.flow)
                && filter
                    .trigger
                    .as_ref()
                    .is_none_or(|trigger| *trigger == it.trigger)
                && (filter.states.is_empty() || filter.states.contains(&it.state))
        });
        Ok(page(rows, limit, |it| it.id.to_string()))
    }

    async fn recent_runs(&self, limit_per_flow: usize) -> Result<Vec<Arc<RunRow>>, Error> {
        let state = &self.inner().state;
        let mut by_flow: BTreeMap<&FlowName, Vec<Arc<RunRow>>> = BTreeMap::new();
        for run in state
            .runs
            .values()
            .rev()
            .filter(|it| state.flows.contains_key(&it.flow))
        {
            let runs = by_flow.entry(&run.flow).or_default();
            if runs.len() < page_limit(limit_per_flow) {
                runs.push(Arc::clone(run));
            }
        }
        Ok(by_flow.into_values().flatten().collect())
    }

    async fn tasks(
        &self,
        run: RunId,
        filter: &TaskFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<TaskRow>>, Error> {
        let after: Option<TaskId> = cursor
            .map(|it| it.0.parse().map_err(|_| it.bad()))
            .transpose()?;
        let inner = self.inner();
        let rows = inner.state.tasks_of(run).filter(|it| {
            after.as_ref().is_none_or(|after| it.task > *after)
                && filter
                    .step
                    .as_ref()
                    .is_none_or(|step| *step == it.task.step)
                && (filter.states.is_empty() || filter.states.contains(&it.state))
        });
        Ok(page(rows, limit, |it| it.task.to_string()))
    }

    async fn task(&self, run: RunId, task: &TaskId) -> Result<Option<Arc<TaskRow>>, Error> {
        Ok(self
            .inner()
            .state
            .tasks
            .get(&run)
            .and_then(|tasks| tasks.get(task))
            .cloned())
    }

    async fn task_counts(&self, run: RunId) -> Result<Vec<TaskCount>, Error> {
        let inner = self.inner();
        let mut counts = BTreeMap::new();
        for it in inner.state.tasks_of(run) {
            let count = TaskCount {
                step: it.task.step.clone(),
                state: it.state,
                tasks: 0,
            };
            counts
                .entry((it.task.step.clone(), it.state.as_str()))
                .or_insert(count)
                .tasks += 1;
        }
        Ok(counts.into_values().collect())
    }

    async fn attempts(&self, run: RunId, task: Option<&TaskId>) -> Result<Vec<AttemptRow>, Error> {
        let inner = self.inner();
        let rows = inner
            .state
            .attempts
            .values()
            .filter(|it| it.id.run == run && task.is_none_or(|task| *task == it.id.task));
        Ok(rows.cloned().collect())
    }

    async fn scopes(&self, run: RunId) -> Result<Vec<Arc<ScopeRow>>, Error> {
        Ok(self.inner().state.scopes_of(run).cloned().collect())
    }

    async fn journal(
        &self,
        filter: &JournalFilter,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, Error> {
        let inner = self.inner();
        let rows = inner
            .state
            .journal
            .range(after_seq.saturating_add(1)..)
            .map(|(_, it)| it)
            .filter(|it| match filter {
                JournalFilter::All => true,
                JournalFilter::Run(run) => it.run == Some(*run),
                JournalFilter::Flow(flow) => it.flow == *flow && it.run.is_none(),
            });
        Ok(rows.take(page_limit(limit)).cloned().collect())
    }

    async fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<EventRow>>, Error> {
        let before = cursor.map(Cursor::number).transpose()?;
        let inner = self.inner();
        let rows = inner.state.events.values().rev().filter(|it| {
            before.is_none_or(|before| (it.seq as i64) < before)
                && filter
                    .source
                    .as_ref()
                    .is_none_or(|source| *source == it.source)
                && filter.kind.as_ref().is_none_or(|kind| *kind == it.kind)
        });
        Ok(page(rows, limit, |it| it.seq.to_string()))
    }

    async fn event(&self, seq: u64) -> Result<Option<Arc<EventRow>>, Error> {
        Ok(self.inner().state.events.get(&seq).cloned())
    }

    async fn matches(&self, event: u64) -> Result<Vec<MatchRow>, Error> {
        Ok(self
            .inner()
            .state
            .matches
            .values()
            .filter(|it| it.event == event)
            .cloned()
            .collect())
    }

    async fn half_matches(&self, flow: &FlowName) -> Result<Vec<HalfMatchRow>, Error> {
        Ok(self
            .inner()
            .state
            .half_matches
            .values()
            .filter(|it| it.flow == *flow)
            .cloned()
            .collect())
    }

    async fn occurrences(
        &self,
        flow: &FlowName,
        filter: &OccurrenceFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<OccurrenceRow>, Error> {
        let before = cursor.map(Cursor::number_and_text).transpose()?;
        let inner = self.inner();
        let mut rows: Vec<_> = inner
            .state
            .occurrences
            .values()
            .filter(|it| {
                it.flow == *flow
                    && filter.from.is_none_or(|from| it.due_at >= from)
                    && (before.is_some() || filter.to.is_none_or(|to| it.due_at < to))
                    && before.is_none_or(|before| (it.due_at.0, it.key.as_str()) < before)
            })
            .collect();
        rows.sort_by_key(|it| Reverse((it.due_at, &it.key)));
        Ok(page(rows.into_iter(), limit, |it| {
            format!("{} {}", it.due_at.0, it.key)
        }))
    }

    async fn occurrence(&self, flow: &FlowName, key: &str) -> Result<Option<OccurrenceRow>, Error> {
        Ok(self
            .inner()
            .state
            .occurrences
            .get(&(flow.clone(), key.to_owned()))
            .cloned())
    }

    async fn claim(&self, key: &str) -> Result<Option<Claim>, Error> {
        Ok(self.inner().state.claims.get(key).cloned())
    }
}

fn page<'a, T: Clone + 'a>(
    rows: impl Iterator<Item = &'a T>,
    limit: usize,
    cursor: impl Fn(&T) -> String,
) -> Page<T> {
    let limit = page_limit(limit);
    Page::cut(rows.take(limit + 1).cloned().collect(), limit, cursor)
}
