//! Moving tokens: how one finished task brings the next into being.
//!
//! A finished node hands one token to each successor: live, or dead with the reason. A node acts when
//! all its tokens are there. So `when`, switches, skips, failures and joins are one rule, and ending a
//! task touches its successors only.

use super::Draft;
use crate::context;
use crate::flow::{Flow, Node, NodeId, NodeKind};
use crate::id::{Path, RunId, StepName};
use crate::metaflow::output;
use crate::reason::Reason;
use crate::row::{Retries, RunState, ScopeRow, ScopeState, TaskRow, TaskState};
use crate::spec::{Items, JoinRule, Route, ScopeSpec};
use crate::state::{Arrivals, Place, Scheduler, TaskKey, Token};
use serde_json::Value;
use std::sync::Arc;

/// The most items one foreach may have.
pub const ITEMS_MAX: usize = 1_000_000;

impl Draft {
    /// Gives the first nodes of a run their go.
    pub(super) fn begin(&mut self, run: RunId) {
        let flow = self.flow_of(run);
        for &node in flow.roots() {
            let path = Path::ROOT;
            self.tokens
                .push_back((Place { run, node, path }, Token::Live));
        }
    }

    pub(super) fn move_tokens(&mut self) {
        self.move_all_tokens();
        // Only between moves, for it may end tasks of any run.
        while let Some(child) = self.children_ended.pop_front() {
            self.child_ended(child);
            self.move_all_tokens();
        }
    }

    fn move_all_tokens(&mut self) {
        while let Some((place, token)) = self.tokens.pop_front() {
            let Some(run) = self.s.runs.get(&place.run) else {
                continue;
            };
            if run.row.state != RunState::Running {
                continue;
            }
            let flow = run.flow.clone();
            if let Some(arrivals) = add_token(&mut self.s, place, token) {
                self.reach(&flow, place, &arrivals);
            }
            self.maybe_done.insert(place.run);
        }
        // Only now that no token is on its way can a run be at its end.
        while let Some(run) = self.maybe_done.pop_first() {
            self.end_if_done(run);
        }
    }

    /// All tokens of a node are there.
    fn reach(&mut self, flow: &Arc<Flow>, place: Place, arrivals: &Arrivals) {
        match flow.node(place.node).kind {
            NodeKind::Step(_) => self.reach_step(flow, place, arrivals),
            NodeKind::Open(scope) => self.reach_open(flow, place, arrivals, scope),
            NodeKind::Close(scope) => {
                let index = crate::spec::ScopeIndex(scope as u16 + 1);
                let (_, open, _) = flow.scope_at(index).expect("a close has a scope");
                self.close_scope(
                    flow,
                    Place {
                        node: open,
                        ..place
                    },
                    arrivals,
                );
            }
        }
    }

    fn reach_step(&mut self, flow: &Arc<Flow>, place: Place, arrivals: &Arrivals) {
        let step = flow.step_of(place.node);
        let key = TaskKey {
            run: place.run,
            node: place.node,
            path: place.path,
            iteration: 0,
        };
        // After a resume: what was finished before is not done again.
        if let Some(done) = self.s.tasks.get(&key).filter(|it| it.state.is_terminal()) {
            let done = done.clone();
            return self.pass_on(flow, key, &done);
        }
        if let Some(reason) = dead_end(arrivals, step.join) {
            return self.skip_task(flow, key, reason);
        }
        if let Some(when) = &step.when {
            let scope = context::scope(&self.s, place, when.names());
            match when.eval_bool(&scope) {
                Ok(true) => {}
                Ok(false) => {
                    let expression = when.source().to_owned();
                    return self.skip_task(flow, key, Reason::WhenFalse { expression });
                }
                Err(error) => {
                    self.bear(key);
                    let message = format!("when: {error}");
                    return self.fail_unstarted(key, Reason::Expression { message });
                }
            }
        }
        self.bear(key);
    }

    /// A task comes into being, ready; or is taken up again after a resume.
    pub(super) fn bear(&mut self, key: TaskKey) {
        let row = self.new_task(key, TaskState::Ready);
        self.put_task(key, row);
    }

