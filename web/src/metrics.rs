//! `/metrics` in the text format of Prometheus, 0.0.4.

use crate::state::SourceState;
use dalsegno_engine::{EngineHandle, Role};
use dalsegno_scheduler::Limit;
use dalsegno_scheduler::row::{BackfillItemState, BackfillState, RunState, TaskState};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// All figures now.
pub(crate) fn render(engine: &EngineHandle, sources: &[SourceState], version: &str) -> String {
    let mut page = Page::default();
    let counters = engine.counters();
    page.gauge(
        "dalsegno_build_info",
        "Always 1; the label tells the version.",
    );
    page.sample("dalsegno_build_info", &[("version", version)], 1);
    page.gauge("dalsegno_leader", "1 when this instance decides.");
    page.sample(
        "dalsegno_leader",
        &[],
        u8::from(engine.role() == Role::Leader),
    );

    let load = |it: &AtomicU64| it.load(Ordering::Relaxed);
    for (name, help, value) in [
        (
            "commits",
            "Transactions that made decisions durable.",
            &counters.commits,
        ),
        (
            "commit_errors",
            "Transactions that failed or whose outcome is unknown.",
            &counters.commit_errors,
        ),
        (
            "inputs",
            "Inputs decided, refused ones included.",
            &counters.inputs,
        ),
        ("rejected_inputs", "Inputs refused.", &counters.rejected),
        (
            "stale_reports",
            "Reports of attempts that were not the live one.",
            &counters.stale_reports,
        ),
        (
            "runs_started",
            "Runs that left the queue.",
            &counters.runs_started,
        ),
        ("runs_finished", "Runs that ended.", &counters.runs_finished),
        (
            "tasks_finished",
            "Tasks that ended.",
            &counters.tasks_finished,
        ),
        (
            "attempts_submitted",
            "Attempts handed to an executor.",
            &counters.attempts_submitted,
        ),
        (
            "events",
            "Events accepted, those of Dalsegno's own included.",
            &counters.events,
        ),
        (
            "refused_deliveries",
            "Deliveries that could not be read as events.",
            &counters.refused,
        ),
        ("backfills", "Backfills begun.", &counters.backfills),
    ] {
        let name = format!("dalsegno_{name}_total");
        page.counter(&name, help);
        page.sample(&name, &[], load(value));
    }
    let name = "dalsegno_commit_seconds_total";
    page.counter(name, "Time spent in transactions.");
    page.sample(name, &[], load(&counters.commit_us) as f64 / 1e6);

    live(&mut page, engine);
    triggers(&mut page, engine);
    places(&mut page, sources);
    page.0
}

/// Gauges of what starts runs.
fn triggers(page: &mut Page, engine: &EngineHandle) {
    let (view, now) = (engine.view(), engine.now());
    let name = "dalsegno_waiting_sets";
    page.gauge(name, "Sets of events that wait at triggers.");
    let sets: usize = view
        .flows()
        .map(|it| view.set_count(it.row.name.as_str()))
        .sum();
    page.sample(name, &[], sets);
    let name = "dalsegno_schedules_without_future";
    page.gauge(
        name,
        "Schedules of flows that are there, of which nothing is expected any more.",
    );
    page.sample(name, &[], view.without_future(now).len());

    let mut backfills: BTreeMap<BackfillState, u64> = BTreeMap::new();
    let mut items: BTreeMap<BackfillItemState, u64> = BTreeMap::new();
    for backfill in view.backfills() {
        *backfills.entry(backfill.row.state).or_default() += 1;
        for (state, count) in backfill.counts {
            *items.entry(state).or_default() += u64::from(count);
        }
    }
    let name = "dalsegno_backfills";
    page.gauge(name, "Unfinished backfills by state.");
    let over = [BackfillState::Cancelled, BackfillState::Finished];
    for state in BackfillState::ALL.iter().filter(|it| !over.contains(it)) {
        let count = backfills.get(state).copied().unwrap_or(0);
        page.sample(name, &[("state", state.as_str())], count);
    }
    let name = "dalsegno_backfill_items";
    page.gauge(name, "Items of unfinished backfills by state.");
    for state in BackfillItemState::ALL {
        let count = items.get(state).copied().unwrap_or(0);
        page.sample(name, &[("state", state.as_str())], count);
    }
}

