//! The maps, and how a commit changes them.

use crate::children::{DEPTH_MAX, to_resume};
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::page::{OUTAGE_MIN, Outage, OutageReason};
use dalsegno_scheduler::alert::AlertRow;
use dalsegno_scheduler::row::{
    AttemptRow, BackfillItemRow, BackfillRow, BackfillState, Changes, Claim, EventRow, FlowRow,
    FlowVersionRow, HalfMatchRow, JournalEntry, MatchRow, OccurrenceRow, OccurrenceState,
    Recovered, RefusedRow, RunRow, RunSnapshot, ScopeRow, SilenceRow, SlaRow, TaskRow,
};
use dalsegno_scheduler::{
    AttemptId, FlowName, Path, RunId, Span, StepName, TaskId, Timestamp, TriggerName, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct State {
    /// The newest term; its holder is `None` when it was released or lost.
    term: i64,
    holder: Option<(String, Timestamp)>,
    /// When the lease was last taken, renewed or given back, and by whom it was given back.
    certain_at: Option<Timestamp>,
    former: Option<String>,
    pub outages: Vec<Outage>,
    pub positions: BTreeMap<String, String>,
    pub claims: BTreeMap<String, Claim>,
    pub versions: BTreeMap<(FlowName, Version), FlowVersionRow>,
    pub flows: BTreeMap<FlowName, FlowRow>,
    pub events: BTreeMap<u64, Arc<EventRow>>,
    pub occurrences: BTreeMap<(FlowName, String), OccurrenceRow>,
    pub matches: BTreeMap<(u64, FlowName, TriggerName, u16), MatchRow>,
    pub half_matches: BTreeMap<(FlowName, TriggerName, String, u16, u64), HalfMatchRow>,
    pub runs: BTreeMap<RunId, Arc<RunRow>>,
    pub unfinished: BTreeSet<RunId>,
    pub tasks: BTreeMap<RunId, BTreeMap<TaskId, Arc<TaskRow>>>,
    pub scopes: BTreeMap<RunId, BTreeMap<(StepName, Path), Arc<ScopeRow>>>,
    pub attempts: BTreeMap<AttemptId, AttemptRow>,
    pub refused: BTreeMap<(String, String), RefusedRow>,
    pub backfills: BTreeMap<u64, BackfillRow>,
    pub backfill_items: BTreeMap<(u64, u32), BackfillItemRow>,
    pub slas: BTreeMap<(FlowName, Arc<str>, Arc<str>), SlaRow>,
    pub silences: BTreeMap<u64, SilenceRow>,
    pub alerts: BTreeMap<u64, AlertRow>,
    pub journal: BTreeMap<u64, JournalEntry>,
}

impl State {
    pub(super) fn lease(&self) -> Option<Lease> {
        let (holder, expires_at) = self.holder.clone()?;
        Some(Lease {
            holder,
            term: self.term,
            expires_at,
        })
    }

    pub(super) fn take_lease(&mut self, holder: &str, now: Timestamp, ttl: Span) -> Option<Lease> {
        if let Some((other, expires_at)) = &self.holder
            && other != holder
            && *expires_at > now
        {
            return None;
        }
        self.term += 1;
        self.record_outage(now);
        self.holder = Some((holder.to_owned(), now + ttl));
        self.certain_at = Some(now);
        self.lease()
    }

    fn record_outage(&mut self, now: Timestamp) {
        let before = match &self.holder {
            Some((holder, expires_at)) => {
                (*expires_at <= now).then(|| (holder.clone(), OutageReason::Vanished))
            }
            None => self.former.clone().map(|it| (it, OutageReason::Stopped)),
        };
        let (Some(from), Some((holder, reason))) = (self.certain_at, before) else {
            return;
        };
        if from <= now - OUTAGE_MIN {
            self.outages.push(Outage {
                term: self.term,
                from,
                to: now,
                holder,
                reason,
            });
        }
    }

    pub(super) fn renew_lease(
        &mut self,
        lease: &Lease,
        now: Timestamp,
        ttl: Span,
    ) -> Option<Lease> {
        if !self.is_held(lease) {
            return None;
        }
        self.holder = Some((lease.holder.clone(), now + ttl));
        self.certain_at = Some(now);
        self.lease()
    }

    pub(super) fn release_lease(&mut self, lease: &Lease, now: Timestamp) {
        if self.is_held(lease) {
            self.holder = None;
            self.former = Some(lease.holder.clone());
            self.certain_at = Some(now);
        }
    }

    pub(super) fn lose_lease(&mut self) {
        self.term += 1;
        self.holder = None;
    }

    fn is_held(&self, lease: &Lease) -> bool {
        self.lease()
            .is_some_and(|it| it.holder == lease.holder && it.term == lease.term)
    }

    pub(super) fn commit(&mut self, lease: &Lease, changes: &Changes) -> Result<(), CommitError> {
        if !self.is_held(lease) {
            return Err(CommitError::LostLease);
        }
        let duplicates: Vec<Claim> = changes
            .claims
            .iter()
            .filter_map(|it| self.claims.get(&it.key))
            .cloned()
            .collect();
        if !duplicates.is_empty() {
            return Err(CommitError::Duplicate(duplicates));
        }
        self.check(changes)?;
        self.apply(changes);
        Ok(())
    }

    /// What the constraints of the databases refuse.
    fn check(&self, changes: &Changes) -> Result<(), Error> {
        let mut events = BTreeSet::new();
        for it in &changes.events {
            if self.events.contains_key(&it.seq) || !events.insert(it.seq) {
                return Err(Error::Db(format!("event {} is there already", it.seq)));
            }
        }
        let mut journal = BTreeSet::new();
        for it in &changes.journal {
            if self.journal.contains_key(&it.seq) || !journal.insert(it.seq) {
                return Err(Error::Db(format!(
                    "journal entry {} is there already",
                    it.seq
                )));
            }
        }
        let mut alerts = BTreeSet::new();
        for it in &changes.alerts {
            if self.alerts.contains_key(&it.id.0) || !alerts.insert(it.id) {
                return Err(Error::Db(format!("alert {} is there already", it.id)));
            }
        }
        match changes
            .half_matches
            .iter()
            .map(|it| it.event.seq)
            .find(|it| !self.events.contains_key(it) && !events.contains(it))
        {
            Some(seq) => Err(Error::Db(format!(
                "a half match waits with event {seq}, which is not there"
            ))),
            None => Ok(()),
        }
    }

    fn apply(&mut self, changes: &Changes) {
        self.claims
            .extend(changes.claims.iter().map(|it| (it.key.clone(), it.clone())));
        for it in &changes.versions {
            self.versions
                .insert((it.flow.clone(), it.version.clone()), it.clone());
        }
        self.flows
            .extend(changes.flows.iter().map(|it| (it.name.clone(), it.clone())));
        self.events
            .extend(changes.events.iter().map(|it| (it.seq, Arc::clone(it))));
        for it in &changes.occurrences {
            self.occurrences
                .insert((it.flow.clone(), it.key.clone()), it.clone());
        }
        for it in &changes.matches {
            self.matches.insert(
                (it.event, it.flow.clone(), it.trigger.clone(), it.leaf),
                it.clone(),
            );
        }
        for key in &changes.half_matches_deleted {
            self.half_matches.remove(key);
        }
        for it in &changes.half_matches {
            let key = (
                it.flow.clone(),
                it.trigger.clone(),
                it.join_key.clone(),
                it.leaf,
                it.event.seq,
            );
            self.half_matches.insert(key, it.clone());
        }
        for it in &changes.runs {
            self.runs.insert(it.id, Arc::clone(it));
            if it.state.is_terminal() {
                self.unfinished.remove(&it.id);
            } else {
                self.unfinished.insert(it.id);
            }
        }
        for it in &changes.tasks {
            self.tasks
                .entry(it.run)
                .or_default()
                .insert(it.task.clone(), Arc::clone(it));
        }
        for it in &changes.scopes {
            self.scopes
                .entry(it.run)
                .or_default()
                .insert((it.scope.clone(), it.path), Arc::clone(it));
        }
        self.attempts.extend(
            changes
                .attempts
                .iter()
                .map(|it| (it.id.clone(), it.clone())),
        );
        for it in &changes.refused {
            let key = (it.source.clone(), it.id.clone());
            self.refused.insert(key, it.clone());
        }
        self.backfills
            .extend(changes.backfills.iter().map(|it| (it.id, it.clone())));
        for it in &changes.backfill_items {
            self.backfill_items
                .insert((it.backfill, it.number), it.clone());
        }
        for it in &changes.slas {
            let key = (it.flow.clone(), it.promise.clone(), it.period.clone());
            self.slas.insert(key, SlaRow::clone(it));
        }
        self.silences
            .extend(changes.silences.iter().map(|it| (it.id, it.clone())));
        self.alerts
            .extend(changes.alerts.iter().map(|it| (it.id.0, it.clone())));
        self.journal
            .extend(changes.journal.iter().map(|it| (it.seq, it.clone())));
    }

    pub(super) fn load(&self) -> Recovered {
        let live = || self.unfinished.iter();
        let runs: Vec<Arc<RunRow>> = live().filter_map(|id| self.runs.get(id)).cloned().collect();
        let mut versions: BTreeSet<(FlowName, Version)> = runs
            .iter()
            .map(|it| (it.flow.clone(), it.version.clone()))
            .collect();
        versions.extend(
            self.flows
                .values()
                .filter_map(|it| Some((it.name.clone(), it.active_version.clone()?))),
        );
        let over =
            |it: &BackfillState| matches!(it, BackfillState::Cancelled | BackfillState::Finished);
        let backfills: Vec<BackfillRow> = self
            .backfills
            .values()
            .filter(|it| !over(&it.state))
            .cloned()
            .collect();
        let newest = self.journal.last_key_value();
        let lately = newest.map_or(Timestamp(0), |(_, it)| it.at) - Span::from_mins(24 * 60);
        let is_ahead = |it: &&OccurrenceRow| {
            it.state != OccurrenceState::Expected && it.is_ahead() && it.interval.end > lately
        };
        let ahead = self.occurrences.values().filter(is_ahead).cloned();
        let mut ahead: Vec<OccurrenceRow> = ahead.collect();
        ahead.sort_by(|a, b| {
            let order = |it: &OccurrenceRow| it.interval.end;
            (order(a), &a.flow, &a.key).cmp(&(order(b), &b.flow, &b.key))
        });
        let is_left = |it: &&OccurrenceRow| {
            let flow = self.flows.get(&it.flow);
            let dropped = it.state == OccurrenceState::Skipped && it.due_at > it.updated_at;
            dropped && it.due_at > lately && flow.is_some_and(|it| it.removed)
        };
        let left = self.occurrences.values().filter(is_left).cloned();
        let mut left: Vec<OccurrenceRow> = left.collect();
        left.sort_by(|a, b| (a.due_at, &a.flow, &a.key).cmp(&(b.due_at, &b.flow, &b.key)));
        Recovered {
            flows: self.flows.values().cloned().collect(),
            versions: versions
                .iter()
                .filter_map(|key| self.versions.get(key))
                .cloned()
                .collect(),
            occurrences: self
                .occurrences
                .values()
                .filter(|it| it.state == OccurrenceState::Expected)
                .cloned()
                .collect(),
            ahead,
            left,
            half_matches: self.half_matches.values().cloned().collect(),
            runs,
            tasks: live().flat_map(|id| self.tasks_of(*id)).cloned().collect(),
            scopes: live().flat_map(|id| self.scopes_of(*id)).cloned().collect(),
            last_run: self.runs.last_key_value().map_or(0, |(id, _)| id.0),
            last_event: self.events.last_key_value().map_or(0, |(seq, _)| *seq),
            last_journal: self.journal.last_key_value().map_or(0, |(seq, _)| *seq),
            backfill_items: backfills
                .iter()
                .flat_map(|it| self.items_of(it.id))
                .cloned()
                .collect(),
            last_backfill: self.backfills.last_key_value().map_or(0, |(id, _)| *id),
            slas: self.slas.values().filter(|it| it.open).cloned().collect(),
            silences: self
                .silences
                .values()
                .filter(|it| it.ended_at.is_none())
                .cloned()
                .collect(),
            last_silence: self.silences.last_key_value().map_or(0, |(id, _)| *id),
            last_alert: self.alerts.last_key_value().map_or(0, |(id, _)| *id),
            backfills,
        }
    }

    /// A run with all that hangs on it. Its sub-flows are `depth` deep already.
    pub(super) fn snapshot(&self, run: RunId, depth: u32) -> Option<RunSnapshot> {
        let row = self.runs.get(&run)?;
        let version = self
            .versions
            .get(&(row.flow.clone(), row.version.clone()))?;
        let children = match depth {
            DEPTH_MAX => Vec::new(),
            _ => to_resume(&self.children(run), self.tasks_of(run)),
        };
        Some(RunSnapshot {
            run: Arc::clone(row),
            tasks: self.tasks_of(run).cloned().collect(),
            scopes: self.scopes_of(run).cloned().collect(),
            version: version.clone(),
            children: children
                .into_iter()
                .filter_map(|it| self.snapshot(it, depth + 1))
                .collect(),
        })
    }

    pub(super) fn children(&self, run: RunId) -> Vec<Arc<RunRow>> {
        let of_run = |it: &&Arc<RunRow>| it.parent.as_ref().is_some_and(|it| it.attempt.run == run);
        self.runs.values().filter(of_run).cloned().collect()
    }

    pub(super) fn matches_of(&self, event: u64) -> impl Iterator<Item = &MatchRow> {
        let first = (event, FlowName::new(""), TriggerName::new(""), 0);
        let rows = self.matches.range(first..);
        rows.map(|(_, row)| row)
            .take_while(move |it| it.event == event)
    }

    pub(super) fn items_of(&self, backfill: u64) -> impl Iterator<Item = &BackfillItemRow> {
        self.backfill_items
            .range((backfill, 0)..=(backfill, u32::MAX))
            .map(|(_, row)| row)
    }

    pub(super) fn tasks_of(&self, run: RunId) -> impl Iterator<Item = &Arc<TaskRow>> {
        self.tasks.get(&run).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn scopes_of(&self, run: RunId) -> impl Iterator<Item = &Arc<ScopeRow>> {
        self.scopes.get(&run).into_iter().flat_map(BTreeMap::values)
    }
}
