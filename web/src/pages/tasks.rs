//! The tasks of a run as its page shows them: on the graph, on the time line, in the list.

use super::metaflow;
use super::sums::{bars, expected, parts, sum_state, sum_told, task_told, until, word};
use crate::api::runs::task_states;
use crate::dag::{Card, Look};
use crate::gantt::{self, Bar, Chart, Row};
use crate::html::{Filter, Html, TaskLine, run_link, state, took};
use crate::input::Query;
use crate::problem::Outcome;
use crate::read;
use crate::state::App;
use crate::text::url_encode;
use dalsegno_engine::EngineHandle;
use dalsegno_scheduler::expr::plain;
use dalsegno_scheduler::metaflow::output;
use dalsegno_scheduler::row::{AttemptRow, RunRow, RunState, ScopeRow, TaskRow, TaskState};
use dalsegno_scheduler::spec::StepSpec;
use dalsegno_scheduler::{Flow, RunId, Span, StepName, TaskId, Timestamp};
use dalsegno_store::TaskFilter;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many tasks the list and the time line show; filters find the others.
const TASKS_MAX: usize = 200;

/// Runs with more tasks show attempts of opened tasks only.
const ATTEMPTS_OF_MAX: u64 = 1_000;

pub(super) struct Tasks {
    /// Those that fit the filter, in the order of the flow.
    pub(super) rows: Vec<Arc<TaskRow>>,
    counts: BTreeMap<StepName, BTreeMap<TaskState, u64>>,
    /// The only task of each step that has one.
    single: BTreeMap<StepName, Arc<TaskRow>>,
    /// How many tasks a step will have, as far as its foreach is open.
    expected: BTreeMap<StepName, u64>,
    scopes: Vec<Arc<ScopeRow>>,
    attempts: BTreeMap<TaskId, Vec<AttemptRow>>,
    /// The foreach scopes around each step, outermost first.
    around: BTreeMap<StepName, Vec<StepName>>,
    step: Option<StepName>,
    states: Option<String>,
    /// The last succeeded task that is shown, of steps that have so many that others are folded.
    keeps: BTreeMap<StepName, TaskId>,
    /// Runs that steps of it have started.
    children: BTreeMap<RunId, RunState>,
}

/// So many succeeded tasks of a step are shown before the others are folded.
const UNFOLDED_MAX: usize = 20;

/// An item of a foreach is told in so many characters.
const LABEL_MAX: usize = 40;

impl Tasks {
    pub(super) async fn read(
        app: &App,
        run: &RunRow,
        flow: Option<&Flow>,
        query: &Query,
    ) -> Outcome<Self> {
        let engine = app.engine();
        let view = engine.view();
        let live = view.run(run.id).is_some();
        let mut counts: BTreeMap<StepName, BTreeMap<TaskState, u64>> = BTreeMap::new();
        let scopes: Vec<Arc<ScopeRow>>;
        if live {
            for task in view.tasks(run.id) {
                let of_step = counts.entry(task.task.step.clone()).or_default();
                *of_step.entry(task.state).or_default() += 1;
            }
            scopes = view.scopes(run.id).cloned().collect();
        } else {
            for it in engine.store().task_counts(run.id).await? {
                *counts
                    .entry(it.step)
                    .or_default()
                    .entry(it.state)
                    .or_default() += it.tasks;
            }
            scopes = engine.store().scopes(run.id).await?;
        }
        let filter = TaskFilter {
            step: query.get("step").map(StepName::new),
            states: task_states(query.get("state"))?,
        };
        let order = |step: &StepName| flow.and_then(|it| it.step_node(step.as_str()));
        let mut rows = read::tasks(engine, run, &filter, TASKS_MAX).await?;
        rows.sort_by(|a, b| (order(&a.task.step), &a.task).cmp(&(order(&b.task.step), &b.task)));

        let mut single = BTreeMap::new();
        let all = match filter == TaskFilter::default() {
            true => rows.clone(),
            false => read::tasks(engine, run, &TaskFilter::default(), TASKS_MAX).await?,
        };
        for task in all {
            let of_step = counts.get(&task.task.step);
            if of_step.is_some_and(|it| it.values().sum::<u64>() == 1) {
                single.insert(task.task.step.clone(), task);
            }
        }
        let total: u64 = counts.values().flat_map(BTreeMap::values).sum();
        let mut attempts: BTreeMap<TaskId, Vec<AttemptRow>> = BTreeMap::new();
        if total <= ATTEMPTS_OF_MAX {
            for it in engine.store().attempts(run.id, None).await? {
                attempts.entry(it.id.task.clone()).or_default().push(it);
            }
        }
        let expected = flow.map(|it| expected(it, &scopes)).unwrap_or_default();
        Ok(Self {
            keeps: keeps(&rows),
            children: match rows.iter().any(|it| child_run(it).is_some()) {
                true => children(engine, run).await?,
                false => BTreeMap::new(),
            },
            rows,
            counts,
            single,
            expected,
            scopes,
            attempts,
            around: flow.map(around).unwrap_or_default(),
            step: filter.step,
            states: query.get("state").map(str::to_owned),
        })
    }

