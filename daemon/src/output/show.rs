//! One run: what it is about, and its steps as a tree with bars of time.

use super::flows::brief;
use super::gantt::Scale;
use super::screen::Screen;
use super::table::Column::{Extra, Firm, Soft};
use super::table::table;
use super::time::{absolute, length, relative};
use super::tone::{self, Tone};
use crate::client::{Flow, Run, Task, Time};
use dalsegno_scheduler::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Tasks of one step that are listed one by one; of more, only those that need a look.
const CHILDREN_MAX: usize = 8;
/// A terminal narrower than this has no room for bars.
const BAR_FROM_WIDTH: usize = 72;
const BAR_MAX: usize = 32;
/// A run that waited longer than this before it started says so.
const WAIT_SHOWN: Span = Span::from_secs(1);

/// A run with its steps. `flow`, if it is of the run's version, gives their order and those yet to come.
pub(crate) fn show(screen: &Screen, run: &Run, flow: Option<&Flow>, tasks: &[Task]) -> String {
    let mut text = head(screen, run);
    let rows = tree(run, flow, tasks);
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&draw(screen, run, &rows));
    }
    text
}

/// Every task on a line.
pub(crate) fn tasks(screen: &Screen, flow: Option<&Flow>, tasks: &[Task]) -> String {
    if tasks.is_empty() {
        return "no tasks yet\n".to_owned();
    }
    let labels = Labels::new(flow, tasks);
    let rows = tasks.iter().map(|it| {
        let name = match labels.of(it) {
            Some(label) => format!("{}  {label}", it.task),
            None => it.task.clone(),
        };
        let started = it.started_at.map(|at| relative(at, screen.now));
        vec![
            Tone::Plain.cell(name),
            Tone::of(&it.state).cell(format!(
                "{} {}",
                tone::sign(&it.state),
                tone::words(&it.state)
            )),
            Tone::Plain.cell(it.attempt.to_string()),
            Tone::Plain.cell(started.unwrap_or_default()),
            Tone::Plain.cell(length(it.started_at, it.finished_at, screen.now)),
            Tone::Quiet.cell(match &it.reason {
                Some(reason) => reason.text().to_owned(),
                None => failures(it).unwrap_or_default(),
            }),
        ]
    });
    table(
        screen,
        &[
            Firm("task"),
            Firm("state"),
            Extra("attempt"),
            Extra("started"),
            Firm("took"),
            Soft("because"),
        ],
        rows.collect(),
    )
}

fn head(screen: &Screen, run: &Run) -> String {
    let sign = Tone::of(&run.state).paint(tone::sign(&run.state));
    let name = Tone::Strong.paint(&format!("run {} of {}", run.id, run.flow));
    let mut text = format!("{sign} {name}  {}\n", tone::state(&run.state));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(
            text,
            "  {} {value}",
            Tone::Quiet.paint(&format!("{name:<9}"))
        );
    };
    let when = |at| format!("{}, {}", relative(at, screen.now), absolute(at));
    let by = match (run.trigger.as_str(), &run.by) {
        (_, Some(by)) => by.clone(),
        ("manual", None) => "by hand".to_owned(),
        (trigger, None) => format!("by {trigger}"),
    };
    line("created", format!("{}, {by}", when(run.created_at)));
    if let Some(started) = run.started_at {
        if started.0 - run.created_at.0 >= WAIT_SHOWN {
            line("started", when(started));
        }
        let took = length(run.since(), run.finished_at, screen.now);
        match run.since().filter(|it| *it > started) {
            Some(_) => line("took", format!("{took} since it was resumed")),
            None => line("took", took),
        }
    }
    if let Some(interval) = run.interval.filter(|it| it.start != it.end) {
        line(
            "interval",
            format!("{} to {}", absolute(interval.start), absolute(interval.end)),
        );
    }
    if !run.params.is_empty() {
        let params = run
            .params
            .iter()
            .map(|(name, value)| format!("{name}={}", brief(value)));
        line("params", params.collect::<Vec<_>>().join("  "));
    }
    if let Some(metaflow) = &run.metaflow {
        line("metaflow", metaflow.pathspec.clone());
    }
    if let Some(origin) = &run.origin {
        line(
            "goes on",
            format!("from run {origin}, with its finished tasks"),
        );
    }
    match run.generation {
        0 | 1 => {}
        2 => line("resumed", "once".to_owned()),
        times => line("resumed", format!("{} times", times - 1)),
    }
    if let Some(reason) = &run.reason {
        line("because", reason.text().to_owned());
    }
    text
}

/// A line of the tree.
struct Row {
    name: String,
    state: String,
    ready: Option<Time>,
    started: Option<Time>,
    finished: Option<Time>,
    note: String,
}

