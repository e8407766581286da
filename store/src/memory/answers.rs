//! The interface over the maps.

use super::MemoryStore;
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::migrations::SCHEMA_VERSION;
use crate::page::{
    AlertFilter, Attainment, BackfillCount, BackfillFilter, Cursor, DURATIONS, EventFilter,
    JournalFilter, MatchFilter, OccurrenceCount, OccurrenceFilter, Outage, PAGE_MAX, Page,
    RunFilter, SlaFilter, StepTime, TO_MONDAY, TaskCount, TaskFilter, WEEK, event_cursor,
    match_cursor, middle, occurrence_cursor, page_limit, refused_cursor, sla_cursor,
};
use crate::store::Store;
use async_trait::async_trait;
use dalsegno_scheduler::alert::AlertRow;
use dalsegno_scheduler::backfill::History;
use dalsegno_scheduler::row::{
    AttemptRow, BackfillItemRow, BackfillItemState, BackfillRow, Changes, Claim, EventRow, FlowRow,
    FlowVersionRow, HalfMatchRow, JournalEntry, MatchRow, OccurrenceRow, Recovered, RefusedRow,
    RunRow, RunSnapshot, RunState, ScopeRow, SilenceRow, SlaRow, TaskRow, TaskState,
};
use dalsegno_scheduler::{FlowName, RunId, Span, StepName, TaskId, Timestamp, Version};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
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

    async fn release_lease(&self, lease: &Lease, now: Timestamp) -> Result<(), Error> {
        self.inner().state.release_lease(lease, now);
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
        Ok(self.inner().state.snapshot(run, 0))
    }

    async fn children(&self, run: RunId) -> Result<Vec<Arc<RunRow>>, Error> {
        Ok(self.inner().state.children(run))
    }

    async fn runs_in(
        &self,
        flows: &[FlowName],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<History>, Error> {
        let begins = |it: &RunRow| from <= it.interval.start && it.interval.start < to;
        let inner = self.inner();
        let runs = inner.state.runs.values().rev();
        Ok(runs
            .filter(|it| flows.contains(&it.flow) && begins(it))
            .map(|it| History::from(&**it))
            .collect())
    }

    async fn typical_durations(
        &self,
        flows: &[FlowName],
    ) -> Result<BTreeMap<FlowName, Span>, Error> {
        let state = &self.inner().state;
        let durations = flows
            .iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|flow| {
                let succeeded = state
                    .runs
                    .values()
                    .rev()
                    .filter(move |it| it.flow == *flow && it.state == RunState::Succeeded);
                succeeded
                    .filter_map(|it| Some((it.flow.clone(), it.finished_at? - it.started_at?)))
                    .take(DURATIONS)
            });
        Ok(middle(durations.flatten()))
    }

    async fn step_times(&self, flows: &[FlowName], limit: usize) -> Result<Vec<StepTime>, Error> {
        let state = &self.inner().state;
        let mut times = Vec::new();
        for flow in flows.iter().collect::<BTreeSet<_>>() {
            let runs = state.runs.values().rev();
            let done = runs.filter_map(|it| {
                let succeeded = it.flow == *flow && it.state == RunState::Succeeded;
                let times = it.started_at.zip(it.finished_at);
                times.filter(|_| succeeded).map(|times| (it.id, times))
            });
            for (run, (started_at, finished_at)) in done.take(page_limit(limit)) {
                let mut steps: BTreeMap<StepName, StepTime> = BTreeMap::new();
                for task in state.tasks_of(run) {
                    let (Some(from), Some(to), TaskState::Succeeded) =
                        (task.submitted_at, task.finished_at, task.state)
                    else {
                        continue;
                    };
                    let step = &task.task.step;
                    let it = steps.entry(step.clone()).or_insert_with(|| StepTime {
                        flow: flow.clone(),
                        run,
                        started_at,
                        finished_at,
                        step: step.clone(),
                        tasks: 0,
                        from,
                        to,
                        sum: Span::ZERO,
                    });
                    it.tasks += 1;
                    it.from = it.from.min(from);
                    it.to = it.to.max(to);
                    it.sum = Span(it.sum.0 + (to - from).0);
                }
                times.extend(steps.into_values());
            }
        }
        Ok(times)
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
                && (filter.subject.is_none() || filter.subject == it.subject)
                && filter.subject_prefix.as_ref().is_none_or(|prefix| {
                    let subject = it.subject.as_ref();
                    subject.is_some_and(|subject| subject.starts_with(prefix.as_str()))
                })
                && filter.since.is_none_or(|since| it.received_at >= since)
                && filter.until.is_none_or(|until| it.received_at < until)
                && filter.flow.as_ref().is_none_or(|flow| {
                    inner.state.matches_of(it.seq).any(|it| {
                        it.flow == *flow && filter.outcome.is_none_or(|want| it.outcome == want)
                    })
                })
        });
        Ok(page(rows, limit, |it| event_cursor(it)))
    }

    async fn events_range(
        &self,
        from: Timestamp,
        to: Timestamp,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Arc<EventRow>>, Error> {
        let inner = self.inner();
        let mut rows: Vec<_> = inner
            .state
            .events
            .values()
            .filter(|it| (it.received_at, it.seq) > (from, after_seq) && it.received_at < to)
            .cloned()
            .collect();
        rows.sort_by_key(|it| (it.received_at, it.seq));
        rows.truncate(page_limit(limit));
        Ok(rows)
    }

    async fn event(&self, seq: u64) -> Result<Option<Arc<EventRow>>, Error> {
        Ok(self.inner().state.events.get(&seq).cloned())
    }

    async fn matches(&self, event: u64) -> Result<Vec<MatchRow>, Error> {
        Ok(self.inner().state.matches_of(event).cloned().collect())
    }

    async fn matches_of(
        &self,
        flow: &FlowName,
        filter: &MatchFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<MatchRow>, Error> {
        let before = cursor.map(Cursor::event_match).transpose()?;
        let inner = self.inner();
        let mut rows: Vec<_> = inner
            .state
            .matches
            .values()
            .filter(|it| {
                it.flow == *flow
                    && filter
                        .trigger
                        .as_ref()
                        .is_none_or(|want| it.trigger == *want)
                    && (filter.outcomes.is_empty() || filter.outcomes.contains(&it.outcome))
                    && before.is_none_or(|before| {
                        (it.event as i64, i64::from(it.leaf), it.trigger.as_str()) < before
                    })
            })
            .collect();
        rows.sort_by_key(|it| Reverse((it.event, it.leaf, &it.trigger)));
        Ok(page(rows.into_iter(), limit, match_cursor))
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
                    && (filter.states.is_empty() || filter.states.contains(&it.state))
                    && filter
                        .trigger
                        .as_ref()
                        .is_none_or(|want| it.trigger == *want)
            })
            .collect();
        rows.sort_by_key(|it| Reverse((it.due_at, &it.key)));
        Ok(page(rows.into_iter(), limit, occurrence_cursor))
    }

    async fn occurrences_near(
        &self,
        flow: &FlowName,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<OccurrenceRow>, Error> {
        let inner = self.inner();
        let mut rows: Vec<_> = inner
            .state
            .occurrences
            .values()
            .filter(|it| it.flow == *flow)
            .collect();
        rows.sort_by_key(|it| Reverse((it.due_at, &it.key)));
        let middle = rows.partition_point(|it| it.due_at > at);
        let limit = page_limit(limit);
        let near = middle.saturating_sub(limit)..(middle + limit).min(rows.len());
        Ok(rows[near].iter().map(|it| (*it).clone()).collect())
    }

    async fn occurrence_counts(
        &self,
        flow: &FlowName,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<OccurrenceCount>, Error> {
        let inner = self.inner();
        let mut counts = BTreeMap::new();
        for it in inner.state.occurrences.values() {
            if it.flow == *flow && since <= it.due_at && it.due_at < until {
                let count = OccurrenceCount {
                    trigger: it.trigger.clone(),
                    state: it.state,
                    occurrences: 0,
                };
                counts
                    .entry((it.trigger.clone(), it.state.as_str()))
                    .or_insert(count)
                    .occurrences += 1;
            }
        }
        Ok(counts.into_values().collect())
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

    async fn refused(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<RefusedRow>, Error> {
        let before = cursor.map(Cursor::refused).transpose()?;
        let inner = self.inner();
        let mut rows: Vec<_> = inner
            .state
            .refused
            .values()
            .filter(|it| {
                before.is_none_or(|before| {
                    (it.received_at.0, it.source.as_str(), it.id.as_str()) < before
                })
            })
            .collect();
        rows.sort_by_key(|it| Reverse((it.received_at, &it.source, &it.id)));
        Ok(page(rows.into_iter(), limit, refused_cursor))
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BackfillRow>, Error> {
        let before = cursor.map(Cursor::number).transpose()?;
        let inner = self.inner();
        let rows = inner.state.backfills.values().rev().filter(|it| {
            before.is_none_or(|before| (it.id as i64) < before)
                && filter.flow.as_ref().is_none_or(|flow| *flow == it.flow)
                && (filter.states.is_empty() || filter.states.contains(&it.state))
        });
        Ok(page(rows, limit, |it| it.id.to_string()))
    }

    async fn backfill(&self, id: u64) -> Result<Option<BackfillRow>, Error> {
        Ok(self.inner().state.backfills.get(&id).cloned())
    }

    async fn backfill_items(
        &self,
        id: u64,
        state: Option<BackfillItemState>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BackfillItemRow>, Error> {
        let after = cursor.map(Cursor::number).transpose()?;
        let inner = self.inner();
        let rows = inner.state.items_of(id).filter(|it| {
            after.is_none_or(|after| i64::from(it.number) > after)
                && state.is_none_or(|state| it.state == state)
        });
        Ok(page(rows, limit, |it| it.number.to_string()))
    }

    async fn backfill_counts(&self, id: u64) -> Result<Vec<BackfillCount>, Error> {
        let inner = self.inner();
        let mut counts = BTreeMap::new();
        for it in inner.state.items_of(id) {
            let count = BackfillCount {
                flow: it.flow.clone(),
                state: it.state,
                items: 0,
            };
            counts
                .entry((it.flow.clone(), it.state.as_str()))
                .or_insert(count)
                .items += 1;
        }
        Ok(counts.into_values().collect())
    }

    async fn attainment(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Attainment>, Error> {
        let inner = self.inner();
        let due = inner.state.slas.values();
        let due = due.filter(|it| from <= it.due_at && it.due_at < to && it.withdrawn.is_none());
        let mut weeks = BTreeMap::new();
        for it in due {
            let week = (it.due_at.0 + TO_MONDAY) / WEEK;
            let key = (it.flow.clone(), it.promise.clone(), week);
            let of_week = weeks.entry(key).or_insert_with(|| Attainment {
                flow: it.flow.clone(),
                promise: it.promise.to_string(),
                week: Timestamp(week * WEEK - TO_MONDAY),
                kept: 0,
                missed: 0,
            });
            match it.missed_at {
                None => of_week.kept += 1,
                Some(_) => of_week.missed += 1,
            }
        }
        Ok(weeks.into_values().collect())
    }

    async fn slas(
        &self,
        filter: &SlaFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SlaRow>, Error> {
        let before = cursor.map(Cursor::sla).transpose()?;
        let inner = self.inner();
        let place = |it: &SlaRow| {
            (
                it.due_at.0,
                it.flow.clone(),
                it.promise.clone(),
                it.period.clone(),
            )
        };
        let mut rows: Vec<_> = inner
            .state
            .slas
            .values()
            .filter(|it| {
                let at = (it.due_at.0, it.flow.as_str(), &*it.promise, &*it.period);
                filter.flow.as_ref().is_none_or(|flow| *flow == it.flow)
                    && filter.from.is_none_or(|from| it.due_at >= from)
                    && (before.is_some() || filter.to.is_none_or(|to| it.due_at < to))
                    && before.is_none_or(|before| at < before)
                    && filter.open.is_none_or(|open| open == it.open)
                    && (filter.states.is_empty() || filter.states.contains(&it.state))
            })
            .collect();
        rows.sort_by_key(|it| Reverse(place(it)));
        Ok(page(rows.into_iter(), limit, sla_cursor))
    }

    async fn silences(&self, limit: usize) -> Result<Vec<SilenceRow>, Error> {
        let inner = self.inner();
        let rows = inner.state.silences.values().rev();
        Ok(rows.take(page_limit(limit)).cloned().collect())
    }

    async fn alerts_after(&self, id: u64, limit: usize) -> Result<Vec<AlertRow>, Error> {
        let inner = self.inner();
        let rows = inner.state.alerts.range(id.saturating_add(1)..);
        let rows = rows.map(|(_, it)| it).take(page_limit(limit));
        Ok(rows.cloned().collect())
    }

    async fn alerts_page(
        &self,
        filter: &AlertFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<AlertRow>, Error> {
        let before = cursor.map(Cursor::number).transpose()?;
        let inner = self.inner();
        let rows = inner.state.alerts.values().rev().filter(|it| {
            before.is_none_or(|before| (it.id.0 as i64) < before)
                && (filter.flow.is_none() || filter.flow == it.flow)
                && (filter.kinds.is_empty() || filter.kinds.contains(&it.kind))
                && filter.key.as_ref().is_none_or(|key| *key == it.key)
        });
        Ok(page(rows, limit, |it| it.id.to_string()))
    }

    async fn outages(&self, since: Timestamp) -> Result<Vec<Outage>, Error> {
        let inner = self.inner();
        let mut rows: Vec<Outage> = inner
            .state
            .outages
            .iter()
            .filter(|it| it.to >= since)
            .cloned()
            .collect();
        rows.sort_by_key(|it| Reverse((it.to, it.term)));
        rows.truncate(PAGE_MAX);
        Ok(rows)
    }

    async fn position(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.inner().state.positions.get(name).cloned())
    }

    async fn put_position(&self, name: &str, value: &str, _now: Timestamp) -> Result<(), Error> {
        self.inner()
            .state
            .positions
            .insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    async fn swap_position(
        &self,
        name: &str,
        old: Option<&str>,
        value: &str,
        _now: Timestamp,
    ) -> Result<bool, Error> {
        let mut inner = self.inner();
        let positions = &mut inner.state.positions;
        let is_as_expected = positions.get(name).map(String::as_str) == old;
        if is_as_expected {
            positions.insert(name.to_owned(), value.to_owned());
        }
        Ok(is_as_expected)
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