    fn total(&self) -> u64 {
        self.counts.values().flat_map(BTreeMap::values).sum()
    }

    /// `7 succeeded, 1 running`.
    pub(super) fn told(&self) -> String {
        let mut sums: BTreeMap<TaskState, u64> = BTreeMap::new();
        for (state, count) in self.counts.values().flatten() {
            *sums.entry(*state).or_default() += count;
        }
        let parts = sums
            .iter()
            .map(|(state, count)| format!("{count} {}", word(*state)));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The items that a task of a foreach is for, in short; nothing where they are only counted.
    pub(super) fn label(&self, task: &TaskId) -> Option<String> {
        let around = self.around.get(&task.step)?;
        let mut parts = Vec::new();
        for (depth, (scope, index)) in around.iter().zip(task.path.as_slice()).enumerate() {
            let path = task.path.prefix(depth);
            let opened = |it: &&Arc<ScopeRow>| it.scope == *scope && it.path == path;
            let item = self
                .scopes
                .iter()
                .find(opened)?
                .items
                .get(*index as usize)?;
            let item = plain(item);
            if item != index.to_string() {
                parts.push(crate::text::shorten(&item, LABEL_MAX));
            }
        }
        (!parts.is_empty()).then(|| parts.join(" · "))
    }

    pub(super) fn note(&self) -> String {
        let (shown, total) = (self.rows.len() as u64, self.total());
        match &self.step {
            Some(step) => format!("{shown} of {step}"),
            None if shown < total => format!("{shown} of {total}"),
            None => String::new(),
        }
    }

    pub(super) const fn is_filtered(&self) -> bool {
        self.step.is_some() || self.states.is_some()
    }

    pub(super) fn filters(&self, run: &RunRow) -> Vec<Filter> {
        let here =
            |states: &str| self.states.as_deref().unwrap_or("") == states && self.step.is_none();
        let groups = [
            ("all", "", TaskState::ALL),
            (
                "waiting",
                "waiting,ready,backing_off",
                &[TaskState::Waiting, TaskState::Ready, TaskState::BackingOff][..],
            ),
            (
                "running",
                "submitting,running,stopping",
                &[
                    TaskState::Submitting,
                    TaskState::Running,
                    TaskState::Stopping,
                ][..],
            ),
            (
                "failed",
                "failed,caught",
                &[TaskState::Failed, TaskState::Caught][..],
            ),
            ("succeeded", "succeeded", &[TaskState::Succeeded][..]),
            (
                "skipped",
                "skipped,cancelled",
                &[TaskState::Skipped, TaskState::Cancelled][..],
            ),
        ];
        let mut filters = Vec::new();
        for (label, words, states) in groups {
            let counts = self.counts.values().flatten();
            let count: u64 = counts
                .filter(|(it, _)| states.contains(it))
                .map(|(_, n)| n)
                .sum();
            if count > 0 || words.is_empty() || here(words) {
                let href = match words {
                    "" => format!("/runs/{}?task=none#run-tasks", run.id),
                    words => format!("/runs/{}?task=none&state={words}#run-tasks", run.id),
                };
                let label = format!("{label} {count}");
                filters.push(Filter {
                    label,
                    href,
                    here: here(words),
                });
            }
        }
        filters
    }

    pub(super) fn lines(
        &self,
        run: &RunRow,
        selected: Option<&str>,
        now: Timestamp,
    ) -> Vec<TaskLine> {
        let line = |task: &Arc<TaskRow>| {
            let name = task.task.to_string();
            TaskLine {
                href: task_href(run, &task.task),
                state: state(task.state.as_str()),
                attempt: match task.attempt {
                    0 => "–".into(),
                    number => number.to_string(),
                },
                waited: match (task.state, task.submitted_at) {
                    (TaskState::Ready, _) => took(task.ready_at, None, now),
                    (_, Some(at)) if at >= task.ready_at => took(task.ready_at, Some(at), now),
                    _ => Html::text("–"),
                },
                ran: match task.started_at {
                    Some(from) => took(from, until(task), now),
                    None => Html::text("–"),
                },
                why: self.why(run, task),
                selected: selected == Some(name.as_str()),
                folded: self.folded(task, selected).map(|more| {
                    let step = url_encode(task.task.step.as_str());
                    let href = format!("/runs/{}?task=none&step={step}#run-tasks", run.id);
                    (more, href)
                }),
                label: self.label(&task.task),
                name,
            }
        };
        let shown = self.rows.iter().filter(|it| self.is_shown(it, selected));
        shown.map(line).collect()
    }

    /// Whether a task stands in the list and on the time line: of many items that succeeded only the first do, unless
    /// somebody asks for their step or state.
    fn is_shown(&self, task: &TaskRow, selected: Option<&str>) -> bool {
        self.is_filtered()
            || task.state != TaskState::Succeeded
            || selected.is_some_and(|it| it == task.task.to_string())
            || self
                .keeps
                .get(&task.task.step)
                .is_none_or(|last| task.task <= *last)
    }

    /// After the last of the shown ones: how many are left out.
    fn folded(&self, task: &TaskRow, selected: Option<&str>) -> Option<u64> {
        let last = self.keeps.get(&task.task.step)?;
        if self.is_filtered() || *last != task.task {
            return None;
        }
        let count = self
            .counts
            .get(&task.task.step)?
            .get(&TaskState::Succeeded)?;
        let of_step = self.rows.iter().filter(|it| it.task.step == task.task.step);
        let shown =
            of_step.filter(|it| it.state == TaskState::Succeeded && self.is_shown(it, selected));
        count.checked_sub(shown.count() as u64).filter(|it| *it > 0)
    }

    /// How a card of the graph looks: one task by itself, several as a sum.
    pub(super) fn card_look(&self, card: &Card, selected: Option<&str>, now: Timestamp) -> Look {
        let run_of = |task: &TaskRow| {
            format!(
                "/runs/{}?task={}#task",
                task.run,
                url_encode(&task.task.to_string())
            )
        };
        if let ([step], false) = (card.steps.as_slice(), card.each)
            && let Some(task) = self.single.get(step)
        {
            return Look {
                state: task.state.as_str(),
                line: task_told(task, now),
                link: Some(run_of(task)),
                parts: Vec::new(),
                child: child_run(task).map(|it| (format!("/runs/{it}"), format!("run {it}"))),
                selected: selected == Some(task.task.to_string().as_str()),
            };
        }
        let mut sums: BTreeMap<TaskState, u64> = BTreeMap::new();
        for (state, count) in card
            .steps
            .iter()
            .filter_map(|it| self.counts.get(it))
            .flatten()
        {
            *sums.entry(*state).or_default() += count;
        }
        let born: u64 = sums.values().sum();
        let expected: u64 = card
            .steps
            .iter()
            .filter_map(|it| self.expected.get(it))
            .sum();
        let total = born.max(expected);
        let state = sum_state(&sums, total);
        let gang = card.steps.first().and_then(|it| self.gang(it));
        let line = match gang.filter(|_| card.mark.gang) {
            Some(workers) if total == 1 => {
                format!("{} · gang of {workers}", state.replace('_', " "))
            }
            _ => sum_told(&sums, total),
        };
        let step = url_encode(card.steps[0].as_str());
        let link = self
            .rows
            .first()
            .filter(|_| born > 0 && card.steps.len() == 1);
        Look {
            state,
            line,
            link: link.map(|it| format!("/runs/{}?task=none&step={step}#run-tasks", it.run)),
            parts: parts(&sums, total),
            child: None,
            selected: self.step.as_ref().is_some_and(|it| card.steps.contains(it)),
        }
    }

    /// How many tasks of Metaflow's a gang had, once it is over.
    fn gang(&self, step: &StepName) -> Option<usize> {
        let mut tasks = self.rows.iter().filter(|it| it.task.step == *step);
        let outputs = tasks.find_map(|it| it.outputs.as_deref())?;
        Some(outputs.get(output::MAPPER_TASKS)?.as_array()?.len())
    }

    /// How the frame of a foreach block looks.
    pub(super) fn frame_look(&self, name: &str) -> Look {
        use dalsegno_scheduler::row::ScopeState;
        let openings = || self.scopes.iter().filter(|it| it.scope.as_str() == name);
        let items: usize = openings().map(|it| it.items.len()).sum();
        let has = |state| openings().any(|it| it.state == state);
        let state = match () {
            () if has(ScopeState::Failed) => "failed",
            () if has(ScopeState::Open) => "open",
            () if has(ScopeState::Closed) => "closed",
            () if has(ScopeState::Skipped) => "skipped",
            () => "none",
        };
        let line = match (state, items) {
            ("none", _) => "once per item".into(),
            ("skipped", _) => "skipped".into(),
            (_, 1) => "1 item".into(),
            (_, items) => format!("{items} items"),
        };
        Look {
            state,
            line,
            ..Look::default()
        }
    }

    /// Why a task stands as it does; of one that has started a run, that run first.
    fn why(&self, run: &RunRow, task: &TaskRow) -> Html {
        let why = why(run, task);
        let Some(child) = child_run(task) else {
            return why;
        };
        let link = run_link(child);
        let link = match self.children.get(&child) {
            Some(it) => link.then(&Html::text(" ")).then(&state(it.as_str())),
            None => link,
        };
        match why == Html::default() {
            true => link,
            false => link.then(&Html::text(" · ")).then(&why),
        }
    }

    /// The time line of the shown tasks.
    pub(super) fn gantt(&self, run: &RunRow, selected: Option<&str>, now: Timestamp) -> String {
        let row = |task: &Arc<TaskRow>| Row {
            label: match self.label(&task.task) {
                Some(label) => format!("{} {label}", task.task),
                None => task.task.to_string(),
            },
            link: Some(task_href(run, &task.task)),
            step: task.task.step.to_string(),
            state: task.state.as_str(),
            note: run
                .origin
                .filter(|_| is_taken_over(task))
                .map(|it| format!("taken over from run {it}")),
            bars: bars(
                task,
                self.attempts.get(&task.task).map_or(&[][..], Vec::as_slice),
                now,
            ),
        };
        let mut rows = Vec::new();
        for task in self.rows.iter().filter(|it| self.is_shown(it, selected)) {
            rows.push(row(task));
            if let Some(more) = self.folded(task, selected) {
                let step = url_encode(task.task.step.as_str());
                rows.push(Row {
                    label: format!("+ {more} more succeeded"),
                    link: Some(format!("/runs/{}?task=none&step={step}#run-time", run.id)),
                    bars: Vec::new(),
                    note: None,
                    ..row(task)
                });
            }
        }
        let bars = || rows.iter().flat_map(|it| &it.bars);
        let begin = |bar: &Bar| bar.queued_at.or(bar.submitted_at).or(bar.started_at);
        let Some(from) = bars().filter_map(begin).min() else {
            return String::new();
        };
        let over = run.state.is_terminal();
        let last = bars().map(|it| it.until).max().unwrap_or(now);
        // Room at the right, so that what runs does not touch the edge.
        let to = if over {
            last
        } else {
            now + Span((now - from).0 / 30)
        };
        gantt::draw(&Chart {
            from,
            to: to.max(from + Span::from_millis(10)),
            now: (!over).then_some(now),
            deadline: run.deadline,
            rows,
        })
    }
}

fn keeps(rows: &[Arc<TaskRow>]) -> BTreeMap<StepName, TaskId> {
    let mut succeeded: BTreeMap<&StepName, Vec<&TaskId>> = BTreeMap::new();
    for task in rows.iter().filter(|it| it.state == TaskState::Succeeded) {
        succeeded
            .entry(&task.task.step)
            .or_default()
            .push(&task.task);
    }
    let many = succeeded
        .into_iter()
        .filter(|(_, it)| it.len() > UNFOLDED_MAX + 1);
    many.map(|(step, it)| (step.clone(), it[UNFOLDED_MAX - 1].clone()))
        .collect()
}

/// The run that a task has started, if its step is one that does.
pub(super) fn child_run(task: &TaskRow) -> Option<RunId> {
    dalsegno_scheduler::child_run(task.external_id.as_deref()?)
}

/// Runs that steps of this one have started, as they stand.
async fn children(engine: &EngineHandle, run: &RunRow) -> Outcome<BTreeMap<RunId, RunState>> {
    let view = engine.view();
    let children = engine.store().children(run.id).await?;
    let stand = children.iter().map(|it| {
        let live = view.run(it.id).map(|it| it.state);
        (it.id, live.unwrap_or(it.state))
    });
    Ok(stand.collect())
}

/// Why a task stands as it does, or where its success comes from.
fn why(run: &RunRow, task: &TaskRow) -> Html {
    match (&task.reason, metaflow::caught(task)) {
        _ if is_taken_over(task) => match run.origin {
            Some(origin) => Html::text("taken over from ").then(&run_link(origin)),
            None => Html::text("taken over"),
        },
        (_, Some(error)) => Html::text(error),
        (Some(reason), None) => Html::text(reason),
        (None, None) => Html::default(),
    }
}

/// It came finished from the run that its own was made from: no attempt of this run gave it.
pub(super) fn is_taken_over(task: &TaskRow) -> bool {
    task.state == TaskState::Succeeded && task.submitted_at.is_none()
}

fn around(flow: &Flow) -> BTreeMap<StepName, Vec<StepName>> {
    let chain = |step: &StepSpec| {
        let inner = flow.scope_at(step.scope);
        let scopes = std::iter::successors(inner, |(scope, ..)| flow.scope_at(scope.parent));
        let mut names: Vec<StepName> = scopes.map(|(scope, ..)| scope.name.clone()).collect();
        names.reverse();
        (step.name.clone(), names)
    };
    flow.spec().steps.iter().map(chain).collect()
}

pub(super) fn task_href(run: &RunRow, task: &TaskId) -> String {
    format!(
        "/runs/{}?task={}#task",
        run.id,
        url_encode(&task.to_string())
    )
}