fn tree(run: &Run, flow: Option<&Flow>, tasks: &[Task]) -> Vec<Row> {
    let mut groups: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
    for task in tasks {
        groups.entry(task.step()).or_default().push(task);
    }
    let labels = Labels::new(flow, tasks);
    let mut rows = Vec::new();
    let mut scopes = BTreeSet::new();
    for step in flow.map_or(&[][..], |it| &it.steps) {
        // A step that is repeated by itself has a scope of its own name.
        let scope = step.foreach.as_deref().filter(|it| *it != step.name);
        let own = usize::from(step.foreach.is_some() && scope.is_none());
        let group = groups.remove(step.name.as_str());
        let depth = group
            .as_ref()
            .and_then(|it| it.first())
            .map(|it| it.depth());
        let depth = depth.map_or_else(|| usize::from(scope.is_some()), |it| it.saturating_sub(own));
        let indent = "  ".repeat(depth);
        // A foreach of a Metaflow file has no name of its own.
        let named = scope.filter(|_| step.over().is_none());
        if let Some(name) = named.filter(|it| scopes.insert(*it)) {
            let indent = "  ".repeat(depth.saturating_sub(1));
            rows.push(bare(format!("{indent}{name}"), "", "foreach"));
        }
        match group {
            Some(group) => of_step(&mut rows, &indent, &group, &labels),
            None => {
                let note = if run.is_finished() {
                    "never reached"
                } else {
                    "not yet"
                };
                rows.push(bare(format!("{indent}{}", step.name), "expected", note));
            }
        }
    }
    // Steps of another version, in the order in which they became ready.
    let mut rest: Vec<_> = groups.into_values().collect();
    rest.sort_by_key(|it| it.iter().filter_map(|it| it.ready_at).min());
    for group in rest {
        of_step(&mut rows, "", &group, &labels);
    }
    rows
}

fn bare(name: String, state: &str, note: &str) -> Row {
    Row {
        name,
        state: state.to_owned(),
        ready: None,
        started: None,
        finished: None,
        note: note.to_owned(),
    }
}

fn of_step(rows: &mut Vec<Row>, indent: &str, group: &[&Task], labels: &Labels<'_>) {
    if let [task] = group
        && task.place().is_empty()
    {
        rows.push(of_task(task, format!("{indent}{}", task.step())));
        return;
    }
    rows.push(summary(indent, group));
    let few = group.len() <= CHILDREN_MAX;
    let listed: Vec<_> = group
        .iter()
        .filter(|it| few || !it.is_terminal() || it.state == "failed")
        .collect();
    for task in listed.iter().take(CHILDREN_MAX) {
        // The first of several rounds has no number of its own.
        let place = if task.place().is_empty() {
            "@0"
        } else {
            task.place()
        };
        let label = labels.of(task).map(|it| format!(" {it}"));
        let label = label.unwrap_or_default();
        rows.push(of_task(task, format!("{indent}  {place}{label}")));
    }
    if listed.len() > CHILDREN_MAX {
        let more = format!("{} more; all of them: --tasks", listed.len() - CHILDREN_MAX);
        rows.push(bare(format!("{indent}  …"), "", &more));
    }
}

fn of_task(task: &Task, name: String) -> Row {
    let mut note = String::new();
    let reason = task.reason.as_ref().map(|it| it.text());
    // A reason that begins with the state's word tells both.
    let both = reason.filter(|it| tone::rest(&task.state, it).is_some());
    if let Some(both) = both {
        note.push_str(both);
    } else if !matches!(task.state.as_str(), "succeeded" | "running") {
        note.push_str(&tone::words(&task.state));
    }
    if task.attempt > 1 {
        let _ = write!(
            note,
            "{}attempt {}",
            if note.is_empty() { "" } else { ", " },
            task.attempt
        );
    }
    if let Some(reason) = reason.filter(|_| both.is_none()) {
        let _ = write!(note, "{}{reason}", if note.is_empty() { "" } else { ": " });
    }
    if let Some(failures) = failures(task).filter(|_| reason.is_none()) {
        match task.caught() {
            true => note = failures,
            false => {
                let _ = write!(note, "; {failures}");
            }
        }
    }
    Row {
        name,
        state: task.state.clone(),
        ready: task.ready_at,
        started: task.started_at,
        finished: task.finished_at,
        note,
    }
}

/// What its newest failed attempt failed of: that it was caught, or why there was another attempt.
fn failures(task: &Task) -> Option<String> {
    let error = task.failures.last();
    let text = error.map(|it| it.reason.as_ref().map_or("failed", |it| it.text()));
    match (task.caught(), error, text) {
        (true, _, Some(text)) => Some(format!("caught: {text}")),
        (true, _, None) => Some("its error was caught".to_owned()),
        (false, Some(error), Some(text)) => Some(format!("attempt {}: {text}", error.number)),
        (false, ..) => None,
    }
}

/// What the items of a Metaflow foreach are, in short; the step before it tells them.
struct Labels<'a> {
    splits: BTreeMap<&'a str, &'a str>,
    tasks: BTreeMap<&'a str, &'a Task>,
}