    fn new_task(&self, key: TaskKey, state: TaskState) -> TaskRow {
        let before = self.s.tasks.get(&key);
        TaskRow {
            run: key.run,
            task: self.task_id(key),
            state,
            attempt: before.map_or(0, |it| it.attempt),
            attempts_before: before.map_or(0, |it| it.attempt),
            attempts_before_that: before.map_or(0, |it| it.attempts_before),
            retries: Retries::default(),
            reason: None,
            ready_at: self.now,
            submitted_at: None,
            started_at: None,
            finished_at: None,
            retry_at: None,
            deadline: None,
            external_id: None,
            log: None,
            array: None,
            // A person who resumes gets what was found out about its need.
            memory_bytes: before.and_then(|it| it.memory_bytes),
            outputs: None,
            chosen: None,
            splits: None,
        }
    }

    pub(super) fn skip_task(&mut self, flow: &Arc<Flow>, key: TaskKey, reason: Reason) {
        let row = TaskRow {
            reason: Some(reason),
            finished_at: Some(self.now),
            ..self.new_task(key, TaskState::Skipped)
        };
        self.put_task(key, row.clone());
        self.pass_on(flow, key, &row);
    }

    /// A finished task hands on its tokens; one that switched to itself goes on with its next iteration.
    pub(super) fn pass_on(&mut self, flow: &Arc<Flow>, key: TaskKey, task: &TaskRow) {
        let (mut key, mut task) = (key, Arc::new(task.clone()));
        while goes_on(flow, key, &task) {
            key.iteration += 1;
            match self.s.tasks.get(&key).filter(|it| it.state.is_terminal()) {
                Some(done) => task = done.clone(),
                None => return self.bear(key),
            }
        }
        self.tokens.extend(tokens_of(flow, key, &task));
        self.maybe_done.insert(key.run);
    }

    fn reach_open(&mut self, flow: &Arc<Flow>, place: Place, arrivals: &Arrivals, scope: usize) {
        let spec = &flow.spec().scopes[scope];
        // After a resume: the items stay as they were.
        let kept = self
            .s
            .scopes
            .get(&place)
            .filter(|it| matches!(it.state, ScopeState::Open | ScopeState::Closed))
            .map(|it| it.items.clone());
        if let Some(items) = kept {
            return self.open_scope(flow, place, spec, items);
        }
        if let Some(reason) = dead_end(arrivals, JoinRule::AllLive) {
            return self.end_scope(flow, place, spec, ScopeState::Skipped, reason);
        }
        if let Some(when) = &spec.when {
            let scope = context::scope(&self.s, place, when.names());
            match when.eval_bool(&scope) {
                Ok(true) => {}
                Ok(false) => {
                    let expression = when.source().to_owned();
                    let reason = Reason::WhenFalse { expression };
                    return self.end_scope(flow, place, spec, ScopeState::Skipped, reason);
                }
                Err(error) => {
                    let message = format!("when: {error}");
                    let reason = Reason::Expression { message };
                    return self.end_scope(flow, place, spec, ScopeState::Failed, reason);
                }
            }
        }
        match self.items(flow, place, spec) {
            Ok(items) => self.open_scope(flow, place, spec, Arc::new(items)),
            Err(reason) => self.end_scope(flow, place, spec, ScopeState::Failed, reason),
        }
    }

    fn items(&self, flow: &Flow, place: Place, spec: &ScopeSpec) -> Result<Vec<Value>, Reason> {
        let template = match &spec.items {
            Items::Template(template) => template,
            Items::Reported => {
                return self
                    .reported_items(flow, place, spec)
                    .map_err(|message| Reason::BadOutput { message });
            }
        };
        let names = context::names_of(template.exprs());
        let items = match template.eval(&context::scope(&self.s, place, &names)) {
            Ok(Value::Array(items)) if items.len() <= ITEMS_MAX => Ok(items),
            Ok(Value::Array(items)) => Err(format!(
                "{} items, and {ITEMS_MAX} is the most",
                items.len()
            )),
            Ok(other) => {
                let short: String = other.to_string().chars().take(80).collect();
                Err(format!("a list is expected, and it is {short}"))
            }
            Err(error) => Err(error.to_string()),
        };
        items.map_err(|message| Reason::Expression {
            message: format!("foreach: {message}"),
        })
    }

