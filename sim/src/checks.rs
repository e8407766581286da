//! What must hold in every state.

use crate::executor::Executor;
use dalsegno_scheduler::failure::FailureClass;
use dalsegno_scheduler::row::{RunState, ScopeState, TaskRow, TaskState};
use dalsegno_scheduler::spec::{Command, JoinRule};
use dalsegno_scheduler::{
    AttemptId, Config, Flow, Input, Limit, LimitUse, NodeKind, Path, Reason, RunId, Scheduler,
    Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// Cheap checks, after every step.
pub(crate) fn check(
    core: &Scheduler,
    config: &Config,
    executor: &Executor,
    limits_before: &[LimitUse],
    now: Timestamp,
) {
    let disorder = core.disorder();
    assert!(disorder.is_empty(), "{}", disorder.join("\n"));
    check_limits(core, limits_before);
    check_schedules(core, now);
    for attempt in core.live_attempts() {
        assert!(
            executor.asked.contains(&attempt),
            "{attempt} is live, and nobody was asked to run it"
        );
    }
    let runs: Vec<RunId> = core.runs().map(|it| it.id).collect();
    for run in runs {
        check_order(core, run);
        check_not_stuck(core, run);
    }
    check_sub_flows(core);
    check_budgets(core, config);
    if let Some(at) = core.next_deadline() {
        assert!(at > now, "what was due at {at} has not happened");
    }
}

/// No class of failures takes more than its own budget, and memory grows only where it may.
fn check_budgets(core: &Scheduler, config: &Config) {
    let budgets = &config.budgets;
    for run in core.runs() {
        let flow = core.flow_of(run.id).expect("an unfinished run has a flow");
        for task in core.tasks(run.id) {
            let Some(step) = flow.step(task.task.step.as_str()) else {
                continue;
            };
            // What came back by a resume keeps the numbers of a life before, under a flow that may be another.
            let reborn = matches!(task.state, TaskState::Waiting) || task.state.is_terminal();
            let user = if reborn { u32::MAX } else { step.retry.times };
            let most = [
                (FailureClass::User, user),
                (FailureClass::Lost, config.lost_retries),
                (FailureClass::Network, budgets.network.retries),
                (FailureClass::Throttled, budgets.throttled.retries),
                (FailureClass::Capacity, budgets.capacity.retries),
                (FailureClass::Oom, budgets.oom.retries),
            ];
            for (class, most) in most {
                let used = task.retries.of(class);
                assert!(
                    used <= most,
                    "{} of run {} was repeated {used} times for {class}, and {most} is the most",
                    task.task,
                    run.id
                );
            }
            if let (Some(grown), Some(on_oom)) = (task.memory_bytes, step.on_oom) {
                assert!(grown <= on_oom.max_bytes, "{} grew too far", task.task);
            }
        }
    }
}

/// Who waits for a run has exactly one, and an unfinished one has somebody who waits; but for those that a resume put
/// back or somebody resumed.
fn check_sub_flows(core: &Scheduler) {
    let mut waiting = BTreeSet::new();
    for run in core.runs() {
        let flow = core.flow_of(run.id).expect("an unfinished run has a flow");
        for task in core.tasks(run.id).filter(|it| it.state.is_live()) {
            let step = flow.step(task.task.step.as_str()).expect("its step");
            let Command::Flow(own) = &step.run else {
                continue;
            };
            let attempt = AttemptId {
                run: run.id,
                task: task.task.clone(),
                number: task.attempt,
            };
            assert!(own.wait, "{attempt} lives, and waits for nothing");
            let child = core.child_of(&attempt).expect("it has a run");
            let child = core.run(child).expect("its run is unfinished");
            let parent = child.parent.as_ref().expect("it knows its parent");
            assert_eq!((&parent.attempt, parent.waits), (&attempt, true));
            waiting.insert(attempt);
        }
    }
    for run in core.runs() {
        let Some(parent) = run.parent.as_ref().filter(|it| it.waits) else {
            continue;
        };
        let wanted = waiting.remove(&parent.attempt);
        assert!(
            wanted || run.generation > 1,
            "run {} is {}, and {} does not wait for it",
            run.id,
            run.state,
            parent.attempt
        );
        let held = matches!(run.reason, Some(Reason::WaitsForTask { .. }));
        let parent = core.run(parent.attempt.run);
        assert!(!held || parent.is_some(), "run {} waits for ever", run.id);
    }
    assert!(waiting.is_empty(), "two wait for one run: {waiting:?}");
}

/// A state recovered from the rows decides like the one that lives.
pub(crate) fn check_recovered(core: &Scheduler, mut recovered: Scheduler, now: Timestamp) {
    let found = core.differences(&recovered);
    assert!(found.is_empty(), "a restart changes:\n{}", found.join("\n"));
    assert_eq!(core.commands(), recovered.commands());
    let (decision, _) = recovered
        .decide(now, Input::Tick)
        .expect("time may always pass");
    recovered.install(decision);
    let disorder = recovered.disorder();
    assert!(disorder.is_empty(), "{}", disorder.join("\n"));
    let kept = core.live_attempts().is_subset(&recovered.live_attempts());
    assert!(kept, "a restart ends an attempt");
}

fn check_limits(core: &Scheduler, before: &[LimitUse]) {
    for it in core.limits() {
        // A flow may be deployed with a narrower strategy than that by which its runs began.
        let was = before.iter().find(|before| before.limit == it.limit);
        let kept = matches!(it.limit, Limit::Flow(_)) && was.is_some_and(|was| was.used >= it.used);
        assert!(it.used <= it.capacity || kept, "{it:?} is exceeded");
    }
}

/// Every schedule of an active flow has exactly one occurrence ahead.
fn check_schedules(core: &Scheduler, now: Timestamp) {
    for state in core.flows() {
        let name = state.row.name.as_str();
        let mut ahead: BTreeMap<&str, u32> = BTreeMap::new();
        for it in core.expected(name).filter(|it| it.reason.is_none()) {
            *ahead.entry(it.trigger.as_str()).or_default() += 1;
        }
        let flow = state.flow.as_ref().filter(|_| !state.row.removed);
        let wanted: BTreeMap<&str, u32> = flow
            .iter()
            .flat_map(|it| it.schedules())
            .filter(|(_, schedule)| schedule.next_after(now).is_some())
            .map(|(spec, _)| (spec.name.as_str(), 1))
            .collect();
        assert_eq!(ahead, wanted, "occurrences ahead of {name}");
    }
}

/// Nothing is live before what it needs is done.
fn check_order(core: &Scheduler, run: RunId) {
    let flow = core.flow_of(run).expect("an unfinished run has a flow");
    let mut rows: BTreeMap<(&str, Path), &TaskRow> = BTreeMap::new();
    for task in core.tasks(run) {
        // Later iterations come later, and count; those left over from an earlier try do not.
        if !matches!(task.state, TaskState::Waiting) || task.task.iteration == 0 {
            rows.insert((task.task.step.as_str(), task.task.path), task);
        }
    }
    let scopes: BTreeMap<(&str, Path), ScopeState> = core
        .scopes(run)
        .map(|it| ((it.scope.as_str(), it.path), it.state))
        .collect();
    for task in core.tasks(run).filter(|it| it.state.is_live()) {
        let step = flow.step(task.task.step.as_str()).expect("its step");
        let others_live = || {
            let mut others = core.tasks(run).filter(|it| it.state.is_live());
            others.any(|it| {
                flow.step(it.task.step.as_str())
                    .is_some_and(|it| it.hook.is_none())
            })
        };
        assert!(
            step.hook.is_none() || !others_live(),
            "{} of run {run} is {} before all else is over",
            task.task,
            task.state
        );
        let node = flow.node(flow.step_node(step.name.as_str()).expect("its node"));
        let done: Vec<bool> = node
            .predecessors
            .iter()
            .map(|it| is_done(flow, &rows, &scopes, flow.node(*it), task.task.path))
            .collect();
        let may_run = match step.join {
            JoinRule::AllLive => !done.contains(&false),
            JoinRule::AnyLive => done.is_empty() || done.contains(&true),
        };
        assert!(
            may_run,
            "{} of run {run} is {} before what it needs",
            task.task, task.state
        );
    }
}

fn is_done(
    flow: &Flow,
    rows: &BTreeMap<(&str, Path), &TaskRow>,
    scopes: &BTreeMap<(&str, Path), ScopeState>,
    node: &dalsegno_scheduler::Node,
    path: Path,
) -> bool {
    let at = path.prefix(node.depth);
    match node.kind {
        NodeKind::Step(_) => rows
            .get(&(node.name.as_str(), at))
            .is_some_and(|it| matches!(it.state, TaskState::Succeeded | TaskState::Caught)),
        NodeKind::Open(_) => scopes.get(&(node.name.as_str(), at)) == Some(&ScopeState::Open),
        NodeKind::Close(_) => {
            let (_, open, _) = flow.scope(node.name.as_str()).expect("its scope");
            let at = path.prefix(flow.node(open).depth);
            scopes.get(&(node.name.as_str(), at)) == Some(&ScopeState::Closed)
        }
    }
}

/// An unfinished run has something that will move it: an attempt, a timer, or a place in a queue.
fn check_not_stuck(core: &Scheduler, run: RunId) {
    let row = core.run(run).expect("unfinished");
    let moves =
        |it: TaskState| it.is_live() || matches!(it, TaskState::Ready | TaskState::BackingOff);
    match row.state {
        RunState::Queued => {}
        RunState::Running => assert!(
            core.tasks(run).any(|it| moves(it.state)),
            "run {run} is stuck"
        ),
        RunState::Cancelling => assert!(
            core.tasks(run).any(|it| it.state.is_live()),
            "run {run} is cancelling, and nothing lives"
        ),
        _ => panic!("run {run} is {} and still in memory", row.state),
    }
}
