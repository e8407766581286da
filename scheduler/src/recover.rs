//! Recovery: from rows to a state, and the commands that the state asks for.

use crate::flow::Flow;
use crate::id::{AttemptId, FlowName, RunId, Version};
use crate::input::Command;
use crate::row::{FlowVersionRow, Recovered, RunState, ScopeState, TaskState};
use crate::spec::FlowSpec;
use crate::state::{Config, FlowState, Place, Run, Scheduler, SetKey, TaskKey, place_in};
use crate::submission::LiveAttempt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Reads a stored flow version. `None` when this binary cannot read it any more.
pub(crate) fn read_version(row: &FlowVersionRow) -> Option<Flow> {
    let spec: FlowSpec = serde_json::from_str(&row.definition).ok()?;
    Flow::new(spec).ok()
}

impl Scheduler {
    /// An empty state, or the state that these rows describe. A crash and a normal start are the same.
    pub fn recover(config: Config, rows: Recovered) -> Self {
        let mut s = Self {
            config: Arc::new(config),
            last_run: rows.last_run,
            last_event: rows.last_event,
            last_journal: rows.last_journal,
            last_backfill: rows.last_backfill,
            last_alert: rows.last_alert,
            last_silence: rows.last_silence,
            ..Self::default()
        };
        let versions: BTreeMap<(FlowName, Version), Arc<Flow>> = rows
            .versions
            .iter()
            .filter_map(|row| {
                let flow = Arc::new(read_version(row)?);
                Some(((row.flow.clone(), row.version.clone()), flow))
            })
            .collect();
        let version = |flow: &FlowName, version: &Version| {
            versions.get(&(flow.clone(), version.clone())).cloned()
        };
        for row in rows.flows {
            let flow = row
                .active_version
                .as_ref()
                .and_then(|it| version(&row.name, it));
            let removed = row.removed;
            s.flows.insert(
                row.name.clone(),
                Arc::new(FlowState {
                    row,
                    flow: flow.clone(),
                }),
            );
            if let Some(flow) = flow.filter(|_| !removed) {
                s.subscribe(&flow);
            }
        }
        let rows_apart = rows.ahead.into_iter().chain(rows.left);
        for row in rows_apart.chain(rows.occurrences) {
            s.index_occurrence(&Arc::new(row));
        }
        for row in rows.slas {
            s.index_sla(&Arc::new(row));
        }
        for row in rows.silences {
            s.index_silence(&Arc::new(row));
        }
        s.find_missing_futures();
        for row in rows.half_matches {
            s.put_waiting(&crate::decide::set_key(&row), Arc::new(row));
        }
        let sets: Vec<SetKey> = s.sets.keys().cloned().collect();
        for set in sets {
            s.time_set(&set);
        }
        for row in rows.backfills {
            s.index_backfill(Arc::new(row));
        }
        for row in rows.backfill_items {
            s.index_item(Arc::new(row));
        }
        for row in rows.runs {
            let Some(flow) = version(&row.flow, &row.version) else {
                continue;
            };
            s.index_run(Run {
                row,
                flow,
                active: 0,
                failed: 0,
                cloned: Arc::default(),
            });
        }
        s.find_gone_runs();
        for row in rows.tasks {
            if let Some(key) = s.task_key(row.run, &row.task) {
                s.index_task(key, row);
            }
        }
        for row in rows.scopes {
            let run = s.runs.get(&row.run);
            if let Some(place) = run.and_then(|it| place_in(&it.flow, &row)) {
                s.index_scope(place, row);
            }
        }
        let made_from_others: Vec<RunId> = s
            .runs
            .iter()
            .filter(|(_, run)| run.row.origin.is_some())
            .map(|(id, _)| *id)
            .collect();
        for run in made_from_others {
            s.remember_clones(run);
        }
        let live: Vec<RunId> = s
            .runs
            .iter()
            .filter(|(_, run)| run.row.state == RunState::Running)
            .map(|(id, _)| *id)
            .collect();
        for run in live {
            s.gather_again(run);
        }
        s
    }

    /// Schedules that have no occurrence in the future, though each plans the next one when it decides one, get it at
    /// the first decision, which knows the time; those that have ended are looked at in vain.
    fn find_missing_futures(&mut self) {
        let active = self.flows.values().filter(|it| !it.row.removed);
        let lacks = |flow: &Flow| {
            crate::state::timetables(flow).any(|it| {
                let rows = self.expected_of(flow.name(), &it.prefix);
                rows.iter().all(|row| row.reason.is_some())
            })
        };
        let flows: Vec<FlowName> = active
            .filter_map(|it| it.flow.as_ref())
            .filter(|it| lacks(it))
            .map(|it| it.name().clone())
            .collect();
        for flow in flows {
            let at = crate::time::Timestamp::from_secs(0);
            self.timers.insert((at, crate::state::Timer::Plan(flow)));
        }
    }