/// Gauges of where events come from and go to.
fn places(page: &mut Page, sources: &[SourceState]) {
    let mut states: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for it in sources {
        *states.entry((it.kind, it.state)).or_default() += 1;
    }
    let name = "dalsegno_sources";
    page.gauge(name, "Places that events come from or go to, by state.");
    for ((kind, state), count) in states {
        page.sample(name, &[("kind", kind), ("state", state)], count);
    }
    let name = "dalsegno_source_waiting";
    page.gauge(name, "Updates that wait on disk to be sent there.");
    for it in sources {
        if let Some(waiting) = it.counts.get("waiting") {
            page.sample(
                name,
                &[("kind", it.kind), ("source", it.name.as_str())],
                waiting,
            );
        }
    }
    for (name, help, value) in [
        (
            "dalsegno_source_trouble",
            "1 when someone should look at the place.",
            (|it| u64::from(it.is_trouble)) as fn(&SourceState) -> u64,
        ),
        (
            "dalsegno_source_received_total",
            "Deliveries that were looked at.",
            |it| it.received,
        ),
        (
            "dalsegno_source_refused_total",
            "Deliveries that could not be read as events.",
            |it| it.refused,
        ),
    ] {
        match name.ends_with("_total") {
            true => page.counter(name, help),
            false => page.gauge(name, help),
        }
        for it in sources {
            let labels = [("kind", it.kind), ("source", it.name.as_str())];
            page.sample(name, &labels, value(it));
        }
    }
}

/// Gauges of the live state.
fn live(page: &mut Page, engine: &EngineHandle) {
    let view = engine.view();
    let mut runs: BTreeMap<RunState, u64> = BTreeMap::new();
    let mut tasks: BTreeMap<TaskState, u64> = BTreeMap::new();
    for run in view.runs() {
        *runs.entry(run.state).or_default() += 1;
        for task in view.tasks(run.id) {
            *tasks.entry(task.state).or_default() += 1;
        }
    }
    page.gauge("dalsegno_runs", "Unfinished runs by state.");
    for state in RunState::ALL.iter().filter(|it| !it.is_terminal()) {
        let count = runs.get(state).copied().unwrap_or(0);
        page.sample("dalsegno_runs", &[("state", state.as_str())], count);
    }
    page.gauge(
        "dalsegno_tasks",
        "Unfinished tasks of unfinished runs by state.",
    );
    for state in TaskState::ALL.iter().filter(|it| !it.is_terminal()) {
        let count = tasks.get(state).copied().unwrap_or(0);
        page.sample("dalsegno_tasks", &[("state", state.as_str())], count);
    }
    let mut states: BTreeMap<&str, u64> =
        BTreeMap::from([("active", 0), ("paused", 0), ("invalid", 0), ("removed", 0)]);
    for flow in view.flows() {
        *states
            .entry(crate::json::flow_state(&flow.row))
            .or_default() += 1;
    }
    page.gauge("dalsegno_flows", "Flows by state.");
    for (state, count) in states {
        page.sample("dalsegno_flows", &[("state", state)], count);
    }

    // Limits of single runs come and go; they would make a series each.
    let limits: Vec<_> = view
        .limits()
        .into_iter()
        .filter_map(|it| match &it.limit {
            Limit::Tasks => Some(("tasks".to_owned(), it)),
            Limit::Remote => Some(("remote".to_owned(), it)),
            Limit::Pool(pool) => Some((format!("pool:{pool}"), it)),
            _ => None,
        })
        .collect();
    page.gauge("dalsegno_limit_capacity", "Slots of each limit.");
    for (name, limit) in &limits {
        page.sample(
            "dalsegno_limit_capacity",
            &[("limit", name)],
            limit.capacity,
        );
    }
    page.gauge("dalsegno_limit_used", "Slots in use.");
    for (name, limit) in &limits {
        page.sample("dalsegno_limit_used", &[("limit", name)], limit.used);
    }
    page.gauge(
        "dalsegno_limit_waiting",
        "Runs and tasks that wait for slots.",
    );
    for (name, limit) in &limits {
        page.sample("dalsegno_limit_waiting", &[("limit", name)], limit.waiting);
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} counter");
    }

    fn gauge(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_a_line() {
        let mut page = Page::default();
        page.gauge("a", "What it is.");
        page.sample("a", &[("b", "x\"y\\z\n"), ("c", "d")], 1.5);
        assert_eq!(
            page.0,
            "# HELP a What it is.\n# TYPE a gauge\na{b=\"x\\\"y\\\\z\\n\",c=\"d\"} 1.5\n"
        );
    }
}
