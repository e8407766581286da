//! Reading the state: what pages and the command line show of it.

use crate::alert::AlertId;
use crate::flow::Flow;
use crate::id::{FlowName, RunId, TaskId};
use crate::reason::Limit;
use crate::row::{HalfMatchRow, OccurrenceRow, RunRow, ScopeRow, SilenceRow, SlaRow, TaskRow};
use crate::state::{Candidate, FlowState, Scheduler};
use std::sync::Arc;

/// A limit and who uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    pub limit: Limit,
    pub capacity: u32,
    pub used: u32,
    /// Runs and tasks that wait for it.
    pub waiting: usize,
}

impl Scheduler {
    /// All flows, by name; removed ones too.
    pub fn flows(&self) -> impl Iterator<Item = &FlowState> {
        self.flows.values().map(|it| &**it)
    }

    pub fn flow(&self, name: &str) -> Option<&FlowState> {
        self.flows.get(name).map(|it| &**it)
    }

    /// Unfinished runs, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<RunRow>> {
        self.runs.values().map(|it| &it.row)
    }

    pub fn run(&self, id: RunId) -> Option<&Arc<RunRow>> {
        self.runs.get(&id).map(|it| &it.row)
    }

    /// Unfinished runs of a flow, oldest first.
    pub fn runs_of(&self, flow: &str) -> impl Iterator<Item = &Arc<RunRow>> {
        let runs = self.unfinished(&FlowName::new(flow));
        runs.into_iter().filter_map(|id| self.run(id))
    }

    /// The version that an unfinished run belongs to.
    pub fn flow_of(&self, run: RunId) -> Option<&Arc<Flow>> {
        self.runs.get(&run).map(|it| &it.flow)
    }

    /// Tasks of an unfinished run, in order of the flow's steps, index path and iteration.
    pub fn tasks(&self, run: RunId) -> impl Iterator<Item = &Arc<TaskRow>> {
        self.run_tasks(run).map(|(_, row)| row)
    }

    pub fn task(&self, run: RunId, task: &TaskId) -> Option<&Arc<TaskRow>> {
        self.tasks.get(&self.task_key(run, task)?)
    }

    pub fn scopes(&self, run: RunId) -> impl Iterator<Item = &Arc<ScopeRow>> {
        self.run_scopes(run).map(|(_, row)| row)
    }

    /// Occurrences of a flow that are still to be decided: the next of each schedule, and those held
    /// while it is paused.
    pub fn expected(&self, flow: &str) -> impl Iterator<Item = &OccurrenceRow> {
        let name = FlowName::new(flow);
        let mut rows: Vec<&OccurrenceRow> = self
            .occurrences
            .range((name.clone(), String::new())..)
            .take_while(|((flow, _), _)| *flow == name)
            .map(|(_, row)| &**row)
            .collect();
        rows.sort_by_key(|row| row.due_at);
        rows.into_iter()
    }

    /// The same over all flows, by due time.
    pub fn expected_all(&self) -> impl Iterator<Item = &OccurrenceRow> {
        let mut rows: Vec<&OccurrenceRow> = self.occurrences.values().map(|it| &**it).collect();
        rows.sort_by_key(|row| (row.due_at, &row.flow));
        rows.into_iter()
    }

    pub fn half_matches(&self, flow: &str) -> impl Iterator<Item = &HalfMatchRow> {
        let name = FlowName::new(flow);
        let first = (
            name.clone(),
            crate::id::TriggerName::new(""),
            Arc::from(""),
            0,
            0,
        );
        self.half_matches
            .range(first..)
            .take_while(move |((flow, ..), _)| *flow == name)
            .map(|(_, row)| &**row)
    }

    /// Open rows of promises, by flow, promise and period.
    pub fn slas(&self) -> impl Iterator<Item = &Arc<SlaRow>> {
        self.slas.values()
    }

    /// The newest alert; 0: there was none.
    pub fn last_alert(&self) -> AlertId {
        AlertId(self.last_alert)
    }

    /// Silences that are not over, oldest first.
    pub fn silences(&self) -> impl Iterator<Item = &Arc<SilenceRow>> {
        self.silences.values()
    }

    /// Every limit that is in use, waited for or configured.
    pub fn limits(&self) -> Vec<LimitUse> {
        self.all_limits()
            .into_iter()
            .map(|limit| LimitUse {
                capacity: self.capacity(&limit),
                used: self.in_use(&limit),
                waiting: self
                    .parked
                    .range(crate::state::first_parked(&limit)..)
                    .take_while(|(it, ..)| *it == limit)
                    .map(|(_, _, candidate)| match candidate {
                        Candidate::Task(key) => self.waiting_of(key.run, key.node).count(),
                        Candidate::Run(_) => 1,
                    })
                    .sum(),
                limit,
            })
            .collect()
    }

    /// One limit, without counting who waits: `waiting` is 1 when someone does.
    pub fn usage(&self, limit: &Limit) -> LimitUse {
        LimitUse {
            limit: limit.clone(),
            capacity: self.capacity(limit),
            used: self.in_use(limit),
            waiting: usize::from(self.head(limit).is_some()),
        }
    }

    /// Whether something may start that no decision has looked at yet: after a start with larger limits.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many tasks are in memory.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }
}