    /// As many items as the step before says: its labels, if each item has one, else 0, 1, 2 …
    fn reported_items(
        &self,
        flow: &Flow,
        place: Place,
        spec: &ScopeSpec,
    ) -> Result<Vec<Value>, String> {
        let parent = spec.after.first();
        let node = parent.and_then(|it| flow.step_node(it.as_str()));
        let task = node.and_then(|node| {
            self.s.last_iteration(TaskKey {
                run: place.run,
                node,
                path: place.path,
                iteration: 0,
            })
        });
        let name = parent.map_or("the step before it", StepName::as_str);
        let splits = task
            .and_then(|it| it.splits)
            .ok_or_else(|| format!("{name} reported no number of items"))?;
        if splits as usize > ITEMS_MAX {
            return Err(format!(
                "{name} reported {splits} items, and {ITEMS_MAX} is the most that a foreach may have"
            ));
        }
        let labels = task
            .and_then(|it| it.outputs.as_ref()?.get(output::LABELS)?.as_array())
            .filter(|it| it.len() == splits as usize);
        Ok(match labels {
            Some(labels) => labels.clone(),
            None => (0..splits).map(Value::from).collect(),
        })
    }

    fn open_scope(
        &mut self,
        flow: &Arc<Flow>,
        place: Place,
        spec: &ScopeSpec,
        items: Arc<Vec<Value>>,
    ) {
        let count = u32::try_from(items.len()).expect("ITEMS_MAX fits u32");
        let before = self.s.scopes.get(&place);
        let row = ScopeRow {
            run: place.run,
            scope: spec.name.clone(),
            path: place.path,
            state: ScopeState::Open,
            items,
            reason: None,
            opened_at: before.map_or(self.now, |it| it.opened_at),
            closed_at: None,
        };
        self.put_scope(place, row);
        if count == 0 {
            let nothing = Arrivals {
                live: 1,
                ..Arrivals::default()
            };
            return self.close_scope(flow, place, &nothing);
        }
        let entries = flow.node(place.node).successors.clone();
        for index in 0..count {
            let path = place.path.child(index);
            for &node in &entries {
                let inside = Place {
                    run: place.run,
                    node,
                    path,
                };
                self.tokens.push_back((inside, Token::Live));
            }
        }
    }

    /// Every item's last tasks are done: the join.
    fn close_scope(&mut self, flow: &Arc<Flow>, open: Place, arrivals: &Arrivals) {
        let row = ScopeRow::clone(self.s.scopes.get(&open).expect("only open scopes close"));
        // Some items may be skipped; the join runs over those that were taken.
        let reason = match (&arrivals.failed, arrivals.live) {
            (Some(Token::Failed(step)), _) => Some(Reason::UpstreamFailed { step: step.clone() }),
            (_, 0) => Some(Reason::UpstreamSkipped {
                step: row.scope.clone(),
            }),
            _ => None,
        };
        let row = ScopeRow {
            state: ScopeState::Closed,
            closed_at: Some(self.now),
            reason,
            ..row
        };
        self.put_scope(open, row.clone());
        self.leave_scope(flow, open, &row);
    }

    fn end_scope(
        &mut self,
        flow: &Arc<Flow>,
        place: Place,
        spec: &ScopeSpec,
        state: ScopeState,
        reason: Reason,
    ) {
        let row = ScopeRow {
            run: place.run,
            scope: spec.name.clone(),
            path: place.path,
            state,
            items: Arc::default(),
            reason: Some(reason),
            opened_at: self.now,
            closed_at: Some(self.now),
        };
        self.put_scope(place, row.clone());
        self.leave_scope(flow, place, &row);
    }

    fn leave_scope(&mut self, flow: &Arc<Flow>, open: Place, row: &ScopeRow) {
        self.tokens.extend(tokens_after(flow, open, row));
        self.maybe_done.insert(open.run);
    }
}

/// Adds a token to those already at a node; gives all of them when the last has come.
pub(crate) fn add_token(s: &mut Scheduler, place: Place, token: Token) -> Option<Arrivals> {
    let flow = s.runs.get(&place.run)?.flow.clone();
    // A root node gets one token from the start of the run.
    let wanted = s.tokens_wanted(&flow, place)?.max(1);
    let mut arrivals = match s.arrivals.get(&place) {
        Some(arrivals) => Arrivals::clone(arrivals),
        None => Arrivals::default(),
    };
    match &token {
        Token::Live => arrivals.live += 1,
        Token::Failed(_) => {
            arrivals.dead += 1;
            arrivals.failed.get_or_insert(token);
        }
        Token::Skipped(_) | Token::NotChosen(_) => {
            arrivals.dead += 1;
            arrivals.first_dead.get_or_insert(token);
        }
    }
    if ((arrivals.live + arrivals.dead) as usize) < wanted {
        s.arrivals.insert(place, Arc::new(arrivals));
        return None;
    }
    s.arrivals.remove(&place);
    Some(arrivals)
}