    /// Items whose runs are not there, for their versions cannot be read, end at the first decision.
    fn find_gone_runs(&mut self) {
        let gone = |key: &&(u64, u32)| {
            let run = self.backfill_items[*key].run;
            run.is_some_and(|it| !self.runs.contains_key(&it))
        };
        let backfills: BTreeSet<u64> = self
            .backfill_running
            .iter()
            .filter(gone)
            .map(|it| it.0)
            .collect();
        let at = crate::time::Timestamp::from_secs(0);
        let timers = backfills
            .into_iter()
            .map(|it| (at, crate::state::Timer::GoneRuns(it)));
        self.timers.extend(timers);
    }

    /// What the outside must be asked for in this state.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for (key, row) in &self.tasks {
            if self.runs_a_flow(*key) {
                continue;
            }
            let attempt = || AttemptId {
                run: key.run,
                task: row.task.clone(),
                number: row.attempt,
            };
            match row.state {
                TaskState::Submitting => commands.push(Command::Submit(attempt())),
                TaskState::Running => commands.push(Command::Watch(attempt())),
                TaskState::Stopping => commands.push(Command::Stop(attempt())),
                _ => {}
            }
        }
        commands
    }

    /// Every attempt that may be alive out there. Those that run a flow are not: that run is here.
    pub fn live_attempts(&self) -> BTreeSet<AttemptId> {
        self.tasks
            .iter()
            .filter(|(key, row)| row.state.is_live() && !self.runs_a_flow(**key))
            .map(|(_, row)| AttemptId {
                run: row.run,
                task: row.task.clone(),
                number: row.attempt,
            })
            .collect()
    }

    /// The same attempts with all that the rows know of them.
    pub fn live(&self) -> Vec<LiveAttempt> {
        let live = self
            .tasks
            .iter()
            .filter(|(key, row)| row.state.is_live() && !self.runs_a_flow(**key));
        live.map(|(key, row)| {
            let step = self.runs[&key.run].flow.step_of(key.node);
            LiveAttempt {
                attempt: AttemptId {
                    run: row.run,
                    task: row.task.clone(),
                    number: row.attempt,
                },
                executor: step.executor(),
                external_id: row.external_id.clone(),
                array: row.array.clone(),
                stopping: row.state == TaskState::Stopping,
            }
        })
        .collect()
    }

    /// Counts the tokens that wait at joins: each finished task handed one to each successor, and each
    /// successor without a row has not acted on them yet.
    fn gather_again(&mut self, run: RunId) {
        let flow = self.runs[&run].flow.clone();
        let tasks: Vec<TaskKey> = self
            .run_tasks(run)
            .filter(|(_, row)| row.state.is_terminal())
            .map(|(key, _)| *key)
            .collect();
        let mut sent = Vec::new();
        for key in tasks {
            let row = self.tasks[&key].clone();
            // This iteration handed its token to the next one.
            if crate::decide::goes_on(&flow, key, &row) {
                continue;
            }
            sent.extend(crate::decide::tokens_of(&flow, key, &row));
        }
        let scopes: Vec<Place> = self.run_scopes(run).map(|(place, _)| *place).collect();
        for place in scopes {
            let row = self.scopes[&place].clone();
            if !matches!(row.state, ScopeState::Open | ScopeState::Waiting) {
                sent.extend(crate::decide::tokens_after(&flow, place, &row));
            }
        }
        for (place, token) in sent {
            if !self.has_acted(&flow, place) {
                crate::decide::add_token(self, place, token);
            }
        }
    }

    fn has_acted(&self, flow: &Flow, place: Place) -> bool {
        use crate::flow::NodeKind;
        match flow.node(place.node).kind {
            NodeKind::Step(_) => {
                let key = TaskKey {
                    run: place.run,
                    node: place.node,
                    path: place.path,
                    iteration: 0,
                };
                self.tasks
                    .get(&key)
                    .is_some_and(|row| row.state != TaskState::Waiting)
            }
            NodeKind::Open(_) => self
                .scopes
                .get(&place)
                .is_some_and(|row| row.state != ScopeState::Waiting),
            NodeKind::Close(scope) => {
                let index = crate::spec::ScopeIndex(scope as u16 + 1);
                let (_, open, _) = flow.scope_at(index).expect("a close has a scope");
                self.scopes
                    .get(&Place {
                        node: open,
                        ..place
                    })
                    .is_none_or(|row| row.state != ScopeState::Open)
            }
        }
    }
}