impl<'a> Labels<'a> {
    fn new(flow: Option<&'a Flow>, tasks: &'a [Task]) -> Self {
        let steps = flow.map_or(&[][..], |it| &it.steps).iter();
        Self {
            splits: steps
                .filter_map(|it| Some((it.name.as_str(), it.over()?)))
                .collect(),
            tasks: tasks.iter().map(|it| (it.task.as_str(), it)).collect(),
        }
    }

    /// Of all foreach that a task is in, outermost first.
    fn of(&self, task: &Task) -> Option<String> {
        let (mut step, mut path) = (task.step(), task.path());
        let mut parts = Vec::new();
        while let Some(index) = path.pop() {
            let split = self.splits.get(step)?;
            let name = match path.as_slice() {
                [] => (*split).to_owned(),
                path => format!("{split}[{}]", path.join(".")),
            };
            let label = self.tasks.get(name.as_str())?.label(index.parse().ok()?)?;
            if label != index {
                parts.push(label);
            }
            step = split;
        }
        parts.reverse();
        (!parts.is_empty()).then(|| parts.join(" · "))
    }
}

/// A step that has many tasks: from the first start to the last end.
fn summary(indent: &str, group: &[&Task]) -> Row {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for task in group {
        *counts.entry(task.state.as_str()).or_default() += 1;
    }
    // What most needs a look stands for all.
    const ORDER: [&str; 10] = [
        "failed",
        "stopping",
        "running",
        "submitting",
        "backing_off",
        "ready",
        "waiting",
        "cancelled",
        "caught",
        "succeeded",
    ];
    let state = ORDER
        .into_iter()
        .find(|it| counts.contains_key(it))
        .unwrap_or("skipped");
    let all_ended = group.iter().all(|it| it.is_terminal());
    let note = counts
        .iter()
        .map(|(state, count)| format!("{count} {}", tone::words(state)));
    Row {
        name: format!(
            "{indent}{} ×{}",
            group.first().map_or("", |it| it.step()),
            group.len()
        ),
        state: state.to_owned(),
        ready: group.iter().filter_map(|it| it.ready_at).min(),
        started: group.iter().filter_map(|it| it.started_at).min(),
        finished: group
            .iter()
            .filter_map(|it| it.finished_at)
            .max()
            .filter(|_| all_ended),
        note: note.collect::<Vec<_>>().join(", "),
    }
}

fn draw(screen: &Screen, run: &Run, rows: &[Row]) -> String {
    let name_width = rows
        .iter()
        .map(|it| it.name.chars().count())
        .max()
        .unwrap_or(0);
    let took = |row: &Row| length(row.started, row.finished, screen.now);
    let took_width = rows
        .iter()
        .map(|it| took(it).chars().count())
        .max()
        .unwrap_or(0);
    let used = 2 + name_width + 2 + took_width + 2;
    let scale = scale(screen, run, rows, used);
    let mut text = String::new();
    for row in rows {
        let tone = match row.state.as_str() {
            "expected" | "" => Tone::Quiet,
            state => Tone::of(state),
        };
        let sign = match row.state.as_str() {
            "" => " ",
            state => tone::sign(state),
        };
        let mut line = format!(
            "{} {:<name_width$}  {:>took_width$}",
            tone.paint(sign),
            row.name,
            took(row)
        );
        let mut width = used - 2;
        if let Some(scale) = &scale {
            let bar = match row.ready.or(row.started) {
                Some(_) if row.state != "skipped" => {
                    scale.bar(row.ready, row.started, row.finished)
                }
                _ => " ".repeat(scale.width),
            };
            let _ = write!(line, "  {}", tone.paint(&bar));
            width += 2 + scale.width;
        }
        if !row.note.is_empty() {
            let note = if tone == Tone::Good {
                Tone::Quiet
            } else {
                tone
            }
            .paint(&row.note);
            match width + 2 + row.note.chars().count() <= screen.width {
                true => {
                    let _ = write!(line, "  {note}");
                }
                false => {
                    let indent = row.name.chars().take_while(|it| *it == ' ').count() + 4;
                    line.truncate(line.trim_end().len());
                    let _ = write!(line, "\n{:indent$}{note}", "");
                }
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bars only for people, and only where there is room.
fn scale(screen: &Screen, run: &Run, rows: &[Row], used: usize) -> Option<Scale> {
    let start = rows.iter().filter_map(|it| it.ready.or(it.started)).min()?;
    let ends = rows.iter().filter_map(|it| it.finished).max();
    let now = Time(screen.now);
    let end = run
        .finished_at
        .max(ends)
        .filter(|_| run.is_finished())
        .unwrap_or(now);
    let width = screen.width.saturating_sub(used + 2).min(BAR_MAX);
    let room = screen.is_terminal && screen.width >= BAR_FROM_WIDTH && width >= 10;
    room.then_some(Scale { start, end, width })
}