/// Whether a finished task has switched to itself, so that its next iteration follows.
pub(crate) fn goes_on(flow: &Flow, key: TaskKey, task: &TaskRow) -> bool {
    let node = flow.node(key.node);
    node.kind_is_switch(flow) && task.state == TaskState::Succeeded && chose(task, &node.name)
}

/// What a finished task (the last iteration of its step) hands to its successors.
pub(crate) fn tokens_of(flow: &Flow, key: TaskKey, task: &TaskRow) -> Vec<(Place, Token)> {
    let node = flow.node(key.node);
    let name = &node.name;
    let token = match task.state {
        TaskState::Succeeded | TaskState::Caught => Token::Live,
        TaskState::Skipped => match &task.reason {
            Some(Reason::UpstreamFailed { step }) => Token::Failed(step.clone()),
            _ => Token::Skipped(name.clone()),
        },
        _ => Token::Failed(name.clone()),
    };
    let hand = |&next: &NodeId| {
        let successor = flow.node(next);
        let token = if takes(flow, node, task, &successor.name) {
            token.clone()
        } else {
            Token::NotChosen(name.clone())
        };
        // A close waits in the enclosing scope.
        let path = key.path.prefix(successor.depth);
        let place = Place {
            run: key.run,
            node: next,
            path,
        };
        (place, token)
    };
    node.successors.iter().map(hand).collect()
}

/// Whether a finished task goes on to this successor, if it goes on at all: a switch to those it chose.
pub(crate) fn takes(flow: &Flow, node: &Node, task: &TaskRow, successor: &StepName) -> bool {
    let switch = node.kind_is_switch(flow) && task.state == TaskState::Succeeded;
    !switch || chose(task, successor)
}

/// What a foreach that is over hands to those after it.
pub(crate) fn tokens_after(flow: &Flow, open: Place, row: &ScopeRow) -> Vec<(Place, Token)> {
    let NodeKind::Open(scope) = flow.node(open.node).kind else {
        panic!("a scope is left at its open node");
    };
    let token = match (row.state, &row.reason) {
        (ScopeState::Failed, _) => Token::Failed(row.scope.clone()),
        (_, Some(Reason::UpstreamFailed { step })) => Token::Failed(step.clone()),
        (ScopeState::Skipped, _) | (_, Some(_)) => Token::Skipped(row.scope.clone()),
        (_, None) => Token::Live,
    };
    let index = crate::spec::ScopeIndex(scope as u16 + 1);
    let (_, _, close) = flow.scope_at(index).expect("an open has a scope");
    let hand = |&next: &NodeId| {
        let place = Place {
            run: open.run,
            node: next,
            path: open.path.prefix(flow.node(next).depth),
        };
        (place, token.clone())
    };
    flow.node(close).successors.iter().map(hand).collect()
}

impl crate::flow::Node {
    fn kind_is_switch(&self, flow: &Flow) -> bool {
        match self.kind {
            NodeKind::Step(index) => flow.spec().steps[index].route == Route::Switch,
            _ => false,
        }
    }
}

fn chose(task: &TaskRow, step: &StepName) -> bool {
    task.chosen.as_deref().is_some_and(|it| it.contains(step))
}

/// Why a node with these tokens does not run, if so.
fn dead_end(arrivals: &Arrivals, join: JoinRule) -> Option<Reason> {
    let reason = |token: &Token| match token {
        Token::Failed(step) => Reason::UpstreamFailed { step: step.clone() },
        Token::NotChosen(by) => Reason::NotChosen { by: by.clone() },
        Token::Skipped(step) => Reason::UpstreamSkipped { step: step.clone() },
        Token::Live => panic!("a live token is not a reason"),
    };
    if let Some(failed) = &arrivals.failed {
        return Some(reason(failed));
    }
    let taken = match join {
        JoinRule::AllLive => arrivals.dead == 0,
        JoinRule::AnyLive => arrivals.live > 0,
    };
    if taken {
        return None;
    }
    arrivals.first_dead.as_ref().map(reason)
}
